"""Which faces of a track train: some every so often, as VideoClusterNet samples them (section 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAME_S = 1e-6  # times are sums of frames' lengths, and not exact


def sample_faces(
    track: NDArray[np.integer], time_s: NDArray[np.floating], good: NDArray[np.bool_], every_s: float, most: int
) -> NDArray[np.bool_]:
    """(F,): the first good face of a track in each stretch of `every_s` seconds from its first good one on, or, where
    these are too many, `most` spread over them. A track of which that is a single one also has its last good face.

    Args:
        track: (F,) ascending. time_s: (F,) ascending within a track. most: 2 at least.
    """
    chosen = np.zeros(len(track), bool)
    rows = np.flatnonzero(good)
    if not len(rows):
        return chosen
    _, first, size = np.unique(track[rows], return_index=True, return_counts=True)
    stretch = np.floor((time_s[rows] - np.repeat(time_s[rows[first]], size) + _SAME_S) / every_s)
    opens = np.r_[True, (np.diff(track[rows]) != 0) | (np.diff(stretch) != 0)]
    last = first + size - 1
    alone = np.add.reduceat(opens, first) == 1
    opens[last[alone]] = True  # of a track of one face that is the same one
    n = np.add.reduceat(opens, first)
    rank = np.cumsum(opens) - 1 - np.repeat(np.cumsum(n) - n, size)
    spread = np.floor(rank * (most - 1) / np.maximum(np.repeat(n, size) - 1, 1))
    before = np.floor((rank - 1) * (most - 1) / np.maximum(np.repeat(n, size) - 1, 1))
    kept = (np.repeat(n, size) <= most) | (spread > before)
    chosen[rows[opens & kept]] = True
    return chosen
