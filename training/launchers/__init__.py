"""Launchers: where training runs. `launch` is the one way in."""

from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from conf.errors import CastmineError
from conf.settings import Launcher, Library
from training.adapters import Adapter
from training.collective import Collective
from training.loop import Progress, train
from training.presets import Plan
from training.readers import KEPT_GB
from training.snapshot import Snapshot

START_S = 180  # a busy machine may take a minute to import torch N times
STALL_S = 300  # one process waits this long for another's call before all end

Made = tuple[dict[str, Any], Adapter]  # what `launch` returns, and the adapter


class Job(BaseModel):
    """What every process of a launch is told; it travels as JSON or as a pickle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: Path
    plan: Plan
    library: Library
    kept_gb: float
    checkpoint: Path


def launch(
    launcher: Launcher,
    snapshot_folder: str | Path,
    plan: Plan,
    out_file: str | Path,
    processes: int = 1,
    progress: Progress | None = None,
    library: Library = "petastorm",
    kept_gb: float = KEPT_GB,
) -> dict[str, Any]:
    """Train an adapter and write it to `out_file`.

    A training that was stopped goes on where it stood, and comes to the same adapter. Where a process is lost, it does
    so by itself, as long as it comes an epoch further from one loss to the next.

    Args:
        launcher: `local` trains in this process, `horovod` in `processes` new ones on this machine; `horovod_spark` and
            `torch_distributor` in as many task slots of the active Spark session, whose executors must see the
            snapshot.
        progress: called here after every epoch; of training on executors, within a second or so.
        library, kept_gb: what reads the snapshot's files, and how much of them each process keeps in memory.
    Returns:
        What the adapter's row and the user want to know; plain JSON values: status (`ready` or `not_better`), note,
        metrics, best_epoch, curve (epoch, train_loss, dev_loss), processes, restarts, sha256 of the file, its card.
    Raises:
        UsageError: Horovod is not installed, or Spark has fewer task slots than `processes`.
        LakeError: the snapshot cannot be read, or not on every executor.
        CastmineError: training diverged, or a process of it failed.
    """
    from training.launchers import horovod, horovod_spark, local, torch_distributor  # they import this module

    start = {
        "local": local.launch,
        "horovod": horovod.launch,
        "horovod_spark": horovod_spark.launch,
        "torch_distributor": torch_distributor.launch,
    }[launcher]
    checkpoint = Path(out_file).resolve().with_suffix(".checkpoint")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    snapshot = Path(snapshot_folder).resolve()
    job = Job(snapshot=snapshot, plan=plan, library=library, kept_gb=kept_gb, checkpoint=checkpoint)
    restarts = 0
    while True:
        before = _written_at(checkpoint)
        try:
            result, adapter = start(job, processes, progress)
            break
        except CastmineError:
            if processes == 1 or _written_at(checkpoint) == before:
                raise
            restarts += 1
    adapter.save(out_file)
    checkpoint.unlink(missing_ok=True)
    return {**result, "restarts": restarts}


def _written_at(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


def run(job: Job, collective: Collective, progress: Progress | None) -> Made:
    """What every process of a launch does: the same training as everyone's, checked to have come out the same."""
    snapshot = Snapshot.open(job.snapshot)
    trained = train(snapshot, job.plan, collective, progress, job.library, job.kept_gb, job.checkpoint)
    sha256 = trained.adapter.sha256()
    everyone = collective.gather(torch.tensor([list(bytes.fromhex(sha256))]), "adapter")
    if not bool((everyone == everyone[0]).all()):
        raise CastmineError("the processes ended with different adapters")
    result = {
        "status": trained.status,
        "note": trained.note,
        "metrics": trained.metrics,
        "best_epoch": trained.best_epoch,
        "curve": [asdict(epoch) for epoch in trained.curve],
        "processes": collective.size,
        "sha256": sha256,
        **trained.adapter.card.model_dump(mode="json"),
    }
    return result, trained.adapter


def loopback() -> str:
    """Name of this machine's loopback interface."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
