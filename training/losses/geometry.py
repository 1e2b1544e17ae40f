"""Distances and pairs that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12  # under a root: its slope at 0 is infinite


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(..., N, K) squared Euclidean distances of (..., N, D) and (..., K, D) rows, never below 0, by one product."""
    lengths = x.square().sum(dim=-1)[..., :, None] + y.square().sum(dim=-1)[..., None, :]
    return (lengths - 2 * x @ y.mT).clamp(min=0.0)


def one_sample_each(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, V, D) outputs and (N,) labels as (N * V, D) samples with (N * V,) labels."""
    return outputs.flatten(0, 1), labels.repeat_interleave(outputs.shape[1])


def class_sums(samples: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(K, D) sums of the samples of each label, (K,) their numbers, (N,) each sample's place among the K labels."""
    kinds, place = torch.unique(labels, return_inverse=True)
    sums = samples.new_zeros(len(kinds), samples.shape[1]).index_add(0, place, samples)
    return sums, torch.bincount(place, minlength=len(kinds)), place


def mean_or_zero(values: Tensor) -> Tensor:
    """The mean; 0 with a gradient path where there is nothing, so that no process waits for another."""
    return values.mean() if values.numel() else values.sum() * 0.0
