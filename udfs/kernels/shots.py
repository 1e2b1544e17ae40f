"""Shots of a film: cuts by PySceneDetect, and threads of shots that return to one camera set-up.

A film is scanned in ranges (`scan`), so that a long one is not one task's work; `join_shots` puts the ranges together.
Each range is scanned from `SCAN_LEAD_S` before its start, because a detector needs a few frames to settle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from udfs.kernels.video import Frame

SCAN_WIDTH = 256  # PySceneDetect's own working size; wider finds no more cuts
SCAN_LEAD_S = 2.0
SIGNATURE = (16, 9)  # columns, rows of the picture that stands for a camera set-up
FLAT = 4.0  # grey levels; frames with less contrast (black, white) look alike and say nothing


class Scan(NamedTuple):
    """What was seen in one range [start, end) of a film.

    frame: (c,) int32, first frame of each shot that begins in the range; the range's own first frame is among them.
    opens: (c, 432) uint8, signature of that frame. closes: (c, 432) uint8, of the frame before it (the previous shot's
    last; for the range's first frame, itself). last: (432,) uint8, signature of the range's last frame.
    """

    frame: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    last: np.ndarray


class Shots(NamedTuple):
    """Shots of one film in order: start, end (s,) int32, half-open frames; thread (s,) int32, index of its first shot."""

    start: np.ndarray
    end: np.ndarray
    thread: np.ndarray


def scan(frames: Iterable[Frame], start: int, fps: float, threshold: float, min_shot_s: float) -> Scan:
    """Find the cuts in the frames of one range; frames before `start` only lead in.

    Returns an empty Scan where no frame decodes. The source of the rule is PySceneDetect's AdaptiveDetector: a frame
    whose content changes `threshold` times more than its four neighbours'.
    """
    detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=max(1, round(min_shot_s * fps)))
    cuts: list[int] = []
    seen: dict[int, np.ndarray] = {}
    before: dict[int, int] = {}
    previous = None
    for number, image in frames:
        cuts += [cut.frame_num for cut in detector.process_frame(FrameTimecode(number, fps), image)]
        if number >= start - 1:
            seen[number] = signature(image)
            before[number] = number if previous is None else previous
            previous = number
    inside = sorted(number for number in seen if number >= start)
    if not inside:
        empty = np.zeros((0, 3 * SIGNATURE[0] * SIGNATURE[1]), np.uint8)
        return Scan(np.zeros(0, np.int32), empty, empty, np.zeros(empty.shape[1], np.uint8))
    firsts = [inside[0], *sorted({cut for cut in cuts if cut > inside[0]})]
    return Scan(
        np.array(firsts, np.int32),
        np.array([seen[first] for first in firsts]),
        np.array([seen[before[first]] for first in firsts]),
        seen[inside[-1]],
    )


def signature(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (432,) uint8: the picture shrunk to 16 x 9, blurred by area."""
    return cv2.resize(image, SIGNATURE, interpolation=cv2.INTER_AREA).reshape(-1)


def join_shots(scans: list[tuple[int, Scan]], n_frames: int, min_shot_frames: int, back: int, distance: float) -> Shots:
    """Shots of a film from its scanned ranges.

    Args:
        scans: (first frame of the range, what was seen), in order.
        n_frames: frames of the film; the shots cover them all, without gaps.
        min_shot_frames: a shot shorter than this joins the one before it.
        back, distance: see `threads`.
    Returns:
        No shots for a film without frames; one for a film in which nothing decoded.
    """
    if n_frames == 0:
        nothing = np.zeros(0, np.int32)
        return Shots(nothing, nothing, nothing)
    seen = [(start, found) for start, found in scans if len(found.frame)]
    cuts: list[tuple[int, np.ndarray, np.ndarray]] = []  # first frame, the frame before it, the frame itself
    for start, found in seen:
        for i, first in enumerate(found.frame.tolist()):
            real = first > start if start > 0 else True
            if real and (not cuts or first - cuts[-1][0] >= min_shot_frames):
                cuts.append((first if cuts else 0, found.closes[i], found.opens[i]))
    if not cuts:
        return Shots(np.zeros(1, np.int32), np.array([n_frames], np.int32), np.zeros(1, np.int32))
    first_frames = np.array([first for first, _, _ in cuts], np.int32)
    opens = np.array([opened for _, _, opened in cuts])
    closes = np.array([closed for _, closed, _ in cuts[1:]] + [seen[-1][1].last])
    ends = np.append(first_frames[1:], n_frames).astype(np.int32)
    return Shots(first_frames, ends, threads(opens, closes, back, distance))


def threads(opens: np.ndarray, closes: np.ndarray, back: int, distance: float) -> np.ndarray:
    """Which shots return to one camera set-up: a shot joins the one of the last `back` whose frames look most like it.

    Args:
        opens, closes: (s, n) uint8 signatures of each shot's first and last frame.
        distance: largest `1 - correlation` of the shot's first frame and the earlier one's first or last frame. The
            correlation does not see exposure; people who moved change it less than another camera does.
    Returns:
        (s,) int32: the first shot of its thread; its own index where it joins none.
    """
    first, last = _standardised(opens), _standardised(closes)
    thread = np.arange(len(opens), dtype=np.int32)
    for shot in range(1, len(opens)):
        earlier = np.arange(max(0, shot - back), shot)
        if len(earlier) == 0:
            continue
        apart = 1 - np.maximum(first[earlier] @ first[shot], last[earlier] @ first[shot])
        nearest = int(np.argmin(np.round(apart, 6)[::-1]))  # the latest of equals
        if apart[::-1][nearest] <= distance:
            thread[shot] = thread[earlier[::-1][nearest]]
    return thread


def _standardised(signatures: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; flat pictures become zeros, so that they correlate with nothing."""
    values = signatures.astype(np.float64)
    values = values - values.mean(axis=1, keepdims=True)
    flat = values.std(axis=1, keepdims=True) < FLAT
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(flat, 0.0, values / np.maximum(length, 1e-12))
