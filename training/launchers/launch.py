"""Launchers: where training runs. `launch` is the one way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf.errors import CastmineError
from conf.places import look, make_folder, settle
from conf.settings import Launcher, Library
from training.launchers import horovod, horovod_spark, local, torch_distributor
from training.launchers.job import Job, Progress
from training.launchers.train_job import TrainJob
from training.plan import Plan
from training.readers.reader import KEPT_GB


def launch(
    launcher: Launcher,
    snapshot_folder: str | Path,
    plan: Plan,
    out_file: str | Path,
    processes: int = 1,
    progress: Progress | None = None,
    library: Library = "petastorm",
    kept_gb: float = KEPT_GB,
    parent: Path | None = None,
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
        parent: file of the adapter to start from; on executors they must see it, too.
    Returns:
        What the adapter's row and the user want to know; plain JSON values: status (`ready` or `not_better`), note,
        metrics, best_epoch, curve (epoch, train_loss, dev_loss), processes, restarts, sha256 of the file, its card.
    Raises:
        UsageError: Horovod is not installed, or Spark has fewer task slots than `processes`.
        LakeError: the snapshot cannot be read, or not on every executor.
        CastmineError: training diverged, or a process of it failed.
    """
    snapshot, checkpoint = settle(snapshot_folder), checkpoint_of(out_file)
    job = TrainJob(snapshot=snapshot, plan=plan, library=library, kept_gb=kept_gb, checkpoint=checkpoint, parent=parent)
    return launch_job(launcher, job, out_file, processes, progress)


def checkpoint_of(out_file: str | Path) -> Path:
    """Where it is written how far the work on a file is."""
    return settle(out_file).with_suffix(".checkpoint")


def launch_job(
    launcher: Launcher, job: Job, out_file: str | Path, processes: int, progress: Progress | None
) -> dict[str, Any]:
    """As `launch`, for any job."""
    start = {
        "local": local.launch,
        "horovod": horovod.launch,
        "horovod_spark": horovod_spark.launch,
        "torch_distributor": torch_distributor.launch,
    }[launcher]
    make_folder(job.checkpoint.parent)
    restarts = 0
    while True:
        before = _written_at(job.checkpoint)
        try:
            result, made = start(job, processes, progress)
            break
        except CastmineError:
            if processes == 1 or _written_at(job.checkpoint) == before:
                raise
            restarts += 1
    made.save(out_file)
    job.checkpoint.unlink(missing_ok=True)
    return {**result, "restarts": restarts}


def _written_at(file: Path) -> int | None:
    seen = look([str(file)]).get(str(file))
    return seen.time_ns if seen else None
