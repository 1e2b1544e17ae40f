"""A network that gives all crops the same answer is found out, whichever answer that is."""

from __future__ import annotations

import math

import pytest
import torch

from training.finetune.distillation import Distillation
from training.finetune.health import Health, measure_health


def test_answers_and_rank_by_hand() -> None:
    teacher = torch.eye(4).repeat(3, 1)  # four sure answers
    embeddings = torch.cat([torch.eye(3), -torch.eye(3)])  # three directions of equal variance around 0
    found = measure_health(Distillation(4), teacher, torch.cat([embeddings, embeddings]))
    assert found.answers == pytest.approx(4, rel=1e-6)
    assert found.rank == pytest.approx(3)


@pytest.mark.parametrize("answer", [torch.tensor([9.0, 0, 0, 0]), torch.zeros(4)], ids=["sure", "none at all"])
def test_the_same_answer_for_all_is_a_collapse(answer) -> None:
    embeddings = torch.randn(20, 10, generator=torch.Generator().manual_seed(0))
    found = measure_health(Distillation(4), answer.repeat(20, 1), embeddings)
    assert found.answers == pytest.approx(1)
    assert found.is_collapse_of(found)
    assert "1.0 different answers" in found.say()


def test_embeddings_on_a_line_are_a_collapse() -> None:
    line = torch.linspace(-1, 1, 20)[:, None] * torch.ones(10)
    found = measure_health(Distillation(4), torch.eye(4).repeat(5, 1), line)
    assert found.rank == pytest.approx(1, abs=1e-6)
    assert found.is_collapse_of(Health(4.0, 8.0))
    assert not found.is_collapse_of(Health(4.0, 2.0))


def test_one_point_is_no_number_that_is_not() -> None:
    found = measure_health(Distillation(4), torch.zeros(5, 4), torch.ones(5, 10))
    assert math.isfinite(found.rank)
    assert found.is_collapse_of(Health(4.0, 8.0))
