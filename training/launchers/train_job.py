"""Training an adapter, as the processes of a launch are told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from conf.settings import Library
from training.adapters import Adapter
from training.collective import Collective
from training.judge import Epoch
from training.launchers.job import Job, Made, Progress
from training.loop import train
from training.place import Place
from training.plan import Plan
from training.snapshot import Snapshot


class TrainJob(Job):
    """See `training.launchers.launch.launch`."""

    kind: Literal["train"] = "train"
    snapshot: Place
    plan: Plan
    library: Library
    kept_gb: float
    parent: Place | None = None  # file of the adapter that the plan starts from

    @property
    def seen(self) -> Path:
        return self.snapshot / "snapshot.json"

    @property
    def on_gpu(self) -> bool:
        return self.plan.device == "cuda"

    def run(self, collective: Collective, progress: Progress | None) -> Made:
        snapshot = Snapshot.open(self.snapshot)
        parent = Adapter.load(self.parent) if self.parent else None
        trained = train(snapshot, self.plan, collective, progress, self.library, self.kept_gb, self.checkpoint, parent)
        result = {
            "status": trained.status,
            "note": trained.note,
            "metrics": trained.metrics,
            "best_epoch": trained.best_epoch,
            "curve": [asdict(epoch) for epoch in trained.curve],
            **trained.adapter.card.model_dump(mode="json"),
        }
        return result, trained.adapter

    def load(self, file: Path) -> Adapter:
        return Adapter.load(file)

    def read_epoch(self, said: Mapping[str, Any]) -> Epoch:
        return Epoch(**said)
