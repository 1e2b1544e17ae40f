"""Galleries matched with characters: against plain loops, and people who are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from udfs.kernels.name import gallery
from udfs.kernels.name.gallery import Gallery, agreeing, match

DIM = 512  # as real embeddings: two looks drawn at random are strangers
NOBODY = Gallery(np.zeros(0, "<U1"), np.zeros((0, DIM), np.float32))


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def seen(looks, who, rng, noise=0.8):
    """A face of each person of `who`, with a cosine of about 0.6 to another one."""
    return unit(looks[who] + noise * unit(rng.normal(size=(len(who), DIM))))


def drawn(seed, n_people=12, n_characters=6, n_strangers=3):
    """A gallery of three photographs a person, tracks, the character of each, and who the characters truly are.

    The last characters are strangers to the gallery.
    """
    rng = np.random.default_rng(seed)
    looks = unit(rng.normal(size=(n_people + n_strangers, DIM)))
    of_photo = np.repeat(np.arange(n_people), 3)
    photos = Gallery(np.array([f"p{n:02}" for n in of_photo], "<U3"), seen(looks, of_photo, rng))
    true = np.concatenate([rng.permutation(n_people)[:n_characters], n_people + np.arange(n_strangers)])
    character = np.repeat(np.arange(len(true)), rng.integers(1, 9, len(true)))
    names = [f"p{n:02}" if n < n_people else None for n in true]
    return photos, seen(looks, true[character], rng), character, names


def matches(found):
    return {row.character_id: row.person for row in found[found.is_match].itertuples()}


# --- plain loops --------------------------------------------------------------------------------------------


def slow_match(photos, embedding, character):
    """(person, character) -> confidence, one pair at a time."""
    people, characters = sorted(set(photos.person.tolist())), sorted(set(character.tolist()))

    def mean(rows):
        total = rows.astype(float).sum(axis=0)
        return total / np.linalg.norm(total)

    of_person = {p: mean(photos.embedding[photos.person == p]) for p in people}
    of_character = {c: mean(embedding[character == c]) for c in characters}
    distance = {(p, c): 1 - of_person[p] @ of_character[c] for p in people for c in characters}
    every = [*distance.values(), *(1 - of_person[p] @ of_person[q] for p in people for q in people if p < q)]
    usual_centre, usual_spread, n = gallery._STRANGERS
    median = np.median(every)
    spread = np.sqrt(np.mean([(d - median) ** 2 for d in every if d >= median]))
    centre = (median * len(every) + usual_centre * n) / (len(every) + n)
    spread = (spread * len(every) + usual_spread * n) / (len(every) + n)
    z = {pair: (centre - d) / spread for pair, d in distance.items()}
    reach = -norm.ppf(0.01 / len(distance))
    found = {}
    for (p, c), own in z.items():
        rival = max((z[q, c] for q in people if q != p), default=-np.inf)
        found[p, c] = expit(2.0 * min(own - reach, own - rival))
    return found


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
def test_confidences_are_those_of_plain_loops(seed, n_people, n_characters):
    photos, embedding, character, _ = drawn(seed, n_people, min(n_people, n_characters), 1)
    slow = slow_match(photos, embedding, character)
    found = match(photos, embedding, character)
    for row in found.itertuples():
        assert row.confidence == pytest.approx(slow[row.person, row.character_id], abs=1e-4)
    told = {(row.person, row.character_id) for row in found.itertuples()}
    for character_id in set(character.tolist()):
        best = max((pair for pair in slow if pair[1] == character_id), key=slow.get)
        assert best in told or slow[best] < gallery.LEAST + 1e-4


# --- properties ---------------------------------------------------------------------------------------------


def test_people_are_found_and_of_a_hundred_titles_in_one_a_stranger_is_somebody():
    wrong = 0
    for seed in range(200):
        photos, embedding, character, names = drawn(seed)
        found = matches(match(photos, embedding, character))
        known = {c: name for c, name in enumerate(names) if name is not None}
        assert {c: found.get(c) for c in known} == known
        wrong += found != known
    assert wrong <= 2


@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
def test_one_to_one_and_certain_however_alike_people_are(seed, noise):
    rng = np.random.default_rng(seed)
    photos, embedding, character, _ = drawn(seed)
    embedding = unit(embedding + noise * unit(rng.normal(size=embedding.shape)))
    found = match(photos, embedding, character)
    given_ = found[found.is_match]
    assert given_.person.is_unique
    assert given_.character_id.is_unique
    assert (given_.confidence >= gallery.GIVEN).all()
    assert found.confidence.between(gallery.LEAST, 1).all()
    order = rng.permutation(len(character))
    photo_order = rng.permutation(len(photos.person))
    again = match(
        Gallery(photos.person[photo_order], photos.embedding[photo_order]), embedding[order], character[order]
    )
    assert matches(again) == matches(found)


@given(st.integers(0, 10_000))
def test_what_is_named_by_hand_is_left_alone(seed):
    photos, embedding, character, names = drawn(seed)
    found = matches(match(photos, embedding, character, {0: "somebody else", 1: "", 7: names[2]}))
    assert found == {c: names[c] for c in (3, 4, 5)}


def test_of_two_characters_of_one_person_the_nearer_has_the_name():
    photos, embedding, character, names = drawn(1)
    character = np.where((character == 0) & (np.cumsum(character == 0) == 1), 99, character)  # one track goes its way
    found = match(photos, embedding, character)
    assert [c for c, name in matches(found).items() if name == names[0]] == [0]
    other = found[(found.character_id == 99) & (found.person == names[0])]
    assert not other.is_match.any()


def test_two_people_who_look_alike_are_not_told_apart():
    photos, embedding, character, names = drawn(1)
    shown = names.index("p00")
    twin = Gallery(
        np.concatenate([photos.person, np.full(3, "twin")]), np.vstack([photos.embedding, photos.embedding[:3]])
    )
    found = match(twin, embedding, character)
    assert shown not in matches(found)
    (confidence,) = found[(found.character_id == shown) & found.person.isin(["p00", "twin"])].confidence.unique()
    assert confidence == pytest.approx(0.5)


def test_one_person_and_one_character():
    photos, embedding, character, names = drawn(3)
    alone = Gallery(photos.person[photos.person == names[0]], photos.embedding[photos.person == names[0]])
    assert matches(match(alone, embedding[character == 0], character[character == 0])) == {0: names[0]}
    assert matches(match(alone, embedding[character == 1], character[character == 1])) == {}


@pytest.mark.parametrize("nobody", [NOBODY, Gallery(np.array(["p"]), np.eye(1, DIM, dtype=np.float32))])
def test_nothing_to_match(nobody):
    nothing = np.zeros((0, DIM), np.float32), np.zeros(0, np.int64)
    assert len(match(nobody, *nothing)) == 0
    assert len(match(NOBODY, np.eye(1, DIM, dtype=np.float32), np.zeros(1, np.int64))) == 0


# --- photographs of one person --------------------------------------------------------------------------------


def test_photographs_of_somebody_else_are_left_out():
    missed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        looks = unit(rng.normal(size=(8, DIM)))
        of_photo = np.repeat(np.arange(8), 4)
        shows = of_photo.copy()
        wrong = rng.permutation(8)[:3] * 4 + rng.integers(0, 4, 3)  # one of each of three people
        shows[wrong] = (of_photo[wrong] + 1 + rng.integers(0, 7, 3)) % 8
        kept = agreeing(of_photo.astype(str), seen(looks, shows, rng, noise=0.7))
        assert np.delete(kept, wrong).all()
        missed += kept[wrong].sum()
    assert missed <= 0.01 * 300  # three pairs with each; 2 in 1,000 strangers are within reach


def test_a_single_photograph_is_believed_and_two_that_disagree_are_not():
    x = np.eye(3, DIM, dtype=np.float32)
    assert agreeing(np.array(["a", "b", "b"]), x).tolist() == [True, False, False]
    assert agreeing(np.zeros(0, str), x[:0]).tolist() == []
