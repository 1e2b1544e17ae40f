"""VideoClusterNet's clustering by its loss, against every pair of crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.cluster.interface import NO_LINKS, Links
from udfs.kernels.cluster.own_thresholds import match_clusters
from udfs.kernels.cluster.videoclusternet import Answers, cluster_by_loss, mean_of_tracks, summarise_tracks

SIDES = ("teacher", "student")
NONE = np.zeros((0, 2), np.int64)


def answers(seed, counts, who=4, dim=12, noise=0.15):
    """Answers to crops of tracks of some people, to mirror images of only ones, their tracks, who the tracks are."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(who, dim))
    true = rng.integers(0, who, len(counts))
    track = np.repeat(np.arange(len(counts)), counts)
    centre = rng.normal(size=dim) * 0.1

    def seen(track):
        teacher, student = (looks[true[track]] + noise * rng.normal(size=(len(track), dim)) for _ in range(2))
        return Answers(teacher, student, centre, (0.4, 1.0))

    return seen(track), seen(np.flatnonzero(np.array(counts) == 1)), track, true


def clustered(crops, mirrored, track, tracks, links=NO_LINKS):
    return cluster_by_loss(summarise_tracks(crops, mirrored, track, tracks), np.tile([1.0, 0.0], (tracks, 1)), links)


def slow_softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def slow_loss(teacher, student, given):
    p = slow_softmax((teacher - given.centre) / given.temperatures[0])
    return -(p * np.log(slow_softmax(student / given.temperatures[1]))).sum()


def slow_s(a, i, b, j):
    return (slow_loss(a.teacher[i], b.student[j], a) + slow_loss(b.teacher[j], a.student[i], a)) / 2


@given(st.integers(0, 1000), st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_distances_and_thresholds_are_those_of_every_pair(seed, counts):
    crops, mirrored, track, _ = answers(seed, counts)
    found = summarise_tracks(crops, mirrored, track, len(counts))
    by_crops, by_means = found.between_crops(), found.between_means()
    alone = np.cumsum(np.array(counts) == 1) - 1
    for a in range(len(counts)):
        own = np.flatnonzero(track == a)
        pairs = [slow_s(crops, i, crops, j) for i in own for j in own if i < j]
        expected = np.mean(pairs) if pairs else slow_s(crops, own[0], mirrored, alone[a])
        assert found.threshold[a] == pytest.approx(expected, rel=1e-10)
        for b in range(len(counts)):
            if a != b:
                pairs = [slow_s(crops, i, crops, j) for i in own for j in np.flatnonzero(track == b)]
                assert by_crops[a, b] == pytest.approx(np.mean(pairs), rel=1e-10)
    means = crops._replace(**{side: mean_of_tracks(getattr(crops, side), track, len(counts)) for side in SIDES})
    assert by_means[0, 1] == pytest.approx(slow_s(means, 0, means, 1), rel=1e-10)


def test_people_who_look_unlike_are_told_apart():
    crops, mirrored, track, true = answers(3, [6] * 40, who=5, dim=32)
    made = clustered(crops, mirrored, track, 40)
    together = np.equal.outer(made.labels, made.labels)
    assert not (together & ~np.equal.outer(true, true)).any()
    assert made.k_found < 15


@given(st.integers(0, 1000))
def test_the_order_of_tracks_counts_for_nothing(seed):
    crops, mirrored, track, _ = answers(seed, [3] * 10, noise=0.5)
    made = clustered(crops, mirrored, track, 10).labels
    place = np.random.default_rng(seed).permutation(10)
    again = clustered(crops, mirrored, place[track], 10).labels
    np.testing.assert_array_equal(np.equal.outer(made, made), np.equal.outer(again[place], again[place]))


def test_one_threshold_that_is_wide_enough_will_do_and_matches_are_chained():
    """Two tight tracks and a wide one between them: it matches both, and so they are one."""
    wide, narrow = 0.8, 0.1
    distance = np.array([[0, 0.5, 2.0], [0.5, 0, 0.5], [2.0, 0.5, 0]])
    threshold = np.array([narrow, wide, narrow])
    assert len(set(match_clusters(distance, threshold, Links(NONE, NONE), first=distance).tolist())) == 1
    assert len(set(match_clusters(distance, np.full(3, narrow), Links(NONE, NONE), first=distance).tolist())) == 3


def test_who_is_seen_together_is_not_one():
    crops, mirrored, track, _ = answers(5, [4] * 8, who=1)
    assert clustered(crops, mirrored, track, 8).k_found < 8
    made = clustered(crops, mirrored, track, 8, Links(np.array([[0, 1]]), NONE))
    assert made.labels[0] != made.labels[1]


def test_a_track_without_crops_has_no_answers():
    crops, mirrored, track, _ = answers(5, [4, 1])
    found = summarise_tracks(crops, mirrored, track * 2, 4)
    assert np.isnan(found.threshold).tolist() == [False, True, False, True]
    assert np.isnan(found.said_of_mean[[1, 3]]).all()
    np.testing.assert_allclose(found.among(np.array([0, 2])).said.sum(axis=1), 1)
