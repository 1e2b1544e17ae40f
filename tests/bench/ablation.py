"""What each part of the adapter is worth: one thing changed at a time, others-titles protocol of `adaptation.py`.

The first line is the default: whitening, then ImpTriplet on mined anchors and hard negatives, M = 3, a square map.
Random anchors: the faces of a track are dealt to its M tracklets by chance. Random negatives: any tracklet of any track
that it is cannot-linked to, not the nearest one.

  python -m tests.bench.ablation DATA [--seeds 7 8 9] [--only WORD ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tests.bench.adaptation import COLUMNS, scores
from tests.bench.labelled_titles import MINING, Alter, Mined, Title, load, trained
from training.networks import residual
from udfs.kernels.mine import tracklets

METHOD = "whitened_triplet"


class Cell(NamedTuple):
    """One line of the table."""

    m: int = MINING.tracklets
    random_anchors: bool = False
    random_negatives: bool = False
    method: str = METHOD
    plan: Mapping[str, Any] = MappingProxyType({})
    settings: Mapping[str, Any] = MappingProxyType({})


SHORT = {"learning_rate": 0.01, "max_epochs": 40, "min_delta": 0.0}  # the default's schedule
NO_PULL = {"loss": {"margin": 1.0, "pull": 0.1, "weight": 0.0}}
CELLS = {
    "default": Cell(),
    "M = 2": Cell(m=2),
    "M = 4": Cell(m=4),
    "M = 5": Cell(m=5),
    "random anchors": Cell(random_anchors=True),
    "random negatives": Cell(random_negatives=True),
    "random anchors and negatives": Cell(random_anchors=True, random_negatives=True),
    "loss: without the pull": Cell(plan=NO_PULL),
    "loss: none, whitening alone": Cell(method="whitening"),
    "loss: MvCorr, from the principal axes": Cell(method="mvcorr"),
    "network: square linear, from the raw embedding": Cell(method="imptriplet", plan=SHORT),
    "network: the same, ten times the rate, until it stops": Cell(method="imptriplet"),
    "network: residual": Cell(method="imptriplet", plan={**SHORT, "network": residual(512), "learning_rate": 0.1}),
    "network: C2 as published": Cell(method="imptriplet", settings={"network": "C2"}),
}


def altering(cell: Cell, seed: int) -> Alter:
    """Of the mined tables, with the parts of Algorithm 1 replaced by chance that a cell says."""

    def alter(made: Mined, ids: np.ndarray, rows: np.ndarray) -> Mined:
        rng, mined, hard = np.random.default_rng(seed), made["tracklets"], made["hard_negatives"]
        if cell.random_anchors:
            mined = mined.assign(embedding=_dealt(mined, ids, rows, cell.m, rng))
            hard = hard.assign(embedding=_nearest(mined, hard))
        if cell.random_negatives:
            links = made["cannot_links"]
            partners = tracklets._partners(np.unique(ids), links.track_a.to_numpy(), links.track_b.to_numpy())
            of = [np.flatnonzero(mined.track_id.isin(partners[track])) for track in hard.track_id]
            hard = hard.assign(embedding=[mined.embedding.iloc[rng.choice(among)] for among in of])
        return {**made, "tracklets": mined, "hard_negatives": hard}

    return alter


def _dealt(
    mined: pd.DataFrame, ids: np.ndarray, rows: np.ndarray, m: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Embeddings of tracklets that got their faces by chance, as many as the mined ones."""
    embedding = mined.embedding.to_list()
    for start in np.flatnonzero(mined.role == "anchor"):
        faces = rng.permutation(np.flatnonzero(ids == mined.track_id.iloc[start]))
        dealt = rows[faces[: len(faces) // m * m]].reshape(m, len(faces) // m, -1).mean(axis=1)
        embedding[start : start + m] = list(dealt / np.linalg.norm(dealt, axis=1, keepdims=True))
    return embedding


def _nearest(mined: pd.DataFrame, hard: pd.DataFrame) -> list[np.ndarray]:
    """Of each hard negative's track, the tracklet that is now the nearest to the anchor."""
    anchors = mined[mined.role == "anchor"].set_index("track_id").embedding
    by_track = {track: np.stack(group.to_list()) for track, group in mined.groupby("track_id").embedding}
    pairs = zip(hard.track_id, hard.negative_track_id, strict=True)
    return [by_track[other][(by_track[other] @ anchors[track]).argmax()] for track, other in pairs]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    args = parser.parse_args(argv)
    print(f"| changed | {' | '.join(COLUMNS[:4])} |\n|---|---|---|---|---|")
    loaded: dict[tuple[int, bool, bool, int], dict[str, Title]] = {}
    for name in args.only:
        cell, found = CELLS[name], []
        for seed in args.seeds:
            by_chance = cell.random_anchors or cell.random_negatives
            key = (*cell[:3], seed if by_chance else 0)
            loaded = {key: loaded.get(key) or load(args.data, cell.m, altering(cell, seed))}  # one at a time in memory
            found.append([_scored(loaded[key], title, cell, seed) for title in loaded[key]])
        figures = np.mean(found, axis=1)
        shown = (f"{x:.1f} ± {s:.1f}" for x, s in zip(figures.mean(axis=0), figures.std(axis=0), strict=True))
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


def _scored(titles: dict[str, Title], name: str, cell: Cell, seed: int) -> tuple[float, ...]:
    training = {other: title for other, title in titles.items() if other != name}
    adapt, _ = trained(cell.method, training, seed, settings=dict(cell.settings), plan=dict(cell.plan))
    return scores(titles[name], adapt).figures[:4]


if __name__ == "__main__":
    main()
