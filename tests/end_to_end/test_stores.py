"""Films and lakes in an object store: what is made there is what is made on a disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.helpers import lakes, stores
from tests.helpers.commands import PIECES, castmine

pytestmark = pytest.mark.long

HARVESTED = ("titles", "shots", "tracks", "faces")


@pytest.fixture(scope="module")
def filled(spark: SparkSession, module_bucket: str, clip: Path, nobody: Path) -> str:
    """A bucket with two films and their lake, `castmine run` from the one into the other."""
    for film in (clip, nobody):
        stores.put(f"{module_bucket}/in/{film.name}", film.read_bytes())
    command = ("run", f"{module_bucket}/in", "--lake", f"{module_bucket}/lake", *PIECES)
    assert castmine(*command) == 0
    return module_bucket


def test_a_lake_in_a_bucket_is_as_one_on_a_disk(filled: str, finished: Path, clip: Path, nobody: Path, tmp_path: Path):
    lake = stores.download(f"{filled}/lake", tmp_path / "lake")
    uris = {row["title_id"]: row["uri"] for row in lakes.rows(lake, "titles").to_pylist()}
    assert uris == {film.stem: f"{filled}/in/{film.name}" for film in (clip, nobody)}
    assert lakes.differences(lake, finished, list(uris), HARVESTED, but=["titles.uri"]) == []
    alone = ("cannot_links", "must_links", "tracklets", "hard_negatives", "track_labels")
    people = ["characters.person_id"]  # of a corpus of other titles
    assert lakes.differences(lake, finished, list(uris), (*alone, "characters"), but=people) == []
    there, here = (sorted(file.name for file in (made / "reports").glob("*.png")) for made in (lake, finished))
    assert there == [name for name in here if name.partition(".")[0] in uris]
    for name in there:
        assert (lake / "reports" / name).read_bytes() == (finished / "reports" / name).read_bytes()
    assert not list((lake / "_staging").rglob("*.parquet"))
    assert {file.name.rpartition(".")[0] for file in (lake / "_locks").iterdir()} == {"commit.lock"}


def test_commands_over_a_lake_in_a_bucket(filled: str, tmp_path: Path, capsys):
    lake = f"{filled}/lake"
    assert castmine("run", f"{filled}/in", "--lake", lake, *PIECES, "--json") == 0
    assert '"harvested": []' in capsys.readouterr().out
    assert castmine("status", "--lake", lake.replace("s3:", "s3a:"), "--json") == 0
    assert '"failed"' not in capsys.readouterr().out
    assert castmine("sql", "select count(*) as n from titles", "--lake", lake, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2
    assert castmine("train", "--lake", lake, "--set", "train.max_epochs=2") in (0, 3)
    for out in (tmp_path / "out", f"{filled}/out"):
        assert castmine("export", "--lake", lake, "--out", out, "--format", "csv") == 0
    exported = stores.download(f"{filled}/out", tmp_path / "again")
    files = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert files
    assert files == {file.name: file.read_bytes() for file in exported.iterdir()}


def test_a_session_of_its_own_reaches_a_bucket(filled: str):
    query = ("sql", "select title_id from tracks limit 1", "--lake", f"{filled}/lake", "--json")
    done = subprocess.run([sys.executable, "-m", "jobs.cli", *query], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"title_id": "clip"}), done.stderr
    away = ("status", "--lake", f"{filled}-away/lake")
    done = subprocess.run([sys.executable, "-m", "jobs.cli", *away], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no such bucket" in done.stderr


def test_a_film_that_was_moved_in_a_bucket_is_not_done_again(filled: str, clip: Path, capsys):
    store, name = stores.client(), filled[5:]
    store.copy_object(Bucket=name, Key="moved/clip.mp4", CopySource=f"{name}/in/clip.mp4")
    store.delete_object(Bucket=name, Key="in/clip.mp4")
    assert castmine("harvest", f"{filled}/in", f"{filled}/moved", "--lake", f"{filled}/lake", *PIECES, "--json") == 0
    printed = capsys.readouterr()
    assert (json.loads(printed.out)["harvested"], json.loads(printed.out)["unchanged"]) == ([], 2)
    assert f"clip: moved from {filled}/in/clip.mp4 to {filled}/moved/clip.mp4" in printed.err


def test_films_of_a_bucket_in_a_lake_on_a_disk(filled: str, finished: Path, nobody: Path, tmp_path: Path):
    assert castmine("harvest", f"{filled}/in/nobody.mp4", "--lake", tmp_path / "lake", *PIECES) == 0
    differences = lakes.differences(tmp_path / "lake", finished, ["nobody"], HARVESTED, but=["titles.uri"])
    assert differences == []
