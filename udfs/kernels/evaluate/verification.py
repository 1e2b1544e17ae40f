"""Whether two tracks show one person, by the distance of their embeddings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FPR = (0.001, 0.01, 0.1)


def verify_tracks(embeddings: NDArray[np.floating], true: Sequence | NDArray) -> dict[str, float]:
    """How well one distance tells the pairs of a title's tracks apart (MvCorr, V-A): all pairs, cosine of unit rows.

    Args:
        embeddings: (T, D) finite unit rows. true: (T,) labels.

    Returns:
        auc, and the true positive rate at a false positive rate of 0.1, 1 and 10 %, linear between the points of the
        ROC: tpr_at_fpr_0.001, tpr_at_fpr_0.01, tpr_at_fpr_0.1. NaN throughout where all pairs are of one kind. Memory
        and time O(T^2).
    """
    label = np.unique(np.asarray(true), return_inverse=True)[1]
    a, b = np.triu_indices(len(label), 1)
    x = np.asarray(embeddings, np.float64)
    cosine, same = np.round((x @ x.T)[a, b], 9), label[a] == label[b]
    order = np.argsort(-cosine, kind="stable")
    last = np.flatnonzero(np.diff(cosine[order], append=-np.inf))  # of each run of equal scores
    return read_roc(np.cumsum(same[order])[last], np.cumsum(~same[order])[last])


def read_roc(hits: NDArray[np.integer], false_alarms: NDArray[np.integer]) -> dict[str, float]:
    """The figures of `verify_tracks`, of pairs that are taken for one person at ever laxer thresholds.

    Args:
        hits, false_alarms: (N,) pairs of one person, and of two, that are taken for one at each; all at the last.
    """
    names = ["auc", *(f"tpr_at_fpr_{fpr:g}" for fpr in FPR)]
    if not len(hits) or not hits[-1] or not false_alarms[-1]:
        return dict.fromkeys(names, float("nan"))
    true, false = (np.concatenate([[0], counts]) / counts[-1] for counts in (hits, false_alarms))
    area = float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())
    return dict(zip(names, [area, *np.interp(FPR, false, true).tolist()], strict=True))
