"""Adapters: what training leaves behind, as one safetensors file that says what it was made from and for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from conf.errors import ModelError
from conf.settings import ReadOut, TrainingMethod
from training.networks import Network, build
from training.weights_file import WeightsFile


@dataclass(frozen=True)
class Moved:
    """How cosine distances of held-out pairs moved from the raw to the adapted space.

    Attributes:
        same, different: of pairs of one person (anchor and hard positive of a track) and of two people (anchor and hard
            negative, or anchors of other tracks where there is none): what was added to their mean, and by what their
            standard deviation was multiplied.
    """

    same: tuple[float, float]
    different: tuple[float, float]


class Card(BaseModel):
    """What an adapter's file says about it, as strings of JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: TrainingMethod
    settings: dict[str, Any]
    network: Network
    in_dim: int
    out_dim: int
    base_embedder_sha256: str
    snapshot_fingerprint: str
    source_versions: dict[str, int | str]
    labels_from: str | None = Field(None, description="whose labels it was trained on; None for none")
    read_out: ReadOut = Field("cosine", description="how its outputs are compared, see conf/settings.py")
    threshold: float | None = Field(
        None, description="squared distance of outputs, read out, at which complete linkage stops, if it has one"
    )
    moved: Moved | None = Field(None, description="how the distances of held-out pairs changed")


CENTRE = "centre"  # among an adapter's weights: (out_dim,) mean of the training tracks' outputs


class Adapter(WeightsFile):
    """The trained network (of MvCorr: branch 0) with its card, and the origin from which its outputs are seen.

    Args:
        weights: of `training.networks.build` for the card's network and width, by name; copied. Beside them `CENTRE`,
            where the outputs are read out centred.
    Raises:
        ModelError: the weights do not fit the card.
    """

    WHAT, CARD = "castmine adapter", Card

    def __init__(self, card: Card, weights: Mapping[str, Tensor]) -> None:
        weights = dict(weights)
        self.centre = weights.pop(CENTRE, None)
        if (self.centre is not None) != (card.read_out == "centred"):
            raise ModelError(
                f"the weights do not fit the adapter's card: read out {card.read_out}, with no such centre"
            )
        if self.centre is not None and self.centre.shape != (card.out_dim,):
            raise ModelError(f"the weights do not fit the adapter's card: a centre of {tuple(self.centre.shape)}")
        with torch.device("meta"):  # shapes alone: no random start that would be thrown away
            layers = build(card.network, card.in_dim)
        try:
            layers.load_state_dict(
                {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}, assign=True
            )
        except RuntimeError as error:
            raise ModelError(f"the weights do not fit the adapter's card: {error}") from error
        self.card, self.layers = card, layers.eval()

    def weights(self) -> dict[str, Tensor]:
        """What a like adapter is made of, by name."""
        return {**self.layers.state_dict(), **({} if self.centre is None else {CENTRE: self.centre})}


def apply(
    adapter: Adapter, embeddings: NDArray[np.float32], embedder_sha256: str, *, unit: bool = True
) -> NDArray[np.float32]:
    """Embeddings in the adapted space.

    Args:
        embeddings: (N, in_dim) float32, unit rows of the adapter's own embedder; N may be 0.
        embedder_sha256: the model that made them.
        unit: whether rows must be of unit length, to be compared by their cosine. Where they need not, those of an
            adapter that is read out `euclidean` are left as they are.
    Returns:
        (N, out_dim) float32, centred where the adapter is read out so; unit rows (one that comes out as zero stays
        zero). Computed in float64, so that a row's result does not depend on which rows it came with.
    Raises:
        ModelError: another embedder or another width than the adapter was trained for.
    """
    card = adapter.card
    if embedder_sha256 != card.base_embedder_sha256:
        raise ModelError(
            f"this adapter was trained on embeddings of model {card.base_embedder_sha256[:12]}, these are of "
            f"{embedder_sha256[:12]}: train again, or cluster with --adapter none"
        )
    if embeddings.ndim != 2 or embeddings.shape[1] != card.in_dim:
        raise ModelError(f"this adapter takes (N, {card.in_dim}) embeddings, got an array of shape {embeddings.shape}")
    with torch.no_grad():
        out = copy.deepcopy(adapter.layers).double()(torch.from_numpy(embeddings.astype(np.float64))).numpy()
    if adapter.centre is not None:
        out = out - adapter.centre.double().numpy()
    if not unit and card.read_out == "euclidean":
        return out.astype(np.float32)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.divide(out, length, out=np.zeros_like(out), where=length > 0).astype(np.float32)
