"""Weights with a card in one safetensors file: adapters and fine-tuned networks."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from conf.errors import ModelError
from conf.files import write_whole
from conf.places import locate, read


class WeightsFile(ABC):
    """What can be written to such a file, and read again.

    Attributes:
        WHAT: its name, in messages. CARD: the model of its card.
        card: what the file says about it, as a string of JSON.
    """

    WHAT: ClassVar[str]
    CARD: ClassVar[type[BaseModel]]
    card: Any

    @abstractmethod
    def __init__(self, card: Any, weights: dict[str, Tensor]) -> None: ...

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """What a like one is made of, by name."""

    def to_bytes(self) -> bytes:
        """The file's content: the same weights and card give the same bytes."""
        # one key, because safetensors writes several in the order of a randomly seeded hash map
        return save(self.weights(), metadata={"castmine": self.card.model_dump_json()})

    def sha256(self) -> str:
        """Of the file's content, 64 hex digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        with write_whole(path) as part:
            part.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote; nothing in it is executed.

        Raises:
            ModelError: missing, damaged, something else, or weights that do not fit its own card.
        """
        try:
            return cls.from_bytes(read(locate(path)))
        except (OSError, ModelError) as error:
            raise ModelError(f"{path}: not a {cls.WHAT}, or damaged: {error}") from error

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """That of which `to_bytes` gave this content. Raises ModelError as `load`."""
        try:
            weights = load(content)
            length = int.from_bytes(content[:8], "little")  # of the header, JSON, which `load` found to be whole
            said = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("castmine", "")
            return cls(cls.CARD.model_validate_json(said), weights)
        except (SafetensorError, ValidationError) as error:
            raise ModelError(str(error)) from error
