"""Does an embedding tell people apart? Judged on held-out rows by pairs whose answer mining gave for free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training.adapters import Moved

CLOSE = 0.15  # share of all pairs of one title that count as close: those a clustering would merge first


@dataclass(frozen=True)
class Verification:
    """Areas under the ROC curve of likeness, 0.5 for guessing, 1 for a perfect order.

    Rows are the more alike the nearer they lie; of unit rows that is the order of their cosines.

    Attributes:
        auc: (anchor, hard positive) of one track above (anchor, hard negative).
        close_auc: the closest 15 % of pairs of tracks above (anchor, hard negative). Two tracks are a pair of a title
            that clustering merges early; a space in which every track is alone with its own light and blur has a high
            `auc` and a low `close_auc`. None without hard negatives.
        negatives: hard negatives that were used; 0 means that pairs of other tracks stood in for them in `auc`.
    """

    auc: float
    close_auc: float | None
    negatives: int


def measure_move(
    raw: tuple[NDArray[np.floating], NDArray[np.floating]],
    adapted: tuple[NDArray[np.floating], NDArray[np.floating]],
    has_negative: NDArray[np.bool_],
    title: NDArray[np.integer],
) -> Moved:
    """Compare (views, negative) of the same rows in two spaces; shapes and pairs as in `verify`.

    Returns:
        (0, 1) for pairs of which there are fewer than two, or which all lie equally far apart.
    """
    return measure_change(*(_cosines(*space, has_negative, title) for space in (raw, adapted)))


def _change(old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[float, float]:
    if len(old) < 2 or old.std() == 0:
        return 0.0, 1.0
    return round(float(old.mean() - new.mean()), 6), round(float(new.std() / old.std()), 6)


def _cosines(
    views: NDArray[np.floating],
    negative: NDArray[np.floating],
    has_negative: NDArray[np.bool_],
    title: NDArray[np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines of pairs of one person, and of two people."""
    anchor = views[:, 0].astype(np.float64)
    different = 1 + _likeness(anchor, negative)[has_negative]
    positive = 1 + _likeness(anchor[:, None], views[:, 1:]).ravel()
    return positive, different if len(different) else 1 + _pairs(anchor, title)


def verify(
    views: NDArray[np.floating],
    negative: NDArray[np.floating],
    has_negative: NDArray[np.bool_],
    title: NDArray[np.integer],
) -> Verification:
    """Judge one embedding space.

    Args:
        views: (N, M, D) rows, the anchor first; N >= 2.
        negative: (N, D) rows, used where `has_negative` (N,) says so.
        title: (N,) integers, equal for rows of one title; pairs of tracks are formed inside titles, and across them
            only where no title has two.
    Returns:
        Without any hard negative, `auc` compares with the pairs of different tracks, some of which may be one person.
    Raises:
        ValueError: fewer than two rows.
    """
    if len(views) < 2:
        raise ValueError(f"{len(views)} row(s) make no pair of tracks")
    anchor = views[:, 0].astype(np.float64)
    positive = _likeness(anchor[:, None], views[:, 1:]).ravel()
    return verify_likeness(positive, _likeness(anchor, negative)[has_negative], _pairs(anchor, title))


def verify_likeness(
    positive: NDArray[np.float64], different: NDArray[np.float64], pairs: NDArray[np.float64]
) -> Verification:
    """Judge one embedding space by how alike pairs of one person, of two people and of any two tracks are."""
    if len(different) == 0:
        return Verification(_auc(positive, pairs), None, 0)
    close = np.sort(pairs)[-int(np.ceil(CLOSE * len(pairs))) :]
    return Verification(_auc(positive, different), _auc(close, different), len(different))


def measure_change(
    raw: tuple[NDArray[np.float64], NDArray[np.float64]], adapted: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> Moved:
    """Compare the cosines of (pairs of one person, pairs of two) in two spaces. Returns like `measure_move`."""
    return Moved(*(_change(old, new) for old, new in zip(raw, adapted, strict=True)))


def _pairs(anchor: NDArray[np.float64], title: NDArray[np.integer]) -> NDArray[np.float64]:
    """Likeness of all pairs of rows of one title, titles one after the other; of all rows where no title has two."""
    found = [np.zeros(0, anchor.dtype)]
    for one in np.unique(title):
        rows = anchor[title == one]
        half = (rows**2).sum(axis=1) / 2
        found.append((rows @ rows.T - half[:, None] - half)[np.triu_indices(len(rows), 1)])
    pairs = np.concatenate(found)
    return pairs if len(pairs) or len(anchor) < 2 else _pairs(anchor, np.zeros_like(title))


def _likeness(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Minus half the squared distance of (..., D) rows: of unit rows their cosine, less 1."""
    return -np.square(x.astype(np.float64) - y).sum(axis=-1) / 2


def _auc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    truth = np.repeat([1, 0], [len(higher), len(lower)])
    return float(roc_auc_score(truth, np.concatenate([higher, lower])))
