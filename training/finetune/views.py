"""Views of aligned face crops: parts of them, turned, mirrored and in another light, as VideoClusterNet trains on
(appendix A.3). All that is drawn is drawn before, so that a crop's views are the same whoever renders them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

GLOBAL, LOCAL = (0.7, 1.0), (0.4, 0.6)  # share of a crop's area that a view shows
KINDS = (
    GLOBAL,
    GLOBAL,
    LOCAL,
    LOCAL,
    LOCAL,
    LOCAL,
)  # of a pair: the even ones of its first crop, the odd of its second
STRETCH = 4 / 3  # of a view's sides, at most
TURN = np.deg2rad(10.0)
WARMTH = 0.2  # red up and blue down by this share, or the other way round, at most

Draws = NDArray[
    np.float32
]  # (..., 7): width, height (of the crop's), x, y of the centre (-1 to 1), angle, mirror, warmth


def draw_views(pairs: int, random: np.random.Generator) -> Draws:
    """(pairs, 6, 7) what the views of so many pairs of crops are."""
    low, high = np.array(KINDS).T
    shape = (pairs, len(KINDS))
    area = random.uniform(low, high, shape)
    stretch = np.exp(random.uniform(-np.log(STRETCH), np.log(STRETCH), shape))
    sides = np.minimum(np.sqrt(np.stack([area * stretch, area / stretch], axis=-1)), 1.0)
    centre = (1 - sides) * random.uniform(-1, 1, (*shape, 2))
    angle = random.uniform(-TURN, TURN, shape)
    mirror = np.where(random.random(shape) < 0.5, -1.0, 1.0)
    warmth = random.uniform(-WARMTH, WARMTH, shape)
    rest = np.stack([angle, mirror, warmth], axis=-1)
    return np.concatenate([sides, centre, rest], axis=-1).astype(np.float32)


def render_views(crops: Tensor, draws: Tensor) -> Tensor:
    """(N, 3, H, W) one view of each crop, of the crop's size.

    Args:
        crops: (N, 3, H, W) floats from -1 to 1, red first.
        draws: (N, 7), see `Draws`. What lies outside of a crop is its mirror image.
    """
    width, height, x, y, angle, mirror, warmth = draws.unbind(dim=1)
    sine, cosine = angle.sin(), angle.cos()
    to_crop = torch.stack(
        [
            torch.stack([width * cosine * mirror, -width * sine, x], dim=1),
            torch.stack([height * sine * mirror, height * cosine, y], dim=1),
        ],
        dim=1,
    )
    grid = affine_grid(to_crop, list(crops.shape), align_corners=False)
    views = grid_sample(crops, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    light = torch.stack([1 + warmth, torch.ones_like(warmth), 1 - warmth], dim=1)
    return (((views + 1) * light[:, :, None, None]) - 1).clamp(-1, 1)
