"""The real backbone on drawn faces: what it leaves behind is what its file says again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conf.errors import FilmError, ModelError, TooLittleData
from tests.helpers.staged_crops import drawn_people, stage_crops
from training.finetune import work
from training.finetune.adapter import TunedNetwork
from training.finetune.branches import open_backbone
from training.finetune.crops import Crops
from training.finetune.health import Health
from training.finetune.model import embed_crops
from training.finetune.plan import FinetunePlan
from training.finetune.title import read_title
from training.finetune.work import FaceAnswers, fine_tune_title
from udfs import assets

WEIGHTS = assets.files_dir() / assets.pack("buffalo_sc").embedder  # set-up has fetched it
PLAN = FinetunePlan(iterations=1, first_epochs=2, heads_epochs=1, warm_up=0, pairs=8, steps=1, crop_every_s=0.25)
IDS = np.arange(6) * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("title")
    crops = drawn_people(3, 6, 3)
    crops = Crops(crops.pixels[:-2], crops.track[:-2], 6)  # the last track has one face
    blank = np.zeros((len(crops.track), 512))
    stage_crops(made, crops, blank, [(0, 1), (1, 2)], IDS)  # what it was harvested as is known when it is read again
    raw = embed_crops(open_backbone(WEIGHTS), read_title(made).crops).numpy()
    stage_crops(made, crops, raw, [(0, 1), (1, 2)], IDS)
    return made


@pytest.fixture(scope="module")
def tuned(folder):
    return fine_tune_title(folder, "a film", WEIGHTS, PLAN)


def test_what_is_said_of_the_faces_is_what_the_file_says(folder, tuned, tmp_path):
    tuned.network.save(tmp_path / "backbone.safetensors")
    again = TunedNetwork.load(tmp_path / "backbone.safetensors")
    assert again.card == tuned.network.card
    assert again.sha256() == tuned.network.sha256()
    title = read_title(folder)
    found = embed_crops(again.open(WEIGHTS), title.crops).numpy()
    np.testing.assert_allclose(found, tuned.answers.embedding, atol=1e-5)
    np.testing.assert_array_equal(tuned.answers.track_id, IDS[title.crops.track])
    np.testing.assert_array_equal(tuned.answers.frame, title.frame)
    assert not np.allclose(found, title.raw, atol=1e-4)  # it learned
    assert len(tuned.answers.alone_teacher) == 1


def test_what_is_known_of_it(tuned):
    assert tuned.metrics["tracks"] == 6
    assert tuned.metrics["crops"] == 16
    assert tuned.metrics["hard_negatives"] == 2
    assert tuned.metrics["epochs"] == len(tuned.curve) == 2
    assert tuned.status in ("ready", "not_better")
    assert tuned.network.card.title_id == "a film"


def test_the_same_again(folder, tuned):
    again = fine_tune_title(folder, "a film", WEIGHTS, PLAN)
    assert again.network.sha256() == tuned.network.sha256()
    for name, rows in vars(tuned.answers).items():
        np.testing.assert_array_equal(getattr(again.answers, name), rows)


def test_answers_come_back(tuned, tmp_path):
    tuned.answers.save(tmp_path / "answers.safetensors")
    found = FaceAnswers.load(tmp_path / "answers.safetensors")
    for name, rows in vars(tuned.answers).items():
        np.testing.assert_array_equal(getattr(found, name), rows)
        assert getattr(found, name).dtype == rows.dtype


def test_another_film_is_found_out(folder, tmp_path):
    title = read_title(folder)
    shuffled = np.random.default_rng(0).normal(size=title.raw.shape)
    stage_crops(tmp_path, title.crops, shuffled / np.linalg.norm(shuffled, axis=1, keepdims=True), [], IDS)
    with pytest.raises(FilmError, match="not those that were harvested"):
        fine_tune_title(tmp_path, "a film", WEIGHTS, PLAN)


def test_too_little(tmp_path):
    crops = drawn_people(2, 3, 2)
    stage_crops(tmp_path, crops, np.zeros((6, 512)), [], IDS[:3])
    with pytest.raises(TooLittleData, match="6 crops of 3 tracks"):
        fine_tune_title(tmp_path, "a film", WEIGHTS, PLAN)


def test_a_collapse_is_told_and_not_used(folder, monkeypatch):
    healths = iter([Health(2.0, 30.0), Health(1.0, 3.0)])
    monkeypatch.setattr("training.finetune.loop.measure_health", lambda *_: next(healths))
    found = fine_tune_title(folder, "a film", WEIGHTS, PLAN)
    assert found.status == "not_better"
    assert "collapsed: 1.0 different answers" in found.note


def test_a_backbone_is_of_one_base(tuned, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(WEIGHTS.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="was fine-tuned from"):
        tuned.network.open(other)
    with pytest.raises(ModelError, match="not a fine-tuned network"):
        TunedNetwork.load(WEIGHTS)


def test_the_file_holds_what_learned(folder, tuned, tmp_path):
    start = open_backbone(WEIGHTS).state_dict()
    found = {name.removeprefix("backbone."): w for name, w in tuned.network.weights().items() if "backbone." in name}
    assert found.keys() == start.keys()
    assert any(not torch.equal(tensor, start[name]) for name, tensor in found.items())
    heads = fine_tune_title(folder, "a film", WEIGHTS, PLAN.model_copy(update={"backbone": False}))
    assert {name.split(".")[0] for name in heads.network.weights()} == {"head", "centre"}
    embedded = embed_crops(heads.network.open(WEIGHTS), read_title(folder).crops).numpy()
    np.testing.assert_allclose(embedded, heads.answers.embedding, atol=1e-5)


def test_all_of_the_title_counts_for_the_fingerprint(folder, tuned, tmp_path):
    title = read_title(folder)
    darker = title.crops._replace(pixels=(title.crops.pixels[:] * 0.9).astype(np.uint8))
    stage_crops(tmp_path, darker, title.raw, [(0, 1), (1, 2)], IDS)
    trains = np.ones(len(title.frame), bool)
    assert work._fingerprint(read_title(tmp_path), trains) != work._fingerprint(title, trains)
    assert work._fingerprint(title, trains) == tuned.fingerprint
