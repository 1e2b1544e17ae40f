"""A fine-tuned network as one safetensors file that says what it was made from, and for which title."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from conf.errors import ModelError
from training.adapters import Moved
from training.finetune.branches import TunedBranch, make_head, open_backbone
from training.finetune.model import Model
from training.weights_file import WeightsFile

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


class TunedNetwork(WeightsFile):
    """The teacher, which the student's steps are averaged in: its backbone, unless it stood still, head and centre.

    Args:
        weights: of a `TunedBranch`, by name; copied.
    """

    WHAT, CARD = "fine-tuned network", NetworkCard

    def __init__(self, card: NetworkCard, weights: Mapping[str, Tensor]) -> None:
        self.card = card
        self._weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}

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
            branch.load_state_dict({**stood_still, **self._weights})
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

    def weights(self) -> dict[str, Tensor]:
        return self._weights
