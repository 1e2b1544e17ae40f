"""Whitening by the groups of each title: cautious groups, exact scatter, a map that rows have to earn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.settings import TrainSettings
from training import whitening
from training.adapters import apply
from training.loop import train
from training.methods.registry import make_plan
from training.snapshot import Snapshot


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def people(seed: int, tracks: int = 60, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    who = rng.integers(5, size=tracks)
    return unit(np.eye(5, dim)[who] + 0.1 * rng.normal(size=(tracks, dim))), who


@given(seed=st.integers(0, 1000), n=st.integers(0, 30), least=st.integers(1, 4))
@settings(max_examples=30)
def test_scatter_is_that_of_each_group_around_its_mean(seed: int, n: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    rows, group = rng.normal(size=(n, 4)), rng.integers(5, size=n)
    expected, counted = np.zeros((4, 4)), 0
    for one in set(group.tolist()):
        part = rows[group == one]
        if len(part) >= least:
            expected += sum(np.outer(x - part.mean(axis=0), x - part.mean(axis=0)) for x in part)
            counted += len(part)
    found, n_counted = whitening.within_scatter(rows, group, least)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert n_counted == counted


@given(seed=st.integers(0, 1000), n=st.integers(0, 30), least=st.integers(1, 4))
@settings(max_examples=30)
def test_scatter_between_is_that_of_the_groups_means(seed: int, n: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    rows, group = rng.normal(size=(n, 4)), rng.integers(5, size=n)
    parts = [rows[group == one] for one in range(5) if np.sum(group == one) >= least]
    found, groups, inverse_sizes = whitening.between_scatter(rows, group, least)
    if len(parts) < 2:
        assert (np.abs(found).max(), groups, inverse_sizes) == (0, 0, 0)
        return
    means = [part.mean(axis=0) for part in parts]
    middle = sum(means) / len(means)
    np.testing.assert_allclose(found, sum(np.outer(m - middle, m - middle) for m in means), atol=1e-9)
    assert groups == len(parts)
    assert inverse_sizes == pytest.approx(sum(1 / len(part) for part in parts))


def test_a_direction_counts_by_what_it_tells_of_who_it_is() -> None:
    """4000 people of 5 rows each, whose means have the variances 3, 1 and 0 in three directions, and noise of 1."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4000), 5)
    rows = (rng.normal(size=(4000, 3)) * np.sqrt([3.0, 1.0, 0.0]))[group] + rng.normal(size=(20000, 3))
    within, n = whitening.within_scatter(rows, group, 3)
    between, groups, inverse_sizes = whitening.between_scatter(rows, group, 3)
    covariances = within / (n - groups), between / (groups - 1)
    for floor in (0.0, 0.5, 1.0):
        b = (1 - floor) * np.array([3.0, 1.0, 0.0]) + floor * 4 / 3
        found = whitening.discriminant(*covariances, inverse_sizes / groups, floor)
        np.testing.assert_allclose(found, np.diag(np.sqrt(b / (b + 1))), atol=0.1)
    np.testing.assert_array_equal(whitening.discriminant(np.eye(3), np.zeros((3, 3)), 0.2, 0.5), np.eye(3))


def test_groups_hold_one_person_each() -> None:
    x, who = people(0)
    group = whitening.group_tracks(x, 0.3)
    assert all(len(set(who[group == one])) == 1 for one in set(group.tolist()))
    assert len(set(group.tolist())) < 30
    assert len(set(whitening.group_tracks(x, 1.0).tolist())) < len(set(group.tolist()))


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    x, _ = people(1)
    order = np.random.default_rng(0).permutation(60)
    one, other = whitening.group_tracks(x, 0.3)[order], whitening.group_tracks(x[order], 0.3)
    assert (one[:, None] == one[None]).tolist() == (other[:, None] == other[None]).tolist()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_titles_of_no_track_one_and_two(n: int) -> None:
    x = unit(np.random.default_rng(0).normal(size=(n, 8)))
    assert len(whitening.group_tracks(x, 0.3)) == n


def test_the_map_makes_the_scatter_round_as_far_as_rows_can_tell() -> None:
    scatter = np.diag([4.0, 1.0, 1.0, 0.25])
    much, little = whitening.whitener(scatter * 1e6, 10**6, 6.0), whitening.whitener(scatter * 3, 3, 6.0)
    round_ = much @ scatter @ much
    np.testing.assert_allclose(round_, round_[0, 0] * np.eye(4), rtol=1e-3, atol=1e-3)
    assert np.abs(little - np.eye(4)).max() < 0.1
    np.testing.assert_array_equal(whitening.whitener(np.zeros((4, 4)), 0, 6.0), np.eye(4))


def test_of_a_huge_title_as_many_rows_as_can_be_clustered() -> None:
    rows = whitening.draw_pairs(10 * whitening.LARGEST_TITLE, 7)
    assert len(set(rows.tolist())) == whitening.LARGEST_TITLE
    assert (np.diff(rows) > 0).all()
    assert whitening.draw_pairs(5, 7).tolist() == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, written: Callable[..., Snapshot]) -> Snapshot:
    """12 people whose tracks differ by scene far more than the faces inside a track do, in 3 titles."""
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(12, 24))
    moods = rng.normal(size=(6, 24))  # what scenes change, in everybody alike

    def rows(n: int) -> pa.Table:
        who, title = rng.integers(12, size=n), np.arange(n) * 3 // n
        track = looks[who] + 2.0 * rng.normal(size=(n, 6)) @ moods * 0.35
        other = looks[(who + 1 + rng.integers(11, size=n)) % 12] + 0.7 * rng.normal(size=(n, 6)) @ moods
        views = unit(track[:, None] + 0.05 * rng.normal(size=(n, 3, 24)))
        return pa.table(
            {
                "title_id": [f"film{t}" for t in title],
                "track_id": np.arange(n),
                "row": np.arange(n),
                "views": list(views.reshape(n, -1).astype(np.float32)),
                "negative": list(unit(other).astype(np.float32)),
                "has_negative": np.ones(n, bool),
                "label": np.full(n, -1),
            }
        )

    folder: Path = tmp_path_factory.mktemp("scenes")
    return written(folder, rows(900), rows(200), titles_train=("film0", "film1", "film2"), titles_dev=("film0",))


def test_whitening_forgets_what_scenes_change(scenes: Snapshot) -> None:
    made = train(scenes, make_plan(TrainSettings(method="whitening"), scenes))
    assert len(made.curve) == 3
    assert made.best_epoch == 2
    assert made.metrics["close_auc"] > made.metrics["close_auc_raw"]
    again = train(scenes, make_plan(TrainSettings(method="whitening"), scenes))
    assert made.adapter.to_bytes() == again.adapter.to_bytes()
    x = unit(np.random.default_rng(0).normal(size=(5, 24))).astype(np.float32)
    assert apply(made.adapter, x, "a" * 64).shape == (5, 24)


def test_what_people_differ_in_is_weighed_up(scenes: Snapshot) -> None:
    still = {"learning_rate": 1e-12, "max_epochs": 1}
    whitened, weighed = (
        train(scenes, make_plan(TrainSettings(method=method), scenes).model_copy(update=still))
        for method in ("whitened_triplet", "lda_triplet")
    )
    assert weighed.metrics["close_auc"] > whitened.metrics["close_auc"]


def test_the_triplets_begin_where_whitening_ends(snapshot: Snapshot) -> None:
    still = make_plan(TrainSettings(method="whitened_triplet", max_epochs=1), snapshot)
    begun = train(snapshot, still.model_copy(update={"learning_rate": 1e-12}))
    whitened = train(snapshot, make_plan(TrainSettings(method="whitening"), snapshot))
    one, other = (made.adapter.layers.state_dict()["0.weight"] for made in (begun, whitened))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    learnt = train(snapshot, make_plan(TrainSettings(method="whitened_triplet"), snapshot))
    assert learnt.curve[learnt.best_epoch].dev_loss < begun.curve[0].dev_loss
    assert learnt.status == "ready"


def test_where_nobody_meets_whitening_is_all_there_is(
    tmp_path: Path, corpus: Callable[..., pa.Table], written: Callable[..., Snapshot]
) -> None:
    alone = written(tmp_path, corpus(1, 120, negatives=False), corpus(2, 40, negatives=False))
    made = train(alone, make_plan(TrainSettings(method="whitened_triplet"), alone))
    whitened = train(alone, make_plan(TrainSettings(method="whitening"), alone))
    one, other = (found.adapter.layers.state_dict()["0.weight"] for found in (made, whitened))
    torch.testing.assert_close(one, other)
