"""TSiam and SSiam: pairs of faces that nobody labelled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.collective import Collective
from training.losses.siamese import SSiam, TSiam
from training.methods.base import PAPER_BATCH, Entry, Method, pick_views, two_faces
from training.networks import Network, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot


class TSiamMethod(Method):
    """Two random faces of a track, and one of a track that it is cannot-linked to."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        negative = pick_views(rows.negative, rows.draw[:, 2])
        return self._one(torch.cat([two_faces(rows), negative[:, None]], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative


class SSiamMethod(Method):
    """Random faces, two of each track, as frames of a film come; pairs come from sorted distances.

    Nothing says which two are of one track. With one face of each, most would have no other of their person in the
    batch, and the farthest nearest ones would be two people.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = SSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(self.beside(rows))

    def beside(self, rows: Rows) -> Tensor:
        return two_faces(rows)


def _tsiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """As rerun in the VideoClusterNet paper: batch 32, 100 epochs; head and rate are ours."""
    return _siamese(preset, in_dim, min(32 if preset == "paper" else PAPER_BATCH, train))


def _ssiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Sorted lists of batches of 1000 faces, two of each track."""
    return _siamese(preset, in_dim, min(500, train))


def _siamese(preset: str, in_dim: int, batch: int) -> dict[str, Any]:
    """The margin of the small preset lies beyond the distance of strangers, 1.41; below it nothing would push."""
    head = Network(name="head", widths=(256,), layer="relu", dropout=0.0)
    network, rate, margin = (head, 0.01, 1.0) if preset == "paper" else (small(in_dim), 0.1, 1.5)
    return {
        "network": network,
        "loss": {"margin": margin},
        "batch": batch,
        "learning_rate": rate,
        "max_epochs": 100,
        "min_delta": 1e-4,
    }


METHODS = {
    "tsiam": Entry(TSiamMethod, _tsiam, "faces", "negative"),
    "ssiam": Entry(SSiamMethod, _ssiam, "faces", "all"),
}
