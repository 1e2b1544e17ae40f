"""Adapters on labelled tracks: what each method does to verification and to clustering.

DATA holds tracks/, faces/ and truth/ with a Parquet file a title: title_id, track_id and embedding of tracks; track_id,
frame, box and embedding of faces; track_id, label and person of the truth. For the composite titles these are figures
of composite titles: real track structure, photographs of other people.

Protocols: `others` trains on all titles but the one that is scored, `itself` on the scored title alone, `all` on the
whole corpus, as `castmine run` does, `elsewhere` on the titles of another folder. Held out to stop and to judge is, as
in `castmine train`, one of the training titles, or a quarter of the shots where they are few. Methods that end in
_labels learn from the people of the training titles; a quarter of these is held out. Where a person plays in the scored
title too they are an oracle; `strangers` is `others` without the labels of those who do. `bcl_tuned` goes on from BCL
so taught, by the pairs of the scored title itself.

Columns, in percent, means over titles: TPR at three FPR over all pairs of tracks; V-measure at the true number of
people of average, Ward's and complete linkage; V, WCP and B-cubed F of castmine's clustering, which finds the number; V
of complete linkage at the method's own threshold where it has one, and the number of clusters beside the true one.
Distances are cosine distances of unit rows; of an adapter that is read out euclidean, half the squared distance of its
outputs, where castmine's clustering still goes by the cosine.
`raw_centred` subtracts the mean of the training titles' tracks; `iterated` is the reference of the data's README.

  python -m tests.bench.adaptation DATA [--methods NAME ...] [--seeds 7 8 9] [--protocol others itself all]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import v_measure_score

from tests.bench.labelled_titles import Adapted, Map, Title, known, load, trained, unit
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.hac import average_linkage
from udfs.kernels.cluster.interface import Bounds, Links
from udfs.kernels.evaluate.scoring import score

TUNED = "bcl_tuned"
UNLABELLED = (
    *("whitening", "whitened_triplet", "lda_triplet", "imptriplet", "mvcorr", "bcl", TUNED, "tsiam", "ssiam"),
)
LABELLED = tuple(
    f"{name}_labels" for name in ("bcl", "cross_entropy", "ldml", "contrastive", "triplet", "prototypical")
)
CLOSED = ("raw", "raw_centred", "iterated")  # found without training
PROTOCOLS = ("others", "strangers", "elsewhere", "itself", "all")
FPR = (0.001, 0.01, 0.1)
COLUMNS = (
    "TPR @ 0.1 %",
    "@ 1 %",
    "@ 10 %",
    "V average",
    "V Ward",
    "V complete",
    "castmine V",
    "WCP",
    "B-cubed F",
    "V at threshold",
)
NONE = np.zeros((0, 2), np.int64)


class Scores(NamedTuple):
    """Of one title: the columns, NaN where there is none, and clusters at the threshold over true people."""

    figures: tuple[float, ...]
    clusters: float


def centred(training: dict[str, Title]) -> Map:
    """Less the mean of the training titles' tracks."""
    mean = np.concatenate([title.embedding for title in training.values()]).mean(axis=0)
    return lambda x: unit(x - mean)


def iterated(training: dict[str, Title]) -> Map:
    """The reference: clusters at a fixed cut under the cannot-links, whitening shrunk by 0.1, three rounds."""
    raw = {name: unit(title.embedding) for name, title in training.items()}
    now, cut, weight = raw, 0.75, np.eye(0)
    for _ in range(3):
        total, n = 0.0, 0
        for name, title in training.items():
            group = average_linkage(now[name], Links(title.cannot, NONE), Bounds(cut=cut)).labels
            kept = np.bincount(group)[group] >= 3
            means = np.stack([np.bincount(group[kept], column) for column in raw[name][kept].T], axis=1)
            away = raw[name][kept] - (means / np.maximum(np.bincount(group[kept]), 1)[:, None])[group[kept]]
            total, n = total + away.T @ away, n + len(away)
        spread = 0.9 * total / n + 0.1 * np.trace(total) / n / len(total) * np.eye(len(total))
        values, axes = np.linalg.eigh(spread)
        weight = (axes / np.sqrt(values)) @ axes.T
        now, cut = {name: unit(x @ weight) for name, x in raw.items()}, 0.85
    return lambda x: unit(unit(x) @ weight)


def scores(title: Title, adapt: Map) -> Scores:
    """The columns of one title."""
    rows = adapt.read_out(title.embedding) if isinstance(adapt, Adapted) else unit(adapt(title.embedding))
    rows, true = rows.astype(np.float64), len(set(title.label))
    half = (rows**2).sum(axis=1) / 2
    distance = np.maximum(half[:, None] + half - rows @ rows.T, 0)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    i, j = np.triu_indices(len(rows), 1)
    same = title.label[i] == title.label[j]
    tpr = [100 * float((condensed[same] < np.quantile(condensed[~same], fpr)).mean()) for fpr in FPR]
    by_number = [linkage(condensed, "average"), linkage(rows, "ward"), linkage(condensed, "complete")]
    v = [100 * v_measure_score(title.label, fcluster(tree, true, "maxclust")) for tree in by_number]
    found = clustered(title, unit(adapt(title.embedding)), adapt)
    at_threshold, clusters = np.nan, np.nan
    if isinstance(adapt, Adapted) and (threshold := adapt.adapter.card.threshold) is not None:
        labels = fcluster(linkage(condensed, "complete"), threshold / 2, "distance")
        at_threshold, clusters = 100 * v_measure_score(title.label, labels), labels.max() / true
    return Scores((*tpr, *v, *found, at_threshold), clusters)


def clustered(title: Title, rows: NDArray[np.floating], adapt: Map) -> list[float]:
    """V, WCP and B-cubed F of castmine's clustering of unit rows, which finds the number of people."""
    evidence = Evidence(rows.astype(np.float32), np.ones(len(rows), np.int64), Links(title.cannot, NONE))
    found = score(title.label, find_characters(evidence, Rules(known=known(adapt))).labels)
    return [100 * found[name] for name in ("v_measure", "wcp", "bcubed_f")]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", default=[*CLOSED, *UNLABELLED, *LABELLED])
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--protocol", nargs="+", choices=PROTOCOLS, default=["others", "itself"])
    parser.add_argument("--training", type=Path, metavar="FOLDER", help="as DATA: what `elsewhere` trains on")
    args = parser.parse_args(argv)
    if "elsewhere" in args.protocol and args.training is None:
        parser.error("--protocol elsewhere: --training says on what")
    titles, away = load(args.data), load(args.training) if args.training else {}
    columns = ("protocol", "method", *COLUMNS, "clusters / people", "V average by title", "ready", "s")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for protocol in args.protocol:
        for method in args.methods:
            if not fits(method, protocol):
                continue
            found, verdicts, seconds = run(titles, method, protocol, args.seeds if method not in CLOSED else [0], away)
            print(f"| {protocol} | {method} | {shown(found)} | {ready(verdicts)} | {seconds:.1f} |", flush=True)


def fits(method: str, protocol: str) -> bool:
    """Whether there is a row: a title's own labels are the answer, and to tune is to train on the title itself."""
    if protocol in ("itself", "strangers") and (method in LABELLED) != (protocol == "strangers"):
        return False
    return method != TUNED or protocol == "itself"


def run(
    titles: dict[str, Title], method: str, protocol: str, seeds: Sequence[int], away: dict[str, Title]
) -> tuple[list[list[Scores]], list[str], float]:
    """Scores by seed and title, verdicts of the adapters, and seconds of one training."""
    found, verdicts, seconds = [], [], 0.0
    for seed in seeds:
        maps: dict[tuple[str, ...], Map] = {}
        rows = []
        for name, title in titles.items():
            training = {n: t for n, t in titles.items() if protocol == "all" or (n == name) == (protocol == "itself")}
            if protocol == "elsewhere":
                training = away
            elif protocol == "strangers":
                training = {n: t.without(set(title.person)) for n, t in training.items()}
            key = tuple(training) if protocol != "strangers" else (name,)
            if key not in maps:
                began = time.perf_counter()
                if method == TUNED:
                    unseen = {n: t.without(set(title.person)) for n, t in titles.items() if n != name}
                    parent, _ = trained("bcl", unseen, seed, labels=True)
                    maps[key], verdict = trained("bcl", training, seed, parent=parent)
                else:
                    maps[key], verdict = find_map(method, training, seed)
                verdicts.append(verdict)
                seconds += time.perf_counter() - began
            rows.append(scores(title, maps[key]))
        found.append(rows)
    return found, verdicts, seconds / max(1, len(verdicts))


def find_map(method: str, training: dict[str, Title], seed: int) -> tuple[Map, str]:
    """The map of a method, and its verdict, empty where nothing was trained."""
    closed: dict[str, Callable[[dict[str, Title]], Map]] = {
        "raw": lambda titles: unit,
        "raw_centred": centred,
        "iterated": iterated,
    }
    if method in closed:
        return closed[method](training), ""
    return trained(method.removesuffix("_labels"), training, seed, labels=method in LABELLED)


def shown(found: list[list[Scores]]) -> str:
    """Means over titles, ± the deviation over seeds, and V by title."""
    figures = np.array([[row.figures for row in rows] for rows in found])  # seed, title, column
    mean, spread = figures.mean(axis=(0, 1)), figures.mean(axis=1).std(axis=0)
    several = len(found) > 1
    cells = [
        "" if np.isnan(m) else f"{m:.1f} ± {s:.1f}" if several else f"{m:.1f}"
        for m, s in zip(mean, spread, strict=True)
    ]
    clusters = np.mean([row.clusters for rows in found for row in rows])
    by_title = " ".join(f"{v:.0f}" for v in figures.mean(axis=0)[:, 3])
    return " | ".join([*cells, "" if np.isnan(clusters) else f"{clusters:.2f}", by_title])


def ready(verdicts: list[str]) -> str:
    """How many adapters are better than raw embeddings by castmine's own judgement."""
    judged = [verdict for verdict in verdicts if verdict]
    return f"{judged.count('ready')} of {len(judged)}" if judged else ""


if __name__ == "__main__":
    main()
