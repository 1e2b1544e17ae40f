"""Fine-tuning on one title as a step of a job: launched, told of, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from conf.files import write_whole
from conf.places import settle
from conf.settings import Launcher
from training.finetune.job import FinetuneJob
from training.finetune.loop import Epoch
from training.finetune.plan import FinetunePlan
from training.finetune.work import ANSWERS, FaceAnswers
from training.launchers.launch import checkpoint_of, launch_job

EPOCHS = "epochs"  # in a title's folder: how many are done


def tune_title(
    title_id: str,
    folder: Path,
    weights: Path,
    out_file: Path,
    gpu: int | None = None,
    *,
    plan: FinetunePlan,
    launcher: Launcher = "local",
    processes: int = 1,
) -> tuple[dict[str, Any], FaceAnswers]:
    """Fine-tune on the crops of one title that are staged in a folder, and write the network to `out_file`.

    Returns:
        status (`ready` or `not_better`), note, metrics, curve, settings, fingerprint (of the crops), dim, processes,
        restarts, sha256 (of the file); and what the network says of the title's faces.
    Raises: as `fine_tune_title` and `launch`.
    """
    job = FinetuneJob(
        folder=settle(folder),
        title_id=title_id,
        weights=weights,
        plan=plan,
        gpu=gpu,
        checkpoint=checkpoint_of(out_file),
    )
    result = launch_job(launcher, job, out_file, processes, _count_epochs(folder))
    return result, FaceAnswers.load(folder / ANSWERS)


def _count_epochs(folder: Path) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        with write_whole(folder / EPOCHS) as part:
            part.write_text(str(epoch.epoch + 1))

    return tell


def count_epochs(folder: Path) -> int:
    """How many epochs a title's fine-tuning has done."""
    file = folder / EPOCHS
    return int(file.read_text()) if file.exists() else 0
