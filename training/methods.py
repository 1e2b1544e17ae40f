"""Methods: which networks see which rows, and which loss their outputs meet. One class a method, named in `METHODS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.collective import Collective
from training.losses.imptriplet import ImpTriplet
from training.losses.mvcorr import MvCorr
from training.networks import build
from training.presets import Plan
from training.readers import Rows


class Method(nn.Module, ABC):
    """What the training loop asks of a method; the module holds all weights that are trained.

    Args:
        in_dim: width of the base embedder.
        views: M, tracklets per row.
    Attributes:
        triplets: whether it learns from rows with a hard negative alone.
        networks: the first becomes the adapter.
        loss: (N, V, out_dim) outputs of the global batch, or of the whole development set -> scalar.
    """

    triplets: ClassVar[bool]
    networks: nn.ModuleList
    loss: nn.Module

    def __init__(self, plan: Plan, in_dim: int, views: int, collective: Collective) -> None:
        super().__init__()

    @abstractmethod
    def embed(self, rows: Rows) -> Tensor:
        """(n, V, out_dim) outputs of the rows of this process."""


class MvCorrMethod(Method):
    """M branches that share no weights, one per view; the anchor's becomes the adapter (card 4)."""

    triplets = False

    def __init__(self, plan: Plan, in_dim: int, views: int, collective: Collective) -> None:
        super().__init__(plan, in_dim, views, collective)
        branches = (build(plan.network, in_dim, collective, name=f"branch{view}") for view in range(views))
        self.networks = nn.ModuleList(branches)
        self.loss = MvCorr(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return torch.stack([branch(rows.views[:, view]) for view, branch in enumerate(self.networks)], dim=1)


class ImpTripletMethod(Method):
    """One network for anchor, first hard positive and hard negative; batch norm runs over all three (card 3)."""

    triplets = True

    def __init__(self, plan: Plan, in_dim: int, views: int, collective: Collective) -> None:
        super().__init__(plan, in_dim, views, collective)
        self.networks = nn.ModuleList([build(plan.network, in_dim, collective, name="shared")])
        self.loss = ImpTriplet(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        triplets = torch.stack([rows.views[:, 0], rows.views[:, 1], rows.negative], dim=1)
        return self.networks[0](triplets.flatten(0, 1)).unflatten(0, (-1, 3))


METHODS: dict[str, type[Method]] = {"mvcorr": MvCorrMethod, "imptriplet": ImpTripletMethod}
