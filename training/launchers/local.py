"""The default launcher: this process, alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf.errors import UsageError
from conf.settings import Library
from training.collective import Alone
from training.launchers import run
from training.loop import Progress
from training.presets import Plan


def launch(
    snapshot_folder: Path, plan: Plan, out_file: Path, processes: int, progress: Progress | None, library: Library
) -> dict[str, Any]:
    """As `training.launchers.launch`."""
    if processes != 1:
        raise UsageError(f"train.processes={processes}: the local launcher has one; set train.launcher=horovod")
    return run(snapshot_folder, plan, out_file, Alone(), progress, library)
