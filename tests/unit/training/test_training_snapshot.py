"""The snapshot's files: flat, whole, and checked when opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import LakeError
from training.snapshot import SCHEMA, Snapshot, write_rows

Corpus = Callable[..., pa.Table]
Written = Callable[..., Snapshot]


def test_row_groups_are_equal_but_the_last(tmp_path: Path, corpus: Corpus) -> None:
    write_rows(tmp_path / "train" / "0.parquet", corpus(0, 150), 64)
    footer = pq.read_metadata(tmp_path / "train" / "0.parquet")
    assert [footer.row_group(group).num_rows for group in range(footer.num_row_groups)] == [64, 64, 22]
    assert pq.read_table(tmp_path / "train" / "0.parquet").equals(corpus(0, 150).cast(SCHEMA))
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["0.parquet"]


def test_what_was_saved_is_opened(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    snapshot = written(tmp_path, corpus(0, 100), corpus(1, 40), files=2)
    assert Snapshot.open(tmp_path) == snapshot
    assert (snapshot.rows_train, snapshot.rows_dev) == (100, 40)
    assert (snapshot.triplets("train"), snapshot.triplets("dev")) == (75, 30)
    assert "folder" not in json.loads((tmp_path / "snapshot.json").read_text())


def test_no_rows_are_a_snapshot_too(tmp_path: Path, corpus: Corpus, written: Written) -> None:
    snapshot = written(tmp_path, corpus(0, 0), corpus(0, 0))
    assert (snapshot.rows_train, snapshot.triplets("train"), snapshot.triplets("dev")) == (0, 0, 0)


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
            write_rows(tmp_path / "0.parquet", rows, 10)
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
    (tmp_path / "dev" / "001.parquet").write_bytes(b"not parquet")
    with pytest.raises(LakeError, match="cannot be read as Parquet"):
        opened_with()
