"""Boxes of faces, x y w h in pixels, and how much they overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOX = ["x", "y", "w", "h"]


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Overlap of every box of `a` (n, 4) with every one of `b` (m, 4), x y w h -> (n, m) float64 in [0, 1]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    both = np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - shared
    return shared / np.maximum(both, 1e-9)


def iou_by_pair(box_a: NDArray[np.floating], box_b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union, row by row.

    Args:
        box_a, box_b: (P, 4) x, y, width, height in pixels.
    Returns:
        (P,) float64, 0 to 1; 0 where both boxes are empty, NaN where a box holds a NaN.
    """
    a, b = np.asarray(box_a, np.float64), np.asarray(box_b, np.float64)
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    either = np.prod(a[:, 2:], axis=1) + np.prod(b[:, 2:], axis=1) - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either != 0)


def find_overlapping(
    true_frame: NDArray[np.integer],
    true_box: NDArray[np.floating],
    frame: NDArray[np.integer],
    box: NDArray[np.floating],
    match_iou: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of a true box and a face of one frame that overlap enough: their rows and their overlap."""
    order = np.argsort(frame, kind="stable")
    start, end = (np.searchsorted(frame[order], true_frame, side=side) for side in ("left", "right"))
    truth = np.repeat(np.arange(len(true_frame)), end - start)
    place = np.arange(len(truth)) - np.repeat(np.cumsum(end - start) - (end - start), end - start)
    face = order[np.repeat(start, end - start) + place]
    overlap = iou_by_pair(true_box[truth], box[face])
    enough = overlap >= match_iou
    return truth[enough], face[enough], overlap[enough]
