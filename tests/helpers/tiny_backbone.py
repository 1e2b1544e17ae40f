"""A backbone and crops that are small enough to be fine-tuned in a second."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from training.finetune.branches import Backbone
from training.finetune.crops import Crops
from training.finetune.plan import FinetunePlan

DIM = 8
PLAN = FinetunePlan(iterations=2, first_epochs=3, heads_epochs=1, later_epochs=2, warm_up=1, pairs=6, steps=1)


def tiny_backbone(seed: int = 0) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = nn.Sequential(nn.Conv2d(3, 6, 16, stride=16), nn.PReLU(6), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        return Backbone(trunk, nn.Sequential(nn.Linear(24, DIM), nn.BatchNorm1d(DIM)))


def noise_crops(tracks: int = 5, each: int = 4, seed: int = 0) -> Crops:
    """Tracks of one coloured square each, with noise of each crop's own."""
    random = np.random.default_rng(seed)
    tint = random.integers(40, 216, (tracks, 1, 7, 7, 3))
    coarse = np.clip(tint + random.normal(0, 15, (tracks, each, 7, 7, 3)), 0, 255).astype(np.uint8)
    pixels = coarse.repeat(16, axis=2).repeat(16, axis=3).reshape(-1, 112, 112, 3)
    return Crops(pixels, np.repeat(np.arange(tracks), each), tracks)
