"""Tracking of faces inside one shot: a Kalman filter, overlap and appearance, in the two passes of ByteTrack.

Strong detections are matched first, by overlap with where the filter expects a face or, after a jump, by looks; weak
detections may then only continue a track, never start one (Zhang et al., ByteTrack, 2022; the box state and the fused
cost follow Aharon et al., BoT-SORT, 2022). Own code because the kept library of this family needs NumPy 2.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from udfs.kernels.boxes import iou

APPEARANCE_SIDE = 8
# Cosine of two looks. Over 0.9 it is the same crop a moment later; people who are not the same stay mostly below 0.7.
SAME_LOOK = 0.85
MAX_COST = 0.8  # strong pass: overlap of at least 0.2, or the same look nearby
WEAK_OVERLAP = 0.5
JUMP = 1.5  # a face may reappear this many face sizes from where it was expected, if it looks the same

# Standard deviations of the filter, as shares of the face's size: of a measured box, and of speed changes per frame.
MEASURED, MOVED, SPED = 0.05, 0.05, 0.00625


class Tracked(NamedTuple):
    """Tracks of one shot, one row a box, ordered by track and frame.

    Attributes:
        track: (n,) int32, numbered from 0 in order of first detection.
        frame: (n,) int32.
        detection: (n,) int32, row of the detections given to the tracker, -1 where bridged.
        box: (n, 4) float32, x, y, w, h.
    """

    track: NDArray[np.integer]
    frame: NDArray[np.integer]
    detection: NDArray[np.integer]
    box: NDArray[np.floating]


class ShotTracker:
    """Follows the faces of one shot, frame by frame; `step` in order of frames, then `finish`.

    Args:
        min_score: a detection below it continues a track at most. max_gap: frames a face may be missed.
    """

    def __init__(self, min_score: float, max_gap: int):
        self._min_score = min_score
        self._max_gap = max_gap
        self._mean = np.zeros((0, 8))
        self._spread = np.zeros((0, 8, 8))
        self._look = np.zeros((0, 0), np.float32)
        self._ids = np.zeros(0, np.int32)
        self._last_seen = np.zeros(0, np.int64)
        self._frame = -1
        self._seen: list[tuple[int, int, int, NDArray[np.float64]]] = []  # track, frame, detection, box
        self._count = 0

    def step(
        self, frame: int, boxes: NDArray[np.floating], scores: NDArray[np.floating], looks: NDArray[np.floating]
    ) -> NDArray[np.int32]:
        """Match the detections of one frame.

        Args:
            boxes: (n, 4) float32 x y w h. scores: (n,). looks: (n, k) float32 from `describe_appearance`.
        Returns:
            (n,) int32: the track each detection belongs to, -1 where it was too weak to start one.
        """
        if frame <= self._frame:
            raise ValueError(f"frames must ascend: {frame} after {self._frame}")
        self._keep(frame - self._last_seen <= self._max_gap + 1)
        self._predict(frame - self._frame if self._frame >= 0 else 1)
        self._frame = frame
        track = np.full(len(boxes), -1, np.int32)
        strong, weak = np.flatnonzero(scores >= self._min_score), np.flatnonzero(scores < self._min_score)
        taken = self._match(boxes, looks, strong, self._strong_cost(boxes[strong], looks[strong]), MAX_COST)
        overlap = iou(self._boxes(), boxes[weak])
        overlap[taken[0]] = 0
        also = self._match(boxes, looks, weak, 1 - overlap, 1 - WEAK_OVERLAP)
        for rows, detections in (taken, also):
            track[detections] = self._ids[rows]
            self._last_seen[rows] = frame
            self._update(rows, boxes[detections])
            self._look[rows] = looks[detections] if len(rows) else self._look[rows]
        fresh = strong[track[strong] < 0]
        track[fresh] = self._start(frame, boxes[fresh], looks[fresh])
        self._seen += [(int(track[i]), frame, i, boxes[i]) for i in range(len(boxes)) if track[i] >= 0]
        return track

    def finish(self, offsets: dict[int, int]) -> Tracked:
        """All tracks with the boxes bridged between their detections, in a straight line.

        Args:
            offsets: for each stepped frame, what to add to a detection's place in its frame to name it in the shot.
        """
        if not self._seen:
            nothing = np.zeros(0, np.int32)
            return Tracked(nothing, nothing, nothing, np.zeros((0, 4), np.float32))
        track = np.array([seen[0] for seen in self._seen], np.int32)
        frame = np.array([seen[1] for seen in self._seen], np.int32)
        detection = np.array([offsets[f] + i for _, f, i, _ in self._seen], np.int32)
        box = np.array([seen[3] for seen in self._seen], np.float32)
        order = np.lexsort((frame, track))
        return _bridge_gaps(track[order], frame[order], detection[order], box[order])

    def _strong_cost(self, boxes: NDArray[np.floating], looks: NDArray[np.floating]) -> NDArray[np.float64]:
        expected = self._boxes()
        if not len(expected) or not len(boxes):
            return np.ones((len(expected), len(boxes)))
        distance = np.linalg.norm(_centres(expected)[:, None] - _centres(boxes)[None], axis=2)
        size = np.sqrt(np.maximum(expected[:, 2] * expected[:, 3], 1))[:, None]
        bigger = np.sqrt(boxes[:, 2] * boxes[:, 3])[None] / size
        alike = self._look @ looks.T
        near = (distance < JUMP * size) & (bigger > 0.5) & (bigger < 2) & (alike > SAME_LOOK)
        by_look = np.where(near, MAX_COST - 0.5 * (alike - SAME_LOOK), 1.0)
        return np.minimum(1 - iou(expected, boxes), by_look)

    def _match(
        self,
        boxes: NDArray[np.floating],
        looks: NDArray[np.floating],
        detections: NDArray[np.integer],
        cost: NDArray[np.floating],
        limit: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, columns = linear_sum_assignment(np.where(cost > limit, 1e3, cost))
        good = cost[rows, columns] <= limit
        return rows[good], detections[columns[good]]

    def _start(self, frame: int, boxes: NDArray[np.floating], looks: NDArray[np.floating]) -> NDArray[np.int32]:
        ids = np.arange(self._count, self._count + len(boxes), dtype=np.int32)
        if not len(boxes):
            return ids
        self._count += len(boxes)
        state = np.zeros((len(boxes), 8))
        state[:, :4] = _to_state(boxes)
        size = np.sqrt(boxes[:, 2] * boxes[:, 3])[:, None]
        spread = np.repeat(np.array([[2 * MEASURED] * 4 + [10 * SPED] * 4]), len(boxes), 0) * size
        self._mean = np.concatenate([self._mean, state])
        self._spread = np.concatenate([self._spread, np.apply_along_axis(np.diag, 1, spread**2)])
        self._look = np.concatenate([self._look, looks]) if self._look.size else looks.astype(np.float32)
        self._ids = np.concatenate([self._ids, ids])
        self._last_seen = np.concatenate([self._last_seen, np.full(len(boxes), frame)])
        return ids

    def _keep(self, alive: NDArray[np.bool_]) -> None:
        self._mean, self._spread, self._ids = self._mean[alive], self._spread[alive], self._ids[alive]
        self._last_seen = self._last_seen[alive]
        self._look = self._look[alive] if self._look.size else self._look

    def _predict(self, frames: int) -> None:
        """Move every face by its speed; the longer the step, the less is known."""
        move = np.eye(8)
        move[:4, 4:] = frames * np.eye(4)
        size = np.sqrt(np.maximum(self._mean[:, 2] * self._mean[:, 3], 1))[:, None]
        noise = np.repeat(np.array([[MOVED] * 4 + [SPED] * 4]), len(size), 0) * size
        self._mean = self._mean @ move.T
        self._spread = move @ self._spread @ move.T + frames * noise[:, :, None] ** 2 * np.eye(8)

    def _update(self, rows: NDArray[np.integer], boxes: NDArray[np.floating]) -> None:
        if not len(rows):
            return
        spread, size = self._spread[rows], np.sqrt(boxes[:, 2] * boxes[:, 3])
        innovation = spread[:, :4, :4] + (MEASURED * size)[:, None, None] ** 2 * np.eye(4)
        gain = np.linalg.solve(innovation, spread[:, :4]).transpose(0, 2, 1)  # (n, 8, 4)
        error = _to_state(boxes) - self._mean[rows, :4]
        self._mean[rows] += (gain @ error[:, :, None])[:, :, 0]
        self._spread[rows] = spread - gain @ spread[:, :4]

    def _boxes(self) -> NDArray[np.float64]:
        centre, size = self._mean[:, :2], np.maximum(self._mean[:, 2:4], 1)
        return np.concatenate([centre - size / 2, size], axis=1)


def describe_appearance(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 112, 112, 3) uint8 aligned crops -> (n, 192) float32 unit rows: the crop shrunk to 8 x 8, without its mean.

    Cheap, and enough to tell people apart for a second inside one shot; who they are is the embedder's business.
    """
    side = APPEARANCE_SIDE
    small = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA).reshape(-1) for crop in crops]
    values = np.array(small, np.float32).reshape(len(crops), 3 * side * side)
    values = values - values.mean(axis=1, keepdims=True) if len(values) else values
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def _bridge_gaps(
    track: NDArray[np.integer], frame: NDArray[np.integer], detection: NDArray[np.integer], box: NDArray[np.floating]
) -> Tracked:
    """Fill the frames between two detections of a track; rows ordered by track, then frame."""
    gap = np.where(np.append(track[1:] == track[:-1], False), np.append(frame[1:], 0) - frame, 1)
    row = np.repeat(np.arange(len(track)), gap)
    step = np.arange(len(row)) - np.repeat(np.cumsum(gap) - gap, gap)
    share = (step / np.repeat(gap, gap))[:, None]
    after = np.minimum(row + 1, len(track) - 1)
    return Tracked(
        track[row],
        (frame[row] + step).astype(np.int32),
        np.where(step == 0, detection[row], -1).astype(np.int32),
        np.where(step[:, None] == 0, box[row], box[row] * (1 - share) + box[after] * share).astype(np.float32),
    )


def _centres(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    return boxes[:, :2] + boxes[:, 2:] / 2


def _to_state(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.concatenate([_centres(boxes), boxes[:, 2:]], axis=1).astype(np.float64)
