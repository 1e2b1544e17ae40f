"""The scores against scikit-learn, naive forms and paper and pencil."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from udfs.kernels.evaluate.scoring import (
    FPR,
    Counts,
    box_accuracy,
    calibration_error,
    confidence_bin,
    count,
    figures,
    interval,
    known_figures,
    match_boxes,
    over_time,
    pure,
    right,
    score,
    verification,
    wilson,
)

SHARES = ("v_measure", "wcp", "bcubed_precision", "bcubed_recall", "bcubed_f", "accuracy")

clusterings = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 5)), min_size=1, max_size=40).map(
    lambda pairs: (np.array([t for t, _ in pairs]), np.array([p for _, p in pairs], np.int32))
)


def alone_if_unknown(predicted):
    """Each unknown track as a cluster of its own."""
    return np.where(predicted == -1, 1000 + np.arange(len(predicted)), predicted)


def best_assignment_by_hand(true, predicted):
    labels, clusters = sorted(set(true.tolist())), sorted(set(predicted.tolist()) - {-1})
    padded = labels + [None] * len(clusters)
    return max(
        sum(
            dict(zip(clusters, chosen, strict=False)).get(p) == t
            for t, p in zip(true.tolist(), predicted.tolist(), strict=True)
        )
        for chosen in itertools.permutations(padded, len(clusters))
    ) / len(true)


def bcubed_by_hand(true, predicted):
    """Precision and recall, one track at a time."""
    precision, recall = [], []
    for i in range(len(true)):
        cluster = {j for j in range(len(true)) if j == i or predicted[j] == predicted[i] != -1}
        label = {j for j in range(len(true)) if true[j] == true[i]}
        precision.append(len(cluster & label) / len(cluster))
        recall.append(len(cluster & label) / len(label))
    return np.mean(precision), np.mean(recall)


@given(clusterings)
def test_the_figures_are_those_of_scikit_learn_and_of_naive_forms(clustering):
    true, predicted = clustering
    found, alone = score(true, predicted), alone_if_unknown(predicted)
    h, c, v = metrics.homogeneity_completeness_v_measure(true, alone)
    assert (found["homogeneity"], found["completeness"], found["v_measure"]) == pytest.approx((h, c, v), abs=1e-9)
    assert found["v_measure"] == pytest.approx(metrics.normalized_mutual_info_score(true, alone), abs=1e-9)
    assert found["adjusted_rand"] == pytest.approx(metrics.adjusted_rand_score(true, alone), abs=1e-9)
    precision, recall = bcubed_by_hand(true, predicted)
    assert (found["bcubed_precision"], found["bcubed_recall"]) == pytest.approx((precision, recall), abs=1e-9)
    majority = sum(np.bincount(true[predicted == c]).max() for c in set(predicted.tolist()) - {-1})
    assert found["wcp"] == pytest.approx(majority / len(true))
    assert found["unknown_share"] == pytest.approx(np.mean(predicted == -1))
    assert found["n_predicted"] == len(set(predicted.tolist()) - {-1})
    assert found["operator_clicks"] == found["n_predicted"] + len(true) - majority  # name each, move what is wrong
    assert all(0 <= found[name] <= 1 + 1e-12 for name in SHARES)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=15))
def test_the_accuracy_is_the_best_of_all_assignments(pairs):
    true, predicted = np.array(pairs).T
    assert score(true, predicted)["accuracy"] == pytest.approx(best_assignment_by_hand(true, predicted))


@pytest.mark.parametrize("seed", range(20))
def test_v_is_twice_the_information_over_both_entropies(seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 6, size=(rng.integers(1, 5), rng.integers(1, 5)))
    table[0, 0] += 1
    true, predicted = (np.repeat(axis.ravel(), table.ravel()) for axis in np.indices(table.shape))
    p = table / table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)

    def entropy(shares):
        return -sum(x * math.log(x) for x in shares.ravel().tolist() if x > 0)

    both = entropy(rows) + entropy(columns)
    expected = 2 * (entropy(rows) + entropy(columns) - entropy(p)) / both if both else 1.0
    assert score(true, predicted)["v_measure"] == pytest.approx(expected, abs=1e-9)


@given(clusterings, st.permutations(range(6)), st.permutations(range(6)), st.randoms())
def test_names_and_order_do_not_matter(clustering, true_names, names, random):
    true, predicted = clustering
    order = list(range(len(true)))
    random.shuffle(order)
    renamed = np.where(predicted == -1, -1, np.array(names)[predicted])[order]
    again = score([f"person {true_names[t]}" for t in true[order]], renamed)
    assert again == pytest.approx(score(true, predicted), abs=1e-9)


@given(st.lists(clusterings, max_size=4))
def test_titles_add_up_to_the_corpus(titles):
    added = sum((count(true, predicted) for true, predicted in titles), Counts())
    true = [f"{i}-{t}" for i, (labels, _) in enumerate(titles) for t in labels]
    predicted = [p if p == -1 else 100 * i + p for i, (_, clusters) in enumerate(titles) for p in clusters.tolist()]
    assert figures(added) == pytest.approx(figures(count(true, np.array(predicted, np.int32))), abs=1e-9)


@given(clusterings)
def test_the_known_figures_are_those_without_the_unknown_tracks(clustering):
    true, predicted = clustering
    known = predicted != -1
    found, without = score(true, predicted), score(true[known], predicted[known])
    for name in ("v_measure", "wcp", "bcubed_f", "accuracy", "adjusted_rand", "n_true", "n_tracks", "cluster_ratio"):
        assert found[f"known_{name}"] == pytest.approx(without[name])
    assert found["wcp"] <= found["known_wcp"] + 1e-12  # card 10: with the rejected tracks never above without
    assert "known_unknown_share" not in found
    assert known_figures(count(true[known], predicted[known])).items() <= found.items()


@given(clusterings)
def test_right_and_pure_tracks_are_those_that_are_counted(clustering):
    true, predicted = clustering
    counted = count(true, predicted)
    assert right(true, predicted).sum() == counted.assigned
    assert pure(true, predicted).sum() == counted.majority
    pairs = {(t, p) for t, p in zip(true[right(true, predicted)], predicted[right(true, predicted)], strict=True)}
    assert len(pairs) == len({t for t, _ in pairs}) == len({p for _, p in pairs}), "one to one"
    assert not (right(true, predicted) | pure(true, predicted))[predicted == -1].any()


def test_no_track_is_right_where_there_is_none():
    none = np.zeros(0, np.int32)
    assert len(right([], none)) == len(pure([], none)) == 0
    unknown = np.array([-1])
    assert not right(["a"], unknown).any()
    assert not pure(["a"], unknown).any()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.integers(1, 12))
def test_the_calibration_error_is_that_of_a_naive_loop(tracks, bins):
    confidence, correct = np.array([c for c, _ in tracks]), np.array([r for _, r in tracks], bool)
    total = 0.0
    for bin_ in set(confidence_bin(confidence, bins).tolist()):
        mine = [(c, r) for c, r in tracks if min(int(c * bins), bins - 1) == bin_]
        total += abs(sum(c for c, _ in mine) - sum(r for _, r in mine))
    assert calibration_error(confidence, correct, bins) == pytest.approx(total / max(len(tracks), 1), abs=1e-9)


@given(st.integers(0, 60), st.integers(1, 60))
def test_the_interval_of_a_share_is_scipys(part, whole):
    part = min(part, whole)
    low, high = wilson(np.array(part), np.array(whole))
    expected = binomtest(part, whole).proportion_ci(0.95, method="wilson")
    assert (low, high) == (pytest.approx(expected.low, abs=1e-6), pytest.approx(expected.high, abs=1e-6))
    assert low <= part / whole + 1e-12
    assert high >= part / whole - 1e-12


def test_of_nothing_any_share_may_be_true():
    assert [end.tolist() for end in wilson(np.zeros(2, int), np.array([0, 0]))] == [[0, 0], [1, 1]]


def test_perfect_labels_score_one():
    found = score(["a", "a", "b", "c"], np.array([2, 2, 0, 1], np.int32))
    assert {found[name] for name in SHARES} == {1.0}
    assert found["adjusted_rand"] == found["cluster_ratio"] == 1.0


def test_one_cluster_says_nothing():
    found = score(["a", "a", "a", "b"], np.zeros(4, np.int32))
    assert found["homogeneity"] == pytest.approx(0)
    assert found["completeness"] == 1
    assert found["v_measure"] == pytest.approx(0)
    assert found["wcp"] == 0.75  # the share of the largest class


def test_singletons_are_pure_and_too_many():
    found = score(["a", "a", "a", "b"], np.arange(4, dtype=np.int32))
    assert found["wcp"] == 1
    assert found["cluster_ratio"] == 4 / 2
    assert found["v_measure"] > 0  # card 8: the formula does not give 0 here, whatever the paper prints


def test_paper_and_pencil():
    # cluster 0 holds a a b, cluster 1 holds b, one b is unknown
    found = score(["a", "a", "b", "b", "b"], np.array([0, 0, 0, 1, -1], np.int32))
    assert found["wcp"] == pytest.approx(3 / 5)
    assert found["known_wcp"] == pytest.approx(3 / 4)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["bcubed_precision"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert found["bcubed_recall"] == pytest.approx((1 + 1 + 1 / 3 + 1 / 3 + 1 / 3) / 5)
    assert found["cluster_ratio"] == 1
    assert found["unknown_share"] == pytest.approx(1 / 5)


def test_a_title_without_tracks_has_no_errors():
    found = score([], np.zeros(0, np.int32))
    assert {found[name] for name in SHARES} == {1.0}
    assert (found["n_true"], found["n_predicted"], found["n_tracks"], found["unknown_share"]) == (0, 0, 0, 0)


def test_giving_up_on_everything_is_no_success():
    found = score(["a", "a", "b"], np.full(3, -1, np.int32))
    assert (found["wcp"], found["accuracy"], found["unknown_share"], found["n_predicted"]) == (0, 0, 1, 0)
    assert found["known_n_tracks"] == 0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 true labels for 1 tracks"):
        count([1, 2], np.zeros(1, np.int32))


# --- truth by boxes


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


@given(clusterings, st.integers(0, 1000))
def test_purity_and_coverage_are_those_of_seconds(clustering, seed):
    true, predicted = clustering
    seconds = np.random.default_rng(seed).integers(1, 9, len(true)).astype(float)
    found, alone = over_time(true, predicted, seconds), alone_if_unknown(predicted)

    def longest(group, other, among):
        return sum(max(seconds[(group == g) & (other == o)].sum() for o in set(other.tolist())) for g in among)

    assert found["time_purity"] == pytest.approx(
        longest(predicted, true, set(predicted.tolist()) - {-1}) / seconds.sum(), abs=1e-12
    )
    assert found["time_coverage"] == pytest.approx(longest(true, alone, set(true.tolist())) / seconds.sum(), abs=1e-12)
    assert over_time(true, predicted, np.ones(len(true)))["time_purity"] == pytest.approx(score(true, predicted)["wcp"])
    assert over_time([], np.zeros(0, int), np.zeros(0)) == {"time_purity": 1.0, "time_coverage": 1.0}


@given(st.integers(0, 1000), st.integers(3, 40))
def test_verification_is_scikit_learns_roc(seed, tracks):
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 0.0, 1.0], size=(tracks, 3)) + 0.5  # many equal scores
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    label = rng.integers(0, 3, tracks)
    a, b = np.triu_indices(tracks, 1)
    same, cosine = label[a] == label[b], np.round((x @ x.T)[a, b], 9)
    found = verification(x, label)
    if same.all() or not same.any():
        assert all(math.isnan(value) for value in found.values())
        return
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(same, cosine), abs=1e-12)
    false, hits, _ = metrics.roc_curve(same, cosine, drop_intermediate=False)
    for fpr in FPR:
        assert found[f"tpr_at_fpr_{fpr:g}"] == pytest.approx(np.interp(fpr, false, hits), abs=1e-12)
    again = verification(np.concatenate([x, np.ones((tracks, 1))], axis=1) / math.sqrt(2), label)  # a monotone map
    assert again == pytest.approx(found)


def test_the_interval_is_that_of_means_of_drawn_titles():
    assert interval(np.full(6, 0.9)) == pytest.approx((0.9, 0.9))
    values = np.array([0.8, 0.9, 1.0, np.nan, 0.7])
    low, high = interval(values)
    assert 0.7 <= low < np.nanmean(values) < high <= 1.0
    assert interval(values) == (low, high)
    normal = np.random.default_rng(0).normal(size=400)
    assert interval(normal) == pytest.approx(normal.mean() + np.array([-1.96, 1.96]) / 20, abs=0.02)
    assert all(math.isnan(end) for end in interval(values[:1]))


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
