"""Algorithm 1 against its pseudo-code, one distance at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.mine.tracklets import _farthest_pair, mine_title, partner_tracklets, segment


def slow_unit(row: np.ndarray) -> np.ndarray:
    row = np.asarray(row, np.float64)
    return row / np.sqrt(np.sum(row * row))


def slow_distance(x: np.ndarray, y: np.ndarray) -> float:
    return round(float(np.sqrt(np.sum((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2))), 9)


def slow_segment(H: np.ndarray, frames: np.ndarray, M: int) -> list[tuple[list[int], np.ndarray]] | None:
    """The pseudo-code of Algorithm 1: (frames, float64 embedding) of each tracklet in rank order."""
    order = sorted(range(len(H)), key=lambda i: frames[i])
    U = [slow_unit(H[i]) for i in order]
    at = [int(frames[i]) for i in order]
    N = len(U)
    if N < M:
        return None
    k = N // M
    pairs = [(i, j) for i in range(N) for j in range(i + 1, N)]
    a, _ = min(pairs, key=lambda pair: (-slow_distance(U[pair[0]], U[pair[1]]), at[pair[0]], at[pair[1]]))
    left, out = set(range(N)), []
    for r in range(M):
        q = a if r == 0 else min(left, key=lambda i: (-slow_distance(U[a], U[i]), at[i]))
        S = sorted(left, key=lambda i: (slow_distance(U[q], U[i]), at[i]))[:k]
        out.append((sorted(at[i] for i in S), slow_unit(np.mean([U[i] for i in S], axis=0))))
        left -= set(S)
    return out


def track(seed: int, N: int, D: int, duplicates: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """One track: rows around a centre, some of them repeated, with frames, in frame order."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=D) + random.uniform(0.1, 2.0) * random.normal(size=(N, D))
    if duplicates and N:
        rows = rows[np.where(random.random(N) < 0.3, random.integers(0, N, N), np.arange(N))]
    frames = np.sort(random.choice(10 * N + 1, N, replace=False))
    return rows.astype(np.float32), frames.astype(np.int32)


def sets(found) -> list[list[int]]:
    return found.frames.tolist()


class TestSegment:
    @pytest.mark.parametrize(("D", "tracks"), [(2, 200), (128, 200), (512, 100)])
    def test_equals_the_pseudo_code_on_random_tracks(self, D, tracks):
        for seed in range(tracks):
            random = np.random.default_rng(seed)
            M, N = int(random.integers(2, 6)), int(random.integers(1, 31))
            rows, frames = track(seed, N, D)
            expected, found = slow_segment(rows, frames, M), segment(rows, frames, M)
            if expected is None:
                assert found is None
                continue
            assert sets(found) == [frames for frames, _ in expected]
            np.testing.assert_allclose(found.embedding, [mean for _, mean in expected], atol=1e-6)
            away = [slow_distance(found.embedding[0], mean) for mean in found.embedding]
            np.testing.assert_allclose(found.distance, away, atol=1e-6)

    @settings(max_examples=100)
    @given(
        st.lists(
            st.tuples(st.sampled_from([(1, 0), (2, 1), (0, 1), (1, 1), (-1, 0), (3, 5), (-1, 1)]), st.integers(1, 9)),
            min_size=2,
            max_size=14,
        )
    )
    def test_equals_the_pseudo_code_where_almost_everything_ties(self, points):
        # whole numbers times whole numbers: the directions agree exactly, the unit rows only up to rounding errors
        rows = np.array([np.multiply(direction, length) for direction, length in points], np.float32)
        frames = np.arange(len(points), dtype=np.int32)
        for M in (2, 3):
            found, expected = segment(rows, frames, M), slow_segment_where_faces_cancel(rows, frames, M)
            assert (found and sets(found)) == expected

    @pytest.mark.parametrize("M", [2, 3, 5])
    @pytest.mark.parametrize("N", [5, 6, 7, 8, 9, 10, 11])
    def test_exactly_k_faces_each_disjoint_and_m_times_k_used(self, N, M):
        for seed in range(10):
            found = segment(*track(seed, N, 16), M)
            used = found.frames.ravel().tolist()
            assert found.frames.shape == (M, N // M)
            assert len(set(used)) == M * (N // M)

    @settings(max_examples=60)
    @given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([2, 32]), st.integers(2, 5))
    def test_row_order_and_length_have_no_influence(self, seed, N, D, M):
        rows, frames = track(seed, N, D)
        random = np.random.default_rng(seed)
        order, lengths = (
            random.permutation(N),
            2.0 ** random.integers(-6, 7, (N, 1)),
        )  # exact in float32: ties stay ties
        found = segment(rows, frames, M)
        again = segment((rows * lengths.astype(np.float32))[order], frames[order], M)
        if found is None:
            assert again is None
        else:
            assert all(np.array_equal(x, y) for x, y in zip(found, again, strict=True))

    @pytest.mark.parametrize("seed", range(20))
    def test_any_positive_factors_leave_the_frame_sets(self, seed):
        rows, frames = track(seed, 25, 64, duplicates=False)
        factors = np.random.default_rng(seed).uniform(1e-3, 1e3, (25, 1)).astype(np.float32)
        assert sets(segment(rows * factors, frames, 3)) == sets(segment(rows, frames, 3))

    def test_the_first_positive_holds_the_far_end(self):
        for seed in range(30):
            rows, frames = track(seed, 20, 8, duplicates=False)
            a, b = _farthest_pair(np.stack([slow_unit(row) for row in rows]))
            found = segment(rows, frames, 3)
            assert frames[a] in found.frames[0]
            assert frames[b] in found.frames[1]

    def test_the_farthest_pair_of_a_long_track_is_found_across_blocks(self):
        random = np.random.default_rng(4)
        rows = random.normal(size=40) + 0.1 * random.normal(size=(1300, 40))
        rows[[1290, 700, 20]] = [-np.ones(40), np.ones(40), np.ones(40)]  # 20 and 700 tie as the other end
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert _farthest_pair(rows) == (20, 1290)

    def test_of_pairs_tied_across_blocks_the_first_is_taken(self):
        rows = np.tile([[0.6, 0.8], [-0.6, -0.8]], (650, 1))
        assert _farthest_pair(rows) == (0, 1)

    @pytest.mark.parametrize("seed", range(20))
    def test_a_rounding_error_breaks_no_tie_of_pairs(self, seed):
        pair = np.random.default_rng(seed).integers(-1000, 1000, (2, 8))
        rows = np.concatenate([pair, 3 * pair, 7 * pair, 11 * pair]).astype(np.float64)
        assert _farthest_pair(rows / np.linalg.norm(rows, axis=1, keepdims=True)) == (0, 1)

    def test_measured_from_the_anchor_face_and_not_from_its_tracklet(self):
        # Degrees on a circle: the anchor face at 0 has 30 beside it, so its tracklet is at 15. Opposite the face lies
        # 180, which takes 170 along; nearest to opposite the tracklet lies 205, which takes 225 along.
        degrees = np.radians([0, 30, 180, 170, 205, 225])
        rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
        assert frames_by(rows, 3, from_tracklet=True) == [[0, 1], [4, 5], [2, 3]]
        assert frames_by(rows, 3, from_tracklet=False) == [[0, 1], [2, 3], [4, 5]]
        assert sets(segment(rows, np.arange(6, dtype=np.int32), 3)) == [[0, 1], [2, 3], [4, 5]]

    def test_ties_go_to_the_earlier_frame(self):
        same = np.ones((7, 4), np.float32)
        frames = np.array([60, 10, 50, 20, 40, 30, 0], np.int32)
        assert sets(segment(same, frames, 3)) == [[0, 10], [20, 30], [40, 50]]

    def test_faces_that_cancel_out_are_stood_for_by_the_first_chosen(self):
        rows = np.array([[1, 0], [-1, 0], [1, 0], [-1, 0], [1, 0], [-1, 0]], np.float32)
        found = segment(rows, np.arange(6, dtype=np.int32), 3)
        assert sets(found) == [[0, 2], [1, 3], [4, 5]]
        assert found.embedding.tolist() == [[1, 0], [-1, 0], [-1, 0]]

    @pytest.mark.parametrize("N", [0, 1, 2])
    def test_too_short_to_segment(self, N):
        assert segment(*track(0, N, 8), 3) is None

    def test_types_and_unit_length(self):
        found = segment(*track(0, 20, 8), 3)
        assert (found.embedding.dtype, found.frames.dtype, found.distance.dtype) == (np.float32, np.int32, np.float32)
        np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-6)
        assert found.distance[0] == 0

    @pytest.mark.parametrize("wrong", [0.0, np.nan, np.inf])
    def test_rows_without_a_direction_are_refused(self, wrong):
        rows, frames = track(0, 5, 4)
        rows[2] = wrong
        with pytest.raises(ValueError, match="zero or not finite"):
            segment(rows, frames, 3)

    def test_repeated_frames_single_tracklets_and_unequal_lengths_are_refused(self):
        rows, frames = track(0, 5, 4)
        with pytest.raises(ValueError, match="repeated"):
            segment(rows, np.array([1, 2, 3, 2, 5], np.int32), 3)
        with pytest.raises(ValueError, match="M is 1"):
            segment(rows, frames, 1)
        with pytest.raises(ValueError, match="one of each"):
            segment(rows, frames[:4], 3)

    def test_inputs_are_left_unchanged(self):
        rows, frames = track(0, 9, 4)
        before = rows.copy(), frames.copy()
        segment(rows, frames, 3)
        assert np.array_equal(rows, before[0])
        assert np.array_equal(frames, before[1])


def slow_segment_where_faces_cancel(rows, frames, M):
    """Frame sets of the pseudo-code; the mean of opposite faces does not matter to them."""
    with np.errstate(invalid="ignore"):
        expected = slow_segment(rows, frames, M)
    return expected and [frames for frames, _ in expected]


def frames_by(rows: np.ndarray, M: int, *, from_tracklet: bool) -> list[list[int]]:
    """Segmentation from row 0, the farthest face measured from that face or (wrongly) from its tracklet."""
    U = np.stack([slow_unit(row) for row in rows])
    k, left, origin, groups = len(U) // M, list(range(len(U))), U[0], []
    for r in range(M):
        q = max(left, key=lambda i: slow_distance(origin, U[i])) if r else 0
        S = sorted(left, key=lambda i: slow_distance(U[q], U[i]))[:k]
        if from_tracklet and r == 0:
            origin = slow_unit(U[S].mean(axis=0))
        groups.append(sorted(S))
        left = [i for i in left if i not in S]
    return groups


class TestPartnerTracklets:
    def test_each_face_alone_in_frame_order(self):
        rows, frames = np.array([[0, 2], [3, 0]], np.float32), np.array([9, 4], np.int32)
        found = partner_tracklets(rows, frames, 3)
        assert sets(found) == [[4], [9]]
        assert found.embedding.tolist() == [[1, 0], [0, 1]]
        assert np.isnan(found.distance).all()

    def test_long_enough_to_segment(self):
        rows, frames = track(1, 9, 8)
        assert sets(partner_tracklets(rows, frames, 3)) == sets(segment(rows, frames, 3))

    def test_no_faces(self):
        found = partner_tracklets(np.zeros((0, 8), np.float32), np.zeros(0, np.int32), 3)
        assert [part.shape for part in found] == [(0, 8), (0, 1), (0,)]


def title(seed: int, tracks: int = 7, D: int = 8, longest: int = 12):
    """Faces of a title and cannot-links between its tracks; some tracks are too short, some have no partner."""
    random = np.random.default_rng(seed)
    parts = [track(seed * 100 + i, int(random.integers(1, longest + 1)), D) for i in range(tracks)]
    ids = np.sort(random.choice(1000, tracks, replace=False)).astype(np.int64)
    track_id = np.repeat(ids, [len(rows) for rows, _ in parts])
    frame, embedding = np.concatenate([at for _, at in parts]), np.concatenate([rows for rows, _ in parts])
    links = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :] if random.random() < 0.4]
    track_a, track_b = np.array(links, np.int64).reshape(-1, 2).T
    return track_id, frame, embedding, track_a, track_b


def slow_mine(track_id, frame, embedding, track_a, track_b, M):
    """Rows of both tables, by loops over the pseudo-code: {(track, rank): ...} and {track: (negative, rank)}."""
    tracklets, anchors = {}, {}
    for one in sorted(set(track_id.tolist())):
        rows, frames = embedding[track_id == one], frame[track_id == one]
        found = slow_segment(rows, frames, M)
        if found is None:
            order = np.argsort(frames)
            found = [([int(frames[i])], slow_unit(rows[i])) for i in order]
            roles = ["face"] * len(found)
        else:
            roles = ["anchor"] + ["hard_positive"] * (M - 1)
            anchors[one] = found[0][1]
        for rank, (role, (frames, mean)) in enumerate(zip(roles, found, strict=True)):
            tracklets[one, rank] = role, frames, mean
    negatives = {}
    for one, anchor in anchors.items():
        partners = {int(b) if a == one else int(a) for a, b in zip(track_a, track_b, strict=True) if one in (a, b)}
        offered = [key for key in tracklets if key[0] in partners]
        if offered:
            negatives[one] = min(offered, key=lambda key: (slow_distance(anchor, tracklets[key][2]), *key))
    return tracklets, negatives


def chosen(negatives) -> dict[int, tuple[int, int]]:
    columns = (negatives.track_id, negatives.negative_track_id, negatives.negative_rank)
    return {one: (other, rank) for one, other, rank in zip(*(column.tolist() for column in columns), strict=True)}


class TestMineTitle:
    @pytest.mark.parametrize("seed", range(25))
    def test_equals_the_pseudo_code(self, seed):
        film = title(seed)
        tracklets, negatives = mine_title(*film, 3)
        expected, expected_negatives = slow_mine(*film, 3)
        keys = list(zip(tracklets.track_id.tolist(), tracklets.rank.tolist(), strict=True))
        assert keys == list(expected)
        assert tracklets.role.tolist() == [role for role, _, _ in expected.values()]
        assert [frames.tolist() for frames in tracklets.frames] == [frames for _, frames, _ in expected.values()]
        np.testing.assert_allclose(tracklets.embedding, [mean for *_, mean in expected.values()], atol=1e-6)
        assert chosen(negatives) == expected_negatives
        for row, (one, other) in enumerate(expected_negatives.items()):
            assert np.array_equal(negatives.embedding[row], tracklets.embedding[keys.index(other)])
            away = slow_distance(tracklets.embedding[keys.index((one, 0))], negatives.embedding[row])
            assert negatives.distance[row] == pytest.approx(away, abs=1e-6)

    @pytest.mark.parametrize("seed", range(10))
    def test_row_order_has_no_influence(self, seed):
        track_id, frame, embedding, track_a, track_b = title(seed)
        random = np.random.default_rng(seed)
        faces, links = random.permutation(len(track_id)), random.permutation(len(track_a))
        once = mine_title(track_id, frame, embedding, track_a, track_b, 3)
        again = mine_title(track_id[faces], frame[faces], embedding[faces], track_b[links], track_a[links], 3)
        for table, same in zip(once, again, strict=True):
            for column, same_column in zip(table, same, strict=True):
                for value, same_value in zip(column, same_column, strict=True):
                    np.testing.assert_array_equal(value, same_value)

    def test_distances_to_the_anchor_are_those_of_the_returned_rows(self):
        tracklets, _ = mine_title(*title(2), 3)
        for one in np.unique(tracklets.track_id[tracklets.role == "anchor"]):
            rows = np.flatnonzero(tracklets.track_id == one)
            away = np.linalg.norm(tracklets.embedding[rows] - tracklets.embedding[rows[0]], axis=1)
            np.testing.assert_allclose(tracklets.distance[rows], away, atol=1e-6)
        assert np.isnan(tracklets.distance[tracklets.role == "face"]).all()

    def test_a_copy_of_the_anchor_track_is_the_hardest_negative(self):
        rows, frames = track(1, 12, 16)
        other = track(2, 12, 16)[0]
        film = np.repeat([5, 6, 7], 12), np.tile(frames, 3), np.concatenate([rows, other, rows])
        _, negatives = mine_title(*film, np.array([5, 5]), np.array([6, 7]), 3)
        assert chosen(negatives)[5] == (7, 0)
        assert negatives.distance[0] == 0

    def test_a_farther_partner_changes_nothing(self):
        rows, frames = track(1, 12, 16)
        near, far = track(2, 12, 16)[0], -rows
        film = np.repeat([5, 6, 7], 12), np.tile(frames, 3), np.concatenate([rows, near, far])
        alone = mine_title(*film, np.array([5]), np.array([6]), 3)[1]
        both = mine_title(*film, np.array([5, 5]), np.array([6, 7]), 3)[1]
        assert chosen(alone)[5] == chosen(both)[5]
        assert alone.distance[0] == both.distance[0]

    def test_ties_go_to_the_smaller_track_and_rank(self):
        rows, frames = track(1, 3, 4, duplicates=False)
        one_face_often = np.repeat(track(2, 1, 4)[0], 3, axis=0)
        film = np.repeat([1, 8, 9], 3), np.tile(frames, 3), np.concatenate([rows, one_face_often, one_face_often])
        _, negatives = mine_title(*film, np.array([1, 1]), np.array([9, 8]), 3)
        assert chosen(negatives)[1] == (8, 0)

    def test_a_short_track_is_a_negative_and_has_none(self):
        rows, frames = track(1, 9, 8)
        film = np.array([3] * 9 + [4] * 2), np.append(frames, [1, 2]), np.concatenate([rows, rows[:1], -rows[:1]])
        tracklets, negatives = mine_title(*film, np.array([3]), np.array([4]), 3)
        assert tracklets.role.tolist() == ["anchor", "hard_positive", "hard_positive", "face", "face"]
        assert chosen(negatives) == {3: (4, 0)}

    def test_no_partner_no_hard_negative(self):
        rows, frames = track(1, 9, 8)
        nothing = np.zeros(0, np.int64)
        for track_a, track_b in ((nothing, nothing), (np.array([3]), np.array([99]))):  # 99 has no embedded face
            tracklets, negatives = mine_title(np.full(9, 3), frames, rows, track_a, track_b, 3)
            assert len(tracklets.track_id) == 3
            assert chosen(negatives) == {}

    def test_no_faces(self):
        nothing = np.zeros(0, np.int64)
        tracklets, negatives = mine_title(nothing, nothing, np.zeros((0, 8), np.float32), nothing, nothing, 3)
        assert [len(column) for column in tracklets] == [0] * 6
        assert [len(column) for column in negatives] == [0] * 5
        assert tracklets.embedding.shape == negatives.embedding.shape == (0, 8)

    def test_types(self):
        tracklets, negatives = mine_title(*title(3), 3)
        assert [tracklets.track_id.dtype, tracklets.rank.dtype] == [np.int64, np.int32]
        assert [tracklets.embedding.dtype, tracklets.distance.dtype] == [np.float32, np.float32]
        assert {frames.dtype for frames in tracklets.frames} == {np.dtype(np.int32)}
        assert [negatives.track_id.dtype, negatives.negative_track_id.dtype] == [np.int64, np.int64]
        assert negatives.negative_rank.dtype == np.int32
        assert [negatives.embedding.dtype, negatives.distance.dtype] == [np.float32, np.float32]

    def test_a_track_linked_to_itself_and_unequal_lengths_are_refused(self):
        track_id, frame, embedding, *_ = title(3)
        with pytest.raises(ValueError, match="itself"):
            mine_title(track_id, frame, embedding, np.array([1]), np.array([1]), 3)
        with pytest.raises(ValueError, match="one of each"):
            mine_title(track_id[1:], frame, embedding, np.array([1]), np.array([2]), 3)
