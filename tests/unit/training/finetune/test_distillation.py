"""VideoClusterNet's loss against a plain one in double precision, its gradient, and its centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.collective import Alone
from training.finetune.distillation import GROUPS, Distillation


def outputs(seed: int, n: int = 3, dim: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(6, n, dim, generator=generator, dtype=torch.float64) for _ in range(2))


def slow_softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def slow_loss(teacher: Tensor, student: Tensor, centre: Tensor) -> float:
    found = []
    for group in GROUPS:
        for i in group:
            for j in group:
                if i == j:
                    continue
                for t, s in zip(teacher[i].numpy(), student[j].numpy(), strict=True):
                    p, q = slow_softmax((t - centre.numpy()) / 0.04), slow_softmax(s / 0.1)
                    found.append(-(p * np.log(q)).sum())
    return float(np.mean(found))


def with_centre(dim: int = 7) -> Distillation:
    loss = Distillation(dim).double()
    loss.centre.copy_(torch.linspace(-0.02, 0.03, dim))
    return loss


def test_it_is_the_mean_over_ordered_pairs_of_views_of_a_group() -> None:
    teacher, student = outputs(0)
    loss = with_centre()
    assert loss(teacher, student).item() == pytest.approx(slow_loss(teacher, student, loss.centre), rel=1e-10)


def test_its_slope_is_the_student_s_answer_less_the_teacher_s() -> None:
    teacher, student = outputs(1, n=1)
    loss = with_centre()
    teacher.requires_grad_()
    student.requires_grad_()
    loss(teacher, student, groups=[(0, 1)]).backward()
    assert teacher.grad is None
    for own, other in ((0, 1), (1, 0)):
        expected = (loss.guess(student[own]).exp() - loss.say(teacher[other])) / 0.1 / 2
        torch.testing.assert_close(student.grad[own], expected.detach())
    assert torch.autograd.gradcheck(lambda s: loss(teacher.detach(), s), student)


def test_no_loss_is_below_the_teacher_s_own_doubt() -> None:
    teacher, student = outputs(2)
    loss = with_centre()
    p = loss.say(teacher[:2])
    doubt = -(p * p.log()).sum(dim=-1).mean()
    assert loss(teacher, student, groups=[(0, 1)]) >= doubt


def test_what_all_directions_share_says_nothing() -> None:
    teacher, student = outputs(3)
    loss = with_centre()
    plain = loss(teacher, student)
    torch.testing.assert_close(loss(teacher + 2.0, student - 5.0), plain)
    moved = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    loss.centre.add_(moved)
    torch.testing.assert_close(loss(teacher + moved, student), plain)


def test_the_centre_goes_a_tenth_of_the_way_a_step() -> None:
    loss = Distillation(7).double()
    means = []
    for seed in range(4):
        teacher, _ = outputs(seed)
        loss.follow(teacher, Alone())
        means.append(teacher.mean(dim=(0, 1)))
    expected = sum(0.1 * 0.9 ** (3 - step) * mean for step, mean in enumerate(means))
    torch.testing.assert_close(loss.centre, expected)


def test_no_pairs_at_all() -> None:
    empty = torch.zeros(6, 0, 7)
    assert Distillation(7)(empty, empty.clone().requires_grad_()).item() == 0
