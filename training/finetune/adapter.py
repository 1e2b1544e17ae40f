"""A fine-tuned network as one safetensors file that says what it was made from, and for which title."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from conf.errors import ModelError
from conf.files import write_whole
from training.adapters import Moved
from training.finetune.branches import TunedBranch, make_head, open_backbone
from training.finetune.model import Model

OF_BACKBONE = "backbone."  # names of weights begin with it


class NetworkCard(BaseModel):
    """What the file says about it, as a string of JSON.

    Attributes:
        title_id: the one title that it was fine-tuned on, and whose faces it is for.
        moved: how the distances of the title's pairs changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title_id: str
    settings: dict[str, Any]
    base_embedder_sha256: str
    moved: Moved


class TunedNetwork:
    """The teacher, which the student's steps are averaged in: its backbone, unless it stood still, head and centre.

    Args:
        weights: of a `TunedBranch`, by name; copied.
    """

    def __init__(self, card: NetworkCard, weights: Mapping[str, Tensor]) -> None:
        self.card = card
        self.weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}

    def open(self, base: str | Path) -> TunedBranch:
        """The network itself.

        Args:
            base: the ONNX file that it was fine-tuned from; with the card's sum.
        Raises:
            ModelError: it is another file, or the weights are not of that network.
        """
        found = hashlib.sha256(Path(base).read_bytes()).hexdigest()
        if found != self.card.base_embedder_sha256:
            wanted = self.card.base_embedder_sha256[:12]
            raise ModelError(f"{base}: model {found[:12]}, but this network was fine-tuned from {wanted}")
        backbone = open_backbone(base)
        branch = TunedBranch(backbone, make_head(backbone.dim))
        stood_still = {name: tensor for name, tensor in branch.state_dict().items() if name.startswith(OF_BACKBONE)}
        try:
            branch.load_state_dict({**stood_still, **self.weights})
        except RuntimeError as error:
            raise ModelError(f"the weights do not fit {base}: {error}") from error
        return branch.eval()

    @classmethod
    def of(cls, card: NetworkCard, model: Model) -> TunedNetwork:
        """What is to be kept of a fine-tuned model."""
        teacher = model.teacher.state_dict()
        if not card.settings["backbone"]:
            teacher = {name: tensor for name, tensor in teacher.items() if not name.startswith(OF_BACKBONE)}
        return cls(card, {**teacher, "centre": model.loss.centre})

    def to_bytes(self) -> bytes:
        """The file's content: the same network gives the same bytes."""
        return save(self.weights, metadata={"castmine": self.card.model_dump_json()})

    def sha256(self) -> str:
        """Of the file's content, 64 hex digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        with write_whole(path) as part:
            part.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> TunedNetwork:
        """Read a file that `save` wrote; nothing in it is executed.

        Raises:
            ModelError: missing, damaged, or not a fine-tuned network.
        """
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except (OSError, ModelError) as error:
            raise ModelError(f"{path}: not a fine-tuned network, or damaged: {error}") from error

    @classmethod
    def from_bytes(cls, content: bytes) -> TunedNetwork:
        """The network of which `to_bytes` gave this content. Raises ModelError where there is none."""
        try:
            weights = load(content)
            length = int.from_bytes(content[:8], "little")  # of the header, JSON, which `load` found to be whole
            said = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("castmine", "")
            return cls(NetworkCard.model_validate_json(said), weights)
        except (SafetensorError, ValidationError) as error:
            raise ModelError(str(error)) from error
