"""The nearest rows of every row: by all pairs where they are few, else cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.rows import sum_by_group

EXACT = 4096  # rows up to which clustering looks at all pairs; above, at those of nearby cells
_BLOCK = 1024  # rows of distances held at a time
_CELL, _PROBED, _ROUNDS, _SEED = 200, 32, 4, 7  # rows a cell, cells searched, rounds of k-means, its random start
_DIGITS = 6  # of single precision that the product's threads leave alone; 9 of double


class Nearest(NamedTuple):
    """The k nearest other rows of T rows, the nearest first, of equally near ones the first.

    Attributes:
        row: (T, k) int64, -1 where there are fewer.
        distance: (T, k) float64, cosine distances; infinite where there is no row.
    """

    row: NDArray[np.int64]
    distance: NDArray[np.float64]


def nearest(
    x: NDArray[np.floating],
    k: int,
    cannot: NDArray[np.integer],
    exact: int = EXACT,
    among: NDArray[np.bool_] | None = None,
) -> Nearest:
    """The k nearest rows of each row that it is not cannot-linked to.

    Up to `exact` rows all pairs are compared. Above, k-means deals the rows into cells of about 200, and a row is
    compared with those of the 32 cells nearest to its own, so that cost grows with T and not with its square; what is
    farther away is not found, and a row has fewer than k where its cells hold fewer.

    Args:
        x: (T, D) finite unit rows.
        cannot: (P, 2) rows that are not neighbours of each other.
        among: (T,) the rows that can be neighbours; all where it is None.

    Returns:
        The same for the same rows, whatever the number of threads. Memory O(T k) beside a copy of x.

    Raises:
        ValueError: links outside of the rows.
    """
    few, pairs = len(x) <= exact, np.asarray(cannot, np.int64).reshape(-1, 2)
    rows, digits = (np.asarray(x, np.float64), 9) if few else (np.asarray(x, np.float32), _DIGITS)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(rows):
        raise ValueError(f"cannot links rows {pairs.min()} to {pairs.max()}, but there are {len(rows)} rows")
    found = Nearest(np.full((len(rows), k), -1), np.full((len(rows), k), np.inf))
    cannot_linked = Partners(pairs, len(rows))
    for mine, others in _all(len(rows)) if few else _by_cell(rows):
        others = others if among is None else others[among[others]]
        if not len(others):
            continue
        distance = np.round(1.0 - (rows[mine] @ rows[others].T).astype(np.float64), digits)
        distance[cannot_linked.find_in_block(mine, others)] = np.inf
        column = _least(distance, min(k, len(others)))
        near = np.take_along_axis(distance, column, axis=1)
        found.row[mine, : column.shape[1]] = np.where(np.isfinite(near), others[column], -1)
        found.distance[mine, : column.shape[1]] = near
    return found


def _all(count: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for start in range(0, count, _BLOCK):
        yield np.arange(start, min(start + _BLOCK, count)), np.arange(count)


def _by_cell(x: NDArray[np.floating]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(rows, the rows they are compared with, ascending) for each cell."""
    centres, cell = _cells(x)
    order, ends = np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell, minlength=len(centres)))
    members = np.split(order, ends[:-1])
    nearby = _least(-np.round(centres @ centres.T, _DIGITS).astype(np.float64), min(_PROBED, len(centres)))
    for number, mine in enumerate(members):
        others = np.sort(np.concatenate([members[other] for other in nearby[number]]))
        for start in range(0, len(mine), _BLOCK):
            yield mine[start : start + _BLOCK], others


def _cells(x: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Spherical k-means from random rows: (C, D) unit centres and (T,) the cell of each row."""
    start = np.random.default_rng(_SEED).choice(len(x), -(-len(x) // _CELL), replace=False)
    centres = x[np.sort(start)]
    for _ in range(_ROUNDS):
        cell = _closest(x, centres)
        sums = sum_by_group(x, cell, len(centres))
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres).astype(np.float32)
    return centres, _closest(x, centres)


def _closest(x: NDArray[np.floating], centres: NDArray[np.floating]) -> NDArray[np.int64]:
    blocks = (x[start : start + _BLOCK] @ centres.T for start in range(0, len(x), _BLOCK))
    return np.concatenate([np.round(block, _DIGITS).argmax(axis=1) for block in blocks])


class Partners:
    """The rows that each row is cannot-linked to."""

    def __init__(self, pairs: NDArray[np.int64], count: int) -> None:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        self._of = both[np.argsort(both[:, 0], kind="stable")]
        self._start = np.searchsorted(self._of[:, 0], np.arange(count + 1))

    def of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(place among `rows`, partner) of each of their links."""
        count = self._start[rows + 1] - self._start[rows]
        place = np.repeat(np.arange(len(rows)), count)
        step = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, self._of[self._start[rows][place] + step, 1]

    def find_in_block(
        self, rows: NDArray[np.int64], others: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of linked pairs in a block of `rows` by `others` (ascending), and of each row with itself."""
        place, partner = self.of(rows)
        place, partner = np.append(place, np.arange(len(rows))), np.append(partner, rows)
        column = np.minimum(np.searchsorted(others, partner), len(others) - 1)
        there = others[column] == partner
        return place[there], column[there]


def _least(distance: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """(N, k) columns of the k least entries of each row, ascending, ties by column."""
    if k == distance.shape[1]:
        return np.argsort(distance, axis=1, kind="stable")
    bound = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(distance <= bound)  # k of each row and what ties with the k-th; by row, then column
    order = np.lexsort((column, distance[row, column], row))
    first = np.searchsorted(row, np.arange(len(distance)))
    return np.asarray(column[order][first[:, None] + np.arange(k)], np.int64)
