"""What a track's nearest tracks say: embeddings drawn to those of likely the same person, and links that they doubt."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from udfs.kernels.cluster.nearest import nearest
from udfs.kernels.cluster.odds import Odds
from udfs.kernels.rows import distances_of

NEIGHBOURS = 10
TEMPER, STRICTNESS = 0.7, 3.1
KNOWN_BY, AS_ONE = 4.0, 0.3
_BLOCK = 1024  # rows whose neighbours are held at a time


class Smoothed(NamedTuple):
    """Rows drawn to their neighbours.

    Attributes:
        rows: (T, D) float32 unit rows.
        weight: (T,) what a row's neighbours weigh together, where it weighs 1 itself.
    """

    rows: NDArray[np.float32]
    weight: NDArray[np.float64]


def smooth_by_neighbours(
    embeddings: NDArray[np.floating],
    cannot: NDArray[np.integer],
    odds: Odds,
    exclusive: bool = True,
    drawing: NDArray[np.bool_] | None = None,
) -> Smoothed:
    """Each row's unit mean with its nearest rows, each weighed by how likely it is the same person.

    The row itself weighs 1, its 10 nearest by a logistic of 0.7 times their log odds, less 3.1: so a neighbour counts
    half where it is some 80 times as likely the same person as not, and one that is as likely not hardly counts. (The
    odds are tempered, since ten tracks of one person are not ten witnesses.) So people of few tracks, whose nearest
    rows are strangers, do not move. A blurred or turned face is near a few others of its person, if not all; its mean
    with them is nearer to all. Not from the papers: image retrieval calls it database-side augmentation. The numbers
    were picked on short real films and on composite titles of one half of the people; tests/bench/RESULTS.md says what
    happens beside them.

    Args:
        embeddings: (T, D) finite unit rows.
        cannot: (P, 2) row indices of pairs that are two people; neither counts for the other.
        odds: of the title, see `odds.fit_odds`.
        exclusive: of two cannot-linked rows that are among a third row's neighbours, only the nearer counts for it.
        drawing: (T,) the rows that others are drawn to; all where it is None.

    Returns:
        T = 0 and T = 1 come back as they are. Of equally near rows the first count. Cost that of `nearest`.

    Raises:
        ValueError: links outside of the rows.
    """
    x, pairs = np.asarray(embeddings), np.asarray(cannot, np.int64).reshape(-1, 2)
    near = nearest(x, NEIGHBOURS, pairs, among=drawing)
    weight = np.where(near.row >= 0, expit(TEMPER * odds.log_odds(near.distance) - STRICTNESS), 0.0)
    if exclusive:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        weight[_cannot_link_nearer(near.row, np.unique(both[:, 0] * len(x) + both[:, 1]), len(x))] = 0.0
    smoothed = np.empty(x.shape, np.float32)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        sums = x[rows] + np.einsum("nk,nkd->nd", weight[rows], x[near.row[rows]].astype(np.float64))
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        smoothed[rows] = sums / np.where(length > 0, length, 1.0)
    return Smoothed(smoothed, weight.sum(axis=1))


def find_doubted(embeddings: NDArray[np.floating], cannot: NDArray[np.integer], odds: Odds) -> NDArray[np.bool_]:
    """(P,) which cannot-links are more likely wrong than right: a mirror, a screen, a photograph, a split picture.

    Two tracks in one frame are two people but for such cases, and small or dark faces of two people can be as like each
    other as one person's. So the two alone are not asked, but who knows them: a link is doubted where both ends have
    neighbours enough (weight 4 or more in `smooth_by_neighbours`) and, drawn to them but not to each other, lie within
    three tenths of where two people lie. Where people have few tracks, every link is obeyed. On composite titles with
    10 % wrong links this finds 6 of 10 wrong ones and takes 2 of 1,000 true ones for wrong, in adapted embeddings; in
    raw ones 3 of 10 and 1 of 100.

    Args:
        embeddings: (T, D) finite unit rows. cannot: (P, 2) row indices. odds: of the title.
    """
    pairs = np.asarray(cannot, np.int64).reshape(-1, 2)
    if not len(pairs):
        return np.zeros(0, bool)
    smoothed = smooth_by_neighbours(embeddings, pairs, odds, exclusive=False)
    distance = np.round(distances_of(smoothed.rows, pairs), 6)
    known = smoothed.weight[pairs].min(axis=1) >= KNOWN_BY
    return np.asarray(known & (distance < AS_ONE * odds.different.mean))


def _cannot_link_nearer(nearest: NDArray[np.int64], codes: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """(N, k) the neighbours that are two people with a nearer one that counts: of these a row can only be the one.

    Args:
        codes: sorted, row * count + other of each cannot-linked pair, both ways.
    """
    cannot_linked = np.zeros(nearest.shape, bool)
    if len(codes):
        for later in range(nearest.shape[1]):
            for nearer in range(later):
                code = nearest[:, nearer] * count + nearest[:, later]
                place = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
                cannot_linked[:, later] |= ~cannot_linked[:, nearer] & (codes[place] == code)
    return cannot_linked
