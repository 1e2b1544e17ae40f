"""Errors by kind of track, and what the adapter does for each kind, against naive loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.catalog import table
from tests.helpers.titles import RULES, alike, analysed, cast, rows_of, title_of, titles, unit_rows
from udfs.kernels.cluster.interface import NO_LINKS
from udfs.kernels.evaluate import groups
from udfs.kernels.evaluate.before_after import Raw
from udfs.kernels.evaluate.significance import swap_test


def values_of(row, person_tracks: Counter, linked: set) -> dict[str, list[str]]:
    """property -> the values that a track has, one track at a time."""
    found: dict[str, list[str]] = {"links": ["with links" if row.track_id in linked else "without links"]}
    if row.flags is not None:
        found["pose"] = [next((f for f in row.flags if f in ("frontal", "profile")), "between")]
        found["flag"] = [f for f in row.flags if f not in ("frontal", "profile")] or ["none"]
    if row.quality_labels is not None:
        found["quality_label"] = row.quality_labels or ["none"]
    numbers = {
        "face_px": row.face_px, "quality": row.quality, "seconds": row.end_s - row.start_s,
        "person_tracks": person_tracks[row.person],
    }  # fmt: skip
    for name, number in numbers.items():
        if not np.isnan(number):
            found[name] = [[value for value, least in groups.BINS[name].items() if number >= least][-1]]
    if row.verdict != "unknown":
        found["status"] = [row.status]
    if not np.isnan(row.shot_id):
        found["shot"] = [str(int(row.shot_id))]
    return found


@settings(max_examples=40)
@given(titles(), st.integers(0, 100))
def test_groups_are_those_of_naive_loops(title, seed):
    tracks, embeddings = title
    pairs = np.random.default_rng(seed).choice(tracks.track_id, (2, 2)) if len(tracks) else np.zeros((0, 2), np.int64)
    found = analysed(tracks, embeddings, replace(NO_LINKS, must=pairs))
    rows = rows_of(found.tracks)
    person_tracks, linked = Counter(row.person for row in rows), set(pairs.ravel().tolist())
    values = [values_of(row, person_tracks, linked) for row in rows]
    expected: dict[tuple[str, str], list] = {}
    for row, of_row in zip(rows, values, strict=True):
        for name, named in of_row.items():
            for value in named:
                expected.setdefault((name, value), []).append(row)
    for group in found.groups.itertuples():
        mine = expected.pop((group.property, group.value))
        others = [i for i, of in enumerate(values) if group.value not in of.get(group.property, [group.value])]
        rest = [rows[i] for i in others]
        assert group.n_tracks == len(mine)
        assert group.n_wrong == sum(r.verdict == "wrong" for r in mine)
        assert group.n_unknown == sum(r.verdict == "unknown" for r in mine)
        assert group.n_right == sum(r.verdict == "right" for r in mine)
        assert group.n_impure == sum(r.taken_for is not None and r.taken_for != r.person for r in mine)
        assert group.share_wrong == pytest.approx(group.n_wrong / len(mine))
        assert group.share_unknown == pytest.approx(group.n_unknown / len(mine))
        assert group.wrong_low <= group.share_wrong <= group.wrong_high
        wrong = np.mean([r.verdict == "wrong" for r in rest]) if rest else np.nan
        assert group.rest_wrong == pytest.approx(wrong, nan_ok=True)
        known = [r.confidence for r in mine if r.verdict != "unknown"]
        assert group.mean_confidence == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)
    missed = {key: sum(r.verdict != "right" for r in mine) for key, mine in expected.items()}
    assert {name for name, _ in missed} <= {"shot"}, "only shots are left out"
    shown = found.groups[found.groups.property == "shot"]
    if len(shown) < groups.WORST_SHOTS:
        assert set(missed.values()) <= {0}
    else:
        assert max(missed.values(), default=0) <= (shown.n_wrong + shown.n_unknown).min()
    assert (shown.n_wrong + shown.n_unknown).is_monotonic_decreasing
    for _, of in found.groups.groupby("property"):
        assert of.place.is_monotonic_increasing
        assert of.place.is_unique


@settings(max_examples=30)
@given(titles(), st.integers(0, 100))
def test_what_the_adapter_does_for_a_kind_of_track_is_counted_track_by_track(title, seed):
    tracks, embeddings = title
    found = analysed(tracks, embeddings, NO_LINKS, RULES, Raw(unit_rows(seed, len(tracks), 6), RULES))
    rows = rows_of(found.tracks)
    values = [values_of(row, Counter(r.person for r in rows), set()) for row in rows]
    for group in found.groups.itertuples():
        mine = [r for r, of in zip(rows, values, strict=True) if group.value in of.get(group.property, [])]
        pairs = Counter((r.without_adapter == "right", r.verdict == "right") for r in mine)
        assert group.n_right_without_adapter == pairs[True, True] + pairs[True, False]
        assert (group.n_fixed, group.n_broke) == (pairs[False, True], pairs[True, False])
        assert group.n_right == group.n_right_without_adapter + group.n_fixed - group.n_broke
        assert group.p_value == swap_test(np.array([group.n_fixed]), np.array([group.n_broke]))[0]
    as_arrow(found.groups)


def as_arrow(rows: pd.DataFrame) -> pa.Table:
    """As they are staged."""
    schema = table("error_rates").arrow
    return pa.Table.from_pandas(rows.reindex(columns=schema.names), schema=schema, preserve_index=False)


def test_where_the_raw_embeddings_were_not_clustered_nothing_is_said_of_the_adapter():
    tracks = title_of(["ann", "bob"], [0, 1])
    for raw in (None, Raw(unit_rows(1, 2), None)):
        made = as_arrow(analysed(tracks, raw=raw).groups)
        assert len(made)
        for name in ("n_right_without_adapter", "n_fixed", "n_broke", "p_value"):
            assert made[name].null_count == len(made)
        assert made["n_right"].null_count == 0


def test_the_quality_labels_of_the_paper_stand_in_its_order():
    labels = [["dark", "profile"], ["frontal"], [], None, ["glasses", "occluded", "blurred"], ["tattoo"]]
    tracks = title_of(["ann"] * 6, [0, 0, 0, 1, 1, 1]).assign(quality_labels=labels)
    rows = analysed(tracks).groups.query("property == 'quality_label'")
    in_order = ["frontal", "profile", "blurred", "glasses", "occluded", "dark", "tattoo", "none"]
    assert rows.value.tolist() == in_order
    assert rows.n_tracks.tolist() == [1] * 8
    assert rows.n_wrong.tolist() == [0, 0, 1, 1, 1, 0, 1, 0]


def test_an_adapter_that_tells_two_people_apart_is_what_made_their_tracks_right():
    """Ann and Zoe look alike in raw embeddings; adapted they do not."""
    person = ["ann"] * 6 + ["zoe"] * 6 + ["bob"] * 6
    raw, adapted = alike(person), alike(["cid" if p == "zoe" else p for p in person], seed=1)
    tracks = cast(title_of(person, [np.nan] * 18), adapted, NO_LINKS)
    tracks["quality_labels"] = [["frontal"]] * 6 + [["profile"]] * 6 + [["frontal"]] * 6
    found = analysed(tracks, adapted, NO_LINKS, RULES, Raw(raw, RULES))
    rows = found.groups[found.groups.property == "quality_label"].set_index("value")
    assert rows.n_right.tolist() == [12, 6]
    assert rows.n_fixed.sum() == 6  # one of the two had the character that both were in
    assert rows.n_broke.sum() == 0
    (better,) = rows[rows.n_fixed > 0].p_value
    assert better == pytest.approx(2 * 0.5**6, abs=0.01)
    assert found.tracks.without_adapter.tolist().count("wrong") == 6
