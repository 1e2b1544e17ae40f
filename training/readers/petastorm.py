"""Row groups of a snapshot through Petastorm.

Petastorm deals out whole row groups, so its shards are unequal and its order depends on how the files were written;
the order of rows is therefore ours (see `training.readers.parts`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from conf.errors import LakeError
from training.readers import COLUMNS
from training.snapshot import Part, Snapshot


def row_groups(snapshot: Snapshot, part: Part) -> Iterator[dict[str, np.ndarray]]:
    """COLUMNS of each row group, read in this thread; lists of equal length come as (rows, length) arrays."""
    from petastorm import make_batch_reader  # half a second to import

    if (snapshot.rows_train if part == "train" else snapshot.rows_dev) == 0:
        return  # Petastorm refuses a set without rows
    folder = str(snapshot.folder / part)
    if set(folder) & set("#?;"):
        raise LakeError(f"{folder}: Petastorm reads no path that holds one of # ? ; (move the lake)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Petastorm asks pyarrow in ways that pyarrow 14 still knows but deprecates
        reader = make_batch_reader(
            f"file://{folder}",  # not percent-encoded: Petastorm does not decode it
            schema_fields=COLUMNS,
            reader_pool_type="dummy",
            shuffle_row_groups=False,
            num_epochs=1,
        )
        try:
            for group in reader:
                yield {name: np.asarray(getattr(group, name)) for name in COLUMNS}
        finally:
            reader.stop()  # a with-statement would print to the terminal at its end
            reader.join()
