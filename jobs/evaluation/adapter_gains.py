"""What the adapter does for the titles that were evaluated: a line a title, and MvCorr's Figure 6 over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.sql import functions as F

from jobs.cli import command
from jobs.cli.text_table import print_table
from udfs.kernels.evaluate.significance import swap_test

PROPERTIES = ("quality_label", "pose", "flag")  # of error_rates, in this order
SUMS = ("n_tracks", "n_right_without_adapter", "n_right", "n_fixed", "n_broke")
ALL = ("", "all tracks")


def say_gain(figures: Mapping[str, float]) -> str | None:
    """A title's gain in one line; None where raw embeddings were clustered, or were not tried."""
    if "v_gain" not in figures:
        return None
    v = [100 * figures[name] for name in ("without_adapter_v_measure", "v_measure", "v_gain")]
    line = f"adapter: V {v[0]:.1f} % with raw embeddings, {v[1]:.1f} % adapted, {v[2]:+.1f} points"
    if "v_gain_low" in figures:
        low, high, never = (100 * figures[f"v_gain_{name}"] for name in ("low", "high", "not_above_0"))
        line += f" (95 % {low:+.1f} to {high:+.1f}; at or below 0 in {never:.1f} % of draws)"
    right = [100 * figures[name] for name in ("without_adapter_accuracy", "accuracy")]
    return f"{line}; right tracks {right[0]:.1f} %, {right[1]:.1f} % (p {figures['adapter_p']:.4f})"


def sum_gains(job: command.Job, figures: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Right tracks with raw embeddings and adapted, of all titles together, by what the tracks have in common.

    Args:
        figures: title_id -> figure -> value; titles without an adapter, or where it was not tried, are left out.
    Returns:
        property, value, the sums of SUMS, share_right_without_adapter, share_right and p_value (see `swap_test`); the
        first row is of all tracks. Nothing where no title has an adapter.
    """
    tried = sorted(title for title, found in figures.items() if "v_gain" in found)
    if not tried:
        return []
    rows = job.lake.rows("error_rates", tried).where(F.col("property").isin(*PROPERTIES))
    sums = rows.groupBy("property", "value").agg(F.min("place").alias("place"), *[F.sum(n).alias(n) for n in SUMS])
    found = [row.asDict() for row in sums.collect()]
    found.sort(key=lambda row: (PROPERTIES.index(row["property"]), row["value"] == "none", row["place"], row["value"]))
    made = [_sum_all([figures[title] for title in tried]), *found]
    p = swap_test(np.array([row["n_fixed"] for row in made]), np.array([row["n_broke"] for row in made]))
    return [
        {
            **{name: row[name] for name in ("property", "value", *SUMS)},
            "share_right_without_adapter": row["n_right_without_adapter"] / row["n_tracks"],
            "share_right": row["n_right"] / row["n_tracks"],
            "p_value": float(of_row),
        }
        for row, of_row in zip(made, p, strict=True)
    ]


def _sum_all(figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    of = {
        "n_tracks": [f["n_tracks"] for f in figures],
        "n_right": [f["n_tracks"] * f["accuracy"] for f in figures],
        "n_right_without_adapter": [f["n_tracks"] * f["without_adapter_accuracy"] for f in figures],
        "n_fixed": [f["adapter_fixed"] for f in figures],
        "n_broke": [f["adapter_broke"] for f in figures],
    }
    return {"property": ALL[0], "value": ALL[1], **{name: round(sum(values)) for name, values in of.items()}}


def show(gains: Sequence[Mapping[str, Any]], titles: int) -> None:
    """Print what `sum_gains` gave."""
    print(
        f"\nright tracks of {titles} titles by what makes the face hard, raw embeddings and adapted, % (MvCorr, Fig. 6)"
        "\np: permutation test, two-sided; each line stands for itself\n"
    )
    rows = [
        [
            *(row["property"].replace("_", " "), row["value"], row["n_tracks"]),
            *(round(100 * row[name], 1) for name in ("share_right_without_adapter", "share_right")),
            f"{row['p_value']:.4f}",
        ]
        for row in gains
    ]
    print_table(["", "", "tracks", "raw", "adapted", "p"], rows)
