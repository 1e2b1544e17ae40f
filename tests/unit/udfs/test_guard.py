"""What a film does to its worker is a row; what the lake or the machine does is an error that ends the run."""

from __future__ import annotations

import contextlib

import pyarrow as pa
import pytest

from conf.errors import FilmError, GpuUnavailable, LakeError
from udfs import harvest
from udfs.staging import FilmFiles, read_table, write_table


def guarded(tmp_path, work) -> str | None:
    return harvest._guard(work, str(tmp_path), "run", "piece", "a", 0)


def raises(error: BaseException):
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FilmError("no video"), "no video"),
        (MemoryError("frame"), "unexpected: MemoryError: frame"),
        (ValueError("shapes"), "unexpected: ValueError: shapes"),
    ],
)
def test_a_films_fault_is_said_and_leaves_no_mark(tmp_path, error, said):
    assert guarded(tmp_path, raises(error)) == said
    assert guarded(tmp_path, lambda: None) is None
    assert not list((tmp_path / "run" / "at_work").iterdir())


@pytest.mark.parametrize("error", [GpuUnavailable("no GPU"), LakeError("no space")])
def test_the_machines_fault_goes_up(tmp_path, error):
    with pytest.raises(type(error)):
        guarded(tmp_path, raises(error))
    assert not list((tmp_path / "run" / "at_work").iterdir())


def test_what_killed_two_workers_is_left_alone(tmp_path):
    marks = tmp_path / "run" / "at_work"
    for death in range(harvest.DEATHS):
        with contextlib.suppress(StopIteration):
            guarded(tmp_path, lambda: None)
        name = harvest.stable_id("piece", "a", 0)
        (marks / f"{name}-{death}").touch()  # as a worker that dies leaves it
    done = []
    said = guarded(tmp_path, lambda: done.append(1))
    assert said == "unexpected: 2 workers ended over it (out of memory?): piece from frame 0 on"
    assert done == []
    assert harvest._guard(lambda: done.append(1), str(tmp_path), "another run", "piece", "a", 0) is None
    assert harvest._guard(lambda: done.append(1), str(tmp_path), "run", "piece", "b", 0) is None
    assert done == [1, 1]


def test_a_place_that_cannot_be_written_to_is_the_lakes_fault(tmp_path):
    (tmp_path / "full").touch()  # a file where a folder should be
    with pytest.raises(LakeError, match="full: cannot be written to"):
        write_table(tmp_path / "full" / "x.parquet", pa.table({"a": [1]}))


def test_a_damaged_staged_file_is_removed_so_that_it_is_made_again(tmp_path):
    file = tmp_path / "piece.parquet"
    write_table(file, pa.table({"a": list(range(1000))}))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(LakeError, match="damaged, and removed now"):
        read_table(file)
    assert not file.exists()
    with pytest.raises(LakeError, match="gone while castmine is at work"):
        read_table(file)


PIECES = [(0, 30), (30, 60), (60, 90)]


@pytest.mark.parametrize("gone", [None, 0, 1, 2])
def test_a_film_is_put_together_of_pieces_that_tile_it(tmp_path, gone):
    files = FilmFiles(tmp_path)
    for number, (start, end) in enumerate(PIECES):
        if number != gone:
            said = {"end": str(end), "wanted": "15", "decoded": "15"}
            write_table(files.piece(start), pa.table({"frame": [start]}).replace_schema_metadata(said))
    film = type("Film", (), {"n_frames": 90})
    if gone is None:
        assert [(part.start, part.end) for part in harvest._read_pieces(files, film)] == PIECES
    else:
        with pytest.raises(LakeError, match="pieces of the film are gone"):
            harvest._read_pieces(files, film)


def test_staged_files_are_dropped_at_once(tmp_path):
    files = FilmFiles(tmp_path / "film")
    write_table(files.piece(0), pa.table({"frame": [0]}))
    files.drop()
    files.drop()
    assert list(tmp_path.iterdir()) == []
