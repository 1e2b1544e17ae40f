"""Shots of a film: cuts by PySceneDetect, and threads of shots that return to one camera set-up.

A film is scanned in ranges (`scan_range`), so that a long one is not one task's work; `join_shots` joins them.
Each range is scanned from `SCAN_LEAD` frames before its start: whether there is a cut shows in the frames around it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from udfs.kernels.harvest.video import Frame

SCAN_WIDTH = 256  # PySceneDetect's own working size; wider finds no more cuts
SCAN_LEAD = 5  # frames: as many as the detector looks at
RATE = 25.0  # the detector wants to know one; no result depends on it
SIGNATURE = (16, 9)  # columns, rows of the picture that stands for a camera set-up
FLAT = 4.0  # grey levels; frames with less contrast (black, white) look alike and say nothing


class Scan(NamedTuple):
    """What was seen in one range [start, end) of a film; no rows where none of its frames decodes.

    Attributes:
        frame: (c,) int32, the range's first frame that decodes, then the first frame of each shot whose cut shows in
            the range. A cut shows two frames after it happens, so the first may lie just before the range, never twice.
        opens: (c, 432) uint8, signature of that frame.
        closes: (c, 432) uint8, of the frame before it (the previous shot's last).
        last: (432,) uint8, of the range's last frame.
    """

    frame: NDArray[np.int32]
    opens: NDArray[np.uint8]
    closes: NDArray[np.uint8]
    last: NDArray[np.uint8]


class Shots(NamedTuple):
    """Shots of one film, in order.

    Attributes:
        start, end: (s,) int32, frames.
        thread: (s,) int32, index of the first shot of its thread.
    """

    start: NDArray[np.int32]
    end: NDArray[np.int32]
    thread: NDArray[np.int32]


def scan_range(frames: Iterable[Frame], start: int, threshold: float) -> Scan:
    """Find the cuts in the frames of one range; frames before `start` only lead in.

    The source of the rule is PySceneDetect's AdaptiveDetector: a frame whose content changes `threshold` times more
    than its four neighbours'. It looks at nothing else, so ranges find what a scan of the whole film would: the
    shortest shot is left to `join_shots`, which sees all cuts.
    """
    detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=0)
    cuts: list[int] = []
    numbers: list[int] = []
    signatures: list[NDArray[np.uint8]] = []
    for number, image in frames:
        numbers.append(number)
        signatures.append(compute_signature(image))
        shown = detector.process_frame(FrameTimecode(number, RATE), image)
        cuts += [cut.frame_num for cut in shown if number >= start]
    first = bisect_left(numbers, start)
    if first == len(numbers):
        empty = np.zeros((0, 3 * SIGNATURE[0] * SIGNATURE[1]), np.uint8)
        return Scan(np.zeros(0, np.int32), empty, empty, np.zeros(empty.shape[1], np.uint8))
    opening = np.array([first, *(numbers.index(cut) for cut in cuts)])
    seen = np.array(signatures)
    return Scan(np.array(numbers, np.int32)[opening], seen[opening], seen[np.maximum(opening - 1, 0)], seen[-1])


def compute_signature(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> (432,) uint8: the picture shrunk to 16 x 9, blurred by area."""
    return cv2.resize(image, SIGNATURE, interpolation=cv2.INTER_AREA).reshape(-1)


def join_shots(scans: list[tuple[int, Scan]], n_frames: int, min_shot_frames: int, back: int, distance: float) -> Shots:
    """Shots of a film from its scanned ranges.

    Args:
        scans: (first frame of the range, what was seen), in order, each range scanned once.
        n_frames: frames of the film; the shots cover them all, without gaps.
        min_shot_frames: a shot shorter than this joins the one before it, the first one the one behind it.
        back, distance: see `find_threads`.
    Returns:
        No shots for a film without frames; one for a film in which nothing decoded.
    """
    if n_frames == 0:
        nothing = np.zeros(0, np.int32)
        return Shots(nothing, nothing, nothing)
    seen = [found for _, found in scans if len(found.frame)]
    if not seen:
        return Shots(np.zeros(1, np.int32), np.array([n_frames], np.int32), np.zeros(1, np.int32))
    kept = [(0, seen[0].opens[0], seen[0].closes[0])]  # first frame of a shot, its signature, that of the one before it
    for found in seen:
        for first, opened, closed in zip(found.frame[1:].tolist(), found.opens[1:], found.closes[1:], strict=True):
            if min(first - kept[-1][0], n_frames - first) >= min_shot_frames:
                kept.append((first, opened, closed))
    first_frames, opens, closes = (np.array(column) for column in zip(*kept, strict=True))
    starts = first_frames.astype(np.int32)
    ends = np.append(starts[1:], n_frames).astype(np.int32)
    return Shots(starts, ends, find_threads(opens, np.vstack([closes[1:], seen[-1].last]), back, distance))


def find_threads(opens: NDArray[np.uint8], closes: NDArray[np.uint8], back: int, distance: float) -> NDArray[np.int32]:
    """Which shots return to one camera set-up: a shot joins the one of the last `back` whose frames look most like it.

    Args:
        opens, closes: (s, n) uint8 signatures of each shot's first and last frame.
        distance: largest `1 - correlation` of the shot's first frame and the earlier one's first or last frame. The
            correlation does not see exposure; people who moved change it less than another camera does.
    Returns:
        (s,) int32, the thread_id: the first shot of its thread; its own index where it joins none.
    """
    first, last = _standardise(opens), _standardise(closes)
    thread = np.arange(len(opens), dtype=np.int32)
    for shot in range(1, len(opens)):
        earlier = np.arange(max(0, shot - back), shot)
        if len(earlier) == 0:
            continue
        distances = 1 - np.maximum(first[earlier] @ first[shot], last[earlier] @ first[shot])
        nearest = int(np.argmin(np.round(distances, 6)[::-1]))  # the latest of equals
        if distances[::-1][nearest] <= distance:
            thread[shot] = thread[earlier[::-1][nearest]]
    return thread


def _standardise(signatures: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Rows of mean 0 and length 1; flat pictures become zeros, so that they correlate with nothing."""
    values = signatures.astype(np.float64)
    values = values - values.mean(axis=1, keepdims=True)
    flat = values.std(axis=1, keepdims=True) < FLAT
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(flat, 0.0, values / np.maximum(length, 1e-12))
