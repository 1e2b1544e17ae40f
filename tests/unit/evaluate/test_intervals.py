"""Intervals against scipy and drawn titles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from udfs.kernels.evaluate.intervals import interval, wilson


@given(st.integers(0, 60), st.integers(1, 60))
def test_the_interval_of_a_share_is_scipys(part, whole):
    part = min(part, whole)
    low, high = wilson(np.array(part), np.array(whole))
    expected = binomtest(part, whole).proportion_ci(0.95, method="wilson")
    assert (low, high) == (pytest.approx(expected.low, abs=1e-6), pytest.approx(expected.high, abs=1e-6))
    assert low <= part / whole + 1e-12
    assert high >= part / whole - 1e-12


def test_of_nothing_any_share_may_be_true():
    assert [end.tolist() for end in wilson(np.zeros(2, int), np.array([0, 0]))] == [[0, 0], [1, 1]]


def test_the_interval_is_that_of_means_of_drawn_titles():
    assert interval(np.full(6, 0.9)) == pytest.approx((0.9, 0.9))
    values = np.array([0.8, 0.9, 1.0, np.nan, 0.7])
    low, high = interval(values)
    assert 0.7 <= low < np.nanmean(values) < high <= 1.0
    assert interval(values) == (low, high)
    normal = np.random.default_rng(0).normal(size=400)
    assert interval(normal) == pytest.approx(normal.mean() + np.array([-1.96, 1.96]) / 20, abs=0.02)
    assert all(math.isnan(end) for end in interval(values[:1]))
