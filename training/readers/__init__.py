"""Readers: how a training snapshot becomes batches.

Whatever the reader and the number of processes, global batch b of epoch e holds the same rows: an epoch is one seeded
permutation of all rows, cut into batches, the last partial one dropped; a process takes its contiguous part of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Some rows of a snapshot, in memory.

    Attributes:
        row: (N,) int64, positions in the part they come from.
        title: (N,) int64, equal for rows of one title, in the order of the titles' names.
        views: (N, M, D) float32, the anchor first.
        negative: (N, D) float32, zeros where there is none.
        has_negative: (N,) bool.
    """

    row: Tensor
    title: Tensor
    views: Tensor
    negative: Tensor
    has_negative: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: Tensor | slice) -> Rows:
        columns = (self.row, self.title, self.views, self.negative, self.has_negative)
        return Rows(*(column[chosen] for column in columns))


class Reader(Protocol):
    """The rows of one snapshot for one process of a group."""

    def epoch(self, epoch: int) -> Iterator[Rows]:
        """This process's part of each global batch of an epoch; as many batches on every process."""
        ...

    def development(self) -> Rows:
        """All held-out rows, in key order, on every process."""
        ...


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
