"""Lakes to write to, and one in which a film's worth of known people is imported, mined and clustered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cluster, import_tracks, mine
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import SHA256, cast


@pytest.fixture(scope="session")
def empty(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake without rows, made once: making its tables takes longer than most tests."""
    root = tmp_path_factory.mktemp("lakes") / "empty"
    Lake(spark, str(root)).create()
    return root


@pytest.fixture
def lake(spark: SparkSession, empty: Path, tmp_path: Path) -> Lake:
    """An empty lake of the test's own."""
    return Lake(spark, str(shutil.copytree(empty, tmp_path / "lake")))


@pytest.fixture(scope="session")
def two_titles(spark: SparkSession, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the titles a and b: one shot, two tracks of two characters, seen together."""
    root = Path(shutil.copytree(empty, tmp_path_factory.mktemp("lakes") / "two_titles"))
    links = [{"track_a": 0, "track_b": 1, "shared_frames": 3}]
    shots = [{"shot_id": 0, "start_frame": 0, "end_frame": 24}]
    cast(Lake(spark, str(root)), ["a", "b"], [(0, 0.0, 1.0, 0), (1, 0.0, 2.0, 1)], cannot_links=links, shots=shots)
    return root


@pytest.fixture
def two(spark: SparkSession, two_titles: Path, tmp_path: Path) -> Lake:
    """A copy of it, to be written to."""
    return Lake(spark, str(shutil.copytree(two_titles, tmp_path / "two")))


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet of two titles with known people: folders tracks and faces."""
    folder = tmp_path_factory.mktemp("given")
    for seed, title in enumerate(("alpha", "beta")):
        people.write(folder, people.make(title, seed=seed))
    return folder


@pytest.fixture(scope="session")
def clustered(spark: SparkSession, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of those two titles, imported, mined and clustered. Tests that write take a copy."""
    root = tmp_path_factory.mktemp("lakes") / "clustered"
    files = ["--tracks", str(given / "tracks"), "--faces", str(given / "faces"), "--embedder", SHA256]
    assert import_tracks.main(["--lake", str(root), "--quiet", *files], spark=spark) == 0
    assert mine.main(["--lake", str(root), "--quiet"], spark=spark) == 0
    assert cluster.main(["--lake", str(root), "--quiet"], spark=spark) == 0
    return root
