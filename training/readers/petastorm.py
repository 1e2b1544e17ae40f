"""Row groups of a snapshot through Petastorm, which deals them out to processes by their number in the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conf.errors import LakeError
from training.readers import COLUMNS


def row_groups(path: Path, rank: int, size: int) -> Iterator[dict[str, np.ndarray]]:
    """COLUMNS of every `size`-th row group of a file, from `rank` on; lists of equal length as (rows, length) arrays.

    It is read in the thread that calls, in the order of the file; a file has `size` row groups at least.
    """
    from petastorm import make_batch_reader  # half a second to import

    if set(str(path)) & set("#?;"):
        raise LakeError(f"{path}: Petastorm reads no path that holds one of # ? ; (move the lake)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Petastorm asks pyarrow in ways that pyarrow 14 still knows but deprecates
        reader = make_batch_reader(
            f"file://{path}",  # not percent-encoded: Petastorm does not decode it
            schema_fields=COLUMNS,
            reader_pool_type="dummy",
            shuffle_row_groups=False,
            num_epochs=1,
            cur_shard=rank,
            shard_count=size,
        )
        try:
            for group in reader:
                yield {name: np.asarray(getattr(group, name)) for name in COLUMNS}
        finally:
            reader.stop()  # a with-statement would print to the terminal at its end
            reader.join()
