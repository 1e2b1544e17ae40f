"""Fine-tuning on one title, as the processes of a launch are told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from training.collective import Collective
from training.finetune.adapter import TunedNetwork
from training.finetune.loop import Epoch
from training.finetune.plan import FinetunePlan
from training.finetune.title import LINKS
from training.finetune.work import ANSWERS, fine_tune_title
from training.launchers.job import Job, Made, Progress
from training.place import Place


class FinetuneJob(Job):
    """Beside what it returns, what the network answers to the title's faces lies in the folder afterwards.

    Attributes:
        folder: where the title's crops are staged. weights: ONNX file of the embedder that harvested it.
    """

    kind: Literal["finetune"] = "finetune"
    folder: Place
    title_id: str
    weights: Place
    plan: FinetunePlan
    gpu: int | None = None

    @property
    def seen(self) -> Path:
        return self.folder / LINKS

    @property
    def on_gpu(self) -> bool:
        return self.plan.device == "cuda"

    def run(self, collective: Collective, progress: Progress | None) -> Made:
        made = fine_tune_title(
            self.folder,
            self.title_id,
            self.weights,
            self.plan,
            collective,
            None if progress is None else lambda epoch, _: progress(epoch),
            self.checkpoint,
            self.gpu,
        )
        if collective.rank == 0:
            made.answers.save(self.folder / ANSWERS)
        result = {
            "status": made.status,
            "note": made.note,
            "metrics": made.metrics,
            "curve": [asdict(epoch) for epoch in made.curve],
            "fingerprint": made.fingerprint,
            "dim": made.answers.embedding.shape[1],
            "settings": self.plan.model_dump(mode="json"),
        }
        return result, made.network

    def load(self, file: Path) -> TunedNetwork:
        return TunedNetwork.load(file)

    def read_epoch(self, said: Mapping[str, Any]) -> Epoch:
        return Epoch(**said)
