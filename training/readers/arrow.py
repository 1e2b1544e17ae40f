"""Row groups of a snapshot through pyarrow alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.readers import COLUMNS
from training.snapshot import Part, Snapshot


def row_groups(snapshot: Snapshot, part: Part) -> Iterator[dict[str, np.ndarray]]:
    """As `training.readers.petastorm.row_groups`."""
    for path in snapshot.files(part):
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=COLUMNS)
            if len(group):
                yield {name: _array(group[name].combine_chunks()) for name in COLUMNS}


def _array(column: pa.Array) -> np.ndarray:
    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy().reshape(len(column), -1)
