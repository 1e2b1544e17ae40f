"""Must-links inside shot threads, against naive references."""

from __future__ import annotations

from itertools import combinations, permutations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.boxes import slow_iou
from udfs.kernels.mine.must_links import find_contradicted, find_must_links

LEFT, RIGHT = (100.0, 100.0, 80.0, 80.0), (500.0, 100.0, 80.0, 80.0)
ANN, BOB, EVE = np.eye(3, 8, dtype=np.float32)
NOBODY = np.full(8, np.nan, np.float32)


def returns(tracks, cannot=(), *, min_cosine=0.6, min_iou=0.2, order=None):
    """must_links of (track, shot, thread, place or (start, end), face) rows, as tuples."""
    rows = [tracks[i] for i in (order if order is not None else range(len(tracks)))]
    places = [place if isinstance(place[0], tuple) else (place, place) for *_, place, _ in rows]
    cannot = np.array(list(cannot), np.int64).reshape(-1, 2)
    found = find_must_links(
        np.array([track for track, *_ in rows], np.int64),
        np.array([shot for _, shot, *_ in rows], np.int32),
        np.array([thread for _, _, thread, *_ in rows], np.int32),
        np.array([start for start, _ in places], np.float32).reshape(-1, 4),
        np.array([end for _, end in places], np.float32).reshape(-1, 4),
        np.array([face for *_, face in rows], np.float32).reshape(-1, 8),
        cannot[:, 0],
        cannot[:, 1],
        min_cosine=min_cosine,
        min_iou=min_iou,
    )
    assert found.score.dtype == np.float32
    assert found.contradicted.dtype == bool
    return list(zip(*(column.tolist() for column in found), strict=True))


def like(face: np.ndarray, other: np.ndarray, cosine: float) -> np.ndarray:
    """A unit row with this cosine to `face`, towards `other`."""
    return (cosine * face + np.sqrt(1 - cosine**2) * other).astype(np.float32)


class TestMustLinks:
    DIALOGUE = (  # shots 0, 2, 4 are one camera set-up with two people, shots 1 and 3 another with one
        (10, 0, 0, LEFT, ANN),
        (11, 0, 0, RIGHT, BOB),
        (12, 1, 1, LEFT, EVE),
        (13, 2, 0, LEFT, ANN),
        (14, 2, 0, RIGHT, BOB),
        (15, 3, 1, LEFT, EVE),
        (16, 4, 0, LEFT, ANN),
    )

    def test_a_dialogue(self):
        chain = [(10, 13), (11, 14), (12, 15), (13, 16)]
        assert returns(self.DIALOGUE) == [(*pair, 1.0, False) for pair in chain]

    @pytest.mark.parametrize("seed", range(5))
    def test_row_order_has_no_influence(self, seed):
        order = np.random.default_rng(seed).permutation(len(self.DIALOGUE))
        assert returns(self.DIALOGUE, order=order) == returns(self.DIALOGUE)

    def test_the_cosine_reaches_its_bound(self):
        tracks = [(1, 0, 0, LEFT, ANN), (2, 1, 0, LEFT, like(ANN, BOB, 0.7))]
        assert [row[:2] for row in returns(tracks, min_cosine=0.69)] == [(1, 2)]
        assert returns(tracks, min_cosine=0.71) == []
        assert returns(tracks, min_cosine=0.69)[0][2] == pytest.approx(0.7, abs=1e-6)

    def test_the_place_is_compared_from_end_to_start(self):
        walk, stay, turn = (LEFT, RIGHT), (RIGHT, RIGHT), (LEFT, LEFT)
        assert [row[:2] for row in returns([(1, 0, 0, walk, ANN), (2, 1, 0, stay, ANN)])] == [(1, 2)]
        assert returns([(1, 0, 0, walk, ANN), (2, 1, 0, turn, ANN)]) == []
        assert returns([(1, 0, 0, walk, ANN), (2, 1, 0, walk, ANN)]) == []

    def test_the_overlap_reaches_its_bound(self):
        half = (100.0, 100.0, 80.0, 40.0)
        tracks = [(1, 0, 0, LEFT, ANN), (2, 1, 0, half, ANN)]
        assert [row[:2] for row in returns(tracks, min_iou=0.5)] == [(1, 2)]
        assert returns(tracks, min_iou=0.51) == []

    def test_a_better_match_elsewhere_in_the_shot_is_not_replaced_by_the_second_best(self):
        moved = [(1, 0, 0, LEFT, ANN), (2, 1, 0, LEFT, like(ANN, BOB, 0.8)), (3, 1, 0, RIGHT, ANN)]
        assert returns(moved) == []

    def test_the_best_match_is_mutual_and_ties_go_to_the_smaller_track(self):
        tracks = [
            (1, 0, 0, LEFT, like(ANN, BOB, 0.9)),
            (2, 0, 0, LEFT, ANN),
            (4, 1, 0, LEFT, ANN),
            (3, 1, 0, LEFT, ANN),
        ]
        assert [row[:2] for row in returns(tracks)] == [(2, 3)]

    @pytest.mark.parametrize("seed", range(20))
    def test_a_rounding_error_of_the_cosine_breaks_no_tie(self, seed):
        random = np.random.default_rng(seed)
        one, other = random.integers(1, 1000, (2, 8)).astype(np.float32)  # whole numbers: multiples agree exactly
        for factor in (1, 3, 5, 7, 11):
            tracks = [(1, 0, 0, LEFT, one), (2, 1, 0, LEFT, 9 * other), (3, 1, 0, LEFT, factor * other)]
            assert [row[:2] for row in returns(tracks, min_cosine=0.1)] == [(1, 2)]

    @pytest.mark.parametrize("gap", [[(2, 1, 0, RIGHT, BOB)], [(2, 1, 0, RIGHT, BOB), (3, 1, 0, LEFT, NOBODY)]])
    def test_only_consecutive_returns_are_compared(self, gap):
        assert returns([(1, 0, 0, LEFT, ANN), *gap, (4, 2, 0, LEFT, ANN)]) == []

    @pytest.mark.parametrize("nobody", [NOBODY, np.zeros(8, np.float32)])
    def test_a_return_without_any_embedding_is_passed_over(self, nobody):
        tracks = [(1, 0, 0, LEFT, ANN), (2, 1, 0, LEFT, nobody), (4, 2, 0, LEFT, ANN)]
        assert [row[:2] for row in returns(tracks)] == [(1, 4)]

    def test_shots_without_a_thread_and_tracks_of_one_shot_are_not_linked(self):
        assert returns([(1, 0, -1, LEFT, ANN), (2, 1, -1, LEFT, ANN)]) == []
        assert returns([(1, 0, 0, LEFT, ANN), (2, 0, 0, LEFT, ANN), (3, 1, 1, LEFT, ANN)]) == []

    def test_a_later_shot_may_hold_the_smaller_track_id(self):
        assert [row[:2] for row in returns([(9, 0, 0, LEFT, ANN), (3, 1, 0, LEFT, ANN)])] == [(3, 9)]

    def test_only_directions_count(self):
        scaled = [(*row[:-1], row[-1] * (2.0 + row[0])) for row in self.DIALOGUE]
        assert returns(scaled) == returns(self.DIALOGUE)

    def test_no_tracks(self):
        assert returns([]) == []
        assert returns([], cannot=[(1, 2)]) == []

    def test_unequal_lengths_are_refused(self):
        ids, boxes = np.arange(2), np.zeros((2, 4), np.float32)
        with pytest.raises(ValueError, match="one row per track"):
            find_must_links(ids, ids, ids, boxes, boxes, np.eye(3), ids, ids + 1, min_cosine=0.5, min_iou=0.5)

    def test_contradictions_are_reported_and_not_obeyed(self):
        chain = [(track, track, 0, LEFT, ANN) for track in range(1, 7)]
        marked = {(a, b) for a, b, _, wrong in returns(chain, cannot=[(2, 4), (1, 99)]) if wrong}
        assert [row[:2] for row in returns(chain)] == [row[:2] for row in returns(chain, cannot=[(2, 4)])]
        assert marked == {(2, 3), (3, 4)}

    @settings(max_examples=150)
    @given(st.integers(0, 2**32 - 1))
    def test_random_threads_against_a_search_pair_by_pair(self, seed):
        random = np.random.default_rng(seed)
        faces = np.stack([ANN, BOB, EVE, NOBODY, *random.normal(size=(3, 8))])
        tracks = [
            (int(track), shot, int(shot % 3 - 1), (LEFT, RIGHT)[random.integers(2)], faces[random.integers(len(faces))])
            for track, shot in zip(random.permutation(14), np.sort(random.integers(0, 12, 14)).tolist(), strict=True)
        ]
        found = returns(tracks, min_cosine=0.3)
        assert [row[:2] for row in found] == slow_returns(tracks, 0.3, 0.2)
        shot_of = {track: shot for track, shot, *_ in tracks}
        ends = [(one, shot_of[other]) for a, b, *_ in found for one, other in ((a, b), (b, a))]
        assert len(ends) == len(set(ends))  # never two tracks of one shot


def slow_returns(tracks, min_cosine, min_iou):
    """Pair by pair: both in consecutive returns, each the other's best, close enough in face and place."""
    known = [row for row in tracks if row[2] >= 0 and np.isfinite(row[4]).all()]

    def cosine(a, b):
        x, y = a[4].astype(np.float32).astype(float), b[4].astype(np.float32).astype(float)
        return round(float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y)), 9)

    def best(a, shot):
        there = [row for row in known if row[1] == shot]
        return min(there, key=lambda b: (-cosine(a, b), b[0]))

    pairs = []
    for a, b in permutations(known, 2):
        between = [row for row in known if row[2] == a[2] and a[1] < row[1] < b[1]]
        if a[2] == b[2] and a[1] < b[1] and not between and best(a, b[1]) is b and best(b, a[1]) is a:
            place = slow_iou(np.array(a[3]), np.array(b[3]))
            if cosine(a, b) >= min_cosine and place >= min_iou:
                pairs.append((min(a[0], b[0]), max(a[0], b[0])))
    return sorted(pairs)


def marked(must, cannot) -> list[tuple[int, int]]:
    must_a, must_b = np.array(must, np.int64).reshape(-1, 2).T
    cannot_a, cannot_b = np.array(cannot, np.int64).reshape(-1, 2).T
    return [
        pair for pair, mark in zip(must, find_contradicted(must_a, must_b, cannot_a, cannot_b), strict=True) if mark
    ]


def simple_paths(must, a, b, been=()):
    """All paths a..b as sets of links."""
    if a == b:
        yield set()
        return
    for link in must:
        if a in link and link not in been:
            other = link[1] if link[0] == a else link[0]
            if not any(other in used for used in been):
                yield from ({link, *rest} for rest in simple_paths(must, other, b, (*been, link)))


class TestContradicted:
    def test_the_chain_is_marked_and_what_hangs_on_it_is_not(self):
        must = [(1, 2), (2, 3), (3, 4), (4, 5), (3, 30), (30, 31), (8, 9)]
        assert marked(must, [(2, 4)]) == [(2, 3), (3, 4)]
        assert marked(must, [(2, 31), (8, 1)]) == [(2, 3), (3, 30), (30, 31)]

    def test_a_link_that_is_a_cannot_link(self):
        assert marked([(1, 2), (2, 3)], [(1, 2)]) == [(1, 2)]

    def test_two_ways_round_are_both_marked(self):
        assert marked([(1, 2), (2, 3), (1, 4), (3, 4), (4, 5)], [(1, 3)]) == [(1, 2), (2, 3), (1, 4), (3, 4)]

    @pytest.mark.parametrize(("must", "cannot"), [([], []), ([], [(1, 2)]), ([(1, 2)], []), ([(1, 2)], [(1, 3)])])
    def test_nothing_to_contradict(self, must, cannot):
        assert marked(must, cannot) == []

    def test_a_track_against_itself_is_refused(self):
        with pytest.raises(ValueError, match="itself"):
            marked([(1, 2)], [(1, 1)])

    def test_a_loop_that_only_hangs_on_the_chain_is_not_marked(self):
        must = [(1, 2), (2, 3), (2, 20), (20, 21), (2, 21)]
        assert marked(must, [(1, 3)]) == [(1, 2), (2, 3)]

    def test_two_contradictions_of_one_chain_leave_what_lies_between_them(self):
        must = [(n, n + 1) for n in range(1, 9)]
        assert marked(must, [(1, 3), (6, 7)]) == [(1, 2), (2, 3), (6, 7)]

    @settings(max_examples=300)
    @given(
        st.sets(st.sampled_from(list(combinations(range(7), 2))), max_size=9),
        st.sets(st.sampled_from(list(combinations(range(8), 2))), max_size=3),
        st.randoms(use_true_random=False),
    )
    def test_random_links_against_a_search_of_every_path(self, edges, cannot, random):
        must = sorted(edges)
        random.shuffle(must)
        on_a_path = {link for a, b in cannot for path in simple_paths(must, a, b) for link in path}
        assert set(marked(must, sorted(cannot))) == on_a_path

    @pytest.mark.parametrize("seed", range(20))
    def test_many_links_against_the_blocks_of_networkx(self, seed):
        """A must-link is on a simple path between two tracks if both are in one block once these two are joined."""
        random = np.random.default_rng(seed)
        must = sorted({(int(a), int(b)) for a, b in np.sort(random.integers(0, 150, (160, 2))) if a != b})
        pairs = {(int(a), int(b)) for a, b in np.sort(random.integers(0, 150, (6, 2))) if a != b}
        expected = set()
        for pair in pairs:  # a must-link that is itself a cannot-link is marked, beside all other ways round
            blocks = networkx.biconnected_component_edges(networkx.Graph([*must, pair]))
            within = [{tuple(sorted(edge)) for edge in edges} for edges in blocks]
            expected |= next(edges for edges in within if pair in edges) - ({pair} - set(must))
        assert set(marked(must, sorted(pairs))) == expected
