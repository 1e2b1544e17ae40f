"""Cannot-links tell which of two spaces serves a title better, counted pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from training.adapters import Moved
from training.finetune.crops import Crops
from training.finetune.judge import Comparison, compare, decide_status
from training.finetune.title import TitleCrops
from training.verification import Verification


def a_title(raw: np.ndarray, track: list[int], cannot: list[tuple[int, int]]) -> TitleCrops:
    n, places = len(track), np.array(track)
    pixels = np.zeros((n, 1, 1, 3), np.uint8)
    links = np.array(cannot, np.int64).reshape(-1, 2)
    ids = np.arange(max(track) + 1)
    return TitleCrops(
        Crops(pixels, places, len(ids)), np.arange(n), np.arange(n) * 1.0, np.ones(n, bool), raw, ids, links
    )


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def slow_auc(higher: list[float], lower: list[float]) -> float:
    won = sum(1.0 if h > x else 0.5 if h == x else 0.0 for h in higher for x in lower)
    return won / (len(higher) * len(lower))


def test_areas_by_hand():
    random = np.random.default_rng(0)
    track = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
    raw, adapted = (unit(random.normal(size=(10, 3))) for _ in range(2))
    title = a_title(raw, track, [(0, 1), (1, 3)])
    found = compare(title, adapted)
    for space, said in ((raw, found.raw), (adapted, found.adapted)):
        of = [space[np.array(track) == each].astype(float) for each in range(4)]
        mean = [unit(rows.sum(axis=0)) for rows in of]
        halves = []
        for rows in of[:3]:
            half = (len(rows) + 1) // 2
            halves.append(float(unit(rows[:half].sum(axis=0)) @ unit(rows[half:].sum(axis=0))))
        linked = [float(mean[0] @ mean[1]), float(mean[1] @ mean[3])]
        close = [max(float(mean[a] @ mean[b]) for a in range(4) for b in range(a))]  # 15 % of six pairs
        assert said.auc == pytest.approx(slow_auc(halves, linked), abs=1e-6)
        assert said.close_auc == pytest.approx(slow_auc(close, linked), abs=1e-6)
        assert said.negatives == 2


def test_without_cannot_links_all_pairs_stand_in():
    raw = unit(np.random.default_rng(0).normal(size=(6, 3)))
    found = compare(a_title(raw, [0, 0, 1, 1, 2, 2], []), raw)
    assert found.raw == found.adapted
    assert (found.raw.close_auc, found.raw.negatives) == (None, 0)
    assert found.moved.different == (0.0, 1.0)


@pytest.mark.parametrize(
    ("raw", "adapted", "status"),
    [
        ((0.9, 0.8), (0.95, 0.85), "ready"),
        ((0.9, 0.8), (0.9, 0.8), "ready"),  # it is as good
        ((0.9, 0.8), (0.95, 0.79), "not_better"),
        ((0.9, 0.8), (0.89, 0.95), "not_better"),
        ((0.9, None), (0.95, None), "ready"),
        ((0.9, None), (0.8, None), "not_better"),
    ],
)
def test_worse_in_either_is_not_better(raw, adapted, status):
    spaces = [Verification(auc, close, 0 if close is None else 5) for auc, close in (raw, adapted)]
    found, said = decide_status(Comparison(*spaces, Moved((0, 1), (0, 1))))
    assert found == status
    assert f"{raw[0]:.4f} -> {adapted[0]:.4f}" in said
    assert ("there are no cannot-links" in said) == (raw[1] is None)


def test_what_cannot_be_judged():
    raw = unit(np.ones((3, 2)))
    with pytest.raises(ValueError, match="make no pairs"):
        compare(a_title(raw, [0, 1, 2], []), raw)
