"""ImpTriplet: hard positive near, hard negative away."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.collective import Collective
from training.losses.imptriplet import ImpTriplet
from training.methods.base import PAPER_BATCH, PAPER_EPOCH, Entry, Method
from training.networks import C2, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot


class ImpTripletMethod(Method):
    """One network for anchor, first hard positive and hard negative; batch norm runs over all three."""

    by_row = True

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = ImpTriplet(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(torch.cat([rows.views[:, :2], rows.negative[:, 0]], dim=1))


def preset(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published: C2, rate 0.001. Small: a square map that starts as the identity; the rate is for unit rows."""
    loss = {"margin": 1.0, "pull": 0.1, "weight": 0.02}
    fixed = {"loss": loss, "batch": min(PAPER_BATCH, train), "decay": 1e-6}
    if preset == "paper":
        return {**fixed, "network": C2, "learning_rate": 0.001, "epoch_steps": PAPER_EPOCH}
    return {**fixed, "network": small(in_dim), "learning_rate": 0.1}


METHODS = {"imptriplet": Entry(ImpTripletMethod, preset, "tracklets", "negative", loss=ImpTriplet)}
