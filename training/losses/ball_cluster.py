"""Ball Cluster Learning: every identity in a ball of one learned radius, which says when to stop merging."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from training.losses.geometry import class_sums, mean_or_zero, one_sample_each, squared_distances

GAMMA = 9.0  # foreign centroids stay 3 radii away: 2 radii then lie between a ball and the nearest stranger


class Ball(nn.Module):
    """The radius that all balls share: `b = softplus(h)` is its square.

    Args:
        start: h before training; -1.5 is b = 0.2014, close to the one published (0.2051).
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        self.h = nn.Parameter(torch.tensor(start))

    def forward(self) -> Tensor:
        """b, the squared radius, a scalar above 0."""
        return softplus(self.h)

    def begin_at(self, threshold: float) -> None:
        """Take the radius of which this is the threshold."""
        with torch.no_grad():
            self.h.fill_(math.log(math.expm1(threshold / 4)))

    def threshold(self) -> float:
        """4 b: the largest squared distance inside a ball, and so where complete linkage stops (eq. 3 and 8)."""
        return 4 * float(self().detach())


class BallCluster(nn.Module):
    """`weight * L_sim + L_dis` (eq. 5 to 7): samples within b of their own centroid, 9 b + slack from every other one.

    A function of the whole batch: with many processes it is evaluated on the rows of all of them.

    Args:
        weight: alpha of the paper.
        slack: epsilon of the paper.
        start: see `Ball`.
    """

    def __init__(self, weight: float = 4.0, slack: float = 0.0, start: float = -1.5) -> None:
        super().__init__()
        self.weight, self.slack, self.ball = weight, slack, Ball(start)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Scalar, 0 or more; without a second identity nothing is pushed, and a batch of zero or one row gives 0.

        Args:
            outputs: (N, V, D) floats, scaled to unit length here; every view is a sample of its row's identity.
            labels: (N,) int64; only their equality counts.
        """
        samples, labels = one_sample_each(normalize(outputs, dim=2, eps=1e-6), labels)
        sums, _, own = class_sums(samples, labels)
        b = self.ball()
        distance = squared_distances(samples, normalize(sums, dim=1, eps=1e-6))
        near = distance.gather(1, own[:, None])[:, 0]
        loss = self.weight * mean_or_zero(torch.relu(near - b))
        if distance.shape[1] < 2:
            return loss
        far = distance.scatter(1, own[:, None], torch.inf).amin(dim=1)  # the hinge is largest for the nearest stranger
        return loss + torch.relu(GAMMA * b + self.slack - far).mean()


class TrackBalls(nn.Module):
    """BCL without labels: every track is a class of its own, its only strangers the tracks it is cannot-linked to.

    Two tracks that never meet may be one person, so nothing pushes them apart. b stays as it starts, and so does the
    threshold that rests on it (BCL, section 4, from automatic pairs).

    Args:
        partners: P, tracks that each is cannot-linked to; some may be there twice.
        negatives: Q, faces of each of them.
        weight, slack, start: as for `BallCluster`.
    """

    def __init__(
        self, partners: int, negatives: int, weight: float = 4.0, slack: float = 0.0, start: float = -1.5
    ) -> None:
        super().__init__()
        self.partners, self.negatives = partners, negatives
        self.weight, self.slack, self.ball = weight, slack, Ball(start)
        self.ball.requires_grad_(False)

    def forward(self, outputs: Tensor, has_negative: Tensor) -> Tensor:
        """Scalar, 0 or more.

        Args:
            outputs: (N, F + P * Q, D) floats: F faces of a track, then Q of each partner.
            has_negative: (N,) bool, whether there is one; its faces are not looked at where there is none.
        """
        outputs = normalize(outputs, dim=2, eps=1e-6)
        n_strangers = self.partners * self.negatives
        faces, strangers = outputs.split([outputs.shape[1] - n_strangers, n_strangers], dim=1)
        others = _centroids(strangers.unflatten(1, (self.partners, self.negatives)))
        b = self.ball()
        near = squared_distances(faces, _centroids(faces[:, None]))[:, :, 0]
        far = squared_distances(faces[has_negative], others[has_negative]).amin(dim=2)  # as in BallCluster, the nearest
        pull, push = torch.relu(near - b), torch.relu(GAMMA * b + self.slack - far)
        return self.weight * mean_or_zero(pull) + push.sum() / max(near.numel(), 1)


def _centroids(tracks: Tensor) -> Tensor:
    """(N, T, D) unit centroids of (N, T, F, D) unit rows."""
    return normalize(tracks.sum(dim=2), dim=2, eps=1e-6)
