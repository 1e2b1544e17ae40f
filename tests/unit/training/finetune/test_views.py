"""Views of crops: what a view shows is where it should be, in the light it should have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.finetune.views import GLOBAL, LOCAL, STRETCH, TURN, WARMTH, draw_views, render_views

SIZE = 112


def slope() -> Tensor:
    """A crop whose red is x and whose blue is y, both from -0.5 to 0.5; green is 0."""
    line = (torch.arange(SIZE) + 0.5) / SIZE - 0.5
    return torch.stack([line.expand(SIZE, SIZE), torch.zeros(SIZE, SIZE), line[:, None].expand(SIZE, SIZE)])[None]


def view(**changes: float) -> Tensor:
    whole = {"width": 1.0, "height": 1.0, "x": 0.0, "y": 0.0, "angle": 0.0, "mirror": 1.0, "warmth": 0.0}
    return render_views(slope(), torch.tensor([list({**whole, **changes}.values())]))[0]


def test_the_whole_crop_is_itself() -> None:
    torch.testing.assert_close(view(), slope()[0], atol=1e-6, rtol=0)


def test_a_part_is_magnified_where_it_lies() -> None:
    """Half as wide, at the right edge: red goes from 0 to 0.5."""
    made = view(width=0.5, x=0.5)
    inner = made[0, SIZE // 2, 1:-1]
    expected = 0.25 + 0.5 * slope()[0, 0, 0, 1:-1]
    torch.testing.assert_close(inner, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(made[2, 1:-1, 5], slope()[0, 2, 1:-1, 5], atol=1e-4, rtol=0)


def test_a_mirrored_view_is_turned_left_to_right() -> None:
    torch.testing.assert_close(view(mirror=-1.0), slope()[0].flip(2), atol=1e-6, rtol=0)


def test_a_turn_is_a_turn() -> None:
    made = view(width=0.5, height=0.5, angle=np.pi / 2)
    torch.testing.assert_close(made[0, 1:-1, 40], -0.5 * slope()[0, 2, 1:-1, 0], atol=1e-3, rtol=0)


def test_a_warmer_light_has_more_red_and_less_blue() -> None:
    made, plain = view(warmth=0.2), slope()[0]
    torch.testing.assert_close(made[0] + 1, 1.2 * (plain[0] + 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(made[2] + 1, 0.8 * (plain[2] + 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(made[1], plain[1], atol=1e-5, rtol=0)


def test_what_is_drawn_is_within_its_bounds() -> None:
    draws = draw_views(2000, np.random.default_rng(0))
    assert draws.shape == (2000, 6, 7)
    sides, centre = draws[..., :2], draws[..., 2:4]
    area = sides.prod(axis=-1)
    for views, (low, high) in (((0, 1), GLOBAL), ((2, 3, 4, 5), LOCAL)):
        assert area[:, views].max() <= high + 1e-6
        assert np.quantile(area[:, views], 0.5) == pytest.approx((low + high) / 2, abs=0.03)
    assert (sides <= 1).all()
    assert (np.abs(centre) + sides <= 1 + 1e-6).all()  # nothing outside, before it is turned
    assert (sides[..., 0] / sides[..., 1]).max() <= STRETCH + 1e-4
    assert np.abs(draws[..., 4]).max() <= TURN
    assert set(np.unique(draws[..., 5])) == {-1.0, 1.0}
    assert np.abs(draws[..., 6]).max() <= WARMTH
    np.testing.assert_array_equal(draws, draw_views(2000, np.random.default_rng(0)))
