"""The snapshot's files: flat, whole, and checked when opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import LakeError
from tests.helpers.snapshots import write_part
from training.snapshot import LANES, SCHEMA, Snapshot, count_windows, find_row_group, write_window

Corpus = Callable[..., pa.Table]
Written = Callable[..., Snapshot]


def test_a_window_has_a_row_group_a_lane_and_none_differs_by_more_than_a_row(tmp_path: Path, corpus: Corpus) -> None:
    write_part(tmp_path, corpus(0, 250), windows=3)
    found = []
    for path in sorted(tmp_path.iterdir()):
        footer = pq.read_metadata(path)
        found.append([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])
    assert [len(groups) for groups in found] == [LANES] * 3
    assert {rows for groups in found for rows in groups} == {1, 2}
    whole = pa.concat_tables(pq.read_table(path) for path in sorted(tmp_path.iterdir()))
    assert whole.sort_by("row").equals(corpus(0, 250).cast(SCHEMA))


@given(first=st.integers(0, 5000), rows=st.integers(1, 5000), files=st.integers(1, 5))
def test_every_stretch_of_rows_is_spread_evenly(first: int, rows: int, files: int) -> None:
    row = np.arange(first, first + rows)
    shares = np.bincount(row % files * LANES + find_row_group(row, files), minlength=files * LANES)
    assert shares.max() - shares.min() <= 1


def test_files_are_as_many_as_the_bytes_ask_for() -> None:
    assert count_windows(0, 4, 512) == count_windows(1000, 4, 512) == 1
    assert count_windows(169_201, 4, 512) == 14


def test_what_was_saved_is_opened(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    snapshot = written(tmp_path, corpus(0, 100), corpus(1, 40), windows=2)
    assert Snapshot.open(tmp_path) == snapshot
    assert (snapshot.rows_train, snapshot.rows_dev) == (100, 40)
    assert (snapshot.rows("train", "negative"), snapshot.rows("dev", "negative")) == (75, 30)
    assert "folder" not in json.loads((tmp_path / "snapshot.json").read_text())


def test_no_rows_are_a_snapshot_too(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    snapshot = written(tmp_path, corpus(0, 0), corpus(0, 0))
    assert (snapshot.rows_train, snapshot.rows("train", "negative"), snapshot.rows("dev", "negative")) == (0, 0, 0)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    table = corpus(0, 3)
    views = table["views"].to_pylist()
    wrong = {
        "a missing column": table.drop(["negative"]),
        "a null": table.set_column(0, "title_id", pa.array(["a", None, "c"])),
        "a null number": table.set_column(3, "views", pa.array([[*views[0][:-1], None], *views[1:]])),
        "unequal lengths": table.set_column(3, "views", pa.array([views[0][:-1], *views[1:]])),
    }
    for what, rows in wrong.items():
        with pytest.raises(LakeError, match=r"0\.parquet"):
            write_window(tmp_path / "0.parquet", rows, 1)
        assert not (tmp_path / "0.parquet").exists(), what


def test_damage_is_found_when_opened(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    with pytest.raises(LakeError, match=r"no readable snapshot\.json"):
        Snapshot.open(tmp_path / "nowhere")
    written(tmp_path, corpus(0, 100), corpus(1, 40))
    manifest = json.loads((tmp_path / "snapshot.json").read_text())

    def opened_with(**changes: object) -> None:
        (tmp_path / "snapshot.json").write_text(json.dumps({**manifest, **changes}))
        Snapshot.open(tmp_path)

    with pytest.raises(LakeError, match=r"100 rows, snapshot\.json says 101"):
        opened_with(rows_train=101)
    with pytest.raises(LakeError, match="split by titles, but film0 is in both parts"):
        opened_with(split="titles")
    with pytest.raises(LakeError, match=r"dim: .* surprise: "):
        opened_with(dim="many", surprise=1)
    opened_with()
    (tmp_path / "dev" / "part-00000.parquet").write_bytes(b"not parquet")
    with pytest.raises(LakeError, match="cannot be read as Parquet"):
        opened_with()
