"""The section of the page of errors about the adapter: what is right before and after it, and how far apart people lie.

MvCorr's Figures 6 and 5, of one title.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.evaluate import errors
from udfs.kernels.evaluate.before_after import ADAPTED, RAW
from udfs.kernels.evaluate.pairs import STEPS, PairDistances
from udfs.kernels.evaluate.significance import DRAWS
from udfs.kernels.evaluate.verdicts import RIGHT
from udfs.kernels.evaluate.verification import FPR
from udfs.kernels.report.page_parts import View, lay_stretch, lay_table, say_share

KINDS = {  # property of a track -> its heading
    "quality_label": "Visual quality labels",
    "pose": "Where the face looks, by the median",
    "flag": "Flags, by the median of the faces",
}
SURE = 0.01  # the paper's p
BIN_STEPS = 200  # of a distance's histogram in one bin of the picture: 0.02
AXIS_STEPS = 1000  # the axis of the picture ends at a multiple of these: 0.1
CUT_OFF = 1e-4  # share of the pairs that may lie beyond its end
NAMES = {RAW: "raw embeddings", ADAPTED: "adapted"}


class Line(NamedTuple):
    """Tracks that have something in common, before the adapter and after."""

    name: str
    n: int
    before: int
    after: int
    p: float


def describe_adapter(found: errors.Analysis) -> View:
    """What the section says, and what it draws."""
    tried = "v_gain" in found.figures
    return {
        "said": _say_whether(found, tried),
        "right": _right(found) if tried else None,
        "distances": _distances(found),
    }


def _say_whether(found: errors.Analysis, tried: bool) -> list[str]:
    if ADAPTED not in found.distances:
        return ["This title was clustered with raw embeddings: there is no adapter to compare them with."]
    if not tried:
        return [
            "Clustering the raw embeddings by the same rules was not tried: this evaluation was not given the settings "
            "it was clustered with (--conf, --set, --characters, --method), or they cannot be followed without an "
            "adapter."
        ]
    figures = found.figures
    before, after = figures["without_adapter_v_measure"], found.scores["v_measure"]
    line = (
        f"V-measure: {say_share(before)} with raw embeddings, {say_share(after)} adapted: {_signed(after - before)} "
        "points"
    )
    if "v_gain_low" not in figures:
        return [f"{line}."]
    low, high = (_signed(figures[f"v_gain_{end}"]) for end in ("low", "high"))
    return [
        f"{line}, 95 % interval {low} to {high}; no gain in {say_share(figures['v_gain_not_above_0'])} of the draws "
        f"(paired bootstrap: tracks drawn with replacement, {DRAWS:,} times; tracks of one scene are alike, so take "
        "the interval as the least doubt there is)."
    ]


def _right(found: errors.Analysis) -> View:
    """The share of right tracks before and after, of all and by kind."""
    parts = [(None, [_all(found)]), *_kinds(found)]
    lines = [line for _, of in parts for line in of]
    least = min(min(line.before, line.after) / line.n for line in lines)
    start = min(np.floor(10 * least) / 10, 0.9)
    said = (
        "Share of the tracks that are right, clustered with raw embeddings (thin mark) and adapted (thick mark), by "
        f"the same rules and links. Bars run from {100 * start:.0f} % to 100 %. p: how often chance alone makes a "
        "difference as large (10,000 draws that swap the two verdicts of a track at random, two-sided); in colour "
        f"where it is {SURE} or less. Each line stands for itself: of a hundred lines without any difference one would "
        "be in colour."
    )
    return {
        "said": said,
        "parts": [{"heading": heading, "lines": [_lay_line(line, start) for line in of]} for heading, of in parts],
        "labels": any(heading == KINDS["quality_label"] for heading, _ in parts),
    }


def _all(found: errors.Analysis) -> Line:
    tracks, figures = found.tracks, found.figures
    after = int((tracks.verdict == RIGHT).sum())
    before = after - int(figures["adapter_fixed"]) + int(figures["adapter_broke"])
    return Line("all tracks", len(tracks), before, after, figures["adapter_p"])


def _kinds(found: errors.Analysis) -> Iterator[tuple[str, list[Line]]]:
    for name, heading in KINDS.items():
        rows = found.groups[found.groups.property == name].sort_values("place")
        if len(rows):
            yield (
                heading,
                [
                    Line(row.value, row.n_tracks, int(row.n_right_without_adapter), row.n_right, row.p_value)
                    for row in rows.itertuples()
                ],
            )


def _lay_line(line: Line, start: float) -> View:
    before, after = line.before / line.n, line.after / line.n
    low, high = sorted((_place(before, start), _place(after, start)))
    sure = line.p <= SURE and line.before != line.after
    better = line.after > line.before
    return {
        "name": line.name,
        "tracks": f"{line.n:,}",
        "parts": [lay_stretch("right" if better else "wrong", low, high - low)],
        "before": f"{100 * _place(before, start):.2f}",
        "after": f"{100 * _place(after, start):.2f}",
        "raw": say_share(before),
        "adapted": say_share(after),
        "points": _signed(after - before),
        "p": f"{line.p:.4f}" if line.p < 0.1 else f"{line.p:.2f}",
        "kind": ("less" if better else "more") if sure else "",
    }


def _place(share: float, start: float) -> float:
    return (share - start) / (1 - start)


def _signed(points: float) -> str:
    said = f"{100 * points:+.1f}".replace("-", "\N{MINUS SIGN}")
    return said if said[1:] != "0.0" else "0.0"


# --- distances -------------------------------------------------------------------------------------------------


def _distances(found: errors.Analysis) -> View | None:
    """None where there is no pair of tracks."""
    measured = found.distances
    first = measured[RAW]
    if not (first.same.sum() or first.different.sum()):
        return None
    some = f"{first.tracks:,} (at even steps) of its {first.of_tracks:,} tracks"
    of = "its tracks" if first.tracks == first.of_tracks else some
    said = (
        f"Cosine distances of all pairs of {of} whose people are known. The less the two overlap, the easier they are "
        "to cluster. AUC: how often a pair of one person is nearer than one of two people; TPR at an FPR: share of the "
        "pairs of one person that are nearer than all but so many pairs of two."
    )
    columns = ["", "median, one person", "median, two people", "AUC", *(f"TPR at {100 * fpr:g} % FPR" for fpr in FPR)]
    rows = [[NAMES[name], *_say_figures(pairs)] for name, pairs in measured.items()]
    return {"said": said, "table": lay_table(columns, rows), "plots": _plots(measured)}


def _say_figures(pairs: PairDistances) -> list[str]:
    medians = [f"{median:.2f}" if np.isfinite(median) else "" for median in pairs.medians()]
    auc, *tpr = pairs.figures().values()
    return [*medians, f"{auc:.3f}" if np.isfinite(auc) else "", *(say_share(v) if np.isfinite(v) else "" for v in tpr)]


def _plots(measured: dict[str, PairDistances]) -> list[View]:
    """Where the outlines of the histograms lie, in pictures of 320 x 190 with one pair of axes."""
    left, right, top, bottom = 10, 310, 24, 160
    ends = [np.searchsorted(np.cumsum(n), (1 - CUT_OFF) * n.sum()) for p in measured.values() for n in p[:2] if n.sum()]
    end = min(int(np.ceil((max(ends) + 1) / AXIS_STEPS)) * AXIS_STEPS, 2 * STEPS)
    bins = end // BIN_STEPS
    shares = {name: pairs.by_bins(bins, end / STEPS) for name, pairs in measured.items()}
    highest = max(of.max() for both in shares.values() for of in both)
    step = 0.1 if end <= 5 * AXIS_STEPS else 0.2
    ticks = [
        {"x": round(left + (right - left) * tick * STEPS / end, 1), "name": f"{tick:.1f}"}
        for tick in np.arange(0, end / STEPS + 1e-9, step)
    ]
    return [
        {
            "name": NAMES[name],
            "ticks": ticks,
            "outlines": [
                {"kind": kind, "path": _outline(of / highest, left, right, top, bottom)}
                for kind, of in zip(("strangers", "same"), reversed(both), strict=True)
            ],
            **{"left": left, "right": right, "top": top, "bottom": bottom},
        }
        for name, both in shares.items()
    ]


def _outline(height: NDArray[np.floating], left: int, right: int, top: int, bottom: int) -> str:
    """The path around a histogram, from the lower left corner and back to the axis; empty where all is 0."""
    if not height.any():
        return ""
    x = np.linspace(left, right, len(height) + 1)
    y = bottom - (bottom - top) * height
    steps = " ".join(f"V{level:.1f} H{edge:.1f}" for level, edge in zip(y, x[1:], strict=True))
    return f"M{left} {bottom} {steps} V{bottom} Z"
