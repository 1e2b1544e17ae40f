"""MvCorr against the printed double sum, its facts and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from torch import Tensor

from conf.errors import CastmineError, TooLittleData
from training.losses.mvcorr import MvCorr

UNEVEN = torch.tensor([4.0, 0.3, 1.0, 2.0, 0.1]).double()  # an even spectrum hides what the ratios are divided by


def views(seed: int, n: int = 60, m: int = 3, d: int = 5, noise: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 1, d, generator=generator, dtype=torch.float64)
    return signal + noise * torch.randn(n, m, d, generator=generator, dtype=torch.float64)


def covariances(outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """R_w and R_b, from the sum over all pairs of views."""
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
    return within, between


def shrink(within: np.ndarray, shrinkage: float) -> np.ndarray:
    return (1 - shrinkage) * within + shrinkage * np.trace(within) / len(within) * np.eye(len(within))


def slow(outputs: Tensor, shrinkage: float) -> float:
    """1 - the mean of w' R_b w / w' R_w w over the generalised eigenvectors of R_b and the shrunk R_w."""
    within, between = covariances(outputs)
    directions = eigh(between, shrink(within, shrinkage))[1].T
    return float(1 - np.mean([(w @ between @ w) / (w @ within @ w) for w in directions]))


def closed_gradient(outputs: Tensor) -> np.ndarray:
    """The gradient without shrinkage: 2/(N-1) (Xc_m Gw + S Gt)."""
    x = outputs.numpy()
    n, m, d = x.shape
    centred = x - x.mean(axis=0)
    within, between = covariances(outputs)
    a = np.linalg.inv(within)
    g_total = -a / (d * (m - 1))
    g_within = a / (d * (m - 1)) + a @ between @ a / d
    return 2 / (n - 1) * (centred @ g_within + (centred.sum(axis=1) @ g_total)[:, None])


def gradient(outputs: Tensor, shrinkage: float = 0.2) -> Tensor:
    x = outputs.clone().requires_grad_()
    MvCorr(shrinkage)(x).backward()
    assert x.grad is not None
    return x.grad


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), m=st.integers(2, 5), d=st.integers(1, 5), shrinkage=st.sampled_from([0.0, 0.2, 0.7]))
def test_equals_the_published_ratios(seed: int, m: int, d: int, shrinkage: float) -> None:
    x = views(seed, n=30, m=m, d=d) * UNEVEN[:d]
    assert MvCorr(shrinkage)(x).item() == pytest.approx(slow(x, shrinkage), rel=1e-8)


def test_shrinkage_finds_directions_and_divides_nothing() -> None:
    """The mean eigenvalue of the shrunk problem is another number, and another gradient, where variances differ."""
    x = views(1, n=400, d=5) * UNEVEN
    within, between = covariances(x)
    of_shrunk = np.linalg.solve(shrink(within, 0.2), between).trace() / 5
    assert abs(MvCorr(0.2).correlation(x).item() - of_shrunk) > 0.1
    assert MvCorr(0.2).correlation(x).item() == pytest.approx(MvCorr(0.0).correlation(x).item(), abs=0.02)


def test_gradient_by_finite_differences_and_by_the_closed_form() -> None:
    x = views(1, n=12) * UNEVEN
    assert torch.autograd.gradcheck(MvCorr(), x.clone().requires_grad_())
    assert torch.autograd.gradcheck(MvCorr(0.0), x.clone().requires_grad_())
    np.testing.assert_allclose(gradient(x, 0.0), closed_gradient(x), rtol=1e-6, atol=1e-10)


def test_float32_gradient_is_that_of_float64() -> None:
    x = views(2, n=200, d=32)
    x = x * torch.linspace(0.2, 3, 32).double()
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


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 0.9])
def test_nothing_is_paid_for_equal_variances(shrinkage: float) -> None:
    """Identical views agree wholly, whatever their covariance."""
    x = views(8)[:, :1].repeat(1, 3, 1)
    for stretched in (x, x * torch.tensor([1, 1, 1, 1, 10.0])):
        assert MvCorr(shrinkage)(stretched).item() == pytest.approx(0, abs=1e-9)
        assert gradient(stretched, shrinkage).norm() < 1e-7


def test_a_constant_output_shares_nothing() -> None:
    x = views(13)
    constant = torch.cat([x, torch.ones(60, 3, 1)], dim=2)
    for kind in (torch.float64, torch.float32):
        expected = 5 / 6 * slow(x, 0.2) + 1 / 6
        assert MvCorr()(constant.to(kind)).item() == pytest.approx(expected, rel=0.02)
        assert torch.isfinite(gradient(constant.to(kind))).all()


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
