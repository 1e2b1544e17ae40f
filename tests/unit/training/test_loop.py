"""Stopping, best weights, reproducibility and the verdict, on synthetic people in changing light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.errors import CastmineError, GpuUnavailable
from conf.settings import TrainSettings
from training import loop
from training.adapters import Adapter, apply
from training.collective import Alone
from training.judge import Epoch, decide_status
from training.loop import EarlyStopping, backward, train
from training.methods.registry import make_plan, method_of
from training.networks import Network
from training.plan import Plan
from training.readers.reader import Reader, read
from training.snapshot import Snapshot
from training.verification import Verification

DEEP = Network(name="deep", widths=(32, 16))


def planned(snapshot: Snapshot, **settings: Any) -> Plan:
    return make_plan(TrainSettings.model_validate(settings), snapshot)


def deep(snapshot: Snapshot, method: str, **changes: Any) -> Plan:
    """Layers with batch norm and dropout, as C1 has them, at a size for tests."""
    values = {"network": DEEP, "batch": 64, "learning_rate": 0.05, "max_epochs": 4, **changes}
    return planned(snapshot, method=method).model_copy(update=values)


def epochs_until_stop(losses: list[float]) -> int:
    stop = EarlyStopping(patience=5, min_delta=1e-3)
    for epoch, loss in enumerate(losses):
        stop.take(loss)
        if stop.now:
            return epoch
    return -1


def test_a_loss_that_falls_too_slowly_stops_after_five_epochs() -> None:
    assert epochs_until_stop([1 - 0.0001 * epoch for epoch in range(50)]) == 5


def test_a_loss_that_falls_below_its_best_within_five_epochs_goes_on() -> None:
    assert epochs_until_stop([1 - 0.0003 * epoch for epoch in range(50)]) == -1


def test_the_best_counts_not_the_epoch_before() -> None:
    zigzag = [0.5] + [0.6 - 0.01 * epoch for epoch in range(9)]  # always falling, never below 0.5
    assert epochs_until_stop(zigzag) == 5
    assert epochs_until_stop([float("nan")] * 9) == 4


@pytest.mark.parametrize("method", ["mvcorr", "imptriplet"])
@pytest.mark.parametrize("make", [planned, deep], ids=["small", "deep"])
def test_the_same_seed_gives_bitwise_the_same_adapter(
    snapshot: Snapshot, method: str, make: Callable[..., Plan]
) -> None:
    chosen = make(snapshot, method=method).model_copy(update={"max_epochs": 4})
    torch.manual_seed(1)
    first = train(snapshot, chosen)
    torch.manual_seed(2)
    second = train(snapshot, chosen)
    assert first.adapter.to_bytes() == second.adapter.to_bytes()
    assert first.curve == second.curve
    if make is deep:
        other = train(snapshot, chosen.model_copy(update={"seed": 8}))
        assert other.adapter.to_bytes() != first.adapter.to_bytes()


@pytest.mark.parametrize("method", ["mvcorr", "imptriplet", "whitening"])
def test_a_training_that_was_stopped_goes_on_to_the_same_adapter(
    snapshot: Snapshot, tmp_path: Path, method: str
) -> None:
    chosen = planned(snapshot, method=method, max_epochs=3) if method == "whitening" else deep(snapshot, method)
    whole, checkpoint = train(snapshot, chosen), tmp_path / "a.checkpoint"

    def stopped_at(epoch: Epoch) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(snapshot, chosen, progress=stopped_at, checkpoint=checkpoint)
    told: list[Epoch] = []
    again = train(snapshot, chosen, progress=told.append, checkpoint=checkpoint)
    assert [epoch.epoch for epoch in told] == list(range(2, len(whole.curve)))
    assert again.curve == whole.curve
    assert again.adapter.to_bytes() == whole.adapter.to_bytes()
    assert train(snapshot, chosen, progress=told.append, checkpoint=checkpoint).curve == whole.curve
    assert len(told) == len(whole.curve) - 2  # nothing was left to do


def test_a_checkpoint_of_something_else_or_a_damaged_one_is_none(snapshot: Snapshot, tmp_path: Path) -> None:
    chosen, checkpoint = deep(snapshot, "mvcorr"), tmp_path / "a.checkpoint"
    train(snapshot, chosen.model_copy(update={"seed": 8}), checkpoint=checkpoint)
    whole = train(snapshot, chosen)
    assert train(snapshot, chosen, checkpoint=checkpoint).curve == whole.curve
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert train(snapshot, chosen, checkpoint=checkpoint).curve == whole.curve
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]


def test_training_leaves_the_caller_s_torch_as_it_was(snapshot: Snapshot) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(snapshot, deep(snapshot, "mvcorr", max_epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_weights_of_the_lowest_development_loss_are_kept(snapshot: Snapshot) -> None:
    chosen = deep(snapshot, "imptriplet", learning_rate=0.4, batch=16, max_epochs=30)
    made = train(snapshot, chosen)
    losses = [epoch.dev_loss for epoch in made.curve]
    assert made.best_epoch == int(np.argmin(losses)) < len(losses) - 1
    method = method_of(chosen, snapshot, Alone())
    method.networks[0].load_state_dict(made.adapter.layers.state_dict())
    method.eval()
    held_out = read(snapshot, "dev", "arrow")
    with torch.no_grad():
        again = method.loss(method.embed(held_out[held_out.has_negative])).item()
    assert again == pytest.approx(min(losses), rel=1e-6)


def test_an_epoch_is_as_many_passes_as_make_its_steps(snapshot: Snapshot) -> None:
    """As published counts in epochs of 123 steps; a pass over a small corpus has a few."""
    chosen = deep(snapshot, "imptriplet", max_epochs=2, momentum=0.0, network=DEEP.model_copy(update={"dropout": 0.0}))
    steps = Reader(snapshot, 64, 7, "negative").steps
    assert steps == 3
    by_pass = train(snapshot, chosen.model_copy(update={"max_epochs": 4, "min_delta": 0.0}))
    by_two = train(snapshot, chosen.model_copy(update={"epoch_steps": 2 * steps}))
    losses = [[epoch.train_loss for epoch in made.curve] for made in (by_pass, by_two)]
    assert losses[1] == pytest.approx([np.mean(losses[0][:2]), np.mean(losses[0][2:])], rel=1e-6)
    # the batch norms' statistics are summed in another order of rows
    assert by_two.curve[1].dev_loss == pytest.approx(by_pass.curve[3].dev_loss, rel=1e-6)


def test_batch_norms_are_settled_before_each_judgement(snapshot: Snapshot) -> None:
    """The adapter's running statistics are those of the training rows under its weights, even after a single step."""
    chosen = deep(snapshot, "mvcorr", max_epochs=1, batch=300, network=DEEP.model_copy(update={"scaled": True}))
    layers = train(snapshot, chosen).adapter.layers
    anchors = torch.cat([rows.views[:, 0] for rows in Reader(snapshot, 300, 7).epoch(0)])
    with torch.no_grad():
        first = layers[0](anchors * anchors.shape[1] ** 0.5)
    torch.testing.assert_close(layers[1].mean, first.mean(dim=0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(layers[1].variance, first.var(dim=0, correction=0), atol=1e-3, rtol=0.02)


def test_a_centred_adapter_keeps_the_mean_of_the_training_tracks(snapshot: Snapshot) -> None:
    made = train(snapshot, deep(snapshot, "imptriplet", max_epochs=2, read_out="centred")).adapter
    views = torch.cat([rows[rows.has_negative].views for rows in Reader(snapshot, 64, 7, "negative").epoch(0)])
    means = torch.nn.functional.normalize(views.mean(dim=1), dim=1)
    assert made.centre is not None
    torch.testing.assert_close(made.centre, made.layers(means).mean(dim=0), atol=1e-5, rtol=1e-4)
    out = apply(made, means.numpy(), "a" * 64)
    assert abs(out.mean(axis=0)).max() < abs(apply_uncentred(made, means.numpy())).mean(axis=0).max()


def apply_uncentred(adapter: Adapter, rows: np.ndarray) -> np.ndarray:
    plain = {name: tensor for name, tensor in adapter.weights().items() if name != "centre"}
    return apply(Adapter(adapter.card.model_copy(update={"read_out": "cosine"}), plain), rows, "a" * 64)


def test_progress_hears_of_every_epoch(snapshot: Snapshot) -> None:
    heard: list[Epoch] = []
    made = train(snapshot, deep(snapshot, "mvcorr", max_epochs=3), progress=heard.append)
    assert heard == made.curve
    assert [epoch.epoch for epoch in heard] == [0, 1, 2]


def test_branches_of_mvcorr_part_after_one_step(snapshot: Snapshot) -> None:
    chosen = planned(snapshot, method="mvcorr")
    method = method_of(chosen, snapshot, Alone())
    with torch.no_grad():
        for network in method.networks[1:]:
            network.load_state_dict(method.networks[0].state_dict())
    reader = Reader(snapshot, 64, 7)
    backward(method, next(reader.epoch(0)), Alone())
    torch.optim.SGD(method.parameters(), lr=0.1).step()
    weights = [network[0].weight for network in method.networks]
    assert len(weights) == 3
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_imptriplet_has_one_network(snapshot: Snapshot) -> None:
    method = method_of(deep(snapshot, "imptriplet"), snapshot, Alone())
    assert len(method.networks) == 1
    held_out = read(snapshot, "dev", "arrow")[:10]
    method.eval()
    embedded = method.embed(held_out)
    assert embedded.shape == (10, 3, 16)
    torch.testing.assert_close(embedded[:, 2], method.networks[0](held_out.negative[:, 0, 0]))


def test_an_adapter_that_forgets_the_light_is_ready(snapshot: Snapshot) -> None:
    made = train(snapshot, planned(snapshot, method="imptriplet"))
    assert made.status == "ready"
    assert made.metrics["auc"] > made.metrics["auc_raw"] + 0.02
    assert 1 - made.metrics["close_auc"] <= max(0.75 * (1 - made.metrics["close_auc_raw"]), 0.001)
    assert made.metrics["hard_negatives"] == made.metrics["rows"] == 75
    assert made.curve[made.best_epoch].dev_loss < made.curve[0].dev_loss
    assert "held-out AUC against hard negatives" in made.note
    assert (made.adapter.card.snapshot_fingerprint, made.adapter.card.out_dim) == ("f" * 16, 24)
    assert made.adapter.card.source_versions == {"tracklets": 3, "hard_negatives": 5}


def test_an_adapter_that_learnt_nothing_is_not_better(snapshot: Snapshot) -> None:
    frozen = planned(snapshot, method="imptriplet").model_copy(update={"learning_rate": 1e-12, "max_epochs": 1})
    made = train(snapshot, frozen)  # the identity: a tie
    assert made.metrics["auc"] == pytest.approx(made.metrics["auc_raw"], abs=1e-6)
    assert made.status == "not_better"


@pytest.mark.parametrize(
    ("raw", "adapted", "verdict"),
    [
        ((0.90, 0.90), (0.95, 0.95), "ready"),
        ((0.90, 0.90), (0.95, 0.92), "not_better"),  # 0.08 of 0.10 errors are left
        ((0.90, 0.90), (0.89, 0.99), "not_better"),  # tracks fall apart
        ((0.90, 0.9995), (0.95, 0.9991), "ready"),  # as good as perfect before and after
        ((0.90, 0.9995), (0.95, 0.9980), "not_better"),
        ((0.90, None), (0.91, None), "ready"),
    ],
)
def test_an_adapter_must_take_away_errors_among_close_pairs(
    raw: tuple[float, float | None], adapted: tuple[float, float | None], verdict: str
) -> None:
    assert decide_status(Verification(*raw, 10), Verification(*adapted, 10))[0] == verdict


def test_held_out_tracks_without_negatives_are_judged_against_each_other(
    tmp_path: Path, corpus: Callable[..., pa.Table], written: Callable[..., Snapshot]
) -> None:
    lonely = written(tmp_path, corpus(1, 120), corpus(2, 40, negatives=False))
    made = train(lonely, planned(lonely, method="mvcorr", max_epochs=2))
    assert made.metrics["hard_negatives"] == 0
    assert "close_auc" not in made.metrics
    assert "other tracks (no held-out track has a hard negative)" in made.note


def test_a_loss_that_is_not_finite_is_an_error(snapshot: Snapshot) -> None:
    wild = deep(snapshot, "imptriplet", learning_rate=1e30, max_epochs=20)
    with pytest.raises(CastmineError, match="diverged"):
        train(snapshot, wild)


@pytest.mark.parametrize("method", ["imptriplet", "mvcorr"])
def test_mixed_precision_follows_the_curve_of_full(
    snapshot: Snapshot, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = train(snapshot, deep(snapshot, method))
    monkeypatch.setattr(loop, "_mix_precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    mixed = train(snapshot, deep(snapshot, method))
    assert {tensor.dtype for tensor in mixed.adapter.layers.state_dict().values()} == {torch.float32}
    for ours, theirs in zip(mixed.curve, full.curve, strict=True):
        assert ours.train_loss != theirs.train_loss
        assert (ours.train_loss, ours.dev_loss) == pytest.approx((theirs.train_loss, theirs.dev_loss), rel=0.03)


def test_a_gpu_that_is_not_there_is_an_error(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GpuUnavailable, match=r"--set train\.device=cpu"):
        train(snapshot, planned(snapshot, method="imptriplet", device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", ["imptriplet", "mvcorr", "whitened_triplet"])
def test_a_gpu_follows_the_curve_of_the_cpu(snapshot: Snapshot, method: str) -> None:
    here = train(snapshot, deep(snapshot, method))
    there = train(snapshot, deep(snapshot, method, device="cuda"))
    for ours, theirs in zip(there.curve, here.curve, strict=True):
        assert (ours.train_loss, ours.dev_loss) == pytest.approx((theirs.train_loss, theirs.dev_loss), rel=0.05)
