"""What may train: tracks and cannot-links that are long enough (MvCorr, section III-B)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TrainingRule(NamedTuple):
    """What passes the rule of MvCorr (section III-B); each mask is in the order of its argument."""

    long_enough: NDArray[np.bool_]  # (T,) bool, step 2: the track is long enough
    links: NDArray[np.bool_]  # (L,) bool, step 3: both tracks are long enough and seen together for long enough
    tracks: NDArray[np.bool_]  # (T,) bool, long enough and in at least one passing link


def training_rule(
    track_id: NDArray[np.integer],
    n_faces: NDArray[np.integer],
    track_a: NDArray[np.integer],
    track_b: NDArray[np.integer],
    shared_frames: NDArray[np.integer],
    *,
    detections_per_s: float,
    min_track_s: float,
    min_shared_s: float,
) -> TrainingRule:
    """The paper's choice of tracks and cannot-links for a training snapshot (MvCorr, section III-B).

    The paper counts faces: 24 for a track and 6 shared at 24 fps, every frame detected. With a detection in every
    stride-th frame only, each detection stands for stride / fps seconds, so both lengths stay counts of detections,
    at the rate fps / stride: `ceil(seconds * detections_per_s - 1e-9)` are needed, which gives 24 and 6 for 23.976 fps
    as well. Frames bridged between detections count for nothing: a track of 1 s with a missed detection is too short.

    Args:
        track_id, n_faces: (T,) the tracks of a title and in how many frames each is really detected.
        track_a, track_b, shared_frames: (L,) cannot-links between them and in how many frames both are detected.
        detections_per_s: frame rate / detection stride, more than 0.
        min_track_s, min_shared_s: seconds.
    Returns:
        Masks over the tracks and the links; T = 0 or L = 0 give empty masks.
    Raises:
        ValueError: a link names a track that `track_id` lacks, or the rate is not above 0.
    """
    if not detections_per_s > 0:
        raise ValueError(f"detections_per_s is {detections_per_s}; it must be above 0")
    if not np.isin([track_a, track_b], track_id).all():
        raise ValueError("a cannot-link names a track that is not among the tracks")
    long_enough = n_faces >= _detections_in(min_track_s, detections_per_s)
    survivors = track_id[long_enough]
    links = np.isin(track_a, survivors) & np.isin(track_b, survivors)
    links &= shared_frames >= _detections_in(min_shared_s, detections_per_s)
    partnered = np.isin(track_id, np.concatenate([track_a[links], track_b[links]]))
    return TrainingRule(long_enough, links, partnered)


def _detections_in(seconds: float, detections_per_s: float) -> int:
    return math.ceil(seconds * detections_per_s - 1e-9)
