"""Row groups of a snapshot through pyarrow alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.snapshot import COLUMNS


def row_groups(path: Path, rank: int, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """As `training.readers.petastorm.row_groups`."""
    file = pq.ParquetFile(path)
    for number in range(rank, file.num_row_groups, size):
        group = file.read_row_group(number, columns=COLUMNS)
        yield {name: _array(group[name].combine_chunks()) for name in COLUMNS}


def _array(column: pa.Array) -> NDArray[Any]:
    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy().reshape(len(column), -1)
