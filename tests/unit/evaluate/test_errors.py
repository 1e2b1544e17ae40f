"""Error analysis against naive loops, and on titles that can be worked out on paper."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.titles import RULES, alike, analysed, cast, rows_of, title_of, titles
from udfs.kernels.cluster.interface import NO_LINKS, Links
from udfs.kernels.evaluate import errors, scoring
from udfs.kernels.evaluate.verdicts import characters_of, verdicts


def most_common(values: list) -> object:
    """Of equally many, the smallest."""
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


@settings(max_examples=40)
@given(titles())
def test_verdicts_are_those_of_naive_loops(title):
    tracks, embeddings = title
    found = analysed(tracks, embeddings).tracks
    assert found.track_id.tolist() == tracks.track_id[tracks.person.notna()].tolist()
    place = dict(zip(tracks.track_id, range(len(tracks)), strict=True))
    rows = rows_of(found)
    for row in rows:
        mine = [r for r in rows if r.character_id is not None and r.character_id == row.character_id]
        if row.character_id is None:
            assert (row.verdict, row.taken_for, row.split) == ("unknown", None, False)
        else:
            assert row.taken_for == most_common([r.person for r in mine])
            home = most_common([r.character_id for r in rows if r.person == row.person and r.character_id is not None])
            assert row.split == (home != row.character_id)
        for shown, others in (
            (row.distance, [r for r in mine if r.person == row.taken_for]),
            (row.own_distance, [r for r in rows if r.person == row.person]),
        ):
            x = embeddings[place[row.track_id]].astype(float)
            theirs = [embeddings[place[r.track_id]].astype(float) for r in others if r.track_id != row.track_id]
            distances = [1 - float(x @ y) for y in theirs if np.isfinite(y).all()]
            expected = np.mean(distances) if distances and np.isfinite(x).all() else np.nan
            assert shown == pytest.approx(expected, abs=2e-6, nan_ok=True)
    scores = scoring.score(found.person.to_numpy(str), characters_of(found))
    if rows:
        assert np.mean([row.verdict == "right" for row in rows]) == pytest.approx(scores["accuracy"])
        assert np.mean([row.taken_for == row.person for row in rows]) == pytest.approx(scores["wcp"])


@settings(max_examples=40)
@given(titles())
def test_confusions_people_and_characters_are_those_of_naive_loops(title):
    found = analysed(*title)
    rows = rows_of(found.tracks)
    wrong = [r for r in rows if r.taken_for is not None and r.taken_for != r.person]
    assert found.confusions.n_tracks.sum() == len(wrong)
    for pair in found.confusions.itertuples():
        mine = [r for r in wrong if (r.person, r.taken_for) == (pair.person, pair.taken_for)]
        assert pair.n_tracks == len(mine) > 0
        by_confidence = sorted(mine, key=lambda r: (-r.confidence, r.track_id))
        assert pair.track_ids == [r.track_id for r in by_confidence[: errors.WORST]]
        where = {r.character_id for r in mine}
        theirs = [r for r in rows if r.character_id in where and r.person == r.taken_for == pair.taken_for]
        theirs.sort(key=lambda r: (-r.confidence, r.track_id))
        assert pair.other_ids == [r.track_id for r in theirs[: errors.WORST]]
    assert found.confusions.n_tracks.is_monotonic_decreasing
    counts = Counter(r.person for r in rows)
    assert {row.person: row.n_tracks for row in found.people.itertuples()} == counts
    for row in found.people.itertuples():
        mine = [r for r in rows if r.person == row.person]
        assert row.n_right == sum(r.verdict == "right" for r in mine)
        assert row.n_unknown == sum(r.verdict == "unknown" for r in mine)
        assert row.n_elsewhere == sum(r.person == row.person for r in wrong)
        assert row.n_characters == len({r.character_id for r in mine if r.taken_for == r.person})
    cells = Counter((r.character_id, r.person) for r in rows if r.character_id is not None)
    assert {(r.character_id, r.person): r.n_tracks for r in found.characters.itertuples()} == cells
    for character, inside in found.characters.groupby("character_id"):
        assert set(found.tracks.taken_for[found.tracks.character_id == character]) == {inside.person.iloc[0]}


@settings(max_examples=40)
@given(titles())
def test_the_bins_of_confidence_make_the_calibration_error(title):
    found = analysed(*title)
    known = [r for r in rows_of(found.tracks) if r.verdict != "unknown"]
    rows = found.reliability
    assert rows.n_tracks.sum() == len(known)
    for row in rows.itertuples():
        mine = [r for r in known if row.bin / 10 <= r.confidence < (row.bin + 1) / 10]
        assert row.n_tracks == len(mine)
        assert row.mean_confidence == pytest.approx(np.mean([r.confidence for r in mine]))
        assert row.share_right == pytest.approx(np.mean([r.taken_for == r.person for r in mine]))
    gaps = (rows.mean_confidence - rows.share_right).abs()
    assert found.figures["ece"] == pytest.approx((gaps * rows.n_tracks).sum() / max(len(known), 1))


@pytest.mark.parametrize("known", [[], [None, None]])
def test_a_title_of_which_nothing_is_known(known):
    found = analysed(title_of(known, [0.0] * len(known)))
    assert [len(rows) for rows in found[:6]] == [0] * 6
    assert found.figures["ece"] == found.figures["cannot_links_known"] == 0


def test_one_person_and_nobody_known_to_clustering():
    one = analysed(title_of(["ann"] * 3, [0, 0, 0]))
    assert one.tracks.verdict.tolist() == ["right"] * 3
    assert len(one.confusions) == 0
    assert one.groups.n_wrong.sum() == 0
    assert set(one.groups.property) == {"links", "person_tracks", "seconds", "status"}
    lost = analysed(title_of(["ann", "bob"], [np.nan, np.nan]))
    assert lost.tracks.verdict.tolist() == ["unknown"] * 2
    assert (len(lost.confusions), len(lost.characters), len(lost.reliability)) == (0, 0, 0)
    assert lost.people.n_characters.tolist() == [0, 0]


def test_a_split_person_and_a_merged_one():
    # ann is split over 0 and 1; cid is lost in bob's character
    found = analysed(title_of(["ann"] * 5 + ["bob"] * 3 + ["cid"], [0, 0, 0, 1, 1, 2, 2, 2, 2]))
    assert found.tracks.verdict.tolist() == ["right"] * 3 + ["wrong"] * 2 + ["right"] * 3 + ["wrong"]
    assert found.tracks.split.tolist() == [False] * 3 + [True] * 2 + [False] * 4
    assert found.tracks.taken_for.tolist() == ["ann"] * 5 + ["bob"] * 4
    assert dict(zip(found.people.person, found.people.n_characters, strict=True)) == {"ann": 2, "bob": 1, "cid": 0}
    assert found.confusions[["person", "taken_for", "n_tracks"]].to_numpy().tolist() == [["cid", "bob", 1]]


# --- links


def test_what_cannot_links_are_worth():
    person = ["ann", "ann", "ann", "zoe", "bob", "bob", "bob", "cid", "cid", "cid"]
    links = replace(NO_LINKS, cannot=np.array([[10, 13], [11, 13], [12, 13], [10, 14], [14, 15]]))
    embeddings = alike(person)
    tracks = cast(title_of(person, [np.nan] * 10), embeddings, links)
    found = analysed(tracks, embeddings, links, RULES)
    assert found.tracks.verdict[3] == "right"
    assert found.tracks.without_links[3] == "wrong"
    figures = found.figures
    assert (figures["cannot_links_known"], figures["cannot_links_false"], figures["cannot_links_tracks"]) == (5, 1, 6)
    assert figures["cannot_links_needed"] == 4  # the three of ann and zoe, and the false one of bob with himself
    assert figures["links_fixed"] == figures["cannot_links_fixed"] >= 1
    assert figures["without_links_v_measure"] < found.scores["v_measure"]
    assert figures["must_links_known"] == 0
    assert "must_links_fixed" not in figures


def test_links_of_both_kinds_are_left_out_one_by_one():
    person = ["ann", "ann", "ann", "zoe", "bob", "bob", "bob", "cid", "cid", "bob"]
    links = Links(np.array([[10, 13], [11, 13], [12, 13]]), np.array([[14, 19], [17, 19]]))
    embeddings = alike([*person[:-1], "cid"])  # the last of bob looks like cid
    tracks = cast(title_of(person, [np.nan] * 10), embeddings, links)
    found = analysed(tracks, embeddings, links, RULES)
    assert {name for name in found.figures if name.startswith("without_")} == {
        f"without_{kind}_{figure}" for kind in errors.LINKS for figure in ("v_measure", "wcp")
    }
    assert (found.figures["must_links_false"], found.figures["must_links_known"]) == (1, 2)
    assert found.figures["must_links_needed"] == 1  # without them, 14 and 19 part
    for name, kept in {
        "cannot_links": replace(links, cannot=NO_LINKS.cannot), "must_links": replace(links, must=NO_LINKS.must),
        "links": NO_LINKS,
    }.items():  # fmt: skip
        again = cast(tracks, embeddings, kept)
        scores = scoring.score(person, characters_of(again))
        assert found.figures[f"without_{name}_v_measure"] == scores["v_measure"]
        was, now = (verdicts(tracks.person, characters_of(t)) == "right" for t in (tracks, again))
        assert found.figures[f"{name}_fixed"] == (was & ~now).sum()
        assert found.figures[f"{name}_broke"] == (now & ~was).sum()


def test_without_links_or_rules_nothing_is_tried():
    person = ["ann", "ann", "bob"]
    tracks, embeddings = title_of(person, [0, 0, 1]), alike(person)
    links = replace(NO_LINKS, cannot=np.array([[10, 12]]))
    for found in (analysed(tracks, embeddings, NO_LINKS, RULES), analysed(tracks, embeddings, links)):
        assert found.tracks.without_links.isna().all()
        assert not [name for name in found.figures if name.endswith("fixed")]


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(0, 12))
def test_tracks_without_truth_are_clustered_and_not_judged(seed, n):
    rng = np.random.default_rng(seed)
    person = rng.choice(["ann", "bob", "cid"], n).tolist()
    truth = [p if rng.random() < 0.6 else None for p in person]
    ids = np.arange(10, 10 + n)
    pairs = rng.choice(ids, (3, 2)) if n else np.zeros((0, 2), np.int64)
    links = replace(NO_LINKS, cannot=np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1))
    embeddings = alike(person, seed)
    tracks = cast(title_of(truth, [np.nan] * n), embeddings, links)
    found = analysed(tracks, embeddings, links, RULES)
    seen = np.array([p is not None for p in truth], bool)
    assert len(found.tracks) == seen.sum()
    known = {track for track, shown in zip(ids.tolist(), seen.tolist(), strict=True) if shown}
    assert found.figures["cannot_links_known"] == sum({a, b} <= known for a, b in links.cannot.tolist())
    of = dict(zip(ids.tolist(), truth, strict=True))
    same = [of[a] == of[b] for a, b in links.cannot.tolist() if {a, b} <= known]
    assert found.figures["cannot_links_false"] == sum(same)
