"""Schedules and the teacher's steps against steps by hand."""

from __future__ import annotations

import pytest
import torch

from training.finetune.plan import FinetunePlan
from training.finetune.schedule import find_rate, follow

PAPER = FinetunePlan()


def test_rates_by_hand() -> None:
    first = [find_rate(PAPER, 1, at) for at in (0, 2.5, 5, 17.5, 30)]
    assert first == pytest.approx([5e-6, 5.25e-5, 1e-4, 5.5e-5, 1e-5])
    assert [find_rate(PAPER, 3, at) for at in (0, 5, 7.5, 10)] == pytest.approx([5e-6, 1e-4, 5.5e-5, 1e-5])


def test_a_short_iteration_warms_up_for_half_of_it() -> None:
    short = PAPER.model_copy(update={"later_epochs": 4})
    assert [find_rate(short, 2, at) for at in (0, 1, 2, 4)] == pytest.approx([5e-6, 5.25e-5, 1e-4, 1e-5])


def test_epochs() -> None:
    assert [PAPER.epochs(iteration) for iteration in (1, 2, 5)] == [30, 10, 10]
    assert [PAPER.heads_alone(*at) for at in ((1, 9), (1, 10), (2, 0))] == [True, False, False]
    assert PAPER.model_copy(update={"backbone": False}).heads_alone(2, 5)


def test_the_teacher_after_n_steps_is_the_closed_sum() -> None:
    torch.manual_seed(0)
    teacher, student = (torch.nn.Linear(3, 2).double() for _ in range(2))
    start, seen = teacher.weight.detach().clone(), []
    for _ in range(5):
        with torch.no_grad():
            student.weight.add_(torch.randn(2, 3, dtype=torch.float64))
        seen.append(student.weight.detach().clone())
        follow(teacher, student, keep=0.9)
    expected = 0.9**5 * start + sum(0.1 * 0.9 ** (4 - step) * weight for step, weight in enumerate(seen))
    torch.testing.assert_close(teacher.weight.detach(), expected)


def test_one_step_at_a_power_is_as_many_steps() -> None:
    torch.manual_seed(0)
    student, once, often = (torch.nn.Linear(3, 2).double() for _ in range(3))
    once.load_state_dict(often.state_dict())
    for _ in range(7):
        follow(often, student, keep=0.996)
    follow(once, student, keep=0.996**7)
    torch.testing.assert_close(once.weight, often.weight)


def test_statistics_are_copied() -> None:
    teacher, student = (torch.nn.BatchNorm1d(3) for _ in range(2))
    student.running_mean.fill_(4.0)
    follow(teacher, student, keep=0.9)
    assert teacher.running_mean.tolist() == [4.0, 4.0, 4.0]
