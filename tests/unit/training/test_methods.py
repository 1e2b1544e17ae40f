"""What each method shows its loss, and that all of them learn on synthetic people in changing light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage

from conf.errors import UsageError
from conf.settings import TrainingMethod, TrainSettings
from training.adapters import apply
from training.collective import Alone
from training.loop import train
from training.methods.ball_cluster import TrackBallsMethod, find_threshold
from training.methods.base import Parent
from training.methods.registry import LABELLED, kind, make_plan, method_of
from training.networks import BALL, small
from training.plan import Plan
from training.readers.reader import Reader
from training.snapshot import Snapshot

ON_FACES = [name for name in get_args(TrainingMethod) if kind(name) == "faces"]


def planned(snapshot: Snapshot, method: str, **changes: Any) -> Plan:
    made = make_plan(TrainSettings.model_validate({"method": method, "min_rows": 2}), snapshot)
    return made.model_copy(update=changes)


@pytest.fixture(scope="module")
def unlabelled(
    tmp_path_factory: pytest.TempPathFactory, corpus: Callable[..., pa.Table], written: Callable[..., Snapshot]
) -> Snapshot:
    folder = tmp_path_factory.mktemp("unlabelled")
    train_rows, dev = corpus(1, 240, kind="faces"), corpus(2, 90, kind="faces")
    return written(folder, train_rows, dev, kind="faces", labels=(), labels_from=None)


@pytest.mark.parametrize("method", ON_FACES)
def test_every_method_on_faces_learns_and_repeats_bitwise(faces: Snapshot, method: str) -> None:
    chosen = planned(faces, method, max_epochs=12)
    made, again = train(faces, chosen), train(faces, chosen)
    assert made.adapter.to_bytes() == again.adapter.to_bytes()
    assert made.curve[made.best_epoch].dev_loss < made.curve[0].dev_loss or made.best_epoch == 0
    assert made.metrics["auc"] > made.metrics["auc_raw"] - 0.05
    assert (made.adapter.card.labels_from is None) == (method in ("tsiam", "ssiam"))
    assert (made.adapter.card.threshold is None) == (method in ("tsiam", "ssiam"))


@pytest.mark.parametrize("method", ["bcl", "prototypical", "triplet"])
def test_labels_teach_who_is_who(faces: Snapshot, method: str) -> None:
    made = train(faces, planned(faces, method, max_epochs=40))
    assert made.metrics["auc"] > made.metrics["auc_raw"] + 0.02


@pytest.mark.parametrize("method", LABELLED)
def test_rivals_of_bcl_ask_for_labels(unlabelled: Snapshot, method: str) -> None:
    with pytest.raises(UsageError, match=f"train.method={method} learns from identities: .* --labels"):
        planned(unlabelled, method)


def test_bcl_without_labels_takes_tracks_for_classes_and_keeps_its_radius(unlabelled: Snapshot) -> None:
    chosen = planned(unlabelled, "bcl", max_epochs=15)
    assert chosen.needs == "negative"
    assert isinstance(method_of(chosen, unlabelled, Alone()), TrackBallsMethod)
    made = train(unlabelled, chosen)
    assert made.adapter.card.threshold == pytest.approx(4 * 0.20141, rel=1e-4)
    assert made.adapter.card.labels_from is None
    assert made.metrics["auc"] > made.metrics["auc_raw"]


def test_the_radius_waits_five_epochs_then_moves(faces: Snapshot) -> None:
    thresholds = []
    for epochs in (5, 6):
        published = make_plan(TrainSettings(method="bcl", preset="paper", min_rows=2), faces)
        chosen = published.model_copy(update={"max_epochs": epochs, "learning_rate": 0.1, "epoch_steps": 1})
        thresholds.append(_radius_after(faces, chosen))
    assert thresholds[0] == -1.5
    assert thresholds[1] != -1.5


def _radius_after(snapshot: Snapshot, chosen: Plan) -> float:
    """h at the end of training, whichever epoch's weights are kept."""
    from training import loop

    with loop._reproducible(chosen.seed):
        reader = Reader(snapshot, chosen.batch, chosen.seed, chosen.needs)
        method = method_of(chosen, snapshot, Alone())
        groups = [{"params": list(part.parameters())} for part in (method.networks, method.loss)]
        optimiser = torch.optim.SGD(groups, lr=chosen.learning_rate, momentum=chosen.momentum)
        for epoch in range(chosen.max_epochs):
            for rows in reader.epoch(epoch):
                loop._set_rates(optimiser, chosen, epoch, 0)
                loop._step(method, rows, optimiser, Alone())
    return float(method.loss.ball.h.detach())


@pytest.mark.parametrize("method", ["triplet", "prototypical"])
def test_a_rival_s_threshold_gives_the_true_number_on_held_out_tracks(faces: Snapshot, method: str) -> None:
    made = train(faces, planned(faces, method, max_epochs=5)).adapter
    held_out = Reader(faces, 64, 7, "label").development()
    means = torch.nn.functional.normalize(held_out.views.mean(dim=1), dim=1).numpy()
    rows = apply(made, means, "a" * 64, unit=False)
    lengths = np.linalg.norm(rows, axis=1)
    assert (abs(lengths - 1).max() < 1e-5) == (method == "triplet")
    assert made.card.read_out == ("cosine" if method == "triplet" else "euclidean")
    assert made.card.threshold is not None
    found = fcluster(linkage(rows, "complete"), made.card.threshold**0.5, "distance")
    assert found.max() == len(set(held_out.label.tolist())) == 6


def test_no_distance_gives_a_number_that_no_merge_leaves() -> None:
    heights = np.array([0.2, 0.6, 1.0])
    assert find_threshold(heights, 2) == pytest.approx(0.8**2)
    assert find_threshold(heights, 3) == pytest.approx(0.4**2)
    assert find_threshold(heights, 1) is None
    assert find_threshold(heights, 4) is None


def test_fine_tuning_starts_from_the_parent_and_keeps_its_radius(faces: Snapshot, unlabelled: Snapshot) -> None:
    parent = train(faces, planned(faces, "bcl", max_epochs=8, loss={"start": -1.2})).adapter
    settings = TrainSettings(method="bcl", min_rows=2)
    chosen = make_plan(settings, unlabelled, Parent("p", parent))
    assert (chosen.parent, chosen.max_epochs, chosen.network) == ("p", 10, parent.card.network)
    assert chosen.learning_rate == pytest.approx(planned(unlabelled, "bcl").learning_rate / 10)
    method = method_of(chosen, unlabelled, Alone())
    method.begin_from(parent)
    assert torch.equal(method.networks[0][0].weight, parent.layers[0].weight)
    made = train(unlabelled, chosen, parent=parent).adapter
    assert made.card.threshold == pytest.approx(parent.card.threshold, rel=1e-5)
    moved = (made.layers[0].weight - parent.layers[0].weight).norm() / parent.layers[0].weight.norm()
    assert 0 < moved < 0.5


def test_labels_teach_on_track_means_where_the_plan_says_so(faces: Snapshot) -> None:
    rows = next(Reader(faces, 64, 7, "label").epoch(0))
    mean = torch.nn.functional.normalize(rows.views.mean(dim=1), dim=1)
    for samples in ("tracks", "faces"):
        method = method_of(planned(faces, "triplet", samples=samples), faces, Alone()).train()
        assert torch.allclose(method.embed(rows)[:, 0], method.networks[0](mean)) == (samples == "tracks")


def test_bcl_as_published(faces: Snapshot) -> None:
    made = make_plan(TrainSettings(method="bcl", preset="paper", min_rows=2), faces)
    assert (made.network, made.learning_rate, made.drop, made.loss_rate, made.loss_waits) == (BALL, 0.003, 0.9, 0.1, 5)
    assert made.batch == 160  # 2000 where there are so many
    assert (made.epoch_steps, made.patience) == (31, 30)
    assert made.needs == "label"


@pytest.mark.parametrize("method", ["bcl", *LABELLED])
def test_labels_on_a_small_corpus_teach_track_means(faces: Snapshot, method: str) -> None:
    made = make_plan(TrainSettings(method=method, preset="small", min_rows=2), faces)
    assert (made.samples, made.batch, made.epoch_steps, made.learning_rate) == ("tracks", 160, 31, 0.01)
    start = {"bcl": -0.31, "ldml": 0.5, "contrastive": 1.31}.get(method)
    assert made.loss.get("start") == start
    assert made.read_out == ("euclidean" if method in ("cross_entropy", "prototypical") else "cosine")


def test_tsiam_shows_two_faces_of_a_track_and_one_of_its_partner(faces: Snapshot) -> None:
    chosen = planned(faces, "tsiam", network=small(24))
    method = method_of(chosen, faces, Alone())
    with torch.no_grad():
        method.networks[0][0].weight.copy_(torch.eye(24))
    method.networks[1] = torch.nn.Identity()  # what the loss would see is what it is shown
    rows = next(Reader(faces, 64, 7, "negative").epoch(0))
    one, other, stranger = method.embed(rows).detach().unbind(dim=1)
    for shown, of in ((one, rows.views), (other, rows.views), (stranger, rows.negative.flatten(1, 2))):
        found = (shown[:, None] == of).all(dim=2)
        assert (found.sum(dim=1) == 1).all()
    assert not (one == other).all(dim=1).any()
    assert len({tuple(row.tolist()) for row in (one[:, None] == rows.views).all(dim=2).int()}) > 1


def test_ssiam_takes_no_label_no_track_and_no_negative(faces: Snapshot) -> None:
    """Its sampler sees four faces a row: what else a row holds changes nothing."""
    method = method_of(planned(faces, "ssiam"), faces, Alone())
    rows = next(Reader(faces, 64, 7).epoch(0))
    from dataclasses import replace

    other = replace(rows, label=rows.label.flip(0), negative=rows.negative * 0, has_negative=~rows.has_negative)
    assert torch.equal(method.embed(rows), method.embed(other))
    shown = method.beside(rows)
    assert torch.equal(shown, method.beside(other))
    assert shown.shape[1] == 4
    of_row = (shown[:, :, None] == rows.views[:, None]).all(dim=3)
    assert (of_row.sum(dim=2) == 1).all()
    assert (of_row.sum(dim=1) <= 1).all(), "no face twice"


def test_held_out_tracks_are_embedded_by_the_mean_of_their_faces(faces: Snapshot) -> None:
    method = method_of(planned(faces, "triplet"), faces, Alone()).eval()
    rows = Reader(faces, 64, 7, "label").development()
    mean = rows.views.mean(dim=1)
    expected = method.networks[0](mean / mean.norm(dim=1, keepdim=True))
    torch.testing.assert_close(method.embed(rows)[:, 0], expected)
