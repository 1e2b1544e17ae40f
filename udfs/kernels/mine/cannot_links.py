"""Who cannot be the same person: tracks of one title that are seen in one frame.

Source: the co-occurrence rule of MvCorr (Somandepalli et al., 2021, section III-B).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.boxes import iou_by_pair


@dataclass(frozen=True, eq=False)
class PairsSeen:
    """Pairs of tracks seen in one frame, sorted by (track_a, track_b), each pair once with track_a < track_b."""

    track_a: NDArray[np.int64]  # (L,) int64
    track_b: NDArray[np.int64]  # (L,) int64
    shared_frames: NDArray[np.int32]  # (L,) int32, frames in which both are detected, 1 or more
    first_frame: NDArray[np.int32]  # (L,) int32, the first of them


@dataclass(frozen=True, eq=False)
class CannotLinks(PairsSeen):
    """Pairs that are two people, and beside them the pairs that are more likely one face detected twice."""

    duplicates: PairsSeen


def find_cannot_links(
    track_id: NDArray[np.integer], frame: NDArray[np.integer], box: NDArray[np.floating], *, duplicate_iou: float
) -> CannotLinks:
    """Every pair of tracks of one title seen together in at least one frame.

    A pair whose boxes overlap with IoU > `duplicate_iou` in any shared frame is one face detected twice: it is no
    cannot-link and is returned under `duplicates` instead. The 1 s and 0.25 s rules are not applied here.

    Args:
        track_id: (F,) int64.
        frame: (F,) int32. Rows are real detections only, never bridged boxes; in any order.
        box: (F, 4) float32, x, y, width, height in pixels. A box with a NaN overlaps nothing.
        duplicate_iou: 0 to 1.
    Returns:
        The links; no rows where no two tracks meet, or F = 0. The row order of the input has no influence.
    Raises:
        ValueError: unequal lengths, or a track twice in one frame.

    One sweep over the frames: with P = sum over frames of n(n-1)/2 for n faces in a frame, time is
    O(F log F + P log P) and memory O(F + P). Tracks that never meet cost nothing.
    """
    if not len(track_id) == len(frame) == len(box):
        raise ValueError(f"{len(track_id)} track ids, {len(frame)} frames and {len(box)} boxes: one of each per face")
    order = np.lexsort((track_id, frame))
    track_id, frame, box = track_id[order], frame[order], box[order]
    if np.any((np.diff(frame) == 0) & (np.diff(track_id) == 0)):
        raise ValueError("a track has two detections in one frame; faces are unique by (track_id, frame)")

    ids, number = np.unique(track_id, return_inverse=True)
    pairs, frames, overlaps = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0)]
    for left, right in _rows_in_one_frame(frame):
        pairs.append(number[left] * len(ids) + number[right])
        frames.append(frame[left].astype(np.int32))
        overlaps.append(iou_by_pair(box[left], box[right]))
    pair = np.concatenate(pairs)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    first, second = np.divmod(pair[starts], max(len(ids), 1))
    seen = PairsSeen(
        ids[first].astype(np.int64),
        ids[second].astype(np.int64),
        np.diff(starts, append=len(pair)).astype(np.int32),
        np.minimum.reduceat(np.concatenate(frames)[order], starts),
    )
    twice = np.fmax.reduceat(np.concatenate(overlaps)[order], starts) > duplicate_iou
    return CannotLinks(**vars(_where(seen, ~twice)), duplicates=_where(seen, twice))


def _where(pairs: PairsSeen, mask: NDArray[np.bool_]) -> PairsSeen:
    return PairsSeen(*(column[mask] for column in vars(pairs).values()))


def _rows_in_one_frame(frame: NDArray[np.integer]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of rows left < right with equal frame, those at distance 1 first; `frame` is sorted."""
    for distance in range(1, len(frame)):
        left = np.flatnonzero(frame[:-distance] == frame[distance:])
        if not len(left):  # so no frame holds more than `distance` rows
            return
        yield left, left + distance
