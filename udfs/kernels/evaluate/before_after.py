"""What an adapter does for one title: the clustering as it was made, beside that of the raw embeddings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import Links
from udfs.kernels.cluster.title import cluster_title
from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.pairs import PairDistances, measure_pairs
from udfs.kernels.evaluate.significance import bootstrap_v_gain, swap_test
from udfs.kernels.evaluate.verdicts import characters_of

RAW, ADAPTED = "raw", "adapted"
SCORES = ("v_measure", "wcp", "accuracy")


class Raw(NamedTuple):
    """A title before its adapter.

    Attributes:
        embeddings: (T, D) unit rows as they were harvested, NaN where a track has none.
        rules: those by which it was clustered, with what is known of raw distances; None where nobody knows them, or
            they cannot be followed without the adapter.
    """

    embeddings: NDArray[np.floating]
    rules: Rules | None


def cluster_again(
    tracks: pd.DataFrame, embeddings: NDArray[np.floating], links: Links, rules: Rules
) -> NDArray[np.int64]:
    """(T,) characters that the title would have with these embeddings and links, -1 where unknown.

    Args: as in `errors.analyse`, of all tracks.
    """
    return characters_of(cluster_title(tracks, embeddings, embeddings, links, rules)["track_labels"])


def measure_gain(person: NDArray[np.str_], before: NDArray[np.integer], after: NDArray[np.integer]) -> dict[str, float]:
    """What the adapter is worth, measured against the truth.

    Args:
        person: (T,) labels. before, after: (T,) characters, -1 = unknown, without the adapter and with it.
    Returns:
        without_adapter_v_measure, without_adapter_wcp, without_adapter_accuracy; adapter_fixed and adapter_broke:
        tracks that are right, or not, only because of it; adapter_p, see `swap_test`; v_gain, v_gain_low, v_gain_high
        and v_gain_not_above_0, see `bootstrap_v_gain` (without those that nobody can know).
    """
    scores = scoring.score(person, before)
    right, once = scoring.mark_right(person, after), scoring.mark_right(person, before)
    fixed, broke = int((right & ~once).sum()), int((once & ~right).sum())
    gain = bootstrap_v_gain(person, before, after)
    found = {
        **{f"without_adapter_{name}": scores[name] for name in SCORES},
        "adapter_fixed": float(fixed),
        "adapter_broke": float(broke),
        "adapter_p": float(swap_test(np.array([fixed]), np.array([broke]))[0]),
        "v_gain": gain.value,
        "v_gain_low": gain.low,
        "v_gain_high": gain.high,
        "v_gain_not_above_0": gain.not_above_0,
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def measure_distances(
    person: NDArray[np.str_], embeddings: NDArray[np.floating], raw: NDArray[np.floating] | None
) -> dict[str, PairDistances]:
    """The pairs of a title's tracks, by RAW and, where there is an adapter, ADAPTED.

    Args:
        person: (T,) labels. embeddings: (T, D) as they were clustered. raw: (T, D') before the adapter; None without.
    """
    if raw is None:
        return {RAW: measure_pairs(embeddings, person)}
    return {RAW: measure_pairs(raw, person), ADAPTED: measure_pairs(embeddings, person)}


def name_figures(distances: dict[str, PairDistances]) -> dict[str, float]:
    """The figures of verification before the adapter; those with it are figures of the title itself."""
    if ADAPTED not in distances:
        return {}
    return {f"without_adapter_{name}": v for name, v in distances[RAW].figures().items() if np.isfinite(v)}
