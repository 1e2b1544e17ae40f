"""Fine-tuning a tiny backbone: what learns when, the same result however it is stopped, and when it ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conf.errors import CastmineError, GpuUnavailable
from tests.helpers.tiny_backbone import DIM, PLAN, noise_crops, tiny_backbone
from training.checkpoint import Checkpoint
from training.collective import Alone
from training.finetune import loop
from training.finetune.branches import make_head
from training.finetune.health import Health
from training.finetune.model import Answers, Model
from training.finetune.shown import RENDERED, RenderedViews, make_views
from training.finetune.views import draw_views

CROPS = noise_crops()
PAIRS = np.stack([np.arange(6), np.arange(6) + 10], axis=1)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def gradient(model: Model, at_once: int, monkeypatch) -> tuple[float, torch.Tensor]:
    monkeypatch.setitem(RENDERED, "cpu", at_once)
    draws = draw_views(len(PAIRS), np.random.default_rng(0))
    loss = loop.backward(model, RenderedViews(CROPS), PAIRS, draws, Alone())
    return loss, torch.cat([p.grad.flatten() for p in model.student.parameters() if p.grad is not None])


def test_a_batch_in_parts_has_the_gradient_of_the_whole(monkeypatch) -> None:
    (one, whole), (two, parts) = (gradient(Model(tiny_backbone(), 3), n, monkeypatch) for n in (6, 4))
    assert one == pytest.approx(two, rel=1e-3)
    torch.testing.assert_close(whole, parts, rtol=0.05, atol=0.01 * whole.abs().max())  # of bfloat16


def test_the_gradient_is_the_naive_one_of_the_mean_over_pairs(monkeypatch) -> None:
    monkeypatch.setattr("training.finetune.model.mix_precision", lambda device: torch.autocast("cpu", enabled=False))
    model, naive = Model(tiny_backbone(), 3), Model(tiny_backbone(), 3)
    loss, found = gradient(model, 4, monkeypatch)
    views = make_views(CROPS, PAIRS, draw_views(len(PAIRS), np.random.default_rng(0)), torch.device("cpu"))
    losses = []
    for pair in range(len(PAIRS)):
        said = [naive.teacher(views[:, pair]).detach(), naive.student(views[:, pair])]
        losses.append(naive.loss(*(each[:, None] for each in said)))
    expected = torch.stack(losses).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    slow = torch.cat([p.grad.flatten() for p in naive.student.parameters()])
    torch.testing.assert_close(found, slow, rtol=1e-4, atol=1e-6)


def test_a_batch_moves_the_centre_a_tenth_towards_its_mean(monkeypatch) -> None:
    model = Model(tiny_backbone(), 3)
    views = make_views(CROPS, PAIRS, draw_views(len(PAIRS), np.random.default_rng(0)), torch.device("cpu"))
    expected = model.answer(views)[0].mean(dim=(0, 1)) / 10
    gradient(model, 4, monkeypatch)
    torch.testing.assert_close(model.loss.centre, expected, rtol=1e-2, atol=1e-4)


def test_backbones_stand_still_while_heads_begin() -> None:
    base, seen = tiny_backbone(), []

    def tell(epoch: loop.Epoch, model: Model) -> None:
        seen.append({name: tensor.clone() for name, tensor in model.student.backbone.state_dict().items()})

    loop.fine_tune(CROPS, base, PLAN, tell=tell)
    assert same(seen[0], base.state_dict())
    assert not same(seen[1], base.state_dict())
    heads = loop.fine_tune(CROPS, base, PLAN.model_copy(update={"backbone": False}))
    assert same(heads.model.student.backbone.state_dict(), base.state_dict())
    assert same(heads.model.teacher.backbone.state_dict(), base.state_dict())


@pytest.mark.parametrize("heads", [1, 40])
def test_the_student_learns_what_a_teacher_that_stands_still_says_of_its_tracks(monkeypatch, heads: int) -> None:
    def sure_head(dim: int) -> torch.nn.Sequential:
        head = make_head(dim)
        head[-1].weight.data *= 10  # of eight numbers a random head would say the same of everything
        return head

    monkeypatch.setattr("training.finetune.model.make_head", sure_head)
    still = {"iterations": 1, "first_epochs": 40, "heads_epochs": heads, "rates": (1e-3, 1e-2, 1e-3), "keep": 0.99999}
    losses = [epoch.loss for epoch in loop.fine_tune(CROPS, tiny_backbone(), PLAN.model_copy(update=still)).curve]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[3:8])  # later than the centre takes to be found
    assert np.mean(losses[-5:]) < 0.95 * np.log(DIM)  # better than no guess


def test_the_same_whoever_was_stopped(tmp_path) -> None:
    whole = loop.fine_tune(CROPS, tiny_backbone(), PLAN)
    for at in range(len(whole.curve)):

        def stop(epoch: loop.Epoch, model: Model, at: int = at) -> None:
            if epoch.epoch == at:
                raise KeyboardInterrupt

        def kept() -> Checkpoint:
            return Checkpoint(tmp_path / "state", "one", Alone())

        with pytest.raises(KeyboardInterrupt):
            loop.fine_tune(CROPS, tiny_backbone(), PLAN, tell=stop, checkpoint=kept())
        again = loop.fine_tune(CROPS, tiny_backbone(), PLAN, checkpoint=kept())
        assert same(weights(again.model), weights(whole.model))
        assert (again.curve, again.healths) == (whole.curve, whole.healths)
        assert (again.unsure == whole.unsure).all()
        (tmp_path / "state").unlink()


def test_it_ends_where_nothing_moves(monkeypatch) -> None:
    monkeypatch.setattr(loop, "measure_health", lambda *_: Health(2.0, 30.0))
    plan = PLAN.model_copy(update={"iterations": 5, "matching": "fixed", "cosine": -0.999})  # all match, always
    found = loop.fine_tune(CROPS, tiny_backbone(), plan)
    assert found.curve[-1].iteration == 2


def test_nothing_moves_where_matches_and_nearest_tracks_both_stay() -> None:
    matches, nearest = np.zeros((200, 200), bool), np.arange(200)[::-1].copy()
    matches[:150, 7] = True
    others, other = matches.copy(), nearest.copy()
    others[:2, 7], other[:3] = False, 0
    assert loop._moved((None, None), (matches, nearest))  # after the first iteration there is no before
    assert not loop._moved((matches, nearest), (matches, nearest))
    assert loop._moved((matches, nearest), (others, nearest))  # 2 of 150
    assert loop._moved((matches, nearest), (matches, other))  # 3 of 200
    other[:3], others[0, 7] = [199, 198, 0], True
    assert not loop._moved((matches, nearest), (others, other))  # 1 of 150, 1 of 200
    assert not loop._moved((None, nearest), (None, nearest))


def test_a_tracks_nearest_is_the_other_of_the_nearest_mean() -> None:
    at = torch.deg2rad(torch.tensor([0.0, 20.0, 60.0, 100.0, 200.0]))
    rows = torch.stack([at.cos(), at.sin()], dim=1)
    answers = Answers(*[torch.zeros(0)] * 4, adapted=rows)
    crops = CROPS._replace(track=np.array([0, 0, 1, 2, 4]), n_tracks=5)  # at 10, 60, 100, nowhere, 200 degrees
    assert loop.find_nearest(answers, crops)[[0, 1, 2, 4]].tolist() == [1, 2, 1, 2]


def test_it_ends_where_it_collapses(monkeypatch) -> None:
    healths = iter([Health(2.0, 30.0), Health(2.0, 29.0), Health(2.0, 7.0)])
    monkeypatch.setattr(loop, "measure_health", lambda *_: next(healths))
    found = loop.fine_tune(CROPS, tiny_backbone(), PLAN.model_copy(update={"iterations": 5}))
    assert found.curve[-1].iteration == 2
    assert found.collapsed


def test_few_crops_are_shown_several_times() -> None:
    plan = PLAN.model_copy(update={"steps": 16, "pairs": 32})
    assert [plan.rounds(n) for n in (480, 481, 512, 5000)] == [2, 1, 1, 1]
    assert plan.rounds(16) == 31  # 496 pairs, in 16 batches
    pairs = np.concatenate([loop.draw_pairs(CROPS.track, None, np.random.default_rng(n)) for n in range(3)])
    assert (np.bincount(pairs[:, 0]) == 3).all()
    assert (CROPS.track[pairs[:, 0]] == CROPS.track[pairs[:, 1]]).all()


def test_tracks_without_crops_do_no_harm() -> None:
    crops = CROPS._replace(track=CROPS.track + 1, n_tracks=8)
    found = loop.fine_tune(crops, tiny_backbone(), PLAN)
    assert len(found.unsure) == 8
    assert not found.unsure[[0, 6, 7]].any()


def test_nonsense_is_found_out() -> None:
    plan = PLAN.model_copy(update={"rates": (1e30, 1e30, 1e30), "heads_epochs": 0})
    with pytest.raises(CastmineError, match="diverged"):
        loop.fine_tune(CROPS, tiny_backbone(), plan)


def test_a_gpu_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GpuUnavailable, match=r"finetune\.device is cuda"):
        loop.fine_tune(CROPS, tiny_backbone(), PLAN.model_copy(update={"device": "cuda"}))
