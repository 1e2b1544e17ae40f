"""Truth by boxes brought to tracks, against the best of all matchings."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.evaluate.matching import box_accuracy, match_boxes


def iou(a, b):
    w = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def best_total_overlap(truths, faces, least):
    """All one-to-one matchings of one frame, by recursion."""
    if not truths:
        return 0.0
    rest = best_total_overlap(truths[1:], faces, least)
    for j, face in enumerate(faces):
        if (overlap := iou(truths[0], face)) >= least:
            rest = max(rest, overlap + best_total_overlap(truths[1:], faces[:j] + faces[j + 1 :], least))
    return rest


boxes = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0, 8), st.floats(0, 8), st.floats(4, 10), st.floats(4, 10)), max_size=8
)


def as_arrays(rows):
    return np.array([r[0] for r in rows], np.int32), np.array([r[1:] for r in rows], np.float64).reshape(-1, 4)


@given(boxes, boxes, st.sampled_from([0.1, 0.3, 0.5]))
def test_the_matching_of_each_frame_is_the_best_one(truths, faces, least):
    true_frame, true_box = as_arrays(truths)
    frame, box = as_arrays(faces)
    found = match_boxes(true_frame, true_box, np.arange(len(truths)), np.arange(len(faces)), frame, box, least)
    total = 0.0
    taken = set()
    for j, label in enumerate(found.labels):  # every face is a track here, every true box a label: labels are matches
        if label is not None:
            assert label not in taken
            taken.add(label)
            assert true_frame[label] == frame[j]
            assert iou(true_box[label], box[j]) >= least - 1e-9
            total += iou(true_box[label], box[j])
    expected = sum(
        best_total_overlap([t[1:] for t in truths if t[0] == f], [b[1:] for b in faces if b[0] == f], least)
        for f in range(3)
    )
    assert total == pytest.approx(expected, abs=1e-6)
    assert found.matched_boxes == len(taken)


def test_a_track_gets_the_label_of_most_of_its_faces():
    box = np.tile([10.0, 10.0, 20.0, 20.0], (5, 1))
    found = match_boxes(
        np.arange(5), box, ["ann", "bob", "bob", "ann", "bob"], np.array([7, 7, 7, 3, 3]), np.arange(5), box
    )
    assert found.track_ids.tolist() == [3, 7]
    assert found.labels.tolist() == ["ann", "bob"]  # track 3 has one of each: the smaller label
    assert found.purity.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert found.matched_faces.tolist() == [2, 3]
    assert found.detection_recall == 1


def test_boxes_of_other_frames_and_too_little_overlap_do_not_match():
    found = match_boxes(
        np.array([0, 1]),
        np.array([[0.0, 0, 10, 10], [0, 0, 10, 10]]),
        [1, 2],
        np.array([5, 6]),
        np.array([2, 1]),
        np.array([[0.0, 0, 10, 10], [5.1, 0, 10, 10]]),  # 49 of 151 square pixels: 0.32
        0.33,
    )
    assert found.labels.tolist() == [None, None]
    assert np.isnan(found.purity).all()
    assert (found.true_boxes, found.matched_boxes, found.detection_recall) == (2, 0, 0.0)


def test_a_box_with_a_choice_leaves_the_other_its_match():
    # the first true box fits both faces, and the first better; the second true box fits the first face alone
    truth = np.array([[0.0, 0, 10, 10], [4.0, 0, 10, 10]])
    faces = np.array([[1.5, 0, 10, 10], [-4.0, 0, 10, 10]])
    found = match_boxes(np.zeros(2, int), truth, ["a", "b"], np.array([1, 2]), np.zeros(2, int), faces, 0.4)
    assert found.labels.tolist() == ["b", "a"]
    assert found.matched_boxes == 2


def test_nothing_to_match():
    none, no_boxes = np.zeros(0, np.int32), np.zeros((0, 4))
    found = match_boxes(none, no_boxes, [], none, none, no_boxes)
    assert (len(found.track_ids), found.true_boxes, found.detection_recall) == (0, 0, 1.0)
    found = match_boxes(none, no_boxes, [], np.array([4]), np.array([0]), np.ones((1, 4)))
    assert (found.track_ids.tolist(), found.labels.tolist()) == ([4], [None])
    found = match_boxes(np.array([0]), np.ones((1, 4)), ["a"], none, none, no_boxes)
    assert (found.true_boxes, found.matched_boxes) == (1, 0)


@given(boxes, boxes, st.lists(st.integers(-1, 2), min_size=8, max_size=8))
def test_boxes_are_right_under_the_best_assignment_of_all(truths, faces, characters):
    true_frame, true_box = as_arrays(truths)
    frame, box = as_arrays(faces)
    label, predicted = np.arange(len(truths)) % 3, np.array(characters[: len(faces)], int)
    found = match_boxes(true_frame, true_box, label, np.arange(len(faces)), frame, box, 0.3)
    assert len(found.pairs) == found.matched_boxes
    best = max(
        sum(predicted[face] >= 0 and order[predicted[face]] == label[true] for true, face in found.pairs.tolist())
        for order in itertools.permutations(range(3))
    )
    expected = best / len(truths) if truths else 1.0
    assert box_accuracy(label, predicted, found.pairs, found.true_boxes) == pytest.approx(expected)
