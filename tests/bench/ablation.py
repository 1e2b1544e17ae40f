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

from tests.bench.adaptation import M, Mine, Title, load, scores, trained
from training.networks import C2, residual
from udfs.kernels.mine import tracklets

METHOD = "whitened_triplet"


class Cell(NamedTuple):
    """One line of the table."""

    m: int = M
    random_anchors: bool = False
    random_negatives: bool = False
    method: str = METHOD
    plan: Mapping[str, Any] = MappingProxyType({})


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
    "network: C2 as published": Cell(method="imptriplet", plan={"network": C2, "learning_rate": 0.001}),
}


def mining(cell: Cell, seed: int) -> Mine:
    """Algorithm 1 with the parts replaced by chance that a cell says."""

    def mine(
        ids: np.ndarray, frames: np.ndarray, rows: np.ndarray, a: np.ndarray, b: np.ndarray, m: int
    ) -> tuple[tracklets.TrackletRows, tracklets.HardNegativeRows]:
        rng = np.random.default_rng(seed)
        mined, hard = tracklets.mine_title(ids, frames, rows, a, b, m)
        partners = tracklets._partners(np.unique(ids), a, b)
        if cell.random_anchors:
            mined = mined._replace(embedding=_dealt(mined, ids, rows, m, rng))
            hard = tracklets._hard_negatives(mined, partners)
        if cell.random_negatives:
            of = [np.flatnonzero(np.isin(mined.track_id, partners[track])) for track in hard.track_id.tolist()]
            hard = hard._replace(embedding=mined.embedding[[rng.choice(among) for among in of]])
        return mined, hard

    return mine


def _dealt(
    mined: tracklets.TrackletRows, ids: np.ndarray, rows: np.ndarray, m: int, rng: np.random.Generator
) -> np.ndarray:
    """(R, D) embeddings of tracklets that got their faces by chance, as many as the mined ones."""
    embedding = mined.embedding.copy()
    for start in np.flatnonzero(mined.role == "anchor"):
        faces = rng.permutation(np.flatnonzero(ids == mined.track_id[start]))
        dealt = rows[faces[: len(faces) // m * m]].reshape(m, len(faces) // m, -1).mean(axis=1)
        embedding[start : start + m] = dealt / np.linalg.norm(dealt, axis=1, keepdims=True)
    return embedding


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    args = parser.parse_args(argv)
    print("| changed | TPR @ 0.1 % | @ 1 % | @ 10 % | V, K known |\n|---|---|---|---|---|")
    loaded: dict[tuple[int, bool, bool, int], dict[str, Title]] = {}
    for name in args.only:
        cell, found = CELLS[name], []
        for seed in args.seeds:
            by_chance = cell.random_anchors or cell.random_negatives
            key = (*cell[:3], seed if by_chance else 0)
            loaded = {key: loaded.get(key) or load(args.data, cell.m, mining(cell, seed))}  # one at a time in memory
            found.append([_scored(loaded[key], title, cell, seed) for title in loaded[key]])
        figures = np.mean(found, axis=1)
        shown = (f"{x:.1f} ± {s:.1f}" for x, s in zip(figures.mean(axis=0), figures.std(axis=0), strict=True))
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


def _scored(titles: dict[str, Title], name: str, cell: Cell, seed: int) -> list[float]:
    training = {other: title for other, title in titles.items() if other != name}
    moved, _, _ = trained(cell.method, training, seed, **cell.plan)
    return scores(titles[name], moved(titles[name].embedding))


if __name__ == "__main__":
    main()
