"""Every clustering method on labelled titles, raw and adapted, the number of people found and given, with and
without links: `k_means` obeys the cannot-links, `k_means, no links` is the papers' baseline, which knows none.

DATA as for `tests.bench.adaptation`. Adapted is what `castmine run` makes of the corpus: one adapter of the default
method, trained on all titles without a label. For the composite titles these are figures of composite titles: real
track structure, photographs of other people.

V-measure, weighted cluster purity (WCP) and B-cubed F in percent, means over titles; an unknown track is a cluster of
its own in V and B-cubed, and wrong in WCP. `people off` is how far the number of people with two or more tracks is from
the truth, mean and worst; `links` are cannot-linked pairs in one cluster; `ECE` is the expected calibration error of
the confidences in ten bins, over all titles. The last lines are V by title.

  python -m tests.bench.clustering DATA [--methods NAME ...] [--adapter METHOD] [--seed 7]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.labelled_titles import Title, known, load, trained
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Bounds, FaceSets, Links
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.cluster.own_thresholds import measure_spread
from udfs.kernels.evaluate.scoring import calibration_error, mark_pure, score

NONE = np.zeros((0, 2), np.int64)
COLUMNS = ("embedding", "number", "method", "V", "WCP", "B-cubed F", "people off", "unknown", "links", "ECE", "s")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--adapter", default="whitened_triplet")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    titles = load(args.data)
    adapt, verdict = trained(args.adapter, titles, args.seed)
    print(f"adapter: {args.adapter}, {verdict}\n\n| {' | '.join(COLUMNS)} |\n" + "|---" * len(COLUMNS) + "|")
    by_title = []
    for embedding, moved, distances in (("raw", lambda x: x, known()), ("adapted", adapt, known(adapt))):
        rows = {name: unit(moved(title.embedding)) for name, title in titles.items()}
        sets = {name: face_sets(title, unit(moved(title.faces))) for name, title in titles.items()}
        for method, number in cases(args.methods):
            for links in (True, False):
                found = [
                    measured(title, rows[name], method, number, distances, sets[name], links)
                    for name, title in titles.items()
                ]
                called = Rules(method=method, links=links).name
                print(f"| {embedding} | {number} | {called} | {shown(found)} |", flush=True)
                by_title.append((embedding, number, called, [100 * figures["v_measure"] for figures in found]))
    print(f"\n| V | number | method | {' | '.join(titles)} |\n" + "|---" * (3 + len(titles)) + "|")
    for *what, values in by_title:
        print(f"| {' | '.join(what)} | {' | '.join(f'{value:.1f}' for value in values)} |")


def cases(methods: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Methods, with the number of people found and given where they can have it so."""
    for name in methods:
        if METHODS[name].number != "given":
            yield name, "found"
        if METHODS[name].number != "found":
            yield name, "given"


def face_sets(title: Title, faces: NDArray[np.float32]) -> FaceSets:
    """Of the title's tracks, from their faces in the embedding at hand."""
    tracks = np.arange(len(title.label))
    start, end = (np.searchsorted(title.track, tracks, side) for side in ("left", "right"))
    return FaceSets(np.array([measure_spread(faces[a:b]) for a, b in zip(start, end, strict=True)]), end - start)


def measured(
    title: Title,
    rows: NDArray[np.float32],
    method: str,
    number: str,
    distances: Distances,
    faces: FaceSets | None = None,
    links: bool = True,
) -> dict[str, Any]:
    """The scores of one title."""
    exact_k = len(set(title.label)) if number == "given" else None
    began = time.perf_counter()
    found = find_characters(
        Evidence(rows, np.ones(len(rows), np.int64), Links(title.cannot, NONE), faces=faces),
        Rules(known=distances, method=method, bounds=Bounds(exact_k=exact_k), links=links),
    )
    seconds = time.perf_counter() - began
    a, b = found.labels[title.cannot].T if len(title.cannot) else (np.zeros(0), np.ones(0))
    return {
        **score(title.label, found.labels),
        "off": people(found.labels[found.labels >= 0]) - people(title.label),
        "links": int(((a == b) & (a >= 0)).sum()),
        "confidence": found.confidence,
        "right": mark_pure(title.label, found.labels),
        "doubted": found.doubted,
        "s": seconds,
    }


def people(labels: NDArray) -> int:
    """How many labels two or more tracks have."""
    return int((np.unique(labels, return_counts=True)[1] >= 2).sum())


def shown(found: list[dict[str, Any]]) -> str:
    """One line of the table."""
    mean = {name: 100 * float(np.mean([f[name] for f in found])) for name in ("v_measure", "wcp", "bcubed_f")}
    off = np.abs([f["off"] for f in found])
    unknown = 100 * float(np.mean([f["unknown_share"] for f in found]))
    confidence, correct = (np.concatenate([f[name] for f in found]) for name in ("confidence", "right"))
    known = confidence > 0
    error = calibration_error(confidence[known], correct[known])
    cells = [*(f"{value:.1f}" for value in mean.values()), f"{off.mean():.1f}, {off.max()}", f"{unknown:.1f} %"]
    return " | ".join(
        [*cells, str(sum(f["links"] for f in found)), f"{error:.3f}", f"{sum(f['s'] for f in found):.1f}"]
    )


def unit(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of unit length."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    main()
