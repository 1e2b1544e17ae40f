"""Which tracks and links train, against a naive rule."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.boxes import detections
from udfs.kernels.mine.cannot_links import find_cannot_links
from udfs.kernels.mine.rule import training_rule

PAPER = {"min_track_s": 1.0, "min_shared_s": 0.25}


def rule(faces: dict[int, int], links: dict[tuple[int, int], int], detections_per_s: float, **seconds: float):
    """(ids long enough, links that pass, ids that pass) of the training rule."""
    ids, pairs = np.array(list(faces), np.int64), np.array(list(links), np.int64).reshape(-1, 2)
    found = training_rule(
        ids,
        np.array(list(faces.values()), np.int32),
        pairs[:, 0],
        pairs[:, 1],
        np.array(list(links.values()), np.int32),
        detections_per_s=detections_per_s,
        **(PAPER | seconds),
    )
    passing = [tuple(pair) for pair in pairs[found.links].tolist()]
    return ids[found.long_enough].tolist(), passing, ids[found.tracks].tolist()


class TestTrainingRule:
    @pytest.mark.parametrize("fps", [24.0, 24000 / 1001])
    @pytest.mark.parametrize(("shared", "passes"), [(5, []), (6, [(1, 2)])])
    def test_six_shared_frames_at_24_fps(self, fps, shared, passes):
        assert rule({1: 24, 2: 24}, {(1, 2): shared}, fps)[1] == passes

    @pytest.mark.parametrize(("detections_per_s", "faces", "shared"), [(12.0, 12, 3), (12.5, 13, 4), (25.0, 25, 7)])
    def test_strides_and_other_rates_count_detections(self, detections_per_s, faces, shared):
        assert rule({1: faces, 2: faces}, {(1, 2): shared}, detections_per_s)[1:] == ([(1, 2)], [1, 2])
        assert rule({1: faces, 2: faces}, {(1, 2): shared - 1}, detections_per_s)[1:] == ([], [])
        assert rule({1: faces - 1, 2: faces}, {(1, 2): shared}, detections_per_s) == ([2], [], [])

    def test_a_rounding_error_of_the_product_costs_no_face(self):
        assert 1.1 * 50.0 > 55
        assert rule({1: 55}, {}, 50.0, min_track_s=1.1)[0] == [1]

    def test_a_23_face_track_yields_no_link_and_keeps_no_partner_alive(self):
        faces = {1: 23, 2: 100, 3: 100, 4: 100}
        found = rule(faces, {(1, 2): 23, (1, 3): 23, (1, 4): 23, (3, 4): 6}, 24.0)
        assert found == ([2, 3, 4], [(3, 4)], [3, 4])

    def test_alternating_detections_never_train(self):
        track_id, frame, box = detections({1: list(range(0, 60, 2)), 2: list(range(1, 61, 2))})
        links = find_cannot_links(track_id, frame, box, duplicate_iou=0.5)
        ids, n_faces = np.unique(track_id, return_counts=True)
        pairs = links.track_a, links.track_b, links.shared_frames
        assert not training_rule(ids, n_faces, *pairs, detections_per_s=24.0, **PAPER).tracks.any()

    @settings(max_examples=150)
    @given(
        st.dictionaries(st.integers(1, 8), st.integers(1, 40), max_size=8),
        st.randoms(use_true_random=False),
        st.sampled_from([(6.0, 6, 2), (12.5, 13, 4), (23.976, 24, 6), (24.0, 24, 6), (30.0, 30, 8)]),
    )
    def test_equals_the_rule_pair_by_pair(self, faces, random, needed):
        detections_per_s, min_faces, min_shared = needed
        links = {pair: random.randint(1, 16) for pair in combinations(sorted(faces), 2) if random.random() < 0.5}
        long = [track for track, n in faces.items() if n >= min_faces]
        passing = [pair for pair, shared in links.items() if set(pair) <= set(long) and shared >= min_shared]
        kept = [track for track in faces if any(track in pair for pair in passing)]
        assert rule(faces, links, detections_per_s) == (long, passing, kept)

    def test_no_tracks(self):
        assert rule({}, {}, 24.0) == ([], [], [])

    def test_zero_seconds_let_everything_pass(self):
        assert rule({1: 1, 2: 1}, {(1, 2): 1}, 24.0, min_track_s=0.0, min_shared_s=0.0) == ([1, 2], [(1, 2)], [1, 2])

    def test_a_link_to_an_unknown_track_is_refused(self):
        with pytest.raises(ValueError, match="not among"):
            rule({1: 24}, {(1, 2): 9}, 24.0)

    def test_a_rate_of_zero_is_refused(self):
        with pytest.raises(ValueError, match="above 0"):
            rule({}, {}, 0.0)
