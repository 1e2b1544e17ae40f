"""Do the published presets train on corpora smaller than the papers'? On synthetic rows, whose structure is known.

Tracks of 300 people with a light and a blur of their own, three views each, as unit rows of 512 numbers. Printed for
MvCorr on C1 and ImpTriplet on C2, as published: steps until the training stopped, the loss of the training rows before
and after, the held-out loss, and by how much the variance that each batch norm goes by in use is off the variance of
the training rows there (the worst column of the adapter's first batch norm, and of its last).

  python -m tests.bench.presets [--rows 5000 20000] [--epochs 200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from conf.settings import TrainSettings
from tests.helpers.snapshots import write_part
from training.judge import Trained
from training.loop import train
from training.methods.registry import make_plan
from training.networks import SyncedBatchNorm
from training.readers.reader import Reader, Rows
from training.snapshot import NOBODY, Snapshot

DIM, VIEWS, PEOPLE = 512, 3, 300
METHODS = ("mvcorr", "imptriplet")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[5000, 20000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=200, help="upper bound")
    args = parser.parse_args(argv)
    columns = ("method", "rows", "epochs", "steps", "training loss", "held-out loss", "variance off by", "verdict", "s")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            snapshot = write(Path(folder), rows)
            for method in args.methods:
                print(f"| {method} | {rows:,} | {measured(snapshot, method, args.epochs)} |", flush=True)


def measured(snapshot: Snapshot, method: str, epochs: int) -> str:
    plan = make_plan(
        TrainSettings.model_validate({"method": method, "preset": "paper", "max_epochs": epochs}), snapshot
    )
    began = time.perf_counter()
    made = train(snapshot, plan, library="arrow")
    seconds = time.perf_counter() - began
    reader = Reader(snapshot, plan.batch, plan.seed, plan.needs, library="arrow")
    steps = len(made.curve) * reader.steps * max(1, round(plan.epoch_steps / reader.steps))
    first, last = made.curve[0], made.curve[-1]
    off = " and ".join(f"{100 * share:.1f} %" for share in variance_off(made, reader, method))
    losses = [f"{first.train_loss:.3f} to {last.train_loss:.3f}", f"{first.dev_loss:.3f} to {last.dev_loss:.3f}"]
    return f"{len(made.curve)} | {steps:,} | {' | '.join(losses)} | {off} | {made.status} | {seconds:.0f}"


@torch.no_grad()
def variance_off(made: Trained, reader: Reader, method: str) -> tuple[float, float]:
    """How far the first and the last batch norm's running variance is off, as a share, in the worst column."""
    rows = torch.cat([_seen(rows, method) for rows in reader.epoch(0)])
    layers = made.adapter.layers.eval()
    x = rows * layers.factor
    worst = []
    for layer in layers:
        if isinstance(layer, SyncedBatchNorm):
            true = x.var(dim=0, correction=0)
            worst.append(float(((layer.variance - true).abs() / true).max()))
        x = layer(x)
    return worst[0], worst[-1]


def _seen(rows: Rows, method: str) -> Tensor:
    """What the adapter's network is shown of a batch."""
    if method == "mvcorr":
        return rows.views[:, 0]
    return torch.cat([rows.views[:, :2], rows.negative[:, 0]], dim=1).flatten(0, 1)


def write(folder: Path, rows: int) -> Snapshot:
    """So many rows that train, and a quarter as many that are held out, of other people."""
    rng = np.random.default_rng(0)
    for part, n in (("train", rows), ("dev", rows // 4)):
        people = rng.normal(size=(PEOPLE, DIM)) * np.linspace(2, 0.1, DIM)  # an uneven spectrum, as embeddings have
        who = rng.integers(PEOPLE, size=n)
        track = people[who] + rng.normal(size=(n, DIM)) * np.linspace(0.5, 1.2, DIM)
        stranger = people[(who + 1 + rng.integers(PEOPLE - 1, size=n)) % PEOPLE] + rng.normal(size=(n, DIM)) * 0.8
        views = track[:, None] + rng.normal(size=(n, VIEWS, DIM)) * 0.8
        table = pa.table(
            {
                "title_id": np.full(n, part),
                "track_id": np.arange(n),
                "row": np.arange(n),
                "views": list(_unit(views).reshape(n, -1)),
                "negative": list(_unit(stranger)),
                "has_negative": np.ones(n, bool),
                "label": np.full(n, NOBODY),
            }
        )
        write_part(folder / part, table)
    Snapshot(
        folder=folder,
        fingerprint="bench",
        kind="tracklets",
        n_views=VIEWS,
        n_negatives=1,
        dim=DIM,
        base_embedder_sha256="0" * 64,
        rows_train=rows,
        rows_dev=rows // 4,
        split="titles",
        titles_train=("train",),
        titles_dev=("dev",),
        source_versions={},
    ).save()
    return Snapshot.open(folder)


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
