"""`castmine finetune` on a film: crops of the very faces that were harvested, a backbone, and clustering by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import lakes
from tests.helpers.commands import castmine
from training.finetune.adapter import TunedNetwork
from training.finetune.branches import open_backbone
from training.finetune.crops import Crops, JpegPixels
from training.finetune.model import embed_crops
from udfs import assets

SMALL, NOBODY = "castmine_demo_small", "nobody"
QUICK = ["finetune.preset=small", "finetune.iterations=1", "finetune.crops_per_track=3", "finetune.keep_crops=true"]
WORDS = [word for entry in QUICK for word in ("--set", entry)]


@pytest.fixture(scope="module")
def tuned(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = Path(shutil.copytree(finished, tmp_path_factory.mktemp("lakes") / "tuned"))
    assert castmine("finetune", "--lake", lake, "--titles", SMALL, NOBODY, *WORDS) == 0
    return lake


def adapter_of(lake: Path, title: str) -> dict:
    (row,) = (row for row in lakes.rows(lake, "adapters").to_pylist() if row["scope"] == title)
    return row


def test_crops_are_of_the_harvested_faces_and_the_network_embeds_each_of_them(tuned: Path):
    key = ["track_id", "frame"]
    faces = lakes.rows(tuned, "faces", [SMALL]).to_pandas().dropna(subset="embedding").set_index(key)
    crops = lakes.rows(tuned, "crops", [SMALL]).to_pandas().set_index(key)
    adapted = lakes.rows(tuned, "adapted_embeddings", [SMALL]).to_pandas().set_index(key)
    assert sorted(crops.index) == sorted(adapted.index) == sorted(faces.index)
    faces, adapted = faces.loc[crops.index], adapted.loc[crops.index]
    pictures = Crops(JpegPixels(list(crops.jpeg)), np.arange(len(crops)), len(crops))
    weights = assets.files_dir() / assets.pack("buffalo_sc").embedder
    seen = embed_crops(open_backbone(weights), pictures).numpy()
    assert np.median((seen * np.stack(faces.embedding)).sum(axis=1)) > 0.98, "JPEG costs a little"
    network = TunedNetwork.load(tuned / adapter_of(tuned, SMALL)["uri"])
    found = embed_crops(network.open(weights), pictures).numpy()
    np.testing.assert_allclose(found, np.stack(adapted.embedding), atol=1e-5)
    tracks = lakes.rows(tuned, "adapted_tracks", [SMALL]).to_pandas()
    assert sorted(tracks.track_id) == sorted(set(adapted.index.get_level_values(0)))
    assert tracks.n_faces.sum() == len(adapted)
    np.testing.assert_allclose(np.stack(tracks.said).sum(axis=1), 1, atol=1e-4)


def test_the_network_is_registered_for_its_title(tuned: Path):
    row = adapter_of(tuned, SMALL)
    assert row["method"] == "videoclusternet"
    assert row["status"] in ("ready", "not_better")
    network = TunedNetwork.load(tuned / row["uri"])
    assert network.card.title_id == SMALL
    assert network.sha256() == row["sha256"]
    assert network.card.base_embedder_sha256 == row["base_embedder_sha256"]
    curve = [epoch for epoch in lakes.rows(tuned, "curves").to_pylist() if epoch["adapter_id"] == row["adapter_id"]]
    assert [epoch["epoch"] for epoch in curve] == list(range(int(json.loads(row["metrics"])["epochs"])))
    assert {epoch["dev_loss"] for epoch in curve} == {None}


def test_a_film_without_faces_is_skipped(tuned: Path):
    row = adapter_of(tuned, NOBODY)
    assert (row["status"], row["uri"]) == ("skipped", None)
    assert "no face with an embedding" in row["reason"]


def test_nothing_is_done_twice_and_nothing_staged_is_left(tuned: Path):
    before = lakes.versions(tuned)
    assert castmine("finetune", "--lake", tuned, "--titles", SMALL, NOBODY, *WORDS) == 0
    assert lakes.versions(tuned) == before
    assert [file for file in (tuned / "_staging").rglob("*") if file.is_file()] == []
    assert list((tuned / "_adapters").glob("*.checkpoint")) == []


def test_from_kept_crops_it_makes_the_same_without_the_film(tuned: Path, small, tmp_path: Path, capsys):
    lake = Path(shutil.copytree(tuned, tmp_path / "lake"))
    before = adapter_of(lake, SMALL)
    (lake / before["uri"]).unlink()
    away = small.path.with_suffix(".away")
    small.path.rename(away)
    try:
        assert castmine("finetune", "--lake", lake, "--titles", SMALL, *WORDS, "--force") == 0
        dropped = [word for word in WORDS if word not in ("finetune.keep_crops=true",)][:-1]
        assert castmine("finetune", "--lake", lake, "--titles", SMALL, *dropped, "--force") == 0
        assert castmine("finetune", "--lake", lake, "--titles", SMALL, *dropped, "--force") == 3
    finally:
        away.rename(small.path)
    assert f"failed: {SMALL}: its film is needed, and" in capsys.readouterr().err
    assert TunedNetwork.load(lake / before["uri"]).sha256() == before["sha256"]
    assert lakes.differences(lake, tuned, ("adapted_embeddings", "adapted_tracks")) == []


def test_clustering_by_the_loss(tuned: Path, tmp_path: Path, capsys):
    lake = Path(shutil.copytree(tuned, tmp_path / "lake"))
    adapter = adapter_of(lake, SMALL)["adapter_id"]
    words = ["--lake", lake, "--titles", SMALL]
    assert castmine("cluster", *words, "--adapter", adapter, "--method", "videoclusternet") == 0
    labels = lakes.rows(lake, "track_labels", [SMALL]).to_pandas()
    assert set(labels.method) == {"videoclusternet"}
    assert set(labels.adapter_id) == {adapter}
    assert labels.character_id.notna().any()
    assert castmine("cluster", *words, "--adapter", adapter) == 0  # castmine's own, on the same embeddings
    people = lakes.rows(lake, "characters", [SMALL]).num_rows
    assert people == 4
    capsys.readouterr()
    assert castmine("cluster", *words, "--adapter", "none", "--method", "videoclusternet") == 2
    assert "goes by a network that was fine-tuned on the title" in capsys.readouterr().err


def test_the_model_that_harvested_it_is_known_by_its_sum():
    file = assets.pack("buffalo_sc").embedder
    assert assets.file_of(assets.registry().files[file].sha256) == file
    assert assets.file_of("0" * 64) is None
