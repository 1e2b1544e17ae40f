"""Boxes, slowly."""

from __future__ import annotations

import numpy as np

FAR_APART = 1000.0  # pixels between the boxes of two tracks that are not meant to overlap


def detections(frames_of: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows for `cannot_links`: each track in its frames, at its own place."""
    rows = [(track, frame) for track, frames in frames_of.items() for frame in frames]
    track_id = np.array([track for track, _ in rows], np.int64)
    boxes = [[FAR_APART * track, 0, 50, 50] for track, _ in rows]
    return track_id, np.array([frame for _, frame in rows], np.int32), np.array(boxes, np.float32).reshape(-1, 4)


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.tolist(), b.tolist()
    wide, high = min(ax + aw, bx + bw) - max(ax, bx), min(ay + ah, by + bh) - max(ay, by)
    shared = max(wide, 0.0) * max(high, 0.0)
    either = aw * ah + bw * bh - shared
    return shared / either if either else 0.0
