"""Branches that begin alike but for their heads, and answers that do not depend on who asks with whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.tiny_backbone import DIM, noise_crops, tiny_backbone
from training.finetune.crops import to_inputs
from training.finetune.model import Model, answer_crops


def test_backbones_begin_alike_and_heads_do_not() -> None:
    base = tiny_backbone()
    model = Model(base, seed=3)
    for branch in (model.student, model.teacher):
        for name, weight in base.state_dict().items():
            assert torch.equal(branch.backbone.state_dict()[name], weight)
    assert not torch.equal(model.student.head[0].weight, model.teacher.head[0].weight)
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    again, other = Model(base, seed=3), Model(base, seed=4)
    assert torch.equal(again.student.head[0].weight, model.student.head[0].weight)
    assert not torch.equal(other.student.head[0].weight, model.student.head[0].weight)


def test_making_one_leaves_torch_s_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    Model(tiny_backbone(), seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_inputs_are_from_minus_1_to_1() -> None:
    pixels = np.stack([np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)])
    pixels[0, :, :, 0] = 255
    found = to_inputs(pixels, torch.device("cpu"))
    assert found.shape == (2, 3, 112, 112)
    assert found[0, :, 5, 7].tolist() == [1.0, -1.0, -1.0]  # red first
    assert found[1].min() == found[1].max() == 1.0


@pytest.mark.parametrize("one_backbone", [True, False])
def test_answers_of_crops(one_backbone: bool) -> None:
    model, crops = Model(tiny_backbone(), seed=3), noise_crops(20, 4)
    model.loss.centre += torch.arange(DIM) / DIM
    if not one_backbone:
        model.student.backbone.last[0].weight.data *= torch.linspace(0.5, 2, DIM)[:, None]
    assert model.has_one_backbone() is one_backbone
    found = answer_crops(model, crops, exact=True)
    model.eval()
    with torch.no_grad():
        x = to_inputs(crops.pixels, torch.device("cpu"))
        raw = model.teacher.backbone(x)
        torch.testing.assert_close(found.embeddings, raw / raw.norm(dim=1, keepdim=True))
        torch.testing.assert_close(found.teacher, model.teacher(x))
        torch.testing.assert_close(found.student, model.student(x))
        torch.testing.assert_close(model.teacher.backbone.last(found.features), raw)
        away = model.teacher(x) - model.loss.centre
        torch.testing.assert_close(found.adapted, away / away.norm(dim=1, keepdim=True))


def test_heads_say_of_embeddings_what_branches_say_of_views(monkeypatch) -> None:
    monkeypatch.setattr("training.finetune.model.mix_precision", lambda device: torch.autocast("cpu", enabled=False))
    model = Model(tiny_backbone(), seed=3)
    views = torch.rand(6, 2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        embedded = model.teacher.backbone(views.flatten(0, 1)).unflatten(0, (6, 2))
    alone, both = model.say(embedded), model.answer(views)
    for one, other in zip(alone, both, strict=True):
        torch.testing.assert_close(one, other)
    alone[1].sum().backward()
    assert all(parameter.grad is None for parameter in model.student.backbone.parameters())
    both[1].sum().backward()
    assert all(parameter.grad is not None for parameter in model.student.backbone.parameters())
