"""One order of rows, whatever the files, the ranks and their number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import LakeError
from training.readers import Reader, Rows, parts, read
from training.snapshot import Snapshot

Corpus = Callable[..., pa.Table]
Written = Callable[..., Snapshot]


LIBRARIES = ("petastorm", "arrow")


def batches(snapshot: Snapshot, size: int, epoch: int = 0, batch: int = 64, needs: str = "all") -> list[Rows]:
    """Global batches, put together from the parts of all ranks."""
    readers = [Reader(snapshot, batch, 7, needs, rank, size) for rank in range(size)]
    found = []
    for shares in zip(*(reader.epoch(epoch) for reader in readers), strict=True):
        columns = ([getattr(share, name) for share in shares] for name in Rows.__dataclass_fields__)
        found.append(Rows(*(torch.cat(column) for column in columns)))
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_come_back_as_written(snapshot: Snapshot, corpus: Corpus, library: str) -> None:
    table, rows = corpus(1, 300), read(snapshot, "train", library)
    assert rows.views.dtype == rows.negative.dtype == torch.float32
    np.testing.assert_array_equal(rows.views.reshape(300, -1), np.stack(table["views"].to_numpy()))
    np.testing.assert_array_equal(rows.negative[:, 0], np.stack(table["negative"].to_numpy()))
    assert rows.has_negative.tolist() == table["has_negative"].to_pylist()
    assert rows.row.tolist() == list(range(300))
    assert rows.label.tolist() == [-1] * 300


@pytest.mark.parametrize("needs", ["all", "negative", "label"])
def test_both_libraries_give_the_same_batches(faces: Snapshot, needs: str) -> None:
    readers = [Reader(faces, 32, 5, needs, name=library) for library in LIBRARIES]
    assert [len(reader.development()) for reader in readers] == [{"all": 90, "negative": 67, "label": 60}[needs]] * 2
    for left, right in zip(*(reader.epoch(2) for reader in readers), strict=True):
        for name in Rows.__dataclass_fields__:
            assert torch.equal(getattr(left, name), getattr(right, name))
        assert left.views.shape == left.negative.shape == (32, 5, 24)


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


def test_the_files_do_not_matter(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    one = written(tmp_path / "one", corpus(1, 200), corpus(2, 50), files=1, group=200)
    many = written(tmp_path / "many", corpus(1, 200), corpus(2, 50), files=7, group=16)
    for left, right in zip(batches(one, 1), batches(many, 1), strict=True):
        assert torch.equal(left.row, right.row)
        assert torch.equal(left.views, right.views)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("needs", ["all", "negative"])
def test_ranks_share_the_same_global_batches(snapshot: Snapshot, size: int, needs: str) -> None:
    for epoch in (0, 3):
        for alone, shared in zip(
            batches(snapshot, 1, epoch, needs=needs),
            batches(snapshot, size, epoch, needs=needs),
            strict=True,
        ):
            assert torch.equal(alone.row, shared.row)
            assert torch.equal(alone.views, shared.views)
            assert torch.equal(alone.negative, shared.negative)


def test_epochs_differ_and_drop_the_partial_batch(snapshot: Snapshot) -> None:
    first, second = batches(snapshot, 1, 0), batches(snapshot, 1, 1)
    assert [len(batch) for batch in first] == [64] * 4  # 300 rows
    rows = torch.cat([batch.row for batch in first])
    assert len(set(rows.tolist())) == 256
    assert not torch.equal(rows, torch.cat([batch.row for batch in second]))


def test_triplets_leave_rows_without_a_negative_out(snapshot: Snapshot) -> None:
    reader = Reader(snapshot, 64, 7, "negative")
    assert len(reader.development()) == 75
    assert all(rows.has_negative.all() for rows in reader.epoch(0))
    assert len(Reader(snapshot, 64, 7).development()) == 100


@given(rows=st.integers(1, 200), share=st.floats(0.01, 1), seed=st.integers(0, 99), size=st.integers(1, 5))
def test_parts_tile_each_batch(rows: int, share: float, seed: int, size: int) -> None:
    batch = max(1, int(rows * share))
    shares = [list(parts(rows, batch, seed, 2, rank, size)) for rank in range(size)]
    assert {len(steps) for steps in shares} == {rows // batch}
    together = [np.concatenate(step) for step in zip(*shares, strict=True)]
    assert [part.tolist() for part in together] == [part.tolist() for part in parts(rows, batch, seed, 2, 0, 1)]
    for step in zip(*shares, strict=True):
        assert max(map(len, step)) - min(map(len, step)) <= 1
    assert len(set(np.concatenate(together).tolist())) == rows // batch * batch


def test_empty_parts_are_read(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    rows = read(written(tmp_path, corpus(0, 0), corpus(0, 5)), "train", "petastorm")
    assert rows.views.shape == (0, 3, 24)
    assert rows.negative.shape == (0, 1, 24)


def test_bad_contents_are_named(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    twice = corpus(0, 50).set_column(2, "row", pa.array([*range(49), 0]))
    with pytest.raises(LakeError, match="not numbered 0 to 49"):
        read(written(tmp_path / "twice", twice, corpus(0, 5)), "train", "petastorm")
    with pytest.raises(LakeError, match="expected 3 views and 1 negatives of 25 numbers"):
        read(written(tmp_path / "narrow", corpus(0, 50), corpus(0, 5), dim=25), "train", "petastorm")
    with pytest.raises(LakeError, match="move the lake"):
        read(written(tmp_path / "a#b", corpus(0, 50), corpus(0, 5)), "train", "petastorm")
    assert len(read(written(tmp_path / "a b é", corpus(0, 50), corpus(0, 5)), "train", "petastorm")) == 50


def test_nothing_is_printed_or_warned(
    snapshot: Snapshot, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    read(snapshot, "train", "petastorm")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
