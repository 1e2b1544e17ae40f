"""Published settings where there are rows for them, small ones for hundreds, a reason where not even those do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from conf.errors import TooLittleData, UsageError
from conf.settings import TrainingMethod, TrainSettings
from training.adapters import Adapter, Card
from training.methods.base import Parent
from training.methods.registry import METHODS, make_plan
from training.networks import C1, C2, build, small
from training.plan import Plan
from training.snapshot import Kind, Snapshot

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def planned(
    tmp_path_factory: pytest.TempPathFactory, corpus: Callable[..., pa.Table], written: Callable[..., Snapshot]
) -> MakePlan:
    def make(
        train: int,
        dev: int,
        negatives: bool = True,
        parent: Parent | None = None,
        kind: Kind = "tracklets",
        labels: tuple[str, ...] | None = None,
        **settings: Any,
    ) -> Plan:
        folder: Path = tmp_path_factory.mktemp("planned")
        rows = (corpus(seed, n, negatives=negatives, kind=kind) for seed, n in ((0, train), (1, dev)))
        changes = {} if labels is None else {"labels": labels}
        snapshot = written(folder, *rows, kind=kind, **changes)
        return make_plan(TrainSettings.model_validate(settings), snapshot, parent)

    return make


def test_mvcorr_as_published(planned: MakePlan) -> None:
    made = planned(1500, 300, method="mvcorr", preset="paper")
    assert (made.network, made.batch, made.learning_rate) == (C1, 1024, 0.01)
    assert (made.momentum, made.decay, made.patience, made.min_delta) == (0.9, 1e-6, 5, 1e-3)
    assert (made.loss, made.network.dropout, made.max_epochs) == ({"shrinkage": 0.2}, 0.2, 200)
    assert (made.epoch_steps, made.nesterov, made.read_out) == (123, True, "centred")


def test_imptriplet_as_published(planned: MakePlan) -> None:
    made = planned(1600, 300, method="imptriplet", preset="paper")
    assert (made.network, made.batch, made.learning_rate) == (C2, 1024, 0.001)
    assert made.loss == {"margin": 1.0, "pull": 0.1, "weight": 0.02}
    assert (made.epoch_steps, made.nesterov, made.read_out) == (123, False, "cosine")


def test_a_batch_is_never_larger_than_the_rows(planned: MakePlan) -> None:
    assert planned(400, 300, method="mvcorr", preset="paper").batch == 400
    assert planned(400, 300, method="imptriplet", preset="paper").batch == 300  # a quarter has no negative


def test_auto_is_small_below_small_rows(planned: MakePlan) -> None:
    assert planned(300, 100, method="mvcorr").preset == "small"
    assert planned(300, 270, method="mvcorr", small_rows=300).preset == "paper"


@pytest.mark.parametrize(("train", "dev", "outputs"), [(64, 21, 16), (64, 9, 8), (100, 40, 16), (400, 130, 16)])
def test_mvcorr_has_fewer_outputs_than_rows(planned: MakePlan, train: int, dev: int, outputs: int) -> None:
    made = planned(train, dev, method="mvcorr")
    assert made.network.out_dim == outputs  # 24 numbers go in
    assert made.batch == train > made.network.out_dim < dev


def test_small_imptriplet_keeps_the_width(planned: MakePlan) -> None:
    assert planned(100, 40, method="imptriplet").network.out_dim == 24


def test_a_published_network_is_trained_as_published(planned: MakePlan) -> None:
    made = planned(700, 300, method="mvcorr", network="C3", layer="sigmoid_norm", dropout=0.4, dim=64)
    assert (made.preset, made.learning_rate) == ("paper", 0.01)
    network = made.network
    assert (network.widths, network.layer, network.dropout, network.scaled) == (
        (1024, 512, 64), "sigmoid_norm", 0.4, True,
    )  # fmt: skip
    assert planned(700, 300, method="mvcorr", network="linear").preset == "small"
    linear = planned(700, 300, method="imptriplet", network="linear", preset="paper")
    assert (linear.network.widths, linear.network.layer, linear.learning_rate) == ((24,), "linear", 0.001)
    assert planned(700, 300, method="imptriplet", dim=12).network.widths == (12,)


def test_what_is_said_of_loss_and_read_out_is_laid_on_the_preset(planned: MakePlan) -> None:
    made = planned(100, 40, method="imptriplet", loss={"pull": 0.3}, read_out="centred")
    assert made.loss == {"margin": 1.0, "pull": 0.3, "weight": 0.02}
    assert made.read_out == "centred"


@pytest.mark.parametrize(
    ("method", "there"),
    [("imptriplet", "margin, pull, weight, normalise"), ("mvcorr", "shrinkage"), ("whitening", "none")],
)
def test_a_parameter_that_no_loss_has_is_refused(planned: MakePlan, method: str, there: str) -> None:
    with pytest.raises(UsageError, match=f"train.loss: {method} has no marginn; its loss's parameters: {there}"):
        planned(100, 40, method=method, loss={"marginn": 0.5})


@pytest.mark.parametrize("method", ["whitening", "whitened_triplet", "lda_triplet"])
def test_a_method_with_a_network_of_its_own_takes_no_other(planned: MakePlan, method: str) -> None:
    with pytest.raises(UsageError, match=f"train.network=C1, train.dim=64: {method} has a network of its own"):
        planned(100, 40, method=method, network="C1", dim=64)


def test_a_chosen_width_must_fit_the_rows(planned: MakePlan) -> None:
    with pytest.raises(TooLittleData, match=r"64 outputs needs more than 64 .* 100 to train and 40 held"):
        planned(100, 40, method="mvcorr", dim=64)


def test_only_bcl_goes_on_from_an_adapter_of_bcl(planned: MakePlan) -> None:
    card = Card(
        method="imptriplet",
        settings={},
        network=small(24),
        in_dim=24,
        out_dim=24,
        base_embedder_sha256="a" * 64,
        snapshot_fingerprint="f" * 16,
        source_versions={},
    )
    parent = Parent("abc", Adapter(card, build(small(24), 24).state_dict()))
    with pytest.raises(UsageError, match="--parent abc: only bcl goes on from an adapter, of bcl"):
        planned(100, 40, parent=parent, method="imptriplet")
    with pytest.raises(UsageError, match="--parent abc: an adapter of imptriplet; bcl goes on from one of bcl"):
        planned(100, 40, parent=parent, kind="faces", labels=(), method="bcl")


def test_settings_pass_through(planned: MakePlan) -> None:
    made = planned(100, 40, seed=11, max_epochs=3)
    assert (made.seed, made.max_epochs) == (11, 3)
    assert Plan.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("train", "dev", "settings", "message"),
    [
        (63, 40, {"method": "mvcorr", "min_rows": 64}, "63 training tracks with hard positives, 64 are needed"),
        (84, 40, {"method": "imptriplet", "min_rows": 64}, "63 training tracks with a hard negative, 64 are needed"),
        (100, 1, {"method": "mvcorr"}, "1 held-out tracks with hard positives, 2 are needed"),
        (0, 0, {"method": "mvcorr"}, "0 training tracks"),
        (
            100,
            40,
            {"method": "mvcorr", "preset": "paper"},
            "256 outputs needs more than 256 .* 100 to train and 40 held",
        ),
        (100, 8, {"method": "mvcorr"}, "8 outputs needs more than 8 tracks .* 100 to train and 8 held out"),
    ],
)
def test_too_little_data_says_how_many_rows_there_are(
    planned: MakePlan, train: int, dev: int, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(TooLittleData, match=message):
        planned(train, dev, **settings)


def test_a_corpus_where_nobody_meets_has_no_triplets(planned: MakePlan) -> None:
    with pytest.raises(TooLittleData, match="0 training tracks with a hard negative"):
        planned(200, 40, negatives=False, method="imptriplet")


def test_every_method_of_the_settings_is_there_and_no_other() -> None:
    assert set(METHODS) == set(get_args(TrainingMethod))
