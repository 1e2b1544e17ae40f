"""From any stamps to times that ascend."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.harvest.stamps import mean_rate, spread_stamps

TENTH = Fraction(1, 10)
STAMPS = st.none() | st.integers(-(2**40), 2**40) | st.integers(-30, 30)


@given(st.lists(STAMPS, min_size=1, max_size=40), st.sampled_from([1, 24, 90000]), st.sampled_from([10.0, 3600.0]))
def test_times_ascend_from_0(stamps, rate, longest_s):
    found = spread_stamps(stamps, Fraction(1, rate), longest_s)
    assert len(found.seconds) == len(stamps) + 1
    assert found.seconds[0] == 0
    assert np.all(np.isfinite(found.seconds))
    assert np.all(np.diff(found.seconds) > 0)
    assert mean_rate(found.seconds) > 0
    assert set(found.jumps) <= set(range(1, len(stamps)))


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(-(2**33), 2**33))
def test_sound_stamps_are_taken_as_they_are(steps, first):
    stamps = [first, *(first + int(at) for at in np.cumsum(steps))]
    found = spread_stamps(stamps, TENTH, 10.0)
    assert found.jumps == []
    assert np.allclose(found.seconds[:-1], [(stamp - first) / 10 for stamp in stamps])
    assert found.seconds[-1] - found.seconds[-2] == pytest.approx(np.median(steps) / 10)
    assert found.origin_s == pytest.approx(first / 10)


@given(st.lists(st.integers(3, 30), min_size=1, max_size=6), st.lists(st.integers(-1000, 1000), min_size=6, max_size=6))
def test_recordings_go_on_whatever_they_start_at(lengths, firsts):
    stamps = [first + i for n, first in zip(lengths, firsts, strict=False) for i in range(n)]
    found = spread_stamps(stamps, TENTH, 10.0)
    pairs = zip(lengths[:-1], firsts, firsts[1:], strict=False)
    if all(b < a + n - 2 or b > a + n + 99 for n, a, b in pairs):
        assert found.jumps == np.cumsum(lengths)[:-1].tolist()
        assert np.allclose(found.seconds, np.arange(len(stamps) + 1) / 10)


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([0, 1, None, 3], [0, 1, 2, 3, 4]),
        ([None, 5, 6, None], [0, 1, 2, 3, 4]),
        ([None, None], [0, 0.4, 0.8]),
        ([7], [0, 0.4]),
        ([0, 1, 1, 3, 4], [0, 1, 2, 3, 4, 5]),  # repeated
        ([0, 2, 2, 4, 4, 6], [0, 2, 3, 4, 5, 6, 7]),
        ([0, 1, 2, 99, 4, 5], [0, 1, 2, 3, 4, 5, 6]),  # one alone is damaged
        ([0, 1, 2, -99, 4, 5], [0, 1, 2, 3, 4, 5, 6]),
        ([0, 1, 3, 2, 4, 5], [0, 1, 1.5, 2, 4, 5, 6.5]),  # two have changed places
        ([5, 6, 7, 8, 0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]),  # another recording
        ([0, 1, 2, 33, 34, 35], [0, 1, 2, 33, 34, 35, 36]),  # held
        ([0, 1, 2, 333, 334, 335], [0, 1, 2, 3, 4, 5, 6]),  # jumped
        ([0, 300, 600, 900], [0, 300, 600, 900, 1200]),  # slides
    ],
)
def test_what_times_stamps_give(stamps, times):
    assert np.allclose(spread_stamps(stamps, TENTH, 10.0).seconds * 10, times)


def test_a_long_gap_in_which_sound_goes_on_is_a_held_frame():
    stamps = [*range(20), *range(1000, 1020)]
    assert spread_stamps(stamps, TENTH, 10.0, set(range(102))).jumps == []
    assert spread_stamps(stamps, TENTH, 10.0, {0, 1, 101}).jumps == [20]


def test_the_first_times_stamp_is_told_from_later_ones():
    assert spread_stamps([None, 21, 22], TENTH, 10.0).origin_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("steps", "rate"),
    [
        ([0.04] * 50, 25),
        ([0.041, 0.042, 0.042] * 20, 24),  # whole milliseconds
        ([0.04] * 50 + [3.0, 600.0], 25),
        ([1 / 30, 2 / 30] * 20, 20),
        ([30.0] * 9, 0.033333),
        ([1e-5] * 60 + [0.1] * 40, 24.963808),  # damaged: no camera is so fast
    ],
)
def test_the_rate_of_frames(steps, rate):
    assert mean_rate(np.cumsum([0, *steps])) == pytest.approx(rate, rel=2e-3)
