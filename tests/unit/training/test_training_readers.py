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
from training.readers import Rows, parts
from training.readers.petastorm import PetastormReader, read
from training.snapshot import Snapshot

Corpus = Callable[..., pa.Table]
Written = Callable[..., Snapshot]


def batches(snapshot: Snapshot, size: int, epoch: int = 0, batch: int = 64, triplets: bool = False) -> list[Rows]:
    """Global batches, put together from the parts of all ranks."""
    readers = [PetastormReader(snapshot, batch, 7, triplets, rank, size) for rank in range(size)]
    found = []
    for shares in zip(*(reader.epoch(epoch) for reader in readers), strict=True):
        columns = ([getattr(share, name) for share in shares] for name in Rows.__dataclass_fields__)
        found.append(Rows(*(torch.cat(column) for column in columns)))
    return found


def test_rows_come_back_as_written(snapshot: Snapshot, corpus: Corpus) -> None:
    table, rows = corpus(1, 300), read(snapshot, "train")
    assert rows.views.dtype == rows.negative.dtype == torch.float32
    np.testing.assert_array_equal(rows.views.reshape(300, -1), np.stack(table["views"].to_numpy()))
    np.testing.assert_array_equal(rows.negative, np.stack(table["negative"].to_numpy()))
    assert rows.has_negative.tolist() == table["has_negative"].to_pylist()
    assert rows.row.tolist() == list(range(300))


def test_titles_become_numbers(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    rows = read(written(tmp_path, corpus(0, 90, titles=3), corpus(0, 2)), "train")
    assert rows.title.tolist() == [0] * 30 + [1] * 30 + [2] * 30


def test_the_files_do_not_matter(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    one = written(tmp_path / "one", corpus(1, 200), corpus(2, 50), files=1, group=200)
    many = written(tmp_path / "many", corpus(1, 200), corpus(2, 50), files=7, group=16)
    for left, right in zip(batches(one, 1), batches(many, 1), strict=True):
        assert torch.equal(left.row, right.row)
        assert torch.equal(left.views, right.views)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("triplets", [False, True])
def test_ranks_share_the_same_global_batches(snapshot: Snapshot, size: int, triplets: bool) -> None:
    for epoch in (0, 3):
        for alone, shared in zip(
            batches(snapshot, 1, epoch, triplets=triplets),
            batches(snapshot, size, epoch, triplets=triplets),
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
    reader = PetastormReader(snapshot, 64, 7, triplets=True)
    assert len(reader.development()) == 75
    assert all(rows.has_negative.all() for rows in reader.epoch(0))
    assert len(PetastormReader(snapshot, 64, 7, triplets=False).development()) == 100


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
    rows = read(written(tmp_path, corpus(0, 0), corpus(0, 5)), "train")
    assert rows.views.shape == (0, 3, 24)
    assert rows.negative.shape == (0, 24)


def test_bad_contents_are_named(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    twice = corpus(0, 50).set_column(2, "row", pa.array([*range(49), 0]))
    with pytest.raises(LakeError, match="not numbered 0 to 49"):
        read(written(tmp_path / "twice", twice, corpus(0, 5)), "train")
    with pytest.raises(LakeError, match="expected 3 views of 25 numbers"):
        read(written(tmp_path / "narrow", corpus(0, 50), corpus(0, 5), dim=25), "train")
    with pytest.raises(LakeError, match="move the lake"):
        read(written(tmp_path / "a#b", corpus(0, 50), corpus(0, 5)), "train")
    assert len(read(written(tmp_path / "a b é", corpus(0, 50), corpus(0, 5)), "train")) == 50


def test_nothing_is_printed_or_warned(
    snapshot: Snapshot, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    read(snapshot, "train")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
