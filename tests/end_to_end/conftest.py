"""Three short films and one finished lake for all tests of the whole way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs.demo_film import film
from tests.helpers.commands import PIECES, castmine, cut
from udfs import assets

CLIP_S = 3


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> film.Film:
    """Twelve seconds with four people, and the truth about them: a copy, which tests may move."""
    folder = tmp_path_factory.mktemp("small")
    return film.Film(*(Path(shutil.copy(file, folder)) for file in film.build(small=True)))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first seconds of the real clip."""
    made = tmp_path_factory.mktemp("films") / "clip.mp4"
    cut(assets.fetch("demovideo.mp4"), made, CLIP_S)
    return made


@pytest.fixture(scope="session")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds without a face: a grey wall that grows lighter."""
    made = tmp_path_factory.mktemp("films") / "nobody.mp4"
    film.encode((np.full((120, 160, 3), 40 + k, np.uint8) for k in range(48)), made)
    return made


@pytest.fixture(scope="session")
def films(small: film.Film, clip: Path, nobody: Path) -> list[Path]:
    return [small.path, clip, nobody]


@pytest.fixture(scope="session")
def finished(spark: SparkSession, films: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of an undisturbed `castmine run` on the three films. Tests copy it before they write."""
    lake = tmp_path_factory.mktemp("lakes") / "finished"
    assert castmine("run", *films, "--lake", lake, *PIECES) == 0
    return lake


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished lake, to be written to."""
    return Path(shutil.copytree(finished, tmp_path / "lake"))
