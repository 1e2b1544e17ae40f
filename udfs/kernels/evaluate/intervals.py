"""How far a figure could be off by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interval(
    by_title: NDArray[np.floating], level: float = 0.95, draws: int = 10_000, seed: int = 7
) -> tuple[float, float]:
    """Confidence interval of the mean over titles: percentiles of means of titles drawn with replacement.

    Args:
        by_title: (N,) a figure of each title; NaN ones are left out.

    Returns:
        (low, high); both NaN for fewer than two titles, of which nothing can be said.
    """
    values = np.asarray(by_title, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(part: NDArray, whole: NDArray, z: float = 1.959964) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The score interval of a share (Wilson, Journal of the American Statistical Association 22, 1927), 95 % by
    default. Right for few tracks, too; it takes them for independent, which tracks of one scene are not quite.

    Args:
        part, whole: counts, 0 <= part <= whole, of one shape.

    Returns:
        (low, high), each of that shape; (0, 1) where `whole` is 0, of which nothing is known.
    """
    k, n = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    middle = (k + z**2 / 2) / (n + z**2)
    half_width = z * np.sqrt(k * (n - k) / np.maximum(n, 1) + z**2 / 4) / (n + z**2)
    return np.where(k == 0, 0.0, middle - half_width), np.where(k == n, 1.0, middle + half_width)
