"""Characters of several titles linked into people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from udfs.kernels.cluster import people
from udfs.kernels.cluster.people import LARGEST_REACH, Characters, find_threshold, link

DIM = 64
NOBODY = Characters(np.zeros(0, str), np.zeros((0, DIM), np.float32), np.zeros(0, str))


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def corpus(seed, titles=5, cast=12, noise=0.3):
    """A Cast whose persons are new ids, and who each character truly is; nobody is twice in a title."""
    rng = np.random.default_rng(seed)
    looks = np.linalg.qr(rng.normal(size=(DIM, cast)))[0].T  # so that nobody looks like another by chance
    who = [rng.permutation(cast)[: rng.integers(1, cast)] for _ in range(titles)]
    title = np.repeat([f"t{i}" for i in range(titles)], [len(w) for w in who])
    true = np.concatenate(who)
    x = unit(looks[true] + noise * unit(rng.normal(size=(len(true), DIM))))
    return Characters(title, x, np.array([f"n{i}" for i in range(len(true))])), true


def chosen(cast, rows):
    return Characters(*(column[rows] for column in cast))


def same(a, b):
    """Whether two labellings are one partition."""
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


@given(st.integers(0, 10_000))
def test_people_well_apart_are_linked(seed):
    cast, true = corpus(seed)
    assert same(link(NOBODY, cast), true)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_new_title_leaves_the_others_as_they_are(seed):
    cast, true = corpus(seed)
    early = cast.title != "t2"
    before = link(NOBODY, chosen(cast, early))
    known = Characters(cast.title[early], cast.embedding[early], before)
    late = link(known, chosen(cast, ~early))
    found = np.empty(len(true), object)
    found[early], found[~early] = before, late
    assert same(found, true)
    assert all(
        person in set(before.tolist()) or person in set(cast.person[~early].tolist()) for person in late.tolist()
    )


@given(st.integers(0, 10_000), st.floats(0.2, 1.5))
def test_the_promises_hold_however_alike_people_are(seed, noise):
    cast, _ = corpus(seed, noise=noise)
    found = link(NOBODY, cast)
    for name in np.unique(cast.title):
        of_title = found[cast.title == name].tolist()
        assert len(set(of_title)) == len(of_title)
    order = np.random.default_rng(seed).permutation(len(found))
    again = link(NOBODY, chosen(cast, order))
    assert same(again, found[order])


def test_a_title_that_is_clustered_anew_finds_its_people_again():
    cast, _ = corpus(3)
    before = link(NOBODY, cast)
    again = cast.title == "t1"
    anew = Characters(cast.title[again], cast.embedding[again], np.array([f"m{i}" for i in range(again.sum())]))
    assert link(Characters(cast.title, cast.embedding, before), anew).tolist() == before[again].tolist()


@given(st.integers(0, 10_000))
def test_among_many_only_the_nearest_are_compared(seed):
    cast, true = corpus(seed)
    before, people.EXACT = people.EXACT, 5
    try:
        assert same(link(NOBODY, cast), true)
    finally:
        people.EXACT = before


@given(st.integers(0, 10_000), st.integers(0, 7), st.integers(0, 7))
def test_pairs_are_one_to_one_as_many_as_can_be_and_least_in_sum(seed, n, m):
    distance = np.random.default_rng(seed).random((n, m)).round(2)
    found = list(people._one_to_one(distance, 0.4))
    rows, columns = linear_sum_assignment(np.where(distance <= 0.4, distance, 100.0))
    whole = [distance[i, j] for i, j in zip(rows, columns, strict=True) if distance[i, j] <= 0.4]
    assert len(found) == len(whole)
    assert sum(distance[pair] for pair in found) == pytest.approx(sum(whole))
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)


def test_an_id_that_somebody_has_is_not_given_again():
    x = np.eye(2, DIM, dtype=np.float32)
    known = Characters(np.array(["a"]), x[:1], np.array(["p"]))
    assert link(known, Characters(np.array(["b"]), x[1:], np.array(["p"]))).tolist() == ["p-2"]


def test_the_reach_is_how_near_strangers_come():
    rng = np.random.default_rng(1)
    x = unit(rng.normal(size=(60, DIM)) + 0.9 * rng.normal(size=DIM))
    title = np.repeat(["a", "b"], 30)
    distance = 1 - x.astype(float) @ x.astype(float).T
    a, b = np.triu_indices(60, 1)
    inside = distance[a, b][title[a] == title[b]]
    assert find_threshold(title, x) == pytest.approx(
        min(LARGEST_REACH, np.quantile(inside, 0.002, method="lower")), abs=1e-4
    )
    assert find_threshold(np.array(["a", "b"]), x[:2]) == LARGEST_REACH


@pytest.mark.parametrize(
    "known", [NOBODY, Characters(np.array(["a"]), np.eye(1, DIM, dtype=np.float32), np.array(["p"]))]
)
def test_no_new_character(known):
    assert link(known, NOBODY).tolist() == []
