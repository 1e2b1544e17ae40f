"""Rows of embeddings: as matrices, summed by group, compared pair by pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_BLOCK = 1024  # rows held at a time


def stack_rows(embeddings: pd.Series) -> NDArray[np.float32]:
    """A column of (D,) arrays as (n, D) float32; (0, 1) where there is none, since no row says what D is."""
    return np.stack(embeddings.to_list()).astype(np.float32) if len(embeddings) else np.zeros((0, 1), np.float32)


def fill_gaps(rows: NDArray[np.floating], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(T, D) float32: the rows, in the places that are there; NaN in the others."""
    whole = np.full((len(there), rows.shape[1]), np.nan, np.float32)
    whole[there] = rows
    return whole


def sum_by_group(x: NDArray[np.floating], group: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
    """(G, D) sums of the rows of each group."""
    sums = np.zeros((groups, x.shape[1]))
    order = np.argsort(group, kind="stable")
    present, first = np.unique(group[order], return_index=True)
    for start in range(0, len(present), _BLOCK):  # in blocks, so that no second copy of x is held
        stop = first[start + _BLOCK] if start + _BLOCK < len(present) else len(order)
        inside = first[start : start + _BLOCK]
        rows = x[order[inside[0] : stop]].astype(np.float64)
        sums[present[start : start + _BLOCK]] = np.add.reduceat(rows, inside - inside[0], axis=0)
    return sums


def unit_means(x: NDArray[np.floating], group: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
    """(G, D) unit means of the rows of each group; zero where a group has none."""
    sums = sum_by_group(x, group, groups)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))


def dot_by_group(
    sums: NDArray[np.floating], group: NDArray[np.integer], x: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(T,) the product of each row with the row of `sums` that its group has."""
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(x), _BLOCK))
    products = [np.einsum("td,td->t", sums[group[rows]], x[rows], dtype=np.float64) for rows in blocks]
    return np.concatenate([np.zeros(0), *products])


def distances_of(x: NDArray[np.floating], pairs: NDArray[np.integer]) -> NDArray[np.float64]:
    """(P,) cosine distances of pairs of unit rows, some at a time: links can be far more than rows."""
    blocks = (pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK))
    return np.concatenate([np.zeros(0), *(1.0 - dot_by_group(x, block[:, 0], x[block[:, 1]]) for block in blocks)])
