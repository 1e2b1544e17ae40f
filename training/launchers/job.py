"""What every process of a launch is told, and does."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict

from conf.errors import CastmineError
from training.collective import Collective
from training.place import Place

START_S = 180  # a busy machine may take a minute to import torch N times
STALL_S = 300  # one process waits this long for another's call before all end


class Saved(Protocol):
    """What a job makes: an adapter, a fine-tuned network."""

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""

    def sha256(self) -> str:
        """Of the file's content, 64 hex digits."""


Made = tuple[dict[str, Any], Any]  # what the launcher's caller wants to know, in plain JSON values; a `Saved`
Progress = Callable[[Any], None]  # told of every epoch, a dataclass with the number `epoch`


class Job(BaseModel, ABC):
    """What every process of a launch is told; it travels as JSON or as a pickle.

    Attributes:
        kind: the section of the settings that it is of, too.
        checkpoint: where it is written how far the work is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    checkpoint: Place

    @property
    @abstractmethod
    def seen(self) -> Path:
        """A file of the work that every process must see; what they tell their driver lies beside it."""

    @property
    @abstractmethod
    def on_gpu(self) -> bool:
        """Whether every process needs a GPU."""

    @abstractmethod
    def run(self, collective: Collective, progress: Progress | None) -> Made:
        """The work: the same on every process."""

    @abstractmethod
    def load(self, file: Path) -> Any:
        """The `Saved` of a file that it was saved to."""

    @abstractmethod
    def read_epoch(self, said: Mapping[str, Any]) -> Any:
        """An epoch from its fields."""


def run_in_process(job: Job, collective: Collective, progress: Progress | None) -> Made:
    """What every process of a launch does: the same work as everyone's, checked to have come out the same."""
    result, made = job.run(collective, progress)
    sha256 = made.sha256()
    everyone = collective.gather(torch.tensor([list(bytes.fromhex(sha256))]), "made")
    if not bool((everyone == everyone[0]).all()):
        raise CastmineError("the processes ended with different weights")
    return {**result, "processes": collective.size, "sha256": sha256}, made


def loopback() -> str:
    """Name of this machine's loopback interface."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
