"""Ball Cluster Learning, from automatic pairs or labels, and the five losses that it is compared with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import v_measure_score
from torch import Tensor, nn
from torch.nn.functional import normalize

from conf.errors import UsageError
from training.adapters import Adapter
from training.collective import Collective
from training.losses.ball_cluster import Ball, BallCluster, TrackBalls
from training.losses.labelled import Contrastive, CrossEntropy, Ldml, Prototypical, Triplet
from training.methods.base import Entry, Method, Parent, Preset, pick_views
from training.networks import BALL, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot

LOSSES: dict[str, type[nn.Module]] = {
    "bcl": BallCluster,
    "cross_entropy": CrossEntropy,
    "ldml": Ldml,
    "contrastive": Contrastive,
    "triplet": Triplet,
    "prototypical": Prototypical,
}


class _WithBall(Method):
    """A method with the ball's radius among its loss's parameters."""

    def _ball(self) -> Ball | None:
        return self.loss.ball if isinstance(self.loss, (BallCluster, TrackBalls)) else None

    def begin_from(self, parent: Adapter) -> None:
        super().begin_from(parent)
        if (ball := self._ball()) is not None and parent.card.threshold is not None:
            ball.begin_at(parent.card.threshold)


class TrackBallsMethod(_WithBall):
    """BCL from automatic pairs: all sampled faces of a track, and of those that it is cannot-linked to."""

    loss: TrackBalls

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TrackBalls(snapshot.n_partners, snapshot.n_negatives, **plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(torch.cat([rows.views, rows.negative.flatten(1, 2)], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative

    def threshold(self, outputs: Tensor, beside: Tensor | None) -> float:
        return self.loss.ball.threshold()


class LabelledMethod(_WithBall):
    """A random face of each track, or the mean of its faces, and its identity; held-out tracks by the mean (section 4).

    Kept are the weights with the best V-measure of complete linkage on the held-out tracks: at the threshold for BCL,
    at the true number of identities for its rivals. Those then have the threshold that gives this number on the
    held-out tracks: the published way of finding one, which did better than the thresholds that some of them learn.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.samples, self.unit = plan.samples, plan.read_out != "euclidean"
        classifier = (plan.network.out_dim, len(snapshot.labels)) if plan.method == "cross_entropy" else ()
        self.loss = LOSSES[plan.method](*classifier, **plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        if self.training and self.samples == "faces":
            faces = pick_views(rows.views, rows.draw[:, 0])
        else:
            faces = normalize(rows.views.mean(dim=1), dim=1)
        return self.networks[0](faces)[:, None]

    def beside(self, rows: Rows) -> Tensor:
        return rows.label

    def score(self, outputs: Tensor, beside: Tensor | None) -> float:
        """1 - V-measure."""
        assert beside is not None
        ball, tree = self._ball(), self._tree(outputs)
        if ball is None:
            found = fcluster(tree, len(beside.unique()), "maxclust")
        else:
            found = fcluster(tree, ball.threshold() ** 0.5, "distance")
        return 1 - float(v_measure_score(beside.cpu().numpy(), found))

    def threshold(self, outputs: Tensor, beside: Tensor | None) -> float | None:
        assert beside is not None
        if (ball := self._ball()) is not None:
            return ball.threshold()
        return find_threshold(self._tree(outputs)[:, 2], len(beside.unique()))

    def _tree(self, outputs: Tensor) -> NDArray[np.float64]:
        """Complete linkage of the held-out tracks, as scipy has it, on distances."""
        rows = outputs[:, 0].double()
        return linkage((normalize(rows, dim=1) if self.unit else rows).cpu().numpy(), "complete")


def find_threshold(heights: NDArray[np.float64], clusters: int) -> float | None:
    """The squared distance at which a linkage of N rows leaves so many clusters: the middle of those that do.

    Args:
        heights: (N - 1,) ascending distances of its merges.
    Returns:
        None where no distance does: of fewer than two clusters, or one a row.
    """
    merges = len(heights) + 1 - clusters
    if clusters < 2 or merges < 1:
        return None
    return float((heights[merges - 1] + heights[merges]) / 2) ** 2


WIDE = -0.31  # h of b = 0.55
PAPER_EPOCH = 31  # steps: 61,774 tracks in batches of 2000


def _bcl(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published (BCL): batch 2000, rate 0.003, times 0.9 every 10 epochs; h waits 5 epochs, then a tenth of it."""
    fixed = {"loss": {}, "batch": min(2000, train), "drop": 0.9, "loss_rate": 0.1, "loss_waits": 5, "patience": 30}
    if preset == "paper":
        return {**fixed, "network": BALL, "learning_rate": 0.003, "epoch_steps": PAPER_EPOCH}
    return {**fixed, "network": small(in_dim), "learning_rate": 0.1}


def _labels(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published: as `_bcl`. Small, chosen for all six losses on composite titles: track means, a lower rate."""
    made = _bcl(preset, in_dim, train, dev)
    if preset == "paper":
        return made
    for_few = {"batch": min(512, train), "samples": "tracks", "epoch_steps": PAPER_EPOCH, "patience": 8}
    return {**made, **for_few, "learning_rate": 0.01}


def _bcl_labels(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Small, chosen on composite titles: a pull of half the published weight, a wide ball that stays as it is.

    With 60 people in place of 1,214 the published pull (alpha 4) outweighs the push. b = 0.55 is about as wide as the
    tracks of a person spread here; where it is learned it shrinks, until a person is a dozen clusters.
    """
    made = _labels(preset, in_dim, train, dev)
    return made if preset == "paper" else {**made, "loss": {"weight": 2.0, "start": WIDE}, "loss_rate": 0.0}


def _rival(
    preset: str, in_dim: int, train: int, dev: int, *, by_distance: bool = False, **loss: float
) -> dict[str, Any]:
    """BCL's five rivals have its data, network and schedule, their own parameters the full rate.

    Args:
        by_distance: outputs are not of unit length, in the loss, the choice of weights and the clustering (5.3).
        loss: as in the authors' code, where the paper leaves it open.
    """
    made = {**_labels(preset, in_dim, train, dev), "loss_rate": 1.0, "loss_waits": 0, "loss": loss}
    return {**made, "read_out": "euclidean"} if by_distance else made


def _prototypical(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """A tenth of the distances, as in the authors' code, is for the outputs of their network, longer than unit rows."""
    made = _rival(preset, in_dim, train, dev, by_distance=True)
    return {**made, "loss": {"scale": 0.1}} if preset == "paper" else made


def _fine_tune(parent: Parent, made: dict[str, Any]) -> dict[str, Any]:
    """From automatic pairs, starting at a trained BCL: a tenth of the rate, 10 epochs. The paper leaves both open."""
    card = parent.adapter.card
    if card.method != "bcl":
        raise UsageError(f"--parent {parent.adapter_id}: an adapter of {card.method}; bcl goes on from one of bcl")
    changes = {"network": card.network, "read_out": card.read_out, "parent": parent.adapter_id, "max_epochs": 10}
    return {**changes, "learning_rate": made["learning_rate"] / 10}


def _entry(name: str, preset: Preset) -> Entry:
    return Entry(LabelledMethod, preset, "faces", "label", loss=LOSSES[name])


METHODS = {
    "bcl": Entry(
        TrackBallsMethod,
        _bcl,
        "faces",
        "negative",
        labelled=(LabelledMethod, _bcl_labels),
        loss=BallCluster,
        start_from=_fine_tune,
    ),
    "cross_entropy": _entry("cross_entropy", functools.partial(_rival, by_distance=True)),
    "ldml": _entry("ldml", functools.partial(_rival, start=0.5)),
    "contrastive": _entry("contrastive", functools.partial(_rival, start=1.31)),
    "triplet": _entry("triplet", functools.partial(_rival, margin=0.5)),
    "prototypical": _entry("prototypical", _prototypical),
}
