"""Three short films and one finished lake for all tests of the whole way."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.demo import film
from udfs import assets
from udfs.kernels import video

# Short pieces, so that a film of some seconds has several. The screenplay's shots are shorter: no cut goes through one.
PIECES = ("--set", "harvest.piece_s=2")
CLIP_S = 3


@pytest.fixture(scope="session")
def small() -> film.Film:
    """Twelve seconds with four people, and the truth about them."""
    return film.build(small=True)


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


def castmine(*words: object) -> int:
    """`castmine WORDS` in this process and its Spark session, errors told as the program tells them."""
    try:
        cli.run(lambda: cli.main([str(word) for word in words]))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def cut(source: Path, made: Path, seconds: float) -> None:
    """The first `seconds` of a film, encoded anew, with a key frame every two seconds."""
    index = video.probe(source)
    frames = video.frames(source, index, 0, round(seconds * index.fps))
    film.encode((frame.image for frame in frames), made, fps=round(index.fps))
