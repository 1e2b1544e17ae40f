"""Ball Cluster Learning, from automatic pairs or labels, and the five losses that it is compared with."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import v_measure_score
from torch import Tensor
from torch.nn.functional import normalize

from training.collective import Collective
from training.losses.ball_cluster import BallCluster, TrackBalls
from training.losses.labelled import Contrastive, CrossEntropy, Ldml, Prototypical, Triplet
from training.methods.base import Entry, Method, pick_views
from training.networks import BALL, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot


class TrackBallsMethod(Method):
    """BCL from automatic pairs: all sampled faces of a track, and of one that it is cannot-linked to."""

    loss: TrackBalls

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TrackBalls(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(torch.stack([rows.views, rows.negative], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative

    def threshold(self) -> float:
        return self.loss.ball.threshold()


class LabelledMethod(Method):
    """A random face of each track and its identity; held-out tracks by the mean of their faces (BCL, section 4).

    Kept are the weights with the best V-measure of complete linkage on the held-out tracks: at the threshold for BCL,
    at the true number of identities for its rivals, which have none.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        identities = len(snapshot.labels)
        self.loss = {
            "bcl": lambda: BallCluster(**plan.loss),
            "cross_entropy": lambda: CrossEntropy(plan.network.out_dim, identities),
            "ldml": lambda: Ldml(**plan.loss),
            "contrastive": lambda: Contrastive(**plan.loss),
            "triplet": lambda: Triplet(**plan.loss),
            "prototypical": lambda: Prototypical(),
        }[plan.method]()

    def embed(self, rows: Rows) -> Tensor:
        faces = pick_views(rows.views, rows.draw[:, 0]) if self.training else normalize(rows.views.mean(dim=1), dim=1)
        return self.networks[0](faces)[:, None]

    def beside(self, rows: Rows) -> Tensor:
        return rows.label

    def score(self, outputs: Tensor, beside: Tensor | None) -> float:
        """1 - V-measure."""
        assert beside is not None
        unit = normalize(outputs[:, 0], dim=1).double().cpu().numpy()
        threshold = self.threshold()
        cut = {"n_clusters": len(beside.unique())} if threshold is None else {"n_clusters": None}
        radius = None if threshold is None else threshold**0.5
        tree = AgglomerativeClustering(linkage="complete", distance_threshold=radius, **cut)
        return 1 - float(v_measure_score(beside.cpu().numpy(), tree.fit_predict(unit)))

    def threshold(self) -> float | None:
        return self.loss.ball.threshold() if isinstance(self.loss, BallCluster) else None


def _bcl(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published (BCL): batch 2000, rate 0.003, times 0.9 every 10 epochs; h waits 5 epochs, then a tenth of it."""
    schedule = {"drop": 0.9, "loss_rate": 0.1, "loss_waits": 5, "patience": 30}
    network, rate = (BALL, 0.003) if preset == "paper" else (small(in_dim), 0.1)
    return {"network": network, "loss": {}, "batch": min(2000, train), "learning_rate": rate, **schedule}


def _rival(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """BCL's five rivals have its data, network and schedule, their own parameters the full rate."""
    return {**_bcl(preset, in_dim, train, dev), "loss_rate": 1.0, "loss_waits": 0}


METHODS = {
    "bcl": Entry(TrackBallsMethod, _bcl, "faces", "negative", labelled=LabelledMethod),
    "cross_entropy": Entry(LabelledMethod, _rival, "faces", "label"),
    "ldml": Entry(LabelledMethod, _rival, "faces", "label"),
    "contrastive": Entry(LabelledMethod, _rival, "faces", "label"),
    "triplet": Entry(LabelledMethod, _rival, "faces", "label"),
    "prototypical": Entry(LabelledMethod, _rival, "faces", "label"),
}
