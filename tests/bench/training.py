"""Training throughput: what the readers cost, and what a second process brings.

Tracks a second of an epoch of the same training steps, one thread a process, on a snapshot of random tracklets (512
numbers, M = 3): from tensors in memory, and from each reader, with the snapshot kept in memory (from its second epoch
on) and with nothing kept, read anew in every epoch. Ratios are those of epochs that ran in turn; the median is shown.
Then two Horovod processes beside one, with the paper's batch and with one so large that computing is what counts: what
they exchange in a step, gradients and the sums of batch norms, is as much in both.

  python -m tests.bench.training [--rows N] [--method NAME]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from conf.settings import TrainSettings
from tests.helpers.snapshots import write_part
from training.collective import Alone
from training.judge import Epoch
from training.launchers.launch import launch
from training.loop import _step
from training.methods.registry import make_plan, method_of
from training.plan import Plan
from training.readers.reader import Reader, Rows
from training.snapshot import NOBODY, Snapshot, count_windows

DIM, M, ROUNDS = 512, 3, 3
LARGE_BATCH = 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=24_000, help="tracks of the snapshot; 8 kB each")
    parser.add_argument("--method", default="imptriplet", choices=("imptriplet", "mvcorr"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = random_snapshot(Path(folder), args.rows)
        chosen = make_plan(TrainSettings(method=args.method, preset="paper"), snapshot)
        print("| rows from | tracks/s | ratio |\n|---|---|---|")
        for name, speed, ratio in readers(snapshot, chosen):
            print(f"| {name} | {speed:,.0f} | {ratio:.2f} |", flush=True)
        for batch in (chosen.batch, LARGE_BATCH):
            chosen = chosen.model_copy(update={"batch": batch})
            one, two = (horovod(snapshot, chosen, processes) for processes in (1, 2))
            print(f"| 1 Horovod process, batch {batch:,} | {one:,.0f} | 1.00 |")
            print(f"| 2 Horovod processes, batch {batch:,} | {two:,.0f} | {two / one:.2f} |", flush=True)


def random_snapshot(folder: Path, rows: int) -> Snapshot:
    for part, n in (("train", rows), ("dev", 512)):
        random = np.random.default_rng([7, n])
        vectors = random.standard_normal((n, M + 1, DIM), np.float32)
        vectors[:, :M] += 2 * vectors[:, :1]
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        columns = {"views": list(vectors[:, :M].reshape(n, -1)), "negative": list(vectors[:, M])}
        ids = {"title_id": ["film"] * n, "track_id": np.arange(n), "row": np.arange(n)}
        table = pa.table({**ids, **columns, "has_negative": np.full(n, True), "label": np.full(n, NOBODY)})
        write_part(folder / part, table, count_windows(n, M + 1, DIM))
    Snapshot(
        **{"folder": folder, "fingerprint": "bench", "kind": "tracklets", "base_embedder_sha256": "0" * 64},
        **{"n_views": M, "n_negatives": 1, "dim": DIM, "rows_train": rows, "rows_dev": 512, "split": "shots"},
        **{"titles_train": ("film",), "titles_dev": ("film",), "source_versions": {}},
    ).save()
    return Snapshot.open(folder)


def readers(snapshot: Snapshot, chosen: Plan) -> Iterator[tuple[str, float, float]]:
    """Name, tracks a second, and that as a share of the loop on tensors in memory."""
    torch.set_num_threads(1)
    method = method_of(chosen, snapshot, Alone())
    optimiser = torch.optim.SGD([{"params": method.networks.parameters()}, {"params": []}], lr=1e-6)
    epochs: dict[str, Callable[[int], Iterator[Rows]]] = {"tensors in memory": in_memory(snapshot, chosen.batch)}
    for library in ("petastorm", "arrow"):
        for what, gb in (("kept", 4.0), ("read again", 0.0)):
            reader = Reader(snapshot, chosen.batch, 7, chosen.needs, library=library, kept_gb=gb)
            epochs[f"{library}, {what}"] = reader.epoch
    speeds: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(ROUNDS + 1):
        for name, epoch in epochs.items():
            began, n = time.perf_counter(), 0
            for rows in epoch(number):
                _step(method, rows, optimiser, Alone())
                n += len(rows)
            if number:  # the first fills the memory
                speeds[name].append(n / (time.perf_counter() - began))
    baseline = np.array(speeds["tensors in memory"])
    for name, found in speeds.items():
        yield name, float(np.median(found)), float(np.median(np.array(found) / baseline))


def in_memory(snapshot: Snapshot, batch: int) -> Callable[[int], Iterator[Rows]]:
    """The loop that anybody writes on tensors."""
    reader = Reader(snapshot, snapshot.rows_train, 7)
    rows = Rows(*(torch.cat(columns) for columns in zip(*(vars(r).values() for r in reader.epoch(0)), strict=True)))

    def epoch(number: int) -> Iterator[Rows]:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(number))
        return (rows[chosen] for chosen in order.split(batch))

    return epoch


def horovod(snapshot: Snapshot, chosen: Plan, processes: int) -> float:
    """Tracks a second from the second epoch on."""
    ended: list[float] = []

    def tell(epoch: Epoch) -> None:
        ended.append(time.perf_counter())

    few = chosen.model_copy(update={"max_epochs": ROUNDS + 2, "learning_rate": 1e-6})
    with tempfile.TemporaryDirectory() as folder:
        launch("horovod", snapshot.folder, few, Path(folder, "a.safetensors"), processes, tell)
    return snapshot.rows_train * (len(ended) - 1) / (ended[-1] - ended[0])


if __name__ == "__main__":
    main()
