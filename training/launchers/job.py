"""What every process of a launch is told, and does."""

from __future__ import annotations

import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from conf.errors import CastmineError
from conf.settings import Library
from training.adapters import Adapter
from training.collective import Collective
from training.loop import Progress, train
from training.plan import Plan
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
    parent: Path | None = None  # file of the adapter that the plan starts from


def train_in_process(job: Job, collective: Collective, progress: Progress | None) -> Made:
    """What every process of a launch does: the same training as everyone's, checked to have come out the same."""
    snapshot = Snapshot.open(job.snapshot)
    parent = Adapter.load(job.parent) if job.parent else None
    trained = train(snapshot, job.plan, collective, progress, job.library, job.kept_gb, job.checkpoint, parent)
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
