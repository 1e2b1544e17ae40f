"""From presentation stamps, whatever is wrong with them, to times that ascend. Pure numbers; no film is opened here.

A stamp is an integer count of ticks, or None where a frame has none. Times are seconds from the first frame.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST_STEP = Fraction(1, 25)  # seconds that a single frame is shown for
FASTEST = 300.0  # frames per second
LONG_STEPS = 10  # median steps; no shorter gap is taken for a jump of the clock


class Times(NamedTuple):
    """When each frame is shown.

    Attributes:
        seconds: (n + 1,) float64 from the first frame, ascending; the last one is the end of the last frame.
        jumps: frames before which the clock jumped; their times go on from the frame before.
        origin_s: the first frame's stamp, seconds.
    """

    seconds: NDArray[np.float64]
    jumps: list[int]
    origin_s: float


def spread_stamps(
    stamps: Sequence[int | None], time_base: Fraction, longest_s: float, heard: Container[int] = frozenset()
) -> Times:
    """Times of frames in the order in which they are shown, n >= 1.

    A stamp is believed where it lies behind the last believed one. Where it does not, the frames after it decide:
    where they lie behind too, another recording begins, and its times go on, a median step later; where they do not,
    this one stamp is damage or a repetition, and its frame is put evenly between its neighbours.

    A step of more than `longest_s` and of LONG_STEPS median steps is a jump of the clock, not a frame that was held,
    and counts as one median step; unless sound or subtitles go on meanwhile, since those are laid beside the film.

    Args:
        time_base: seconds a tick.
        longest_s: the longest time for which a frame is believed to be held.
        heard: the seconds of the film's own clock, floor(stamp * time_base), in which other streams have packets.
    """
    step = _median_step(stamps, time_base)
    clock, jumps = _run_on(stamps, step, max(longest_s / time_base, LONG_STEPS * step), time_base, heard)
    frames, known = np.arange(len(clock) + 1), np.flatnonzero(~np.isnan(clock))
    if not len(known):
        return Times(frames * step * float(time_base), jumps, 0.0)
    ticks = np.interp(frames, known, clock[known])
    first, last = int(known[0]), int(known[-1])
    ticks[:first] = (frames[:first] - first) * step
    ticks[last + 1 :] += (frames[last + 1 :] - last) * step
    seconds = (ticks - ticks[0]) * time_base.numerator / time_base.denominator
    return Times(seconds, jumps, float((stamps[first] or 0) * time_base) - float(seconds[first]))


def mean_rate(seconds: NDArray[np.floating]) -> float:
    """Frames per second of a film at these times, (n + 1,), but for what was held longer than two median steps.

    The mean, as whole milliseconds would give 24 frames per second another median; of all steps, where half of them are
    shorter than any camera's. Rounded to 1e-6, so that it reads well; never 0.
    """
    steps = np.diff(seconds)
    middle = float(np.median(steps))
    even = steps[steps <= 2 * middle * (1 + 1e-6)] if middle * FASTEST >= 1 else steps
    return max(round(float(len(even) / even.sum()), 6), 1e-6)


def _median_step(stamps: Sequence[int | None], time_base: Fraction) -> float:
    """In ticks; that of FIRST_STEP where no two stamps ascend."""
    known = [(i, stamp) for i, stamp in enumerate(stamps) if stamp is not None]
    first = known[:1] + [later for one, later in pairwise(known) if later[1] != one[1]]  # of frames with one stamp
    ahead = [(b - a) / (j - i) for (i, a), (j, b) in pairwise(first) if b > a]
    return float(np.median(np.array(ahead, np.float64))) if ahead else float(FIRST_STEP / time_base)


def _run_on(
    stamps: Sequence[int | None], step: float, longest: float, time_base: Fraction, heard: Container[int]
) -> tuple[NDArray[np.float64], list[int]]:
    """(n,) float64 ascending ticks, NaN where a stamp is not believed; and the frames at which the clock jumped."""
    clock, jumps = np.full(len(stamps), np.nan), list[int]()
    known = [(i, stamp) for i, stamp in enumerate(stamps) if stamp is not None]
    at, last, shown = -1, 0, 0.0  # number, stamp and time of the last frame whose stamp is believed
    for (i, stamp), (_, ahead) in zip(known, [*known[1:], (0, None)], strict=False):
        gap = float(stamp - last) if at >= 0 else 0.0
        if at >= 0:
            anew = last - stamp >= 2 * step and (ahead is None or ahead <= last)
            alone = stamp <= last or (ahead is not None and last < ahead < stamp)
            if alone and not anew:
                continue
            if anew or (gap > longest and not _is_heard(last, stamp, time_base, heard)):
                gap = step * (i - at)
                jumps.append(i)
        at, last, shown = i, stamp, shown + gap
        clock[i] = shown
    return clock, jumps


def _is_heard(start: int, end: int, time_base: Fraction, heard: Container[int]) -> bool:
    """Whether other streams have packets in half the seconds between two stamps."""
    between = range(math.floor(start * time_base) + 1, math.floor(end * time_base))
    return 0 < len(between) < 10**6 and 2 * sum(second in heard for second in between) >= len(between)
