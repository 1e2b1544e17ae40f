"""The co-occurrence rule, against naive references."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.boxes import detections, slow_iou
from udfs.kernels.mine.cannot_links import PairsSeen, find_cannot_links


def as_tuples(pairs: PairsSeen) -> list[tuple[int, int, int, int]]:
    columns = (pairs.track_a, pairs.track_b, pairs.shared_frames, pairs.first_frame)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def slow_cannot_links(track_id, frame, box, duplicate_iou):
    """All pairs of tracks, the intersection of their sets of frames: (links, duplicates)."""
    boxes: dict[int, dict[int, np.ndarray]] = {}
    for track, at, place in zip(track_id.tolist(), frame.tolist(), box, strict=True):
        boxes.setdefault(track, {})[at] = place
    links, duplicates = [], []
    for a, b in combinations(sorted(boxes), 2):
        if shared := set(boxes[a]) & set(boxes[b]):
            overlap = max(slow_iou(boxes[a][at], boxes[b][at]) for at in shared)
            (duplicates if overlap > duplicate_iou else links).append((a, b, len(shared), min(shared)))
    return links, duplicates


@st.composite
def films(draw):
    """Few tracks in few frames on a small grid, so that meetings and overlaps are frequent. Rows in any order."""
    cells = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), unique=True, max_size=40))
    track_id = np.array([2**40 + 17 * track for track, _ in cells], np.int64)
    frame = np.array([at for _, at in cells], np.int32)
    box = draw(st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=len(cells), max_size=len(cells)))
    return track_id, frame, np.array(box, np.float32).reshape(-1, 4)


class TestCannotLinks:
    @settings(max_examples=150)
    @given(films(), st.sampled_from([0.01, 0.25, 0.5, 1.0]))
    def test_equals_all_pairs_set_intersection(self, film, duplicate_iou):
        found = find_cannot_links(*film, duplicate_iou=duplicate_iou)
        assert (as_tuples(found), as_tuples(found.duplicates)) == slow_cannot_links(*film, duplicate_iou)

    def test_equals_all_pairs_set_intersection_on_a_crowd(self):
        random = np.random.default_rng(1)
        seen = np.flatnonzero(random.random(60 * 400) < 0.2)
        film = seen // 400, (seen % 400).astype(np.int32), random.uniform(0, 300, (len(seen), 4)).astype(np.float32)
        found = find_cannot_links(*film, duplicate_iou=0.5)
        links, duplicates = slow_cannot_links(*film, 0.5)
        assert len(links) > 200
        assert len(duplicates) > 200
        assert (as_tuples(found), as_tuples(found.duplicates)) == (links, duplicates)

    @settings(max_examples=100)
    @given(films(), st.randoms(use_true_random=False))
    def test_row_order_has_no_influence(self, film, random):
        order = list(range(len(film[0])))
        random.shuffle(order)
        found = find_cannot_links(*film, duplicate_iou=0.5)
        shuffled = find_cannot_links(*(column[order] for column in film), duplicate_iou=0.5)
        assert as_tuples(found) == as_tuples(shuffled)
        assert as_tuples(found.duplicates) == as_tuples(shuffled.duplicates)

    @settings(max_examples=100)
    @given(films())
    def test_irreflexive_stored_once_and_sorted(self, film):
        found = find_cannot_links(*film, duplicate_iou=0.5)
        pairs = list(zip(found.track_a.tolist(), found.track_b.tolist(), strict=True))
        twice = list(zip(found.duplicates.track_a.tolist(), found.duplicates.track_b.tolist(), strict=True))
        assert all(a < b for a, b in pairs + twice)
        assert pairs == sorted(set(pairs))
        assert not set(pairs) & set(twice)

    def test_alternating_detections_are_not_together(self):
        found = find_cannot_links(*detections({1: list(range(0, 40, 2)), 2: list(range(1, 41, 2))}), duplicate_iou=0.5)
        assert as_tuples(found) == []

    def test_one_shared_frame_is_enough(self):
        found = find_cannot_links(*detections({7: [3, 4, 5], 2: [5, 6]}), duplicate_iou=0.5)
        assert as_tuples(found) == [(2, 7, 1, 5)]

    def test_a_face_detected_twice_is_set_apart(self):
        track_id, frame, box = detections({1: [0, 1, 2], 2: [0, 1, 2], 3: [1]})
        box[[1, 4]] = [[0, 0, 10, 10], [0, 3, 10, 10]]  # tracks 1 and 2 in frame 1: IoU 70 / 130
        found = find_cannot_links(track_id, frame, box, duplicate_iou=0.5)
        assert as_tuples(found) == [(1, 3, 1, 1), (2, 3, 1, 1)]
        assert as_tuples(found.duplicates) == [(1, 2, 3, 0)]

    def test_overlap_must_exceed_the_bound(self):
        track_id, frame, box = detections({1: [0], 2: [0]})
        box[:] = [[0, 0, 10, 10], [0, 0, 10, 5]]  # IoU exactly 0.5
        assert as_tuples(find_cannot_links(track_id, frame, box, duplicate_iou=0.5)) == [(1, 2, 1, 0)]
        assert as_tuples(find_cannot_links(track_id, frame, box, duplicate_iou=0.499).duplicates) == [(1, 2, 1, 0)]

    def test_an_unknown_box_hides_neither_the_meeting_nor_another_overlap(self):
        track_id, frame, box = detections({1: [0, 1], 2: [0, 1], 3: [0]})
        box[:] = [[0, 0, 10, 10]] * 4 + [[np.nan] * 4]
        box[0] = np.nan
        found = find_cannot_links(track_id, frame, box, duplicate_iou=0.5)
        assert as_tuples(found) == [(1, 3, 1, 0), (2, 3, 1, 0)]
        assert as_tuples(found.duplicates) == [(1, 2, 2, 0)]

    @pytest.mark.parametrize("frames_of", [{}, {4: [0, 1, 2]}, {1: [0], 2: [1]}])
    def test_nobody_meets(self, frames_of):
        found = find_cannot_links(*detections(frames_of), duplicate_iou=0.5)
        for pairs in (found, found.duplicates):
            assert as_tuples(pairs) == []
            assert [pairs.track_a.dtype, pairs.track_b.dtype] == [np.int64, np.int64]
            assert [pairs.shared_frames.dtype, pairs.first_frame.dtype] == [np.int32, np.int32]

    def test_one_frame_links_everybody(self):
        found = find_cannot_links(*detections({track: [9] for track in (5, 3, 4)}), duplicate_iou=0.5)
        assert as_tuples(found) == [(3, 4, 1, 9), (3, 5, 1, 9), (4, 5, 1, 9)]

    def test_a_track_twice_in_a_frame_is_refused(self):
        with pytest.raises(ValueError, match="two detections"):
            find_cannot_links(*detections({1: [0, 0]}), duplicate_iou=0.5)

    def test_unequal_lengths_are_refused(self):
        track_id, frame, box = detections({1: [0, 1]})
        with pytest.raises(ValueError, match="one of each"):
            find_cannot_links(track_id, frame, box[:1], duplicate_iou=0.5)

    def test_inputs_are_left_unchanged(self):
        film = detections({2: [5, 1], 1: [1, 5]})
        before = [column.copy() for column in film]
        find_cannot_links(*film, duplicate_iou=0.5)
        assert all(np.array_equal(a, b) for a, b in zip(film, before, strict=True))
