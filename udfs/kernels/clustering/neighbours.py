"""Track embeddings drawn to those of tracks that are likely the same person, so that the noise of each evens out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from udfs.kernels.clustering.cut import Cut
from udfs.kernels.clustering.nearest import nearest

NEIGHBOURS = 10
EVEN, STEEPNESS = 0.2, 12.0
_BLOCK = 1024  # rows whose neighbours are held at a time


def drawn_to_neighbours(
    embeddings: NDArray[np.floating],
    cannot: NDArray[np.integer],
    cut: Cut,
) -> NDArray[np.float32]:
    """Each row's unit mean with its nearest rows, each weighed by how likely it is the same person.

    The row itself weighs 1, its 10 nearest by a logistic of their distance: 1/2 where that lies a fifth of the way from
    `cut.near` to `cut.far`, so people of few tracks, whose nearest rows are strangers, hardly move. A blurred or turned
    face is near a few others of its person, if not all; its mean with them is nearer to all. Not from the papers: image
    retrieval calls it database-side augmentation. The three numbers were picked by figures of composite titles that
    are not among those reported; 5 to 20 neighbours, 0.2 to 0.3 of the way and half the steepness do about as well.

    Args:
        embeddings: (T, D) finite unit rows.
        cannot: (P, 2) row indices of pairs that are two people. Neither counts for the other, and of two that are among
            a third row's neighbours only the nearer one counts for it.
        cut: what `find_cut` says of the rows' distances.

    Returns:
        (T, D) float32 unit rows; T = 0 and T = 1 come back as they are. Of equally near rows the first count. Cost
        that of `nearest`.

    Raises:
        ValueError: links outside of the rows.
    """
    x, pairs = np.asarray(embeddings), np.asarray(cannot, np.int64).reshape(-1, 2)
    near = nearest(x, NEIGHBOURS, pairs)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    codes = np.unique(both[:, 0] * len(x) + both[:, 1])
    even, scale = cut.near + EVEN * (cut.far - cut.near), max(cut.far - cut.near, 1e-3)
    weight = expit(STEEPNESS * (even - near.distance) / scale)  # 0 where there is no row
    weight[_against_nearer(near.row, codes, len(x))] = 0.0
    drawn = np.empty(x.shape, np.float32)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        sums = x[rows] + np.einsum("nk,nkd->nd", weight[rows], x[near.row[rows]].astype(np.float64))
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        drawn[rows] = sums / np.where(length > 0, length, 1.0)
    return drawn


def _against_nearer(nearest: NDArray[np.int64], codes: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """(N, k) the neighbours that are two people with a nearer one that counts: of these a row can only be the one.

    Args:
        codes: sorted, row * count + other of each cannot-linked pair, both ways.
    """
    against = np.zeros(nearest.shape, bool)
    if len(codes):
        for later in range(nearest.shape[1]):
            for nearer in range(later):
                code = nearest[:, nearer] * count + nearest[:, later]
                place = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
                against[:, later] |= ~against[:, nearer] & (codes[place] == code)
    return against
