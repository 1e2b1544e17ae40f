"""Training in N tasks of the Spark session with Horovod's `horovod.spark.run`, over Gloo.

Horovod's services listen on all interfaces of their machines for as long as it trains, whatever `nics` says; they
answer who knows the job's secret, which Spark brings to the tasks. `nics` decides where the processes exchange.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from training.launchers import executors
from training.launchers.executors import Task
from training.launchers.horovod import HorovodCollective, check_installed
from training.launchers.job import START_S, Job, Made, Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def launch(job: Job, processes: int, progress: Progress | None) -> Made:
    """As `training.launchers.launch`; Horovod needs the main thread, for its signal handlers."""

    def start(spark: SparkSession, task: Task) -> bytes:
        import horovod.spark

        return horovod.spark.run(
            work,
            (task,),
            num_proc=processes,
            start_timeout=START_S,
            use_gloo=True,
            use_mpi=False,
            nics={task.interface} if task.interface else None,
            executable=spark.sparkContext.pythonExec,  # the workers'; Horovod would take the driver's
            stdout=sys.stderr,
            stderr=sys.stderr,
            verbose=0,
        )[0]

    check_installed(f"{job.kind}.launcher=horovod_spark", f"{job.kind}.launcher=local")
    return executors.launch(job, processes, progress, start)


def work(task: Task) -> bytes:
    """One process of a launch, see `executors.work`."""
    return executors.work(task, HorovodCollective())
