"""TSiam and SSiam against loops, and where their pairs come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.losses.siamese import SSiam, TSiam


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def short(x: list[float], y: list[float], margin: float = 1.0) -> float:
    return max(0.0, margin - math.dist(x, y)) ** 2


def test_tsiam_equals_a_loop_over_its_pairs() -> None:
    outputs, has_negative = draw(1, 9, 3, 4), torch.arange(9) % 3 > 0
    outputs = outputs * 0.4  # some pairs within the margin of 1, some beyond; lengths count
    rows = outputs.tolist()
    alike = [math.dist(a, p) ** 2 for a, p, _ in rows]
    apart = [short(a, q) for (a, _, q), has in zip(rows, has_negative.tolist(), strict=True) if has]
    expected = sum(alike) / len(alike) / 2 + sum(apart) / len(apart) / 2
    assert TSiam()(outputs, has_negative).item() == pytest.approx(expected, rel=1e-8)
    assert torch.autograd.gradcheck(lambda x: TSiam()(x, has_negative), outputs.requires_grad_())


def test_tsiam_looks_at_no_stranger_without_a_cannot_link() -> None:
    outputs, has_negative = draw(2, 5, 3, 4), torch.zeros(5, dtype=torch.bool)
    other = outputs.clone()
    other[:, 2] = draw(3, 5, 4)
    assert TSiam()(outputs, has_negative).item() == TSiam()(other, has_negative).item() > 0


def test_ssiam_pairs_are_the_hardest_of_both_ends() -> None:
    raw = normalize(draw(4, 40, 6), dim=1)
    alike, apart = SSiam(pairs=4).pairs(raw)
    distance = torch.cdist(raw, raw).square()
    itself = torch.eye(40, dtype=torch.bool)
    near = sorted(
        ((distance[i].masked_fill(itself[i], 9.0).min().item(), i) for i in range(40)), key=lambda x: (-x[0], x[1])
    )
    far = sorted((distance[i].masked_fill(itself[i], -9.0).max().item(), i) for i in range(40))
    assert alike[:, 0].tolist() == [i for _, i in near[:4]]
    assert apart[:, 0].tolist() == [i for _, i in far[:4]]
    for i, j in alike.tolist():
        assert j == distance[i].masked_fill(itself[i], 9.0).argmin()
    for i, j in apart.tolist():
        assert j == distance[i].argmax()


def test_ssiam_equals_the_contrastive_loss_on_those_pairs() -> None:
    raw, outputs = normalize(draw(5, 30, 6), dim=1), 0.4 * draw(6, 30, 4)
    loss = SSiam(pairs=2)
    alike, apart = loss.pairs(raw)
    x = outputs.tolist()
    near = [math.dist(x[i], x[j]) ** 2 for i, j in alike.tolist()]
    far = [short(x[i], x[j]) for i, j in apart.tolist()]
    assert len(near) == len(far) == 2
    assert len(SSiam().pairs(raw)[0]) == 15  # 64 where there are so many
    outputs, raw = outputs.reshape(15, 2, 4), raw.reshape(15, 2, 6)
    assert loss(outputs, raw).item() == pytest.approx(sum(near) / 4 + sum(far) / 4, rel=1e-8)
    assert torch.autograd.gradcheck(lambda y: loss(y, raw), outputs.requires_grad_())


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one(n: int) -> None:
    for outputs, loss in (
        (torch.randn(n, 3, 4, requires_grad=True), lambda x: TSiam()(x, torch.zeros(n, dtype=torch.bool))),
        (torch.randn(n, 1, 4, requires_grad=True), lambda x: SSiam()(x, torch.randn(n, 1, 4))),
    ):
        value = loss(outputs)
        value.backward()
        assert torch.isfinite(value)
        assert outputs.grad is not None
