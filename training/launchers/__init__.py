"""Launchers: where training runs. `launch` is the one way in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from conf.settings import Library
from training.collective import Collective
from training.loop import Progress, train
from training.presets import Plan
from training.snapshot import Snapshot


def launch(
    launcher: Literal["local", "horovod"],
    snapshot_folder: str | Path,
    plan: Plan,
    out_file: str | Path,
    processes: int = 1,
    progress: Progress | None = None,
    library: Library = "petastorm",
) -> dict[str, Any]:
    """Train an adapter and write it to `out_file`.

    Args:
        launcher: `local` trains in this process, `horovod` in `processes` new ones on this machine.
        progress: called here after every epoch.
        library: what reads the snapshot's files.
    Returns:
        What the adapter's row and the user want to know; plain JSON values: status (`ready` or `not_better`), note,
        metrics, best_epoch, curve (epoch, train_loss, dev_loss), processes, sha256 of the file, and its card.
    Raises:
        UsageError: Horovod is not installed.
        LakeError: the snapshot cannot be read.
        CastmineError: training diverged, or a process of it failed.
    """
    from training.launchers import horovod, local  # they import this module's `run`

    start = {"local": local.launch, "horovod": horovod.launch}[launcher]
    return start(Path(snapshot_folder), plan, Path(out_file), processes, progress, library)


def run(
    snapshot_folder: Path,
    plan: Plan,
    out_file: Path,
    collective: Collective,
    progress: Progress | None,
    library: Library,
) -> dict[str, Any]:
    """What every process of a launch does: train, and write the adapter where it is rank 0. Returns as `launch`."""
    trained = train(Snapshot.open(snapshot_folder), plan, collective, progress, library)
    if collective.rank == 0:
        trained.adapter.save(out_file)
    return {
        "status": trained.status,
        "note": trained.note,
        "metrics": trained.metrics,
        "best_epoch": trained.best_epoch,
        "curve": [asdict(epoch) for epoch in trained.curve],
        "processes": collective.size,
        "sha256": trained.adapter.sha256(),
        **trained.adapter.card.model_dump(mode="json"),
    }
