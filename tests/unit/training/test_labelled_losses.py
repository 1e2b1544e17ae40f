"""Cross-entropy, LDML, contrastive, triplet and prototypical against loops over pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.losses.labelled import Contrastive, CrossEntropy, Ldml, Prototypical, Triplet

CLASSES, DIM = 3, 4
Samples = list[list[float]]


def batch(seed: int, n: int = 8, views: int = 1) -> tuple[Tensor, Tensor]:
    state = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, views, DIM, generator=state, dtype=torch.float64)
    return outputs, torch.randint(CLASSES, (n,), generator=state)


def unit(vector: list[float]) -> list[float]:
    return [x / math.hypot(*vector) for x in vector]


def d2(x: list[float], y: list[float]) -> float:
    return math.dist(x, y) ** 2


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slow_ldml(samples: Samples, labels: list[int]) -> float:
    samples = [unit(x) for x in samples]
    pairs = list(combinations(range(len(samples)), 2))
    alike = [-math.log(sigmoid(1 - d2(samples[i], samples[j]))) for i, j in pairs if labels[i] == labels[j]]
    apart = [-math.log(1 - sigmoid(1 - d2(samples[i], samples[j]))) for i, j in pairs if labels[i] != labels[j]]
    return mean(alike) + mean(apart)


def slow_contrastive(samples: Samples, labels: list[int]) -> float:
    samples = [unit(x) for x in samples]
    pairs = list(combinations(range(len(samples)), 2))
    alike = [d2(samples[i], samples[j]) / 2 for i, j in pairs if labels[i] == labels[j]]
    apart = [max(0.0, 1 - math.dist(samples[i], samples[j])) ** 2 / 2 for i, j in pairs if labels[i] != labels[j]]
    return mean(alike) + mean(apart)


def slow_triplet(samples: Samples, labels: list[int]) -> float:
    samples, found = [unit(x) for x in samples], []
    for i in range(len(samples)):
        for j in range(len(samples)):
            others = sorted(d2(samples[i], samples[u]) for u in range(len(samples)) if labels[u] != labels[i])
            if i == j or labels[i] != labels[j] or not others:
                continue
            own = d2(samples[i], samples[j])
            farther = [other for other in others if other > own]
            found.append(max(0.0, own - (farther or others[-1:])[0] + 0.2))
    return mean(found)


def slow_prototypical(samples: Samples, labels: list[int]) -> float:
    total = 0.0
    members = {k: [x for x, own in zip(samples, labels, strict=True) if own == k] for k in labels}
    means = {k: [mean(list(column)) for column in zip(*rows, strict=True)] for k, rows in members.items()}
    for sample, label in zip(samples, labels, strict=True):
        scores = {k: math.exp(-d2(sample, centre)) for k, centre in means.items()}
        total -= math.log(scores[label] / sum(scores.values())) / labels.count(label)
    return total / len(samples)


SLOW: list[tuple[Callable[[], nn.Module], Callable[[Samples, list[int]], float]]] = [
    (Ldml, slow_ldml),
    (Contrastive, slow_contrastive),
    (Triplet, slow_triplet),
    (Prototypical, slow_prototypical),
]
LOSSES: list[Callable[[], nn.Module]] = [*(made for made, _ in SLOW), lambda: CrossEntropy(DIM, CLASSES)]
NAMES = ["ldml", "contrastive", "triplet", "prototypical", "cross_entropy"]


@pytest.mark.parametrize(("made", "slow"), SLOW, ids=NAMES[:4])
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 7), views=st.integers(1, 2))
def test_equals_loops_over_pairs(made, slow, seed: int, n: int, views: int) -> None:
    outputs, labels = batch(seed, n, views)
    expected = slow(outputs.flatten(0, 1).tolist(), labels.repeat_interleave(views).tolist())
    assert made().double()(outputs, labels).item() == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("made", LOSSES, ids=NAMES)
def test_gradients_by_finite_differences(made: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    loss, (outputs, labels) = made().double(), batch(11)
    names, values = zip(*loss.named_parameters(), strict=True) if list(loss.parameters()) else ((), ())

    def of(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(loss, dict(zip(names, parameters, strict=True)), (x, labels))

    free = [value.detach().clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(of, (outputs.requires_grad_(), *free))


@pytest.mark.parametrize("made", LOSSES, ids=NAMES)
@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_has_a_finite_gradient(made: Callable[[], nn.Module], n: int) -> None:
    outputs = torch.randn(n, 1, DIM, requires_grad=True)
    loss = made()(outputs, torch.zeros(n, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("made", LOSSES, ids=NAMES)
def test_the_order_of_the_rows_counts_for_nothing(made: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    loss, (outputs, labels) = made().double(), batch(3)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert loss(outputs[order], labels[order]).item() == pytest.approx(loss(outputs, labels).item(), rel=1e-9)


def test_a_scale_of_prototypical_is_one_of_the_squared_distances() -> None:
    outputs, labels = batch(5)
    expected = Prototypical()(outputs * 0.1**0.5, labels).item()
    assert Prototypical(scale=0.1)(outputs, labels).item() == pytest.approx(expected, rel=1e-9)


def on_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)[:, None]


def test_contrastive_pairs_alone() -> None:
    both, other = torch.tensor([0, 0]), torch.tensor([0, 1])
    loss = Contrastive().double()
    assert loss(on_circle(0, 60), both).item() == pytest.approx(0.5)  # d = 1
    assert loss(on_circle(0, 90), other).item() == 0  # beyond the margin
    assert float(loss.margin().detach()) == pytest.approx(1.0)


def test_ldml_is_undecided_at_beta() -> None:
    loss = Ldml().double()
    for labels in (torch.tensor([0, 0]), torch.tensor([0, 1])):
        assert loss(on_circle(0, 60), labels).item() == pytest.approx(math.log(2))  # d2 = 1 = beta: p = 0.5


def test_triplet_takes_the_nearest_stranger_beyond_the_positive() -> None:
    # i at 0, j at 60 degrees; strangers at 30 (nearer than j), 90 and 150: u is the one at 90
    outputs, labels = on_circle(0, 60, 30, 90, 150), torch.tensor([0, 0, 1, 2, 3])
    of_i = 1.0 - 2.0 + 0.2
    of_j = 1.0 - (2 - 2 * math.cos(math.radians(90))) + 0.2  # from 60: strangers at 30, 30 and 90 degrees
    assert Triplet().double()(outputs, labels).item() == pytest.approx((max(of_i, 0) + max(of_j, 0)) / 2, abs=1e-9)
    near = on_circle(0, 120, 10, 20), torch.tensor([0, 0, 1, 2])
    d2_of = [2 - 2 * math.cos(math.radians(a)) for a in (120, 20, 110)]
    assert Triplet().double()(*near).item() == pytest.approx(
        ((d2_of[0] - d2_of[1] + 0.2) + (d2_of[0] - d2_of[2] + 0.2)) / 2
    )


def test_prototypical_is_cross_entropy_on_distances_to_the_means() -> None:
    outputs, _ = batch(5, n=6)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    means = torch.stack([outputs[labels == k, 0].mean(dim=0) for k in range(3)])
    scores = -(torch.cdist(outputs[:, 0], means) ** 2)
    expected = nn.functional.cross_entropy(scores, labels) / 2  # n_k = 2 of each
    assert Prototypical()(outputs, labels).item() == pytest.approx(expected.item())


def test_cross_entropy_passes_over_strangers() -> None:
    torch.manual_seed(0)
    loss, (outputs, labels) = CrossEntropy(DIM, CLASSES).double(), batch(6)
    with_strangers = torch.cat([labels, torch.tensor([-1, CLASSES])])
    more = torch.cat([outputs, torch.randn(2, 1, DIM).double()])
    assert loss(more, with_strangers).item() == pytest.approx(loss(outputs, labels).item())
