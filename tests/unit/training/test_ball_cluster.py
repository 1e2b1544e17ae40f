"""BCL against loops over samples and centroids, and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from training.losses.ball_cluster import GAMMA, BallCluster, TrackBalls


def batch(seed: int, n: int = 12, views: int = 1, d: int = 5, classes: int = 4) -> tuple[Tensor, Tensor]:
    state = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, views, d, generator=state, dtype=torch.float64)
    return outputs, torch.randint(classes, (n,), generator=state)


def unit(vector: list[float]) -> list[float]:
    return [x / math.hypot(*vector) for x in vector]


def centroid(vectors: list[list[float]]) -> list[float]:
    return unit([sum(column) for column in zip(*vectors, strict=True)])


def slow(outputs: Tensor, labels: Tensor, h: float, weight: float = 4.0, slack: float = 0.0) -> float:
    """Eq. 5 to 7 with loops."""
    b = math.log1p(math.exp(h))
    samples = [unit(view) for row in outputs.tolist() for view in row]
    kinds = [label for label in labels.tolist() for _ in range(outputs.shape[1])]
    members = {kind: [s for s, k in zip(samples, kinds, strict=True) if k == kind] for kind in kinds}
    centres = {kind: centroid(vectors) for kind, vectors in members.items()}
    near = far = 0.0
    for sample, kind in zip(samples, kinds, strict=True):
        near += max(0.0, math.dist(sample, centres[kind]) ** 2 - b)
        others = [9 * b + slack - math.dist(sample, centre) ** 2 for k, centre in centres.items() if k != kind]
        far += max(0.0, *others) if others else 0.0
    return (weight * near + far) / len(samples)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    views=st.integers(1, 3),
    h=st.floats(-4, 1, width=32),
    slack=st.sampled_from([0.0, 0.3]),
)
def test_equals_loops_over_samples_and_centroids(seed: int, n: int, views: int, h: float, slack: float) -> None:
    outputs, labels = batch(seed, n, views)
    loss = BallCluster(start=h, slack=slack).double()
    assert loss(outputs, labels).item() == pytest.approx(slow(outputs, labels, h, slack=slack), rel=1e-9, abs=1e-9)


def test_gradient_of_samples_and_radius_by_finite_differences() -> None:
    outputs, labels = batch(1)
    loss = BallCluster().double()
    assert torch.autograd.gradcheck(
        lambda x, h: torch.func.functional_call(loss, {"ball.h": h}, (x, labels)),
        (outputs.requires_grad_(), loss.ball.h.detach().clone().requires_grad_()),
    )


def test_slope_of_the_radius_is_the_count_of_hinges() -> None:
    outputs, labels = batch(2, n=40)
    loss = BallCluster().double()
    loss(outputs, labels).backward()
    b = float(loss.ball().detach())
    samples = torch.nn.functional.normalize(outputs[:, 0], dim=1).numpy()
    centres = np.array([samples[labels == k].sum(axis=0) for k in range(4)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    distance = ((samples[:, None] - centres[None]) ** 2).sum(axis=2)
    own = np.eye(4, dtype=bool)[labels.numpy()]
    n_sim, n_dis = (distance[own] > b).sum(), (np.where(own, np.inf, distance).min(axis=1) < GAMMA * b).sum()
    slope = (GAMMA * n_dis - 4 * n_sim) / 40 * torch.sigmoid(loss.ball.h.detach())
    assert n_sim
    assert n_dis
    assert loss.ball.h.grad.item() == pytest.approx(float(slope), rel=1e-9)


def test_rows_all_equal_cost_nine_b_and_a_vanishing_ball_nothing() -> None:
    outputs, labels = torch.ones(6, 1, 4).double(), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = BallCluster().double()
    assert loss(outputs, labels).item() == pytest.approx(9 * float(loss.ball().detach()))
    assert BallCluster(start=-40.0).double()(outputs, labels).item() == pytest.approx(0.0, abs=1e-15)


def test_an_identity_seen_once_is_not_pulled() -> None:
    outputs, _ = batch(3, n=5)
    loss = BallCluster(weight=1e6, start=-40.0).double()  # pushes nothing, pulls whatever it can
    assert loss(outputs, torch.arange(5)).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_is_zero_with_a_gradient(n: int) -> None:
    outputs = torch.randn(n, 1, 4, requires_grad=True)
    loss = BallCluster()(outputs, torch.zeros(n, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_names_and_order_of_the_identities_count_for_nothing() -> None:
    outputs, labels = batch(4)
    loss = BallCluster().double()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert loss(outputs[order], 70 - 3 * labels[order]).item() == pytest.approx(loss(outputs, labels).item(), rel=1e-12)


def test_the_threshold_of_squared_distances_is_twice_the_radius() -> None:
    points = np.random.default_rng(0).normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    threshold = BallCluster().ball.threshold()
    squared = fcluster(linkage(points, "complete", "sqeuclidean"), threshold, "distance")
    assert threshold == pytest.approx(4 * math.log1p(math.exp(-1.5)))
    np.testing.assert_array_equal(
        squared, fcluster(linkage(points, "complete", "euclidean"), threshold**0.5, "distance")
    )


def slow_tracks(outputs: Tensor, has_negative: Tensor, b: float, weight: float = 4.0) -> float:
    """Of 4 faces a row, and 2 of each of 3 partners."""
    near = far = 0.0
    for row, has in zip(outputs.tolist(), has_negative.tolist(), strict=True):
        faces, *partners = [[unit(x) for x in row[a:b]] for a, b in ((0, 4), (4, 6), (6, 8), (8, 10))]
        own, others = centroid(faces), [centroid(partner) for partner in partners]
        near += sum(max(0.0, math.dist(x, own) ** 2 - b) for x in faces)
        far += sum(max(0.0, *(9 * b - math.dist(x, other) ** 2 for other in others)) for x in faces) if has else 0.0
    return (weight * near + far) / (len(outputs) * 4)


def test_tracks_as_classes_meet_only_their_own_strangers() -> None:
    outputs = torch.randn(7, 10, 5, generator=torch.Generator().manual_seed(5)).double()
    has_negative = torch.tensor([True, False, True, True, False, True, True])
    loss = TrackBalls(3, 2).double()
    expected = slow_tracks(outputs, has_negative, float(loss.ball()))
    assert loss(outputs, has_negative).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: loss(x, has_negative), outputs.requires_grad_())
    changed = outputs.detach().clone()
    changed[~has_negative, 4:] = 9.0
    assert loss(changed, has_negative).item() == loss(outputs, has_negative).item()


def test_a_partner_that_is_there_twice_counts_once() -> None:
    outputs = torch.randn(4, 10, 5, generator=torch.Generator().manual_seed(6)).double()
    has_negative = torch.ones(4, dtype=torch.bool)
    twice = torch.cat([outputs[:, :8], outputs[:, 4:6]], dim=1)
    once = TrackBalls(2, 2).double()(outputs[:, :8], has_negative)
    assert TrackBalls(3, 2).double()(twice, has_negative).item() == pytest.approx(once.item(), rel=1e-12)


def test_the_radius_of_tracks_does_not_move() -> None:
    outputs = torch.randn(3, 8, 5, requires_grad=True)
    loss = TrackBalls(1, 4)
    loss(outputs, torch.ones(3, dtype=torch.bool)).backward()
    assert loss.ball.h.grad is None


@pytest.mark.parametrize("n", [0, 1])
def test_none_or_one_track(n: int) -> None:
    outputs = torch.randn(n, 6, 4, requires_grad=True)
    loss = TrackBalls(1, 3)(outputs, torch.zeros(n, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs.grad is not None
