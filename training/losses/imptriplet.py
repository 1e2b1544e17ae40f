"""ImpTriplet: pull anchor and positive within a margin, push the negative away from both (MvCorr, section IV-A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class ImpTriplet(nn.Module):
    """Improved triplet loss: `mean([Phi]+ + weight [Psi]+)` on squared Euclidean distances.

    Phi = margin + d(a,p) - (d(a,q) + d(p,q)) / 2 and Psi = d(a,p) - pull.

    Args:
        margin: alpha of the paper.
        pull: alpha_hat, the squared distance that anchor and positive may keep.
        weight: lambda.
        normalise: scale the outputs to unit length first, so that the margins speak of distances from 0 to 4.
    """

    def __init__(self, margin: float = 1.0, pull: float = 0.1, weight: float = 0.02, normalise: bool = True) -> None:
        super().__init__()
        self.margin, self.pull, self.weight, self.normalise = margin, pull, weight, normalise

    def forward(self, outputs: Tensor) -> Tensor:
        """Scalar, 0 or more; 0 with a gradient path for an empty batch, so that no process waits for another.

        Args:
            outputs: (N, 3, D) floats: anchor, positive and negative of N triplets; any N, also 0 and 1.
        """
        if len(outputs) == 0:
            return outputs.sum() * 0.0
        if self.normalise:
            outputs = normalize(outputs, dim=2, eps=1e-6)
        anchor, positive, negative = outputs.unbind(dim=1)
        near = _squared_distance(anchor, positive)
        far = (_squared_distance(anchor, negative) + _squared_distance(positive, negative)) / 2
        apart, together = torch.relu(self.margin + near - far), torch.relu(near - self.pull)
        return (apart + self.weight * together).mean()


def _squared_distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(dim=1)
