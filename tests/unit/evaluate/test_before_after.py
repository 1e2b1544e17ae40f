"""A title before its adapter and after: the same clustering, scores and figures made one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.titles import RULES, alike, analysed, cast, title_of, unit_rows
from udfs.kernels.cluster.interface import NO_LINKS, Bounds, Links
from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.before_after import ADAPTED, RAW, Raw, cluster_again, measure_gain
from udfs.kernels.evaluate.significance import bootstrap_v_gain, swap_test
from udfs.kernels.evaluate.verdicts import characters_of
from udfs.kernels.evaluate.verification import verify_tracks


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_the_gain_is_what_two_scores_and_two_lists_of_right_tracks_say(seed, n):
    rng = np.random.default_rng(seed)
    person = rng.choice(["ann", "bob", "cid"], n)
    before, after = rng.integers(-1, 4, (2, n))
    found = measure_gain(person, before, after)
    scores = [scoring.score(person, clusters) for clusters in (before, after)]
    for name in ("v_measure", "wcp", "accuracy"):
        assert found[f"without_adapter_{name}"] == scores[0][name]
    assert found["v_gain"] == pytest.approx(scores[1]["v_measure"] - scores[0]["v_measure"], abs=1e-9)
    once, now = (scoring.mark_right(person, clusters) for clusters in (before, after))
    assert found["adapter_fixed"] == sum(b and not a for a, b in zip(once, now, strict=True))
    assert found["adapter_broke"] == sum(a and not b for a, b in zip(once, now, strict=True))
    assert found["adapter_p"] == swap_test(*np.array([[found["adapter_fixed"]], [found["adapter_broke"]]]))[0]
    gain = bootstrap_v_gain(person, before, after)
    assert (found["v_gain_low"], found["v_gain_high"], found["v_gain_not_above_0"]) == gain[1:]


def test_of_one_track_nobody_knows_an_interval():
    found = measure_gain(np.array(["ann"]), np.array([0]), np.array([-1]))
    assert (found["v_gain"], found["adapter_broke"], found["adapter_p"]) == (0, 1, 1)
    assert not {name for name in found if name.startswith("v_gain_")}


def test_the_raw_embeddings_are_clustered_by_the_same_rules_and_links():
    person = ["ann"] * 5 + ["zoe"] * 5 + ["bob"] * 5
    raw, adapted = alike(person), alike(["cid" if p == "zoe" else p for p in person], seed=1)
    links = Links(np.array([[10, 15]]), np.array([[10, 11]]))
    tracks = cast(title_of(person, [np.nan] * 15), adapted, links)
    rules = replace(RULES, method="hac_average", bounds=Bounds(exact_k=3))
    found = analysed(tracks, adapted, links, RULES, Raw(raw, rules))
    again = characters_of(cast(tracks, raw, links)[["character_id"]])
    assert cluster_again(tracks, raw, links, RULES).tolist() == again.tolist()
    expected = cluster_again(tracks, raw, links, rules)
    assert len(set(expected.tolist())) == 3
    assert found.figures["without_adapter_v_measure"] == scoring.score(person, expected)["v_measure"]
    assert found.figures["without_adapter_accuracy"] == np.mean(found.tracks.without_adapter == "right")
    assert found.scores["v_measure"] - found.figures["without_adapter_v_measure"] == pytest.approx(
        found.figures["v_gain"]
    )


def test_distances_are_those_before_and_after():
    person = ["ann"] * 5 + ["zoe"] * 5 + ["bob"] * 5 + [None]
    raw, adapted = unit_rows(1, 16, 5), unit_rows(2, 16, 3)
    found = analysed(title_of(person, [0.0] * 16), adapted, NO_LINKS, RULES, Raw(raw, None))
    assert list(found.distances) == [RAW, ADAPTED]
    for name, rows in ((RAW, raw), (ADAPTED, adapted)):
        expected = verify_tracks(rows[:15], person[:15])
        assert found.distances[name].figures() == pytest.approx(expected, abs=2e-3)
    assert found.figures["without_adapter_auc"] == found.distances[RAW].figures()["auc"]
    assert "v_gain" not in found.figures, "without rules nothing is clustered"
    plain = analysed(title_of(person, [0.0] * 16), adapted)
    assert list(plain.distances) == [RAW]
    assert not [name for name in plain.figures if "adapter" in name]


def test_where_the_rules_obey_no_links_none_is_left_out():
    person = ["ann", "ann", "bob", "bob"]
    links = Links(np.array([[10, 12]]), np.array([[12, 13]]))
    rules = replace(RULES, links=False)
    found = analysed(title_of(person, [0, 0, 1, 1]), alike(person), links, rules)
    assert found.tracks.without_links.isna().all()
    assert found.figures["cannot_links_known"] == 1
    assert not [name for name in found.figures if name.endswith("fixed")]
    assert found.rules == rules
