"""Overlaps of boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.boxes import iou, iou_by_pair


class TestPairedIou:
    def test_by_hand(self):
        a = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 0, 0], [0, 0, 4, 4]]
        b = [[0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 10, 10], [5, 5, 0, 0], [np.nan, 0, 4, 4]]
        np.testing.assert_allclose(iou_by_pair(np.array(a), np.array(b)), [1, 1 / 3, 0, 0, np.nan])

    def test_no_boxes(self):
        assert iou_by_pair(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


def counted_iou(a: np.ndarray, b: np.ndarray) -> float:
    """By counting the cells of whole-numbered boxes."""
    cells = [
        {(x, y) for x in range(int(x0), int(x0 + w)) for y in range(int(y0), int(y0 + h))} for x0, y0, w, h in (a, b)
    ]
    either = cells[0] | cells[1]
    return len(cells[0] & cells[1]) / len(either) if either else 0.0


@settings(max_examples=100)
@given(
    st.lists(st.tuples(*[st.integers(-5, 12)] * 2, *[st.integers(0, 9)] * 2), max_size=4),
    st.lists(st.tuples(*[st.integers(-5, 12)] * 2, *[st.integers(0, 9)] * 2), max_size=4),
)
def test_iou(left, right):
    a, b = (np.array(boxes, np.float32).reshape(-1, 4) for boxes in (left, right))
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert np.allclose(overlap, np.array([[counted_iou(x, y) for y in b] for x in a]).reshape(len(a), len(b)))
    assert np.allclose(overlap, iou(b, a).T)
