"""The five losses that BCL is compared with (its section 3.4). All need identities; all couple the rows of a batch.

Every `forward` takes (N, V, D) outputs, whose views are samples of their row's identity, and (N,) int64 labels, of
which only equality counts (cross-entropy alone: numbers of identities). It returns a scalar, 0 or more; what a batch of
zero or one row has no pairs for counts as 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, logsigmoid, normalize, softplus

from training.losses.geometry import TINY, class_sums, mean_or_zero, one_sample_each, squared_distances


class CrossEntropy(nn.Module):
    """Softmax over the training identities on a linear classifier, which is thrown away after training.

    Args:
        dim: D.
        identities: C; labels are 0 to C - 1, rows with another label are passed over.
    """

    def __init__(self, dim: int, identities: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(dim, identities)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        samples, labels = one_sample_each(outputs, labels)
        known = (labels >= 0) & (labels < self.classifier.out_features)
        return mean_or_zero(cross_entropy(self.classifier(samples[known]), labels[known], reduction="none"))


class Ldml(nn.Module):
    """Logistic discriminant metric learning: two samples are one person with probability sigmoid(beta - d2).

    Args:
        start: beta before training, a squared distance of unit vectors; it is learned.
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(start))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        alike, different = _pair_distances(outputs, labels)
        return mean_or_zero(-logsigmoid(self.beta - alike)) + mean_or_zero(-logsigmoid(different - self.beta))


class Contrastive(nn.Module):
    """`d2 / 2` for one person, `[m - d]+^2 / 2` for two.

    Args:
        start: the margin m before training, a distance of unit vectors; learned as softplus of a free number.
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.tensor(math.log(math.expm1(start))))

    def margin(self) -> Tensor:
        """m, a scalar above 0."""
        return softplus(self.free)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        alike, different = _pair_distances(outputs, labels)
        short = torch.relu(self.margin() - (different + TINY).sqrt())
        return mean_or_zero(alike) / 2 + mean_or_zero(short.square()) / 2


class Triplet(nn.Module):
    """`[d2(i, j) - d2(i, u) + margin]+`, the mean over all ordered pairs (i, j) of one person.

    u is the nearest sample of somebody else that is farther from i than j is; where all are nearer, the farthest.

    Args:
        margin: on squared distances of unit vectors.
    """

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        samples, labels = one_sample_each(normalize(outputs, dim=2, eps=1e-6), labels)
        distance = squared_distances(samples, samples)
        same = labels[:, None] == labels[None]
        negatives = distance.masked_fill(same, torch.inf).sort(dim=1)
        count = (~same).sum(dim=1)
        i, j = torch.nonzero(same & ~torch.eye(len(samples), dtype=torch.bool, device=same.device), as_tuple=True)
        i, j = i[count[i] > 0], j[count[i] > 0]
        after = torch.searchsorted(negatives.values.detach(), distance.detach(), right=True)[i, j]
        u = negatives.indices[i, torch.minimum(after, count[i] - 1)]
        return mean_or_zero(torch.relu(distance[i, j] - distance[i, u] + self.margin))


class Prototypical(nn.Module):
    """Softmax over the batch's identities on minus the squared distance to their means, each identity weighing alike.

    Outputs are not scaled to unit length, and the scores have no margins, both as published (eq. 9, b = gamma = 0).

    Args:
        scale: of the squared distances.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        samples, labels = one_sample_each(outputs, labels)
        sums, count, own = class_sums(samples, labels)
        scores = log_softmax(-self.scale * squared_distances(samples, sums / count[:, None]), dim=1)
        return -(scores.gather(1, own[:, None])[:, 0] / count[own]).sum() / max(len(samples), 1)


def _pair_distances(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of all pairs of unit samples: those of one person, those of two."""
    samples, labels = one_sample_each(normalize(outputs, dim=2, eps=1e-6), labels)
    i, j = torch.triu_indices(len(samples), len(samples), 1)
    distance = squared_distances(samples, samples)[i, j]
    same = labels[i] == labels[j]
    return distance[same], distance[~same]
