"""Training in N barrier tasks of the Spark session with Spark's TorchDistributor, over Gloo.

Spark's own: its log server and torch's rendezvous listen on all interfaces of their machines for as long as it trains,
and neither lets one choose. What the processes exchange goes over the loopback interface where all is on one machine.
"""

from __future__ import annotations

import logging
import os
import pickle
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from training.collective import Processes
from training.launchers import executors
from training.launchers.executors import Task
from training.launchers.job import STALL_S, Job, Made, Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class TorchCollective(Processes):
    """The processes that torchrun started.

    Args:
        interface: the network interface to use; None for the one that the machine's name resolves to.
    """

    def __init__(self, interface: str | None = None) -> None:
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = interface
        dist.init_process_group("gloo", timeout=timedelta(seconds=STALL_S))
        self.size, self.rank = dist.get_world_size(), dist.get_rank()

    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        sent = tensor.detach().clone()
        dist.broadcast(sent, src=0)
        return sent

    def _all_rows(self, rows: Tensor, counts: list[int], name: str) -> Tensor:
        padded = rows.new_zeros(max(counts), *rows.shape[1:])  # Gloo gathers equal shapes only
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def _all_sum(self, tensor: Tensor, name: str) -> Tensor:
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total


def launch(job: Job, processes: int, progress: Progress | None) -> Made:
    """As `training.launchers.launch`."""

    def start(spark: SparkSession, task: Task) -> bytes:
        from pyspark.ml.torch.distributor import TorchDistributor

        distributor = TorchDistributor(processes, local_mode=False, use_gpu=job.on_gpu)
        distributor.logger.setLevel(logging.WARNING)  # else it tells the terminal that it starts and ends
        return distributor.run(process, pickle.dumps(task))

    def process(task: bytes) -> bytes:  # nested: it travels as code, and what passes it on imports nothing
        from training.launchers.torch_distributor import work

        return work(pickle.loads(task))

    return executors.launch(job, processes, progress, start)


def work(task: Task) -> bytes:
    """One process of a launch, see `executors.work`."""
    collective = TorchCollective(task.interface)
    try:
        return executors.work(task, collective)
    finally:
        dist.destroy_process_group()
