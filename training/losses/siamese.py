"""TSiam and SSiam: the contrastive loss on pairs that nobody labelled (Sharma et al., FG 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.losses.geometry import TINY, mean_or_zero, squared_distances


class TSiam(nn.Module):
    """`d2 / 2` for two faces of one track, `[margin - d]+^2 / 2` for faces of two tracks that were seen together.

    Args:
        margin: a distance of outputs as they are, of whatever length.
    """

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, outputs: Tensor, has_negative: Tensor) -> Tensor:
        """Scalar, 0 or more.

        Args:
            outputs: (N, 3, D) floats: two faces of a track, and one of a track it is cannot-linked to.
            has_negative: (N,) bool, whether there is such a track; its face is not looked at where there is none.
        """
        one, other, negative = outputs.unbind(dim=1)
        alike = (one - other).square().sum(dim=1)
        different = (one[has_negative] - negative[has_negative]).square().sum(dim=1)
        return mean_or_zero(alike) / 2 + mean_or_zero(_short(different, self.margin)) / 2


class SSiam(nn.Module):
    """The same on pairs found by sorting the distances of a random batch: no tracks, no labels.

    Of all samples' nearest ones, the farthest pairs are taken for one person; of all samples' farthest ones, the
    nearest pairs for two. Distances are those of the untrained embedding.

    Args:
        margin: as for `TSiam`.
        pairs: of each kind, of a batch; half the faces at most.
    """

    def __init__(self, margin: float = 1.0, pairs: int = 64) -> None:
        super().__init__()
        self.margin, self.wanted = margin, int(pairs)

    def forward(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """Scalar, 0 or more; 0 for fewer than two samples.

        Args:
            outputs: (N, V, D) floats; every view is a sample.
            raw: (N, V, D') unit rows, the same samples before the adapter.
        """
        samples, raw = outputs.flatten(0, 1), raw.flatten(0, 1)
        if len(samples) < 2:
            return outputs.sum() * 0.0
        alike, different = self.pairs(raw)
        near, far = ((samples[pair[:, 0]] - samples[pair[:, 1]]).square().sum(dim=1) for pair in (alike, different))
        return near.mean() / 2 + _short(far, self.margin).mean() / 2

    def pairs(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """(P, 2) rows taken for one person, and (P, 2) for two; N >= 2, ties by row."""
        wanted = max(1, min(self.wanted, len(raw) // 2))
        distance = squared_distances(raw, raw)
        itself = torch.eye(len(raw), dtype=torch.bool, device=raw.device)
        near, nearest = distance.masked_fill(itself, torch.inf).min(dim=1)
        far, farthest = distance.masked_fill(itself, -torch.inf).max(dim=1)
        hard_alike = near.argsort(descending=True, stable=True)[:wanted]
        hard_different = far.argsort(stable=True)[:wanted]
        return (
            torch.stack([hard_alike, nearest[hard_alike]], dim=1),
            torch.stack([hard_different, farthest[hard_different]], dim=1),
        )


def _short(squared: Tensor, margin: float) -> Tensor:
    """How far below the margin, squared."""
    return torch.relu(margin - (squared + TINY).sqrt()).square()
