"""Which faces of a track train."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_faces(
    track_id: NDArray[np.integer], frame: NDArray[np.integer], embedding: NDArray[np.floating], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """n faces of every track, evenly spread over its faces in frame order, the first and the last among them.

    Args:
        track_id, frame: (F,) ints, embedded faces in any order.
        embedding: (F, D) float32, rows of any length above 0.
        n: 2 or more; a track of fewer faces gives some of them more than once.
    Returns:
        (T,) int64 track ids, ascending, and (T, n, D) float32 unit rows.
    """
    order = np.lexsort((frame, track_id))
    tracks, start, count = np.unique(track_id[order], return_index=True, return_counts=True)
    place = np.rint(np.linspace(0, 1, n)[None] * (count[:, None] - 1)).astype(np.intp)
    chosen = embedding[order[start[:, None] + place]].astype(np.float32)
    return tracks.astype(np.int64), chosen / np.linalg.norm(chosen, axis=2, keepdims=True)
