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


def launch(
    launcher: Launcher,
    snapshot_folder: str | Path,
    plan: Plan,
    out_file: str | Path,
    processes: int = 1,
    progress: Progress | None = None,
    library: Library = "petastorm",
) -> dict[str, Any]:
    """Train an adapter and write it to `out_file`.

    Args:
        launcher: `local` trains in this process, `horovod` in `processes` new ones on this machine; `horovod_spark` and
            `torch_distributor` in as many task slots of the active Spark session, whose executors must see the
            snapshot.
        progress: called here after every epoch; of training on executors, within a second or so.
        library: what reads the snapshot's files.
    Returns:
        What the adapter's row and the user want to know; plain JSON values: status (`ready` or `not_better`), note,
        metrics, best_epoch, curve (epoch, train_loss, dev_loss), processes, sha256 of the file, and its card.
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
    job = Job(snapshot=Path(snapshot_folder).resolve(), plan=plan, library=library)
    result, adapter = start(job, processes, progress)
    adapter.save(out_file)
    return result


def run(job: Job, collective: Collective, progress: Progress | None) -> Made:
    """What every process of a launch does: the same training as everyone's, checked to have come out the same."""
    trained = train(Snapshot.open(job.snapshot), job.plan, collective, progress, job.library)
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
