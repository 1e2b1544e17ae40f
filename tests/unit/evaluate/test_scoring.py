"""The scores against scikit-learn, naive forms and paper and pencil."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from udfs.kernels.evaluate.scoring import (
    Counts,
    calibration_error,
    compute_figures,
    confidence_bin,
    count,
    mark_pure,
    mark_right,
    over_time,
    score,
    score_known,
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
    assert compute_figures(added) == pytest.approx(
        compute_figures(count(true, np.array(predicted, np.int32))), abs=1e-9
    )


@given(clusterings)
def test_the_known_figures_are_those_without_the_unknown_tracks(clustering):
    true, predicted = clustering
    known = predicted != -1
    found, without = score(true, predicted), score(true[known], predicted[known])
    for name in ("v_measure", "wcp", "bcubed_f", "accuracy", "adjusted_rand", "n_true", "n_tracks", "cluster_ratio"):
        assert found[f"known_{name}"] == pytest.approx(without[name])
    assert found["wcp"] <= found["known_wcp"] + 1e-12  # with the rejected tracks never above without
    assert "known_unknown_share" not in found
    assert score_known(count(true[known], predicted[known])).items() <= found.items()


@given(clusterings)
def test_right_and_pure_tracks_are_those_that_are_counted(clustering):
    true, predicted = clustering
    counted = count(true, predicted)
    assert mark_right(true, predicted).sum() == counted.assigned
    assert mark_pure(true, predicted).sum() == counted.majority
    pairs = {
        (t, p) for t, p in zip(true[mark_right(true, predicted)], predicted[mark_right(true, predicted)], strict=True)
    }
    assert len(pairs) == len({t for t, _ in pairs}) == len({p for _, p in pairs}), "one to one"
    assert not (mark_right(true, predicted) | mark_pure(true, predicted))[predicted == -1].any()


def test_no_track_is_right_where_there_is_none():
    none = np.zeros(0, np.int32)
    assert len(mark_right([], none)) == len(mark_pure([], none)) == 0
    unknown = np.array([-1])
    assert not mark_right(["a"], unknown).any()
    assert not mark_pure(["a"], unknown).any()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.integers(1, 12))
def test_the_calibration_error_is_that_of_a_naive_loop(tracks, bins):
    confidence, correct = np.array([c for c, _ in tracks]), np.array([r for _, r in tracks], bool)
    total = 0.0
    for bin_ in set(confidence_bin(confidence, bins).tolist()):
        mine = [(c, r) for c, r in tracks if min(int(c * bins), bins - 1) == bin_]
        total += abs(sum(c for c, _ in mine) - sum(r for _, r in mine))
    assert calibration_error(confidence, correct, bins) == pytest.approx(total / max(len(tracks), 1), abs=1e-9)


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
    assert found["v_measure"] > 0  # the formula does not give 0 here, whatever the paper prints


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
