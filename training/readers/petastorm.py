"""Reads a snapshot through Petastorm, once, and keeps it in memory: float32 matrices of the tracks of a corpus.

Petastorm deals out whole row groups, so its shards are unequal and its order depends on how the files were written;
the order of rows is therefore ours (see `training.readers.parts`). 200,000 tracks of 3 x 512 numbers take 1.2 GB.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from conf.errors import LakeError
from training.readers import Rows, parts
from training.snapshot import Part, Snapshot

COLUMNS = ["row", "title_id", "views", "negative", "has_negative"]


class PetastormReader:
    """Batches of a snapshot, the same for any number of processes.

    Args:
        batch: rows of a global batch, over all processes; not above the training rows that are left.
        triplets: keep only rows that have a hard negative, in both parts.
    """

    def __init__(self, snapshot: Snapshot, batch: int, seed: int, triplets: bool, rank: int = 0, size: int = 1) -> None:
        self.batch, self.seed, self.rank, self.size = batch, seed, rank, size
        self._train, self._dev = read(snapshot, "train"), read(snapshot, "dev")
        if triplets:
            self._train, self._dev = (rows[rows.has_negative] for rows in (self._train, self._dev))

    def epoch(self, epoch: int) -> Iterator[Rows]:
        for chosen in parts(len(self._train), self.batch, self.seed, epoch, self.rank, self.size):
            yield self._train[torch.from_numpy(chosen)]

    def development(self) -> Rows:
        return self._dev


def read(snapshot: Snapshot, part: Part) -> Rows:
    """All rows of one part, sorted by `row`; a part without rows gives empty arrays.

    Raises:
        LakeError: lists of another length than the manifest says, rows missing or twice, a path Petastorm cannot open.
    """
    m, d = snapshot.n_tracklets, snapshot.dim
    groups = list(_row_groups(snapshot, part))
    row, title, views, negative, has_negative = (
        np.concatenate([np.asarray(getattr(group, name)) for group in groups]) if groups else np.zeros(0)
        for name in COLUMNS
    )
    if not groups:
        views, negative = views.reshape(0, m * d), negative.reshape(0, d)
    if views.shape[1:] != (m * d,) or negative.shape[1:] != (d,):
        raise LakeError(f"{snapshot.folder / part}: expected {m} views of {d} numbers. Run castmine train again.")
    order = np.argsort(row, kind="stable")
    if not np.array_equal(row[order], np.arange(len(row))):
        raise LakeError(
            f"{snapshot.folder / part}: the rows are not numbered 0 to {len(row) - 1}. Run castmine train again."
        )
    return Rows(
        torch.from_numpy(row[order].astype(np.int64)),
        torch.from_numpy(np.unique(title[order], return_inverse=True)[1].astype(np.int64)),
        torch.from_numpy(views[order].astype(np.float32).reshape(-1, m, d)),
        torch.from_numpy(negative[order].astype(np.float32)),
        torch.from_numpy(has_negative[order].astype(bool)),
    )


def _row_groups(snapshot: Snapshot, part: Part) -> list[Any]:
    """Petastorm's batches: one named tuple of arrays per row group, read in this thread."""
    from petastorm import make_batch_reader  # half a second to import

    if (snapshot.rows_train if part == "train" else snapshot.rows_dev) == 0:
        return []  # Petastorm refuses a set without rows
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
            return list(reader)
        finally:
            reader.stop()  # a with-statement would print to the terminal at its end
            reader.join()
