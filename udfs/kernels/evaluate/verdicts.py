"""A track's verdict: whether its character is the one that its person gets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.evaluate import scoring

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"


def characters_of(tracks: pd.DataFrame) -> NDArray[np.int64]:
    """(T,) character_id, -1 where it is null."""
    return tracks.character_id.astype("float64").fillna(scoring.UNKNOWN).to_numpy(np.int64)


def verdicts(person: NDArray | pd.Series, character: NDArray[np.integer]) -> NDArray[np.object_]:
    """(T,) right, wrong or unknown.

    Args:
        person: (T,) str. character: (T,) int, -1 where it is unknown.
    """
    names = np.array([WRONG, RIGHT], object)[scoring.mark_right(np.asarray(person, str), character).astype(int)]
    names[character == scoring.UNKNOWN] = UNKNOWN
    return names
