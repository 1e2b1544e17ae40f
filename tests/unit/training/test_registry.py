"""Published settings where there are rows for them, small ones for hundreds, a reason where not even those do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from conf.errors import TooLittleData
from conf.settings import TrainingMethod, TrainSettings
from training.methods.registry import METHODS, make_plan
from training.networks import C1, C2
from training.plan import Plan
from training.snapshot import Snapshot

MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def planned(
    tmp_path_factory: pytest.TempPathFactory, corpus: Callable[..., pa.Table], written: Callable[..., Snapshot]
) -> MakePlan:
    def make(train: int, dev: int, negatives: bool = True, **settings: Any) -> Plan:
        folder: Path = tmp_path_factory.mktemp("planned")
        snapshot = written(folder, corpus(0, train, negatives=negatives), corpus(1, dev, negatives=negatives))
        return make_plan(TrainSettings.model_validate(settings), snapshot)

    return make


def test_mvcorr_as_published(planned: MakePlan) -> None:
    made = planned(1500, 300, method="mvcorr", preset="paper")
    assert (made.network, made.batch, made.learning_rate) == (C1, 1024, 0.01)
    assert (made.momentum, made.decay, made.patience, made.min_delta) == (0.9, 1e-6, 5, 1e-3)
    assert (made.loss, made.network.dropout, made.max_epochs) == ({"shrinkage": 0.2}, 0.2, 200)


def test_imptriplet_as_published(planned: MakePlan) -> None:
    made = planned(1600, 300, method="imptriplet", preset="paper")
    assert (made.network, made.batch, made.learning_rate) == (C2, 1024, 0.001)
    assert made.loss == {"margin": 1.0, "pull": 0.1, "weight": 0.02}


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
