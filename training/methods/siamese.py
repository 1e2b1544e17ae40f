"""TSiam and SSiam: pairs of faces that nobody labelled (Sharma et al., FG 2019).

Both are meant for one video: they learn on the very title that is clustered. The network is that of SSiam's authors: a
hidden layer, and behind a ReLU two outputs, on which the loss is taken as they are. The features are the hidden layer
before its ReLU; the two outputs are left behind. All weights start small, so that at first all distances lie far below
the margin and pushing acts at once: with larger ones, and outputs of unit length, everything mostly contracts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.collective import Collective
from training.losses.siamese import SSiam, TSiam
from training.methods.base import Entry, Method, pick_views, two_faces
from training.networks import Network
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot

HIDDEN, OUTPUTS, START = 512, 2, 0.01
EPOCH = 60  # steps: the faces of a title, 128 at a time
FACES_A_TRACK = 4  # that SSiam draws


class _Siamese(Method):
    """A hidden layer, which becomes the adapter, and a head for the loss."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        head = nn.Sequential(nn.ReLU(), nn.Linear(plan.network.out_dim, OUTPUTS))
        self.networks = nn.ModuleList([*self.networks, head])
        for layer in self.networks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=START)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _judged(self, x: Tensor) -> Tensor:
        """(..., OUTPUTS) of (..., D): what the loss sees."""
        return self.networks[1](self._one(x))


class TSiamMethod(_Siamese):
    """Two random faces of a track, and one of the tracks that it is cannot-linked to."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        negative = pick_views(rows.negative.flatten(1, 2), rows.draw[:, 2])
        return self._judged(torch.cat([two_faces(rows), negative[:, None]], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative


class SSiamMethod(_Siamese):
    """Random faces, four of each track, about as random frames of a film come; pairs come from sorted distances.

    Nothing says which of them are of one track.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = SSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._judged(self.beside(rows))

    def beside(self, rows: Rows) -> Tensor:
        faces = rows.views.shape[1]
        places = torch.arange(min(FACES_A_TRACK, faces), device=rows.views.device) * max(faces // FACES_A_TRACK, 1)
        chosen = (rows.draw[:, :1] + places) % faces
        return rows.views.gather(1, chosen[:, :, None].expand(-1, -1, rows.views.shape[2]))


def _tsiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Batch 32, 100 epochs, as rerun in the VideoClusterNet paper; the network and its schedule as SSiam's."""
    return {**_siamese(), "batch": min(32, train), "max_epochs": 100}


def _ssiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """64 + 64 pairs of 3,000 random faces, rate 0.001, 20 epochs, as in the authors' code."""
    return {
        **_siamese(),
        "loss": {"margin": 1.0, "pairs": 64},
        "batch": min(3000 // FACES_A_TRACK, train),
        "max_epochs": 20,
    }


def _siamese() -> dict[str, Any]:
    network = Network(name="hidden", widths=(HIDDEN,), layer="relu", dropout=0.0, scaled=True)
    fixed = {"network": network, "read_out": "euclidean", "loss": {"margin": 1.0}, "learning_rate": 0.001}
    return {**fixed, "min_delta": 0.0, "epoch_steps": EPOCH}


METHODS = {
    "tsiam": Entry(TSiamMethod, _tsiam, "faces", "negative", loss=TSiam, own_network=True),
    "ssiam": Entry(SSiamMethod, _ssiam, "faces", "all", loss=SSiam, own_network=True),
}
