"""Tracks to characters: who is clustered, who is attached, who stays unknown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.faces_of import faces_of
from udfs.kernels.cluster.characters import Evidence, Rules, confidence_of, find_characters
from udfs.kernels.cluster.hac import average_linkage_twice
from udfs.kernels.cluster.interface import Bounds, Clustering, Links, Method
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.odds import UNMEASURED, Distances, Spread, fit_odds
from udfs.kernels.cluster.smoothing import smooth_by_neighbours

NONE = np.zeros((0, 2), np.int64)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def three_people(noise=0.1, dim=16):
    """Rows 0-4 are ann, 5-8 bob, 9-11 cid."""
    rng = np.random.default_rng(0)
    who = np.repeat([0, 1, 2], [5, 4, 3])
    return unit(np.eye(3, dim)[who] + noise * rng.normal(size=(12, dim))), who


def random_title(seed, tracks=25):
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(tracks, 5)) + np.eye(5)[rng.integers(0, 3, tracks)] * 2)
    x[rng.random(tracks) < 0.1] = np.nan
    quality = rng.random(tracks).astype(np.float32)
    quality[rng.random(tracks) < 0.3] = np.nan
    a, b = rng.integers(0, tracks, size=(2, 30))
    c, d = rng.integers(0, tracks, size=(2, 3))
    return dict(
        embeddings=x,
        n_faces=rng.integers(1, 100, tracks),
        cannot=np.column_stack([a, b])[a != b],
        must=np.column_stack([c, d])[c != d],
        quality=quality,
        rejected=rng.random(tracks) < 0.1,
    )


def test_people_well_apart_are_found_and_certain():
    x, who = three_people()
    found = find_characters(Evidence(x, np.ones(12, int)))
    assert found.labels.tolist() == who.tolist()
    assert set(found.status.tolist()) == {"core"}
    assert (found.confidence > 0.9).all()
    assert (found.second_labels != found.labels).all()
    assert (found.second_labels >= 0).all()
    assert [found.labels[row] for row in found.exemplars] == [0, 1, 2]


def test_characters_are_numbered_by_their_faces_then_by_their_first_row():
    x, who = three_people()
    faces = np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 100, 1, 1])
    assert find_characters(Evidence(x, faces)).labels.tolist() == np.array([2, 1, 0])[who].tolist()
    faces = np.array([2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4])
    assert find_characters(Evidence(x, faces)).labels.tolist() == who.tolist()


def test_margin_and_exemplar_are_those_of_the_mean_distances():
    x, who = three_people(noise=0.15)
    found = find_characters(Evidence(x, np.ones(12, int)))
    drawn = smooth_by_neighbours(x, NONE, fit_odds(x, NONE, UNMEASURED)).rows.astype(float)
    distance = 1 - drawn @ drawn.T
    for row in range(12):
        mean = [distance[row, [j for j in range(12) if who[j] == c and j != row]].mean() for c in range(3)]
        others = sorted((mean[c], c) for c in range(3) if c != who[row])
        assert found.margin[row] == pytest.approx(others[0][0] - mean[who[row]], abs=2e-6)
        assert found.second_labels[row] == others[0][1]
    distance = 1 - x.astype(float) @ x.astype(float).T
    for c in range(3):
        rows = np.flatnonzero(who == c)
        assert found.exemplars[c] == rows[distance[np.ix_(rows, rows)].sum(axis=1).argmin()]


def test_a_weak_track_is_attached_where_that_is_clear():
    x, who = three_people()
    extra = unit(np.array([np.eye(16)[0], np.eye(16)[0] + np.eye(16)[1], np.eye(16)[9]]))
    quality = np.r_[np.full(12, 0.8), 0.1, 0.1, 0.1].astype(np.float32)
    found = find_characters(Evidence(np.concatenate([x, extra]), np.ones(15, int), quality=quality))
    # the first looks like ann, the second like ann and bob alike, the third like nobody
    assert found.labels.tolist() == [*who.tolist(), 0, -1, -1]
    assert found.status[12:].tolist() == ["uncertain", "unknown", "unknown"]
    assert found.confidence[13:].tolist() == [0, 0]
    assert np.isnan(found.margin[13:]).all()
    assert found.second_labels[13:].tolist() == [-1, -1]


def test_a_weak_track_is_compared_like_a_strong_one_drawn_to_those_it_resembles():
    """A poor look at ann is far from the rest of her, but for one track that was as poor; by that one it is known."""
    x, who = three_people()
    axes = np.eye(16)
    between = unit((0.75 * axes[0] + 0.65 * axes[9])[None])
    known = Distances(Spread(0.5, 0.15), Spread(1.0, 0.07))
    rows = np.concatenate([x, between, unit((0.35 * axes[0] + 0.9 * axes[9])[None])])
    quality = np.r_[np.full(13, 0.8), 0.1].astype(np.float32)
    found = find_characters(Evidence(rows, np.ones(14, int), quality=quality), Rules(known=known))
    assert found.labels.tolist() == [*who.tolist(), 0, 0]
    assert found.status[-1] == "uncertain"
    assert (1 - rows[:5] @ rows[-1]).mean() > 0.6 * found.odds.different.mean, "as it is, it lies beyond the cut"


def test_weak_tracks_decide_nothing():
    x, who = three_people()
    blur = unit(np.tile(np.eye(16)[0] + np.eye(16)[1], (30, 1)))  # would draw ann and bob together
    quality = np.r_[np.full(12, np.nan), np.full(30, 0.1)].astype(np.float32)
    found = find_characters(Evidence(np.concatenate([x, blur]), np.ones(42, int), quality=quality))
    assert found.labels[:12].tolist() == who.tolist()
    assert set(found.labels[12:].tolist()) == {-1}
    assert set(found.reason[12:].tolist()) == {"poor"}


@pytest.mark.parametrize("quality", [None, np.full(12, np.nan, np.float32)])
def test_where_quality_is_not_known_every_track_is_strong(quality):
    x, _ = three_people()
    assert set(find_characters(Evidence(x, np.ones(12, int), quality=quality)).status.tolist()) == {"core"}


def test_a_cannot_link_sends_a_weak_track_elsewhere_or_nowhere():
    x, who = three_people()
    weak = unit(np.array([np.eye(16)[0] + 0.8 * np.eye(16)[1], np.eye(16)[0]]))
    quality = np.r_[np.full(12, 0.8), 0.1, 0.1].astype(np.float32)
    found = find_characters(
        Evidence(
            np.concatenate([x, weak]), np.ones(14, int), Links(np.array([[0, 12], [13, 1]]), NONE), quality=quality
        )
    )
    assert found.labels.tolist() == [*who.tolist(), 1, -1]
    assert found.second_labels[12] == 2  # not ann, of whom it is known not to be


def test_of_two_weak_tracks_seen_together_the_nearer_one_is_attached():
    x, _ = three_people()
    weak = unit(np.array([np.eye(16)[0] + 0.5 * np.eye(16)[9], np.eye(16)[0]]))
    quality = np.r_[np.full(12, 0.8), 0.1, 0.1].astype(np.float32)
    found = find_characters(
        Evidence(np.concatenate([x, weak]), np.ones(14, int), Links(np.array([[12, 13]]), NONE), quality=quality)
    )
    assert found.labels[12:].tolist() == [-1, 0]


def test_a_must_link_makes_a_weak_track_count():
    x, _ = three_people()
    weak = unit(np.eye(16)[9:10])
    quality = np.r_[np.full(12, 0.8), 0.1].astype(np.float32)
    found = find_characters(
        Evidence(np.concatenate([x, weak]), np.ones(13, int), Links(NONE, np.array([[0, 12]])), quality=quality)
    )
    assert found.labels[12] == 0
    assert found.status[12] == "uncertain"  # it is linked to ann, but does not look like her


def test_weak_tracks_do_not_make_each_other_count():
    """Two dark faces in one place of one set-up are one person, and still say nothing about who."""
    x, _ = three_people()
    dark = unit(np.eye(16)[[9, 9]])
    quality = np.r_[np.full(12, 0.8), 0.1, 0.1].astype(np.float32)
    rows, n = np.concatenate([x, dark]), np.ones(14, int)
    alone = find_characters(Evidence(rows, n, Links(NONE, np.array([[12, 13]])), quality=quality))
    assert alone.labels[12:].tolist() == [-1, -1]
    chained = find_characters(Evidence(rows, n, Links(NONE, np.array([[12, 13], [13, 0]])), quality=quality))
    assert chained.labels[12] == chained.labels[13] == chained.labels[0] >= 0


def test_rejected_tracks_and_tracks_without_embedding_are_left_out():
    x, who = three_people()
    x[2] = np.nan
    x[3, 1] = np.inf
    rejected = np.arange(12) == 5
    found = find_characters(
        Evidence(x, np.ones(12, int), Links(np.array([[2, 6]]), np.array([[2, 7]])), rejected=rejected)
    )
    expected = who.copy()
    expected[[2, 3, 5]] = -1
    assert partition(found.labels) == partition(expected)
    assert found.status[[2, 3, 5]].tolist() == ["unknown", "unknown", "rejected"]
    assert found.reason[[2, 3, 5]].tolist() == ["no_embedding", "no_embedding", "not_a_face"]
    assert found.confidence[[2, 3, 5]].tolist() == [0, 0, 0]


def test_the_number_of_characters_can_be_given():
    x, _ = three_people()
    ones = np.ones(12, int)
    for bounds, k in (({"exact_k": 2}, 2), ({"min_k": 4}, 4), ({"max_k": 1}, 1), ({"exact_k": 50}, 12)):
        found = find_characters(Evidence(x, ones), Rules(bounds=Bounds(**bounds)))
        assert len(found.exemplars) == k == len(set(found.labels.tolist()))
    with pytest.raises(ValueError, match="number of clusters"):
        find_characters(Evidence(x, ones), Rules(bounds=Bounds(min_k=3, max_k=2)))


def test_the_only_character_is_measured_against_a_stranger():
    x, _ = three_people()
    found = find_characters(Evidence(x[:5], np.ones(5, int)))
    assert found.labels.tolist() == [0] * 5
    assert found.second_labels.tolist() == [-1] * 5
    assert np.isfinite(found.margin).all()
    assert (found.margin > 0.3).all()


@pytest.mark.parametrize("tracks", [0, 1, 2])
def test_titles_with_almost_no_tracks(tracks):
    found = find_characters(Evidence(np.eye(tracks, 8, dtype=np.float32), np.ones(tracks, int)))
    assert found.labels.tolist() == list(range(tracks))
    assert len(found.status) == len(found.confidence) == len(found.margin) == tracks
    assert found.exemplars.tolist() == list(range(tracks))


def test_a_title_without_a_strong_track_has_no_characters():
    x, _ = three_people()
    found = find_characters(
        Evidence(x, np.ones(12, int), Links(np.array([[0, 5]]), NONE), quality=np.zeros(12, np.float32))
    )
    assert set(found.labels.tolist()) == {-1}
    assert set(found.status.tolist()) == {"unknown"}
    assert len(found.exemplars) == 0


def test_what_a_method_leaves_as_noise_is_attached_like_a_weak_track(monkeypatch):
    x, who = three_people()

    def without_the_last(embeddings, links, bounds):
        found = average_linkage_twice(embeddings, links, bounds)
        return Clustering(np.where(np.arange(12) == 11, -1, found.labels).astype(np.int32), 3, found.heights)

    monkeypatch.setitem(METHODS, "without the last", Method(without_the_last))
    found = find_characters(Evidence(x, np.ones(12, int)), Rules(method="without the last"))
    assert found.labels.tolist() == who.tolist()
    assert found.status[11] == "uncertain"


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"dbscan"}))  # its reach is no knee of twelve distances
def test_every_method_finds_people_well_apart(name):
    x, who = three_people(noise=0.05)
    number = {} if METHODS[name].number == "found" else {"exact_k": 3}
    links = np.array([[0, 5]]), np.array([[5, 6]])
    faces = faces_of(name, x, 0.2, 5)
    found = find_characters(
        Evidence(x, np.ones(12, int), Links(*links), faces=faces), Rules(method=name, bounds=Bounds(**number))
    )
    assert found.labels.tolist() == who.tolist()


def partition(labels):
    return {frozenset(np.flatnonzero(labels == c).tolist()) for c in set(labels.tolist()) - {-1}}


def of_title(title):
    known = {name: title[name] for name in ("embeddings", "n_faces", "quality", "rejected")}
    return find_characters(Evidence(**known, links=Links(title["cannot"], title["must"])), Rules(min_quality=0.4))


@given(st.integers(0, 10_000))
def test_the_promises_hold_on_any_title(seed):
    title = random_title(seed)
    before = {name: np.copy(value) for name, value in title.items()}
    found = of_title(title)
    a, b = title["cannot"].T
    obeyed = ~found.doubted
    assert not ((found.labels[a] == found.labels[b]) & (found.labels[a] >= 0))[obeyed].any()
    has = found.labels >= 0
    lost = title["rejected"] | ~np.isfinite(title["embeddings"]).all(axis=1)
    assert not (has & lost).any()
    assert ((found.status == "rejected") == title["rejected"]).all()
    assert (np.isin(found.status, ["core", "uncertain"]) == has).all()
    assert ((found.reason == "") == has).all()
    assert (found.reason[title["rejected"]] == "not_a_face").all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert (found.confidence[~has] == 0).all()
    assert np.isnan(found.margin[~has]).all()
    assert np.isfinite(found.margin[has]).all()
    assert (found.second_labels[has] != found.labels[has]).all()
    faces = np.bincount(found.labels[has], weights=title["n_faces"][has])
    assert (np.diff(faces) <= 0).all()
    assert found.labels[found.exemplars].tolist() == list(range(len(faces)))
    for name, value in title.items():
        assert np.array_equal(value, before[name], equal_nan=name != "must" and name != "cannot")


@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_does_not_matter(seed):
    title = random_title(seed)
    found = of_title(title)
    tracks = len(found.labels)
    order = np.random.default_rng(seed).permutation(tracks)
    where = np.argsort(order)
    moved = {name: where[value] if name in ("cannot", "must") else value[order] for name, value in title.items()}
    again = of_title(moved)
    assert partition(again.labels[where]) == partition(found.labels)
    assert again.status[where].tolist() == found.status.tolist()
    assert again.confidence[where] == pytest.approx(found.confidence, abs=1e-4)


def test_confidence_rises_with_the_margin():
    margin = np.array([-0.5, -0.1, 0.0, 0.1, 0.5, np.nan], np.float32)
    confidence = confidence_of(margin)
    assert (np.diff(confidence[:5]) > 0).all()
    assert confidence[4] > 0.95
    assert confidence[5] == 0


def test_a_track_by_itself_is_as_sure_as_its_nearest_track_is_far():
    rng = np.random.default_rng(2)
    x = unit(rng.normal(size=(20, 256)))
    far = find_characters(Evidence(x, np.ones(20, int)))
    assert len(far.exemplars) == 20
    assert (far.confidence > 0.97).all()
    x[1] = unit(0.2 * x[:1] + np.sqrt(1 - 0.2**2) * x[1:2])[0]  # more alike than strangers are, less than one person
    near = find_characters(Evidence(x, np.ones(20, int)))
    assert len(near.exemplars) == 20
    assert near.confidence[[0, 1]].max() < far.confidence.min()
    apart = find_characters(
        Evidence(x, np.ones(20, int), Links(np.array([[0, 1]]), NONE))
    )  # seen together, so they are two for sure
    assert apart.confidence[[0, 1]].min() > near.confidence[[0, 1]].max()


@pytest.mark.parametrize("tracks", [2, 5, 20, 60, 200])
@pytest.mark.parametrize("known", [UNMEASURED, Distances(Spread(0.52, 0.16), Spread(0.98, 0.07))])
def test_where_nobody_returns_everybody_is_a_character(tracks, known):
    x = unit(np.random.default_rng(tracks).normal(size=(tracks, 256)))
    assert len(find_characters(Evidence(x, np.ones(tracks, int)), Rules(known=known)).exemplars) == tracks


@pytest.mark.parametrize("returning", [1, 4])
def test_a_cast_among_a_crowd_of_people_seen_once(returning):
    rng = np.random.default_rng(returning)
    who = np.r_[np.repeat(np.arange(returning), 40), np.arange(returning, returning + 100)]
    looks = unit(rng.normal(size=(returning + 100, 256)))
    x = unit(looks[who] + unit(rng.normal(size=(len(who), 256))))
    assert partition(find_characters(Evidence(x, np.ones(len(who), int))).labels) == partition(who)


def test_two_people_who_talk_in_shot_and_counter_shot():
    rng = np.random.default_rng(1)
    who = np.tile([0, 1], 5)
    x = unit(unit(rng.normal(size=(2, 256)))[who] + unit(rng.normal(size=(10, 256))))
    assert partition(find_characters(Evidence(x, np.ones(10, int))).labels) == partition(who)


def test_a_wrong_cannot_link_is_set_aside_and_said():
    rng = np.random.default_rng(4)
    who = np.repeat([0, 1], 30)
    x = unit(unit(rng.normal(size=(2, 256)))[who] + unit(rng.normal(size=(60, 256))))
    cannot = np.array([[0, 1], [2, 31], [5, 40]])  # a mirror, and two true ones
    found = find_characters(Evidence(x, np.ones(60, int), Links(cannot, NONE)))
    assert found.doubted.tolist() == [True, False, False]
    assert partition(found.labels) == partition(who)
    obeyed = find_characters(Evidence(x, np.ones(60, int), Links(cannot, NONE)), Rules(method="hac_average"))
    assert not obeyed.doubted.any()
    assert obeyed.labels[0] != obeyed.labels[1]


@pytest.mark.parametrize("name", METHODS)
@given(seed=st.integers(0, 10_000))
def test_where_links_are_not_obeyed_it_is_as_if_there_were_none(name, seed):
    title = random_title(seed)
    links = Links(title.pop("cannot"), title.pop("must"))
    faces = faces_of(name, title["embeddings"], 0.3, 4)
    rules = Rules(method=name, bounds=Bounds() if METHODS[name].number == "found" else Bounds(exact_k=4), links=False)
    found = find_characters(Evidence(**title, links=links, faces=faces), rules)
    without = find_characters(Evidence(**title, faces=faces), replace(rules, links=True))
    assert found.doubted.tolist() == [False] * len(links.cannot)
    for column in ("labels", "status", "reason", "confidence", "second_labels", "exemplars"):
        assert np.array_equal(getattr(found, column), getattr(without, column))
    assert np.array_equal(found.margin, without.margin, equal_nan=True)
    assert found.odds == without.odds
    assert rules.name == f"{name}, no links"


@pytest.mark.parametrize(("cannot", "must"), [([[0, 12]], []), ([], [[-1, 0]])])
def test_links_outside_of_the_title_are_refused(cannot, must):
    x, _ = three_people()
    with pytest.raises(ValueError, match="there are 12 rows"):
        find_characters(Evidence(x, np.ones(12, int), Links(np.array(cannot, int), np.array(must, int))))


def test_two_people_are_not_one_where_others_lie_far_from_both():
    """As after fine-tuning: where two people lie varies widely, and a share of its mean is no distance to cut at."""
    rng, away = np.random.default_rng(0), np.eye(24)[:10]
    away[1:8:2] = away[0:8:2] * 0.5 + np.eye(24)[10:14] * np.sqrt(0.75)  # four pairs of people half as far as the rest
    who = np.repeat(np.arange(10), 6)
    x = unit(away[who] + 0.05 * rng.normal(size=(60, 24)))
    known = Distances(Spread(0.2, 0.12), Spread(1.0, 0.35))
    found = find_characters(Evidence(x, np.ones(60, np.int64)), Rules(known=known))
    assert 0.3 < found.odds.threshold < 0.5 < 0.6 * found.odds.different.mean
    assert (np.unique(found.labels, return_counts=True)[1] == 6).all()
    assert len(set(zip(found.labels.tolist(), who.tolist(), strict=True))) == 10
