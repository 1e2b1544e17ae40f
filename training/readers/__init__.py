"""Readers: how a training snapshot becomes batches.

Whatever the reader and the number of processes, global batch b of epoch e holds the same rows: an epoch is one seeded
permutation of all rows, cut into batches, the last partial one dropped; a process takes its contiguous part of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from conf.errors import LakeError
from conf.settings import Library
from training.snapshot import NOBODY, Part, Snapshot

COLUMNS = ["row", "title_id", "views", "negative", "has_negative", "label"]
DRAWS = 3
Needs = Literal["all", "negative", "label"]  # which rows a method can learn from


@dataclass(frozen=True)
class Rows:
    """Some rows of a snapshot, in memory.

    Attributes:
        row: (N,) int64, positions in the part they come from.
        title: (N,) int64, equal for rows of one title, in the order of the titles' names.
        views: (N, V, D) float32; of tracklets the anchor first.
        negative: (N, Q, D) float32, zeros where there is none.
        has_negative: (N,) bool.
        label: (N,) int64, identities; -1 where unknown.
        draw: (N, 3) int64, 0 or more: a row's random numbers of this epoch, for a method that picks among its views.
    """

    row: Tensor
    title: Tensor
    views: Tensor
    negative: Tensor
    has_negative: Tensor
    label: Tensor
    draw: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: Tensor | slice) -> Rows:
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))


class Reader:
    """The rows of one snapshot for one process of a group, in memory.

    Args:
        name: which library reads the files: `petastorm` or `arrow` (pyarrow alone); the batches are the same.
        batch: rows of a global batch, over all processes; not above the training rows that are left.
        needs: which rows to keep, in both parts: those with a negative, with a label, or all.
    Raises:
        LakeError: see `read`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        batch: int,
        seed: int,
        needs: Needs = "all",
        rank: int = 0,
        size: int = 1,
        name: Library = "petastorm",
    ) -> None:
        self.batch, self.seed, self.rank, self.size = batch, seed, rank, size
        self._train, self._dev = (_usable(read(snapshot, part, name), needs) for part in ("train", "dev"))
        self._dev = replace(self._dev, draw=_drawn(len(self._dev), seed, 0))

    def epoch(self, epoch: int) -> Iterator[Rows]:
        """This process's part of each global batch of an epoch; as many batches on every process."""
        rows = replace(self._train, draw=_drawn(len(self._train), self.seed, epoch))
        for chosen in parts(len(rows), self.batch, self.seed, epoch, self.rank, self.size):
            yield rows[torch.from_numpy(chosen)]

    def own_titles(self) -> Rows:
        """All training rows of every `size`-th title, beginning with this process's own."""
        return self._train[self._train.title % self.size == self.rank]

    def development(self) -> Rows:
        """All held-out rows, in key order, on every process."""
        return self._dev


def read(snapshot: Snapshot, part: Part, name: Library) -> Rows:
    """All rows of one part, sorted by `row`; a part without rows gives empty arrays.

    Raises:
        LakeError: lists of another length than the manifest says, rows missing or twice, a path that the library
            cannot open.
    """
    from training.readers import arrow, petastorm  # half a second to import

    v, q, d = snapshot.n_views, snapshot.n_negatives, snapshot.dim
    groups = list({"petastorm": petastorm, "arrow": arrow}[name].row_groups(snapshot, part))
    row, title, views, negative, has_negative, label = (
        np.concatenate([group[column] for group in groups]) if groups else np.zeros(0) for column in COLUMNS
    )
    if not groups:
        views, negative = views.reshape(0, v * d), negative.reshape(0, q * d)
    if views.shape[1:] != (v * d,) or negative.shape[1:] != (q * d,):
        raise LakeError(
            f"{snapshot.folder / part}: expected {v} views and {q} negatives of {d} numbers. Run castmine train again."
        )
    order = np.argsort(row, kind="stable")
    if not np.array_equal(row[order], np.arange(len(row))):
        raise LakeError(
            f"{snapshot.folder / part}: the rows are not numbered 0 to {len(row) - 1}. Run castmine train again."
        )
    return Rows(
        torch.from_numpy(row[order].astype(np.int64)),
        torch.from_numpy(np.unique(title[order], return_inverse=True)[1].astype(np.int64)),
        torch.from_numpy(views[order].astype(np.float32).reshape(-1, v, d)),
        torch.from_numpy(negative[order].astype(np.float32).reshape(-1, q, d)),
        torch.from_numpy(has_negative[order].astype(bool)),
        torch.from_numpy(label[order].astype(np.int64)),
        torch.zeros(len(row), DRAWS, dtype=torch.int64),
    )


def _usable(rows: Rows, needs: Needs) -> Rows:
    if needs == "all":
        return rows
    return rows[rows.has_negative if needs == "negative" else rows.label != NOBODY]


def _drawn(rows: int, seed: int, epoch: int) -> Tensor:
    """(rows, DRAWS) random numbers of every row in an epoch, the same on every process."""
    return torch.from_numpy(np.random.default_rng([seed, epoch, 1]).integers(2**31, size=(rows, DRAWS)))


def parts(rows: int, batch: int, seed: int, epoch: int, rank: int, size: int) -> Iterator[np.ndarray]:
    """Which rows a process takes of each global batch of an epoch.

    Args:
        rows: training rows of the snapshot.
        batch: rows of a global batch, over all processes; 1 to `rows`.
        rank, size: this process, and how many there are.
    Yields:
        int64 positions, `rows // batch` times; the parts of one batch differ by one row at most.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    for start in range(0, rows - batch + 1, batch):
        yield order[start + batch * rank // size : start + batch * (rank + 1) // size]
