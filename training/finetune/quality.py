"""VideoClusterNet's quality of a track (section 3.6): how sure the network is of its crops, by SER-FIQ; who is out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

PASSES, DROPPED = 100, 0.4
AT_ONCE = 128  # crops
MADS = 2.7  # below the mean: about the lowest twentieth (eq. 4)


def measure_sureness(
    features: Tensor, last: torch.nn.Module, generator: torch.Generator, passes: int = PASSES, share: float = DROPPED
) -> Tensor:
    """(F,) SER-FIQ of crops, in (0, 1]: `2 sigmoid(-mean distance)` over pairs of passes with dropout.

    Args:
        features: (F, H) what goes into the last layer, which makes the embeddings; evaluation mode.
        share: of the features that each pass drops.
    """
    found = []
    for some in features.split(AT_ONCE):
        kept = torch.rand((len(some), passes, some.shape[1]), generator=generator) >= share
        x = normalize(last((some[:, None] * kept / (1 - share)).flatten(0, 1)), dim=1).unflatten(0, kept.shape[:2])
        found.append(torch.cdist(x, x).sum(dim=(1, 2)) / (passes * (passes - 1)))
    return 2 * torch.sigmoid(-torch.cat([features.new_zeros(0), *found]))


def reject_unsure(quality: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(T,) tracks below `mean - 2.7 MAD` of their qualities (eq. 4). MAD is the plain one, without a factor.

    Args:
        quality: (T,) means over their crops.
    """
    if not len(quality):
        return np.zeros(0, bool)
    mad = np.median(np.abs(quality - np.median(quality)))
    return quality < quality.mean() - MADS * mad
