"""ImpTriplet against one triplet at a time, and numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.losses.imptriplet import ImpTriplet


def triplets(seed: int, n: int = 20, d: int = 6) -> Tensor:
    return torch.randn(n, 3, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(outputs: Tensor, margin: float = 1.0, pull: float = 0.1, weight: float = 0.02, unit: bool = True) -> float:
    total = 0.0
    for row in outputs.tolist():
        a, p, q = ([x / math.hypot(*vector) for x in vector] if unit else vector for vector in row)
        near, far_a, far_p = math.dist(a, p) ** 2, math.dist(a, q) ** 2, math.dist(p, q) ** 2
        total += max(0.0, margin + near - (far_a + far_p) / 2) + weight * max(0.0, near - pull)
    return total / len(outputs)


def on_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)[None]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), unit=st.booleans())
def test_equals_one_triplet_at_a_time(seed: int, n: int, unit: bool) -> None:
    x = triplets(seed, n)
    assert ImpTriplet(normalise=unit)(x).item() == pytest.approx(slow(x, unit=unit), rel=1e-12, abs=1e-15)


def test_gradient_by_finite_differences_away_from_the_hinges() -> None:
    assert torch.autograd.gradcheck(ImpTriplet(), triplets(1).requires_grad_())
    assert torch.autograd.gradcheck(ImpTriplet(normalise=False), triplets(2).requires_grad_())


def test_gradient_of_active_hinges_is_the_card_s() -> None:
    x = (0.1 * triplets(3, n=1)).requires_grad_()
    ImpTriplet(weight=0.0, normalise=False)(x).backward()
    a, p, q = x[0].detach()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0], torch.stack([a - 2 * p + q, p - 2 * a + q, a + p - 2 * q]))


def test_gradients_of_a_triplet_sum_to_zero_without_normalisation() -> None:
    x = triplets(4).requires_grad_()
    ImpTriplet(normalise=False)(x).backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.sum(dim=1), torch.zeros(20, 6).double(), atol=1e-12, rtol=0)


def test_anchor_and_positive_may_change_places() -> None:
    x = triplets(5)
    swapped = x[:, [1, 0, 2]]
    assert ImpTriplet()(swapped).item() == pytest.approx(ImpTriplet()(x).item(), rel=1e-12)

    def plain(y: Tensor) -> float:
        a, p, q = torch.nn.functional.normalize(y, dim=2).unbind(dim=1)
        return torch.relu((a - p).square().sum(1) - (a - q).square().sum(1) + 1).mean().item() / 2

    assert plain(swapped) != pytest.approx(plain(x), rel=1e-6)


def test_worked_values() -> None:
    assert ImpTriplet()(on_circle(0, 0, 90)).item() == 0  # a = p and a far negative
    assert ImpTriplet()(on_circle(0, 0, 0)).item() == pytest.approx(1.0, abs=1e-15)  # a = p = q: the margin
    apart = 2 * math.degrees(math.asin(math.sqrt(0.2) / 2))  # squared distance 0.2
    assert ImpTriplet()(on_circle(0, apart, 180)).item() == pytest.approx(0.02 * 0.1, rel=1e-9)


def test_a_repeated_batch_has_the_same_loss() -> None:
    x = triplets(6)
    assert ImpTriplet()(x.repeat(2, 1, 1)).item() == pytest.approx(ImpTriplet()(x).item(), rel=1e-12)


def test_an_empty_batch_is_zero_and_can_be_differentiated() -> None:
    weight = torch.ones(6, 4, requires_grad=True)
    loss = ImpTriplet()(torch.zeros(0, 3, 6) @ weight)
    loss.backward()
    assert loss.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.parametrize("row", [torch.zeros(1, 3, 4), torch.ones(1, 3, 4)], ids=["all zero", "all equal"])
def test_gradients_stay_finite_where_vectors_coincide(row: Tensor) -> None:
    x = row.clone().requires_grad_()
    ImpTriplet()(x).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_float32_gradient_is_that_of_float64() -> None:
    exact, single = triplets(7, 200, 64).requires_grad_(), triplets(7, 200, 64).float().requires_grad_()
    ImpTriplet()(exact).backward()
    ImpTriplet()(single).backward()
    assert exact.grad is not None
    assert single.grad is not None
    assert (single.grad - exact.grad).norm() < 1e-4 * exact.grad.norm()
