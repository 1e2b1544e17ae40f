"""SER-FIQ against a plain loop, and who is rejected by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.finetune import quality
from training.finetune.quality import measure_sureness, reject_unsure


def last_layer(seed: int = 0) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(40, 16)


@torch.no_grad()
def test_as_a_plain_loop_has_it(monkeypatch) -> None:
    monkeypatch.setattr(quality, "AT_ONCE", 2)
    features, last = torch.randn(5, 40, generator=torch.Generator().manual_seed(1)), last_layer()
    found = measure_sureness(features, last, torch.Generator().manual_seed(2), passes=7, share=0.4)
    generator = torch.Generator().manual_seed(2)
    masks = torch.cat([torch.rand(n, 7, 40, generator=generator) >= 0.4 for n in (2, 2, 1)])
    for crop in range(5):
        rows = [last(features[crop] * mask / 0.6) for mask in masks[crop]]
        rows = [row / row.norm() for row in rows]
        away = [(a - b).norm().item() for i, a in enumerate(rows) for b in rows[i + 1 :]]
        assert found[crop].item() == pytest.approx(2 / (1 + math.exp(np.mean(away))), abs=1e-4)


@torch.no_grad()
def test_without_dropout_all_is_sure() -> None:
    features = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    found = measure_sureness(features, last_layer(), torch.Generator().manual_seed(0), passes=5, share=0.0)
    torch.testing.assert_close(found, torch.ones(3), atol=2e-3, rtol=0)


def test_of_a_million_normals_the_plain_mad_rejects_three_percent() -> None:
    found = np.random.default_rng(0).normal(size=1_000_000)
    rejected = reject_unsure(found)
    assert rejected.mean() == pytest.approx(0.034, abs=0.001)
    np.testing.assert_array_equal(reject_unsure(0.7 + 0.02 * found), rejected)
    assert found[rejected].max() < found[~rejected].min()
    assert reject_unsure(np.zeros(0)).shape == (0,)


def test_unsure_is_below_the_mean_less_the_deviations_from_the_median() -> None:
    found = np.array([0.70, 0.71, 0.72, 0.73, 0.74, 0.69, 1.0])  # mean 0.756, MAD 0.02: below 0.702
    assert reject_unsure(found).tolist() == [True, False, False, False, False, True, False]
