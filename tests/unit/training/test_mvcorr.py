"""MvCorr against the printed double sum, its facts and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from conf.errors import CastmineError, TooLittleData
from training.losses.mvcorr import MvCorr


def views(seed: int, n: int = 60, m: int = 3, d: int = 5, noise: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 1, d, generator=generator, dtype=torch.float64)
    return signal + noise * torch.randn(n, m, d, generator=generator, dtype=torch.float64)


def slow(outputs: Tensor, shrinkage: float) -> float:
    """1 - mean eigenvalue of L^-1 R_b L^-T, with R_b from the sum over all pairs of different views."""
    x = outputs.numpy()
    n, m, d = x.shape
    centred = [x[:, view] - x[:, view].mean(axis=0) for view in range(m)]
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for left in range(m):
        for right in range(m):
            covariance = sum(np.outer(centred[left][row], centred[right][row]) for row in range(n)) / (n - 1)
            if left == right:
                within += covariance
            else:
                between += covariance / (m - 1)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / d * np.eye(d)
    inverse = np.linalg.inv(np.linalg.cholesky(shrunk))
    return 1 - np.linalg.eigvalsh(inverse @ between @ inverse.T).mean()


def closed_gradient(outputs: Tensor, shrinkage: float) -> np.ndarray:
    """The gradient: 2/(N-1) (Xc_m Gw + S Gt)."""
    x = outputs.numpy()
    n, m, d = x.shape
    centred = x - x.mean(axis=0)
    total = centred.sum(axis=1)
    within = sum(centred[:, view].T @ centred[:, view] for view in range(m)) / (n - 1)
    between = (total.T @ total / (n - 1) - within) / (m - 1)
    a = np.linalg.inv((1 - shrinkage) * within + shrinkage * np.trace(within) / d * np.eye(d))
    b = a @ between @ a
    g_total = -a / (d * (m - 1))
    g_within = a / (d * (m - 1)) + ((1 - shrinkage) * b + shrinkage * np.trace(b) / d * np.eye(d)) / d
    return 2 / (n - 1) * (centred @ g_within + (total @ g_total)[:, None])


def gradient(outputs: Tensor, shrinkage: float = 0.2) -> Tensor:
    x = outputs.clone().requires_grad_()
    MvCorr(shrinkage)(x).backward()
    assert x.grad is not None
    return x.grad


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), m=st.integers(2, 5), d=st.integers(1, 6), shrinkage=st.sampled_from([0.0, 0.2, 0.7]))
def test_equals_the_sum_over_pairs_of_views(seed: int, m: int, d: int, shrinkage: float) -> None:
    x = views(seed, n=30, m=m, d=d)
    assert MvCorr(shrinkage)(x).item() == pytest.approx(slow(x, shrinkage), rel=1e-10)


def test_gradient_by_finite_differences_and_by_the_closed_form() -> None:
    x = views(1, n=12)
    assert torch.autograd.gradcheck(MvCorr(), x.clone().requires_grad_())
    np.testing.assert_allclose(gradient(x), closed_gradient(x, 0.2), rtol=1e-6, atol=1e-12)


def test_float32_gradient_is_that_of_float64() -> None:
    x = views(2, n=200, d=32)
    exact, single = gradient(x), gradient(x.float())
    assert single.dtype == torch.float32
    assert (single - exact).norm() < 1e-4 * exact.norm()


def test_each_gradient_column_sums_to_zero() -> None:
    torch.testing.assert_close(gradient(views(3)).sum(dim=0), torch.zeros(3, 5).double(), atol=1e-12, rtol=0)


def test_unchanged_by_shift_rotation_scale_and_order() -> None:
    x, loss = views(4), MvCorr()
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    expected = loss(x).item()
    for changed in (
        x + torch.randn(1, 3, 5, generator=generator, dtype=torch.float64),
        x @ rotation,
        x * 7.0,
        x[torch.randperm(len(x), generator=generator)],
        x[:, [2, 0, 1]],
    ):
        assert loss(changed).item() == pytest.approx(expected, rel=1e-9)


def test_without_shrinkage_unchanged_by_any_common_invertible_map() -> None:
    x = views(5)
    skew = torch.eye(5).double() + 0.3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).double()
    assert MvCorr(0.0)(x @ skew).item() == pytest.approx(MvCorr(0.0)(x).item(), rel=1e-9)
    assert abs(MvCorr(0.2)(x @ skew).item() - MvCorr(0.2)(x).item()) > 1e-4


def test_rows_shuffled_per_view_agree_on_nothing() -> None:
    x = views(6, n=4000, noise=0.1)
    shuffled = torch.stack(
        [x[torch.randperm(len(x), generator=torch.Generator().manual_seed(m)), m] for m in range(3)], dim=1
    )
    assert MvCorr().correlation(x) > 0.9
    assert abs(MvCorr().correlation(shuffled).item()) < 0.05


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 0.9])
def test_identical_white_views_agree_wholly(shrinkage: float) -> None:
    x = torch.linalg.qr(views(7, n=50, m=1)[:, 0] - views(7, n=50, m=1)[:, 0].mean(dim=0)).Q
    assert MvCorr(shrinkage)(x[:, None].repeat(1, 3, 1)).item() == pytest.approx(0, abs=1e-12)


def test_shrinkage_rewards_decorrelated_outputs() -> None:
    x = views(8)[:, :1].repeat(1, 3, 1)
    stretched = x * torch.tensor([1, 1, 1, 1, 10.0])
    assert MvCorr(0.0)(stretched).item() == pytest.approx(0, abs=1e-9)
    assert MvCorr(0.2)(stretched) > MvCorr(0.2)(x) > 0


def test_views_that_sum_to_zero() -> None:
    first, second = views(9)[:, 0], views(9)[:, 1]
    x = torch.stack([first, second, -first - second], dim=1)
    assert MvCorr(0.0).correlation(x).item() == pytest.approx(-0.5, abs=1e-12)


def test_signal_in_noise() -> None:
    assert MvCorr(0.0).correlation(views(10, n=40_000, noise=2.0)).item() == pytest.approx(1 / 5, abs=0.01)


def test_refuses_a_batch_that_is_not_larger_than_the_outputs() -> None:
    with pytest.raises(TooLittleData, match="5 outputs needs a batch of more than 5 rows; here are 5"):
        MvCorr()(views(11, n=5))
    assert torch.isfinite(MvCorr()(views(11, n=6)))
    with pytest.raises(ValueError, match="2 or more"):
        MvCorr()(views(11, m=1))


def test_takes_double_precision_where_single_fails() -> None:
    x = views(12, n=100)
    shrunk = x * torch.tensor([1, 1, 1, 1, 1e-25])  # its variance is 0 in float32, and Cholesky fails
    single = shrunk.float().requires_grad_()
    loss = MvCorr(0.0)(single)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(MvCorr(0.0)(x).item(), rel=1e-5)
    loss.backward()
    assert single.grad is not None
    assert torch.isfinite(single.grad).all()


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_outputs_without_a_covariance_are_an_error(value: float) -> None:
    with pytest.raises(CastmineError, match="constant or not finite"):
        MvCorr()(torch.full((20, 3, 4), value))
