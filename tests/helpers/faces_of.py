"""What methods that go by more than a track's mean are to be told of its faces, in tests that have the means alone."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax

from udfs.kernels.cluster.interface import FaceSets
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.videoclusternet import TrackAnswers


def faces_of(name: str, x: np.ndarray, apart: float, n: int) -> FaceSets | TrackAnswers:
    """Tracks of n faces that lie so far apart, around (T, D) unit rows."""
    if not METHODS[name].by_answers:
        return FaceSets(np.full(len(x), apart), np.full(len(x), n))
    p, log_q = softmax(8 * x.astype(np.float64), axis=1), log_softmax(8 * x.astype(np.float64), axis=1)
    return TrackAnswers(p, log_q, p, log_q, -(p * log_q).sum(axis=1) + apart)
