"""Tracks of several titles scored as one set: against clusters that are named one track at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.pooled import score_pooled

COLUMNS = ["series", "title_id", "person", "character_id", "person_id"]


def frame(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype({"character_id": "float64"})


def test_a_person_of_several_titles_is_one_cluster_and_one_label():
    rows = [
        ("bbt", "e1", "sheldon", 0, "p"), ("bbt", "e2", "sheldon", 3, "p"), ("bbt", "e1", "penny", 1, "q"),
        ("bbt", "e2", "penny", 0, "q"),
    ]  # fmt: skip
    found = score_pooled(frame(*rows))
    assert (found["v_measure"], found["n_true"], found["n_predicted"], found["n_tracks"]) == (1, 2, 2, 4)
    apart = score_pooled(frame(*rows[:3], ("bbt", "e2", "penny", 0, "r")))
    assert (apart["n_true"], apart["n_predicted"], apart["wcp"]) == (2, 3, 1)
    assert apart["completeness"] < 1 == apart["homogeneity"]


def test_the_same_label_in_two_series_is_two_people():
    rows = [("bbt", "b1", "unknown_e01_1", 0, "p"), ("buffy", "f1", "unknown_e01_1", 0, "p")]
    found = score_pooled(frame(*rows))
    assert (found["n_true"], found["n_predicted"], found["wcp"]) == (2, 1, 0.5)


def test_a_character_without_a_person_is_alone_in_its_title():
    rows = [("bbt", "e1", "a", 0, None), ("bbt", "e1", "a", 0, None), ("bbt", "e2", "a", 0, None)]
    assert score_pooled(frame(*rows))["n_predicted"] == 2


def test_nothing_at_all():
    assert score_pooled(frame())["n_tracks"] == 0


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_equal_to_names_made_one_by_one(seed, n):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        series, title = ("s", "t")[rng.integers(2)], str(rng.integers(3))
        character = rng.choice([0, 1, 2, np.nan])
        person_id = None if np.isnan(character) or character == 2 else f"{series}{character}"
        rows.append((series, f"{series}-{title}", rng.choice(["ann", "bob"]), character, person_id))
    names: dict[str, int] = {}
    predicted = [
        -1 if np.isnan(c) else names.setdefault(f"p {p}" if p else f"c {title} {c}", len(names))
        for _, title, _, c, p in rows
    ]
    expected = scoring.score([f"{series} {person}" for series, _, person, _, _ in rows], np.array(predicted))
    assert score_pooled(frame(*rows)) == pytest.approx(expected)
