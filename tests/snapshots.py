"""Parts of training snapshots, written as castmine train writes them, without Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from training.snapshot import write_window


def write_part(folder: Path, rows: pa.Table, windows: int = 1) -> None:
    """All files of one part; `rows` has the columns of the schema, each row its number."""
    for number in range(windows):
        chosen = rows["row"].to_numpy() % windows == number
        write_window(folder / f"part-{number:05}.parquet", rows.filter(chosen), windows)
