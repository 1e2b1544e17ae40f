"""The default launcher: this process, alone."""

from __future__ import annotations

from conf.errors import UsageError
from training.collective import Alone
from training.launchers.job import Job, Made, Progress, run_in_process


def launch(job: Job, processes: int, progress: Progress | None) -> Made:
    """As `training.launchers.launch`."""
    if processes != 1:
        raise UsageError(
            f"{job.kind}.processes={processes}: the local launcher has one; set {job.kind}.launcher=horovod, "
            "horovod_spark or torch_distributor"
        )
    return run_in_process(job, Alone(), progress)
