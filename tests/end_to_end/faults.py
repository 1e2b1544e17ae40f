"""Long fault runs, not part of `make test`: `make faults`.

One `castmine run` killed at every stage in turn, other settings killed half-way, long shots cut anywhere, other cores.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import lakes
from tests.helpers.commands import PIECES, castmine, cut
from tests.helpers.processes import run_and_kill, started
from udfs import assets

pytestmark = pytest.mark.timeout(2 * 3600)
Moment = Callable[[], bool]


def staged(lake: Path, pattern: str, count: int = 1) -> Moment:
    """`count` files of that name are staged, more than at the start."""
    wanted = count + len(list(lake.rglob(pattern)))
    return lambda: len(list(lake.rglob(pattern))) >= wanted


def written(lake: Path, name: str) -> Moment:
    """A table has a newer version than at the start."""
    before = max(lakes.version(lake, name), 0)
    return lambda: lakes.version(lake, name) > before


MOMENTS: list[tuple[str, Callable[[Path], Moment]]] = [
    ("the tables are made", lambda lake: lambda: lakes.version(lake, "runs") == 0),
    ("an index is staged", lambda lake: staged(lake, "index.parquet")),
    ("a film is scanned", lambda lake: staged(lake, "scan-*.parquet")),
    ("the first piece is done", lambda lake: staged(lake, "piece-*.parquet")),
    ("two more pieces are done", lambda lake: staged(lake, "piece-*.parquet", 2)),
    ("shots are written", lambda lake: written(lake, "shots")),
    ("faces are written", lambda lake: written(lake, "faces")),
    ("titles are written", lambda lake: written(lake, "titles")),
    ("harvest is committed", lambda lake: written(lake, "runs")),
    ("a title is mined", lambda lake: staged(lake, "_staging/*mine*/*/*.parquet")),
    ("cannot_links are written", lambda lake: written(lake, "cannot_links")),
    ("hard_negatives are written", lambda lake: written(lake, "hard_negatives")),
    ("mine is committed", lambda lake: written(lake, "runs")),
    ("the adapter is registered", lambda lake: written(lake, "adapters")),
    ("labels are written", lambda lake: written(lake, "track_labels")),
    ("characters are written", lambda lake: written(lake, "characters")),
    ("a contact sheet is drawn", lambda lake: staged(lake, "reports/*.png")),
]


def test_killed_at_every_stage_in_turn(finished: Path, films, tmp_path):
    lake = tmp_path / "lake"
    command = ["run", *films, "--lake", lake, *PIECES]
    for name, moment in MOMENTS:
        print(name, flush=True)
        run_and_kill(command, moment(lake), tmp_path)
        half = [row for row in lakes.rows(lake, "titles").to_pylist() if row["status"] != "ok"]
        assert half == [], name
    assert castmine(*command) == 0
    assert lakes.differences(lake, finished) == []
    assert lakes.repeated_keys(lake) == []
    assert lakes.uncommitted(lake) == {}


def test_killed_while_mine_writes_again(finished: Path, copied: Path, tmp_path):
    """With --force, or other settings, a title's old rows go while it is written: it must not pass for done."""
    before = lakes.version(copied, "cannot_links")
    words = ["mine", "--lake", copied, "--force", "--master", "local[1]"]
    run_and_kill(words, lambda: lakes.version(copied, "cannot_links") > before, tmp_path)
    assert castmine("mine", "--lake", copied) == 0
    assert lakes.differences(copied, finished, names=lakes.MINED) == []
    assert lakes.uncommitted(copied) == {}
    assert lakes.repeated_keys(copied) == []


TRAINED = ("train.min_rows=4", "mine.min_track_s=0.5", "train.max_epochs=30", "train.preset=small")
TRAIN_MOMENTS: list[tuple[str, Callable[[Path], Moment]]] = [
    ("a snapshot file is written", lambda lake: staged(lake, "_snapshots/*/*/*.parquet")),
    ("the snapshot is whole", lambda lake: staged(lake, "_snapshots/*/snapshot.json")),
    ("the adapter is saved", lambda lake: staged(lake, "_adapters/*.safetensors")),
    ("the adapter is registered", lambda lake: written(lake, "adapters")),
]


@pytest.mark.parametrize(("name", "moment"), TRAIN_MOMENTS, ids=[name for name, _ in TRAIN_MOMENTS])
def test_killed_while_it_trains(finished: Path, copied: Path, undisturbed_training: Path, tmp_path, name, moment):
    words = ["train", "--lake", copied, *(word for entry in TRAINED for word in ("--set", entry))]
    shutil.rmtree(copied / "_snapshots")  # the rows may be those of the snapshot that is there
    run_and_kill(words, moment(copied), tmp_path)
    assert castmine(*words) == 0
    assert lakes.differences(copied, undisturbed_training) == []
    assert lakes.repeated_keys(copied) == []
    assert _files(copied) == _files(undisturbed_training)


@pytest.fixture(scope="module")
def undisturbed_training(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = Path(shutil.copytree(finished, tmp_path_factory.mktemp("trained") / "lake"))
    assert castmine("train", "--lake", lake, *(word for entry in TRAINED for word in ("--set", entry))) == 0
    statuses = [row["status"] for row in lakes.rows(lake, "adapters").to_pylist()]
    assert sorted(statuses)[-1] == "skipped"
    assert sorted(statuses)[0] in ("not_better", "ready"), statuses  # one that really was trained
    return lake


@pytest.mark.parametrize("name", ["shots", "faces", "titles"])
def test_other_settings_killed_half_way(finished: Path, copied: Path, films, tmp_path, name):
    """Harvested again with other settings, killed, and then the first settings again: all is as it was."""
    words = [*films, "--lake", copied]
    run_and_kill(["harvest", *words, "--set", "harvest.min_score=0.6"], written(copied, name), tmp_path)
    assert castmine("run", *words, *PIECES) == 0
    all_but_the_log = [made for made in lakes.MADE if made != "runs"]  # it tells of both runs
    assert lakes.differences(copied, finished, names=all_but_the_log) == []
    assert lakes.repeated_keys(copied) == []
    assert lakes.uncommitted(copied) == {}


def test_seven_partitions(spark, finished: Path, films, tmp_path):
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        assert castmine("run", *films, "--lake", tmp_path / "lake", *PIECES) == 0
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert lakes.differences(tmp_path / "lake", finished) == []


def test_one_core_and_one_partition(finished: Path, films, tmp_path):
    words = ["run", *films, "--lake", tmp_path / "lake", *PIECES, "--master", "local[1]"]
    words += ["--set", "spark.spark.sql.shuffle.partitions=1"]
    program(words, tmp_path)
    assert lakes.differences(tmp_path / "lake", finished) == []


SAMPLED = ("faces.embedding", "tracks.embedding", "tracks.n_embedded")  # a seam parts a window of embed_every_s in two


@pytest.mark.parametrize("piece_s", [1.1, 2, 4])
def test_cuts_through_a_long_shot_change_no_track(spark, tmp_path, whole_and_long, piece_s):
    whole, film = whole_and_long
    words = ["harvest", film, "--lake", tmp_path / "lake"]
    settings = ["--set", f"harvest.piece_s={piece_s}", "--set", f"harvest.max_piece_s={piece_s}"]
    assert castmine(*words, *settings) == 0
    names = ["titles", "shots", "tracks", "faces"]
    assert lakes.differences(tmp_path / "lake", whole, names=names, but=(*SAMPLED, "titles.settings_hash")) == []
    assert lakes.rows(whole, "tracks").num_rows > 2


@pytest.fixture(scope="module")
def whole_and_long(spark, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten seconds of one shot with three people, and its lake where no piece is cut."""
    folder = tmp_path_factory.mktemp("long")
    cut(assets.fetch("demovideo.mp4"), folder / "long.mp4", 10)
    assert castmine("harvest", folder / "long.mp4", "--lake", folder / "lake") == 0
    return folder / "lake", folder / "long.mp4"


def program(words: list[object], folder: Path) -> None:
    """castmine as a process of its own, to its end."""
    said = folder / "said.txt"
    with started([sys.executable, "-m", "jobs.cli", *words], said, folder) as process:
        assert process.wait() == 0, said.read_text()


def _files(lake: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (lake / "_adapters").glob("*.safetensors")}
