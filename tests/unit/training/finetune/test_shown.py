"""What steps are shown: whose views, of which kind, and that embedding them first changes nothing but their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.tiny_backbone import DIM, noise_crops, tiny_backbone
from training.collective import Alone
from training.finetune import shown
from training.finetune.model import Model
from training.finetune.shown import EmbeddedViews, RenderedViews, embed_views, make_views
from training.finetune.views import GLOBAL, LOCAL, draw_views

CROPS = noise_crops()
PAIRS = np.array([[0, 3], [2, 1]])


def test_views_are_of_the_first_and_the_second_crop_by_turns() -> None:
    pixels = np.zeros((4, 112, 112, 3), np.uint8)
    pixels[2:] = 255
    draws = draw_views(2, np.random.default_rng(0))
    draws[..., -1] = 0  # in the light as it was
    views = make_views(CROPS._replace(pixels=pixels), PAIRS, draws, torch.device("cpu"))
    assert views.mean(dim=(2, 3, 4)).round().tolist() == [[-1, 1], [1, -1]] * 3


def test_embedded_views_are_the_drawn_ones_of_the_crops_and_kinds() -> None:
    """Two global views and four local ones, of the first and the second crop by turns."""
    model = Model(tiny_backbone(), 3)
    numbers = torch.arange(4 * 2 * 3).view(4, 2, 3)
    views = EmbeddedViews(np.arange(4), numbers[..., None].expand(-1, -1, -1, DIM).half())
    heard: list[torch.Tensor] = []
    model.say = lambda embeddings: heard.append(embeddings) or (embeddings, embeddings)  # type: ignore[method-assign]
    draws = np.array([[0, 1, 2, 0, 1, 2], [2, 2, 2, 2, 2, 2]])
    views.answer(model, PAIRS, draws)
    expected = [
        [int(numbers[pair[view % 2], int(view > 1), draw[view]]) for pair, draw in zip(PAIRS, draws, strict=True)]
        for view in range(6)
    ]
    assert heard[0][..., 0].tolist() == expected
    assert views.draw(7, np.random.default_rng(0)).shape == (7, 6)
    assert views.draw(70, np.random.default_rng(0)).max() == 2


def test_views_are_embedded_as_they_would_be_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "mix_precision", lambda device: torch.autocast("cpu", enabled=False))
    seen: list[np.ndarray] = []
    monkeypatch.setattr(shown, "draw_views", lambda n, random: seen.append(draw_views(n, random)) or seen[-1])
    model = Model(tiny_backbone(), 3)
    found = embed_views(model, CROPS, 3, Alone()).embeddings
    assert found.shape == (len(CROPS.track), 2, shown.KEPT, DIM)
    draws = seen[0][:, :4].reshape(len(CROPS.track), shown.KEPT // 2, 2, 2, 7)
    area = draws[..., 0] * draws[..., 1]
    for kind, (low, high) in enumerate((GLOBAL, LOCAL)):
        assert area[:, :, kind].min() > 0.9 * low  # a side is never longer than the crop's
        assert area[:, :, kind].max() <= high + 1e-6
    with torch.no_grad():
        for crop, kind, view in ((0, 0, 0), (7, 1, 3), (19, 1, 3), (8, 0, 2)):
            inputs = shown.to_inputs(CROPS.pixels[[crop]], torch.device("cpu"))
            draw = torch.from_numpy(draws[[crop], view // 2, kind, view % 2])
            expected = torch.nn.functional.normalize(model.teacher.backbone(shown.render_views(inputs, draw)), dim=1)
            torch.testing.assert_close(found[crop, kind, view].float(), expected[0], atol=1e-3, rtol=1e-3)


def test_what_learns() -> None:
    model = Model(tiny_backbone(), 3)
    heads = EmbeddedViews(CROPS.track, torch.zeros(20, 2, 3, DIM)).trained(model)
    everything = RenderedViews(CROPS).trained(model)
    assert [id(p) for p in heads] == [id(p) for p in model.student.head.parameters()]
    assert len(everything) > len(heads)
