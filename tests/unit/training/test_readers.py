"""One order of rows, whatever the files, the ranks and their number."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.errors import LakeError, UsageError
from training.readers.petastorm import _CallingThread
from training.readers.reader import Reader, Rows, read
from training.snapshot import Snapshot

Corpus = Callable[..., pa.Table]
Written = Callable[..., Snapshot]


LIBRARIES = ("petastorm", "arrow")


def batches(
    snapshot: Snapshot, size: int, epoch: int = 0, batch: int = 64, needs: str = "all", library: str = "arrow"
) -> list[Rows]:
    """Global batches, put together from the parts of all ranks; rows in the order of their number."""
    readers = [Reader(snapshot, batch, 7, needs, rank, size, library) for rank in range(size)]
    found = []
    for shares in zip(*(reader.epoch(epoch) for reader in readers), strict=True):
        columns = ([getattr(share, name) for share in shares] for name in Rows.__dataclass_fields__)
        together = Rows(*(torch.cat(column) for column in columns))
        found.append(together[together.row.argsort()])
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_come_back_as_written(snapshot: Snapshot, corpus: Corpus, library: str) -> None:
    table, rows = corpus(1, 300), read(snapshot, "train", library)
    assert rows.views.dtype == rows.negative.dtype == torch.float32
    np.testing.assert_array_equal(rows.views.reshape(300, -1), np.stack(table["views"].to_numpy()))
    np.testing.assert_array_equal(rows.negative[:, 0, 0], np.stack(table["negative"].to_numpy()))
    assert rows.has_negative.tolist() == table["has_negative"].to_pylist()
    assert rows.row.tolist() == list(range(300))
    assert rows.label.tolist() == [-1] * 300


@pytest.mark.parametrize("needs", ["all", "negative", "label"])
def test_both_libraries_give_the_same_batches(faces: Snapshot, needs: str) -> None:
    readers = [Reader(faces, 32, 5, needs, library=library) for library in LIBRARIES]
    assert [len(reader.development()) for reader in readers] == [{"all": 90, "negative": 67, "label": 60}[needs]] * 2
    for left, right in zip(*(reader.epoch(2) for reader in readers), strict=True):
        for name in Rows.__dataclass_fields__:
            assert torch.equal(getattr(left, name), getattr(right, name))
        assert (left.views.shape, left.negative.shape) == ((len(left), 5, 24), (len(left), 2, 3, 24))


def test_draws_are_a_row_s_own_and_new_in_every_epoch(faces: Snapshot) -> None:
    drawn = {}
    for size in (1, 3):
        rows = batches(faces, size, epoch=4, batch=60)
        rows_and_draws = [zip(batch.row.tolist(), batch.draw.tolist(), strict=True) for batch in rows]
        drawn[size] = {row: draw for batch in rows_and_draws for row, draw in batch}
    assert drawn[1] == drawn[3]
    assert len({tuple(draw) for draw in drawn[1].values()}) == 240
    other = batches(faces, 1, epoch=5, batch=60)[0]
    assert other.draw[0].tolist() != drawn[1][int(other.row[0])]


def test_titles_become_numbers(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    rows = read(written(tmp_path, corpus(0, 90, titles=3), corpus(0, 2)), "train", "petastorm")
    assert rows.title.tolist() == [0] * 30 + [1] * 30 + [2] * 30


@pytest.mark.parametrize(("size", "library"), [(2, "petastorm"), (5, "arrow")])
@pytest.mark.parametrize("needs", ["all", "negative"])
def test_ranks_share_the_same_global_batches(snapshot: Snapshot, size: int, library: str, needs: str) -> None:
    for epoch in (0, 3):
        for alone, shared in zip(
            batches(snapshot, 1, epoch, needs=needs),
            batches(snapshot, size, epoch, needs=needs, library=library),
            strict=True,
        ):
            assert torch.equal(alone.row, shared.row)
            assert torch.equal(alone.views, shared.views)
            assert torch.equal(alone.negative, shared.negative)


@pytest.mark.parametrize("needs", ["all", "negative"])
def test_an_epoch_is_one_pass_in_like_batches_and_no_two_are_alike(snapshot: Snapshot, needs: str) -> None:
    first, second = (batches(snapshot, 1, epoch, batch=32, needs=needs) for epoch in (0, 1))
    rows = {"all": 300, "negative": 225}[needs]
    sizes = [len(batch) for batch in first]
    assert len(first) == 3 * round(rows / 32 / 3)  # in three windows
    assert max(sizes) - min(sizes) <= 12, sizes
    assert sorted(torch.cat([batch.row for batch in first]).tolist()) == read_rows(snapshot, needs)
    assert sorted(batch.row.tolist() for batch in first) != sorted(batch.row.tolist() for batch in second)


def read_rows(snapshot: Snapshot, needs: str) -> list[int]:
    rows = read(snapshot, "train", "arrow")
    return rows.row[rows.has_negative if needs == "negative" else rows.row >= 0].tolist()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_not_kept_is_read_again_and_comes_the_same(snapshot: Snapshot, library: str) -> None:
    one_window = read(snapshot, "train", "arrow").nbytes() / 3 / 2**30
    readers = [Reader(snapshot, 64, 7, library=library, kept_gb=gb) for gb in (4.0, 1.1 * one_window, 0.0)]
    for epoch in (0, 1):
        for steps in zip(*(reader.epoch(epoch) for reader in readers), strict=True):
            for name in Rows.__dataclass_fields__:
                assert all(torch.equal(getattr(steps[0], name), getattr(step, name)) for step in steps)
    assert [len(reader._kept) for reader in readers] == [3, 1, 0]
    abandoned = readers[2].epoch(2)
    next(abandoned)
    abandoned.close()  # ends the reading ahead, too


@pytest.mark.parametrize("size", [1, 2])
def test_tracks_are_shared_out_by_title(tmp_path: Path, corpus: Corpus, written: Written, size: int) -> None:
    snapshot = written(tmp_path, corpus(0, 90, titles=3), corpus(0, 2), windows=2)
    shares = [Reader(snapshot, 30, 7, rank=rank, size=size).tracks() for rank in range(size)]
    assert sorted(set(shares[0][1].tolist())) == ([0, 1, 2] if size == 1 else [0, 2])
    assert sum(len(means) for means, _ in shares) == 90
    rows = read(snapshot, "train", "arrow")
    wanted = rows.views.mean(dim=1)[rows.title == 0]
    wanted = (wanted / wanted.norm(dim=1, keepdim=True)).numpy()
    found = shares[0][0][shares[0][1] == 0]
    np.testing.assert_allclose(found[found[:, 0].argsort()], wanted[wanted[:, 0].argsort()], rtol=1e-5)


def test_more_processes_than_rows_are_refused(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    with pytest.raises(UsageError, match=r"train\.processes=7: this snapshot feeds 5 at most"):
        Reader(written(tmp_path, corpus(0, 5), corpus(0, 5)), 5, 7, size=7)


def test_triplets_leave_rows_without_a_negative_out(snapshot: Snapshot) -> None:
    reader = Reader(snapshot, 64, 7, "negative")
    assert len(reader.development()) == 75
    assert all(rows.has_negative.all() for rows in reader.epoch(0))
    assert len(Reader(snapshot, 64, 7).development()) == 100


def test_empty_parts_are_read(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    rows = read(written(tmp_path, corpus(0, 0), corpus(0, 5)), "train", "petastorm")
    assert rows.views.shape == (0, 3, 24)
    assert rows.negative.shape == (0, 1, 1, 24)


def test_bad_contents_are_named(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    twice = corpus(0, 50).set_column(2, "row", pa.array([*range(49), 0]))
    with pytest.raises(LakeError, match="not numbered 0 to 49"):
        read(written(tmp_path / "twice", twice, corpus(0, 5)), "train", "petastorm")
    with pytest.raises(LakeError, match="expected 3 views, 1 negatives of 25 numbers"):
        read(written(tmp_path / "narrow", corpus(0, 50), corpus(0, 5), dim=25), "train", "petastorm")


def test_any_path_is_read(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    snapshot = written(tmp_path / "a b é#?;%20", corpus(0, 50), corpus(0, 5))
    assert len(read(snapshot, "train", "petastorm")) == 50


def test_no_row_group_is_lost_however_late_it_is_handed_out(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, count = _CallingThread.ventilate, itertools.count()

    def late(self: _CallingThread, **wanted: object) -> None:
        if next(count) % 5 == 0:
            time.sleep(0.003)
        at_once(self, **wanted)

    monkeypatch.setattr(_CallingThread, "ventilate", late)
    for _ in range(5):
        assert len(read(snapshot, "train", "petastorm")) == 300


def test_nothing_is_printed_or_warned(
    snapshot: Snapshot, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    read(snapshot, "train", "petastorm")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
