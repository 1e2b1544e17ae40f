"""Where a training stands after an epoch: what a training that was stopped goes on from, to the same adapter."""

from __future__ import annotations

import contextlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from conf.errors import CastmineError
from conf.files import write_whole
from conf.places import read
from training.collective import Collective

State = dict[str, Any]  # tensors, numbers, strings, and lists and dicts of them


class Checkpoint:
    """One file that rank 0 reads and writes; the others are told.

    Args:
        file: in a folder that is there; None keeps nothing.
        key: what is trained on what. A file with another key is as good as none.
    """

    def __init__(self, file: Path | None, key: str, collective: Collective) -> None:
        self.file, self.key, self.collective = file, key, collective

    def save(self, state: State) -> None:
        """Replace the file, whole or not at all; where that cannot be written, training goes on without."""
        if self.file is None or self.collective.rank != 0:
            return
        with contextlib.suppress(OSError, CastmineError), write_whole(self.file) as part:
            torch.save({"key": self.key, "state": state}, part)

    def load(self) -> State | None:
        """The state last saved under this key, the same on every process; None where there is none."""
        content = self._content() if self.collective.rank == 0 else b""
        length = self.collective.broadcast(torch.tensor([len(content)]), "checkpoint.length")
        if not length.item():
            return None
        here = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(int(length)).byte()
        told = self.collective.broadcast(here, "checkpoint")
        return _open(told.numpy().tobytes())["state"]

    def _content(self) -> bytes:
        """The file's bytes where they are of this key; nothing else."""
        try:
            content = read(self.file) if self.file is not None else b""
            return content if content and _open(content)["key"] == self.key else b""
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
            return b""  # none, or not one of ours: training begins at the beginning


def _open(content: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
