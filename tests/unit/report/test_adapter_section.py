"""The section about the adapter: what it says of titles with one, without one, and where it was not tried."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.titles import RULES, alike, analysed, cast, title_of, titles, unit_rows
from tests.unit.report.test_error_page import drawn
from udfs.kernels.cluster.interface import NO_LINKS
from udfs.kernels.evaluate import errors, pairs
from udfs.kernels.evaluate.before_after import Raw
from udfs.kernels.report.adapter_section import describe_adapter


def adapted() -> errors.Analysis:
    """Ann and Zoe look alike in raw embeddings; adapted they do not."""
    person = ["ann"] * 9 + ["zoe"] * 9 + ["bob"] * 9
    raw, rows = alike(person), alike(["cid" if p == "zoe" else p for p in person], seed=1)
    tracks = cast(title_of(person, [np.nan] * 27), rows, NO_LINKS)
    tracks["quality_labels"] = [["frontal"]] * 9 + [["profile"]] * 9 + [["frontal"]] * 9
    return analysed(tracks, rows, NO_LINKS, RULES, Raw(raw, RULES))


def test_right_tracks_before_and_after_are_a_table():
    found = adapted()
    section = describe_adapter(found)
    (every,), (labels, lines) = section["right"]["parts"][0]["lines"], section["right"]["parts"][1].values()
    assert (every["name"], every["tracks"]) == ("all tracks", "27")
    assert (every["raw"], every["adapted"], every["points"], every["kind"]) == ("66.7 %", "100.0 %", "+33.3", "less")
    assert labels == "Visual quality labels"
    assert [line["name"] for line in lines] == ["frontal", "profile"]
    better, same = sorted(lines, key=lambda line: line["points"])
    assert (same["points"], same["p"], same["kind"]) == ("0.0", "1.00", "")
    assert better["kind"] == "less", "nine tracks that are right only now: p is about 0.004"
    page = drawn(found)
    assert "V-measure: 73.4 % with raw embeddings, 100.0 % adapted: +26.6 points, 95 % interval" in page.text
    assert "Bars run from 0 % to 100 %" in page.text
    assert page.tags.count("path") == 4, "one person and two people, before and after"


def test_a_loss_is_red_and_has_a_minus():
    """The adapter makes Ann and Bob alike."""
    person = ["ann"] * 12 + ["bob"] * 12
    rows = alike(["ann" if p == "bob" else p for p in person])
    tracks = cast(title_of(person, [np.nan] * 24), rows, NO_LINKS)
    found = analysed(tracks, rows, NO_LINKS, RULES, Raw(alike(person), RULES))
    (line,) = describe_adapter(found)["right"]["parts"][0]["lines"]
    assert (line["points"], line["kind"], line["parts"][0]["kind"]) == ("\N{MINUS SIGN}50.0", "more", "wrong")


def test_a_title_without_an_adapter_says_so_in_a_line():
    page = drawn(analysed(title_of(["ann", "ann", "bob"], [0, 0, 1])))
    assert "This title was clustered with raw embeddings: there is no adapter to compare them with." in page.text
    assert "Tracks that are right, before and after" not in page.text
    assert page.tags.count("path") == 2, "the distances of raw embeddings are there all the same"


def test_where_it_was_not_tried_it_says_why_and_shows_the_distances():
    tracks = title_of(["ann", "ann", "bob"], [0, 0, 1])
    page = drawn(analysed(tracks, raw=Raw(unit_rows(5, 3), None)))
    assert "Clustering the raw embeddings by the same rules was not tried" in page.text
    assert "Tracks that are right, before and after" not in page.text
    assert page.tags.count("path") == 4


def test_the_outlines_hold_what_was_counted():
    found = adapted()
    (raw, after) = describe_adapter(found)["distances"]["plots"]
    assert [plot["name"] for plot in (raw, after)] == ["raw embeddings", "adapted"]
    highest = 0.0
    for plot, name in ((raw, "raw"), (after, "adapted")):
        strangers, same = plot["outlines"]
        assert [strangers["kind"], same["kind"]] == ["strangers", "same"]
        for outline, counts in ((strangers, found.distances[name].different), (same, found.distances[name].same)):
            levels = np.array([float(y) for y in re.findall(r"V([\d.]+) H", outline["path"])])
            heights = (plot["bottom"] - levels) / (plot["bottom"] - plot["top"])
            highest = max(highest, heights.max())
            binned = counts[: len(levels) * 200].reshape(-1, 200).sum(axis=1) / counts.sum()
            assert heights / heights.sum() == pytest.approx(binned / binned.sum(), abs=0.01)
    assert highest == 1


def test_a_title_of_many_tracks_says_of_how_many_it_shows_the_pairs(monkeypatch):
    monkeypatch.setattr(pairs, "MOST_TRACKS", 4)
    page = drawn(analysed(title_of(["ann", "ann", "bob"] * 3, [0, 0, 1] * 3)))
    assert "all pairs of 4 (at even steps) of its 9 tracks whose people are known" in page.text


def test_without_a_pair_of_tracks_there_is_no_picture():
    assert describe_adapter(analysed(title_of(["ann"], [0])))["distances"] is None
    one = describe_adapter(analysed(title_of(["ann", "ann"], [0, 0])))["distances"]
    assert one["plots"][0]["outlines"][0]["path"] == ""
    assert one["table"]["rows"][0][2:] == ["", "", "", "", ""]


@settings(max_examples=20)
@given(titles(), st.integers(0, 100))
def test_any_title_can_be_drawn(title, seed):
    tracks, embeddings = title
    drawn(analysed(tracks, embeddings, NO_LINKS, RULES, Raw(unit_rows(seed, len(tracks), 6), RULES)))
