"""Edits found again: against plain loops, and on cases that can be worked out on paper."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.boxes import BOX, iou_by_pair
from udfs.kernels.name.edits import (
    CLEAR,
    MATCH_IOU,
    People,
    characters_meant,
    choose_far,
    faces_at,
    recognise,
    resolve_names,
)

NOBODY_KNOWN = People(np.zeros(0, np.int64), np.zeros((0, 1), np.float32), 0.4)
LEFT, RIGHT = (10.0, 10.0, 40.0, 40.0), (200.0, 10.0, 40.0, 40.0)


# --- plain loops --------------------------------------------------------------------------------------------


def slow_faces_at(anchor_frame, anchor_box, frame, box):
    found = []
    for f, b in zip(anchor_frame, anchor_box, strict=True):
        best, at = MATCH_IOU, -1
        for row in range(len(frame)):
            overlap = iou_by_pair(b[None], box[row][None])[0]
            if frame[row] == f and overlap >= best and (at < 0 or overlap > best):
                best, at = overlap, row
        found.append(at)
    return found


def slow_characters_meant(edit, character, n_edits):
    found = []
    for number in range(n_edits):
        votes = [c for e, c in zip(edit, character, strict=True) if e == number and c >= 0]
        found.append(max(votes, key=votes.count) if votes else -1)  # the first of equals
    return found


def slow_names(said, character):
    """character -> name: each edit in turn, the gallery's first. `said`: rows of EDITS; `character`: of each."""
    void = {row["replaces"] for row in said}
    order = sorted(said, key=lambda row: (row["made_at"], row["confidence"] or 0.0, row["edit_id"]))
    by_person = {
        character[r["edit_id"]]: r["name"] for r in order if r["source"] == "user" and r["edit_id"] not in void
    }
    by_person.pop(-1, None)
    moved = {}
    for row in order:
        counts = row["source"] == "gallery" and row["edit_id"] not in void and character[row["edit_id"]] >= 0
        if counts and row["name"] not in by_person.values():
            moved.pop(row["name"], None)
            moved[row["name"]] = character[row["edit_id"]]
    return {c: n for n, c in moved.items()} | by_person


# --- properties ---------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_an_anchor_lies_on_the_face_that_overlaps_it_most(seed):
    rng = np.random.default_rng(seed)

    def boxes(n):  # on a grid, so that overlaps tie
        return np.column_stack([rng.integers(0, 3, (n, 2)) * 10.0, rng.integers(2, 4, (n, 2)) * 20.0])

    anchors, faces = rng.integers(0, 6), rng.integers(0, 12)
    args = rng.integers(0, 3, anchors), boxes(anchors), rng.integers(0, 3, faces), boxes(faces)
    assert faces_at(*args).tolist() == slow_faces_at(*args)


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), max_size=20))
def test_an_edit_is_about_the_character_of_most_anchors(n_edits, rows):
    rows = [(edit % n_edits, character) for edit, character in rows]
    edit, character = np.array(rows, np.int64).reshape(-1, 2).T
    assert characters_meant(edit, character, n_edits).tolist() == slow_characters_meant(edit, character, n_edits)


EDITS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["Ann", "Bob", "Cem"]),
            "confidence": st.sampled_from([0.6, 0.9]),
            "source": st.sampled_from(["gallery", "user"]),
            "made_at": st.integers(0, 3),
            "character": st.integers(-1, 3),
            "replaces": st.sampled_from([None, None, 0, 1]),
        }
    ),
    max_size=8,
)


@given(EDITS)
def test_names_stand_as_when_edits_are_replayed(said):
    for number, row in enumerate(said):
        row["edit_id"] = f"e{number}"
        earlier = row["replaces"]
        row["replaces"] = f"e{earlier}" if earlier is not None and earlier < number else None
        if row["source"] == "user":
            row["confidence"] = None
    character = {row["edit_id"]: row["character"] for row in said}
    found = named(said, character)
    assert dict(zip(found.standing.character_id, found.standing.name, strict=True)) == slow_names(said, character)
    assert found.standing.character_id.is_monotonic_increasing
    assert set(found.lost.edit_id).isdisjoint([*found.standing.edit_id, *found.overruled.edit_id])
    assert (found.overruled.name != found.overruled.instead).all()


# --- cases --------------------------------------------------------------------------------------------------


def named(said, character, people=None):
    """`names` where each edit has one anchor, on a face of the given character; -1: on none."""
    rows = [{"edit_id": e, "frame": n, **dict(zip(BOX, LEFT, strict=True))} for n, e in enumerate(character)]
    faces = [
        {"track_id": n, "frame": n, **dict(zip(BOX, LEFT, strict=True)), "character_id": c if c >= 0 else None}
        for n, c in enumerate(character.values())
    ]
    return resolve_names(
        edits(said),
        table(rows, "edit_id", "frame", *BOX),
        table(faces, "frame", *BOX, "character_id"),
        people or NOBODY_KNOWN,
    )


def table(rows, *columns):
    return pd.DataFrame(rows, columns=columns)


def edits(said):
    fixed = {"confidence": None, "replaces": None, "made_at": 0, "is_same_film": True, "embedding": None}
    columns = ["edit_id", "name", "source", *fixed]
    return table([{**fixed, **row} for row in said], *columns)


def gallery(edit_id, name, made_at=0, confidence=0.9, **more):
    return {"edit_id": edit_id, "name": name, "source": "gallery", "made_at": made_at, "confidence": confidence, **more}


def user(edit_id, name, made_at=0, **more):
    return {"edit_id": edit_id, "name": name, "source": "user", "made_at": made_at, **more}


@pytest.mark.parametrize(
    ("said", "character", "standing", "overruled"),
    [
        ([], {}, {}, []),
        ([gallery("a", "Ann")], {"a": 2}, {2: "Ann"}, []),
        ([gallery("a", "Ann")], {"a": -1}, {}, []),
        # two characters have become one: the later, then the more confident
        ([gallery("a", "Ann", 1), gallery("b", "Bob", 0)], {"a": 0, "b": 0}, {0: "Ann"}, ["Bob"]),
        ([gallery("a", "Ann", confidence=0.6), gallery("b", "Bob")], {"a": 0, "b": 0}, {0: "Bob"}, ["Ann"]),
        # a person's word counts more, however old
        ([user("u", "Ann", 0), gallery("b", "Bob", 9)], {"u": 0, "b": 0}, {0: "Ann"}, ["Bob"]),
        # and moves the name away from where the gallery saw it
        ([gallery("a", "Ann", 9), user("u", "Ann", 0)], {"a": 0, "u": 1}, {1: "Ann"}, []),
        # the gallery gives a name once, a person as often as they like
        ([gallery("a", "Ann", 0), gallery("b", "Ann", 1)], {"a": 0, "b": 1}, {1: "Ann"}, []),
        ([user("u", "Ann", 0), user("v", "Ann", 1)], {"u": 0, "v": 1}, {0: "Ann", 1: "Ann"}, []),
        # what is replaced is void, wherever its tracks have gone
        ([user("u", "Ann", 0), user("v", "Bob", 1, replaces="u")], {"u": 0, "v": 1}, {1: "Bob"}, []),
        # no name is a word, too
        ([gallery("a", "Ann", 5), user("u", "", 1)], {"a": 0, "u": 0}, {0: ""}, ["Ann"]),
    ],
)
def test_what_stands(said, character, standing, overruled):
    found = named(said, character)
    assert dict(zip(found.standing.character_id, found.standing.name, strict=True)) == standing
    assert found.overruled.name.tolist() == overruled
    assert found.lost.edit_id.tolist() == [edit for edit, c in character.items() if c < 0]


def test_most_of_the_anchors_decide_and_places_count():
    anchors = table([["e", 0, *LEFT], ["e", 1, *LEFT], ["e", 2, *LEFT]], "edit_id", "frame", *BOX)
    nudged = (LEFT[0] + 5, LEFT[1], *LEFT[2:])
    faces = [[0, *nudged, 7], [0, *RIGHT, 1], [1, *RIGHT, 1], [2, *nudged, 4], [2, *LEFT, 7], [3, *LEFT, 1]]
    found = resolve_names(
        edits([gallery("e", "Ann")]), anchors, table(faces, "frame", *BOX, "character_id"), NOBODY_KNOWN
    )
    assert found.standing.character_id.tolist() == [7]
    moved = [[frame, *RIGHT, 7] for frame in range(3)]
    found = resolve_names(
        edits([gallery("e", "Ann")]), anchors, table(moved, "frame", *BOX, "character_id"), NOBODY_KNOWN
    )
    assert (len(found.standing), found.lost.edit_id.tolist()) == (0, ["e"])


# --- another version of the film -------------------------------------------------------------------------------


def at_angle(*degrees: float):
    """(n, 2) unit rows."""
    radians = np.radians(np.array(degrees, np.float64))
    return np.column_stack([np.cos(radians), np.sin(radians)])


def people(*degrees: float):
    return People(np.arange(len(degrees)) + 10, at_angle(*degrees).astype(np.float32), far=0.3)


def recut(said, *degrees: float):
    """The same edits, about another version of the film, by characters who looked so."""
    return [{**row, "is_same_film": False, "embedding": e} for row, e in zip(said, at_angle(*degrees), strict=True)]


def test_in_another_version_names_follow_the_faces_and_not_the_places():
    said = [user("a", "Ann"), user("b", "Bob"), user("c", "Cy")]
    places = {"a": 11, "b": 10, "c": 10}  # whoever sits there now
    found = named(recut(said, 0, 90, 180), places, people(3, 95, 270))
    assert dict(zip(found.standing.character_id, found.standing.name, strict=True)) == {10: "Ann", 11: "Bob"}
    assert found.lost.name.tolist() == ["Cy"]


def test_a_name_goes_to_the_nearer_of_two_who_were_others():
    said = recut([user("a", "Ann"), user("b", "Bob")], 0, 40)
    found = named(said, {"a": 10, "b": 10}, people(5))
    assert dict(zip(found.standing.character_id, found.standing.name, strict=True)) == {10: "Ann"}
    assert found.lost.name.tolist() == ["Bob"]


def test_without_an_embedding_nobody_is_found_in_another_version():
    said = [{**user("a", "Ann"), "is_same_film": False}]
    assert named(said, {"a": 10}, people(0)).lost.name.tolist() == ["Ann"]
    assert named(recut([user("a", "Ann")], 0), {"a": 10}).lost.name.tolist() == ["Ann"]


@given(st.integers(0, 10_000))
def test_who_is_recognised_is_near_and_the_nearest(seed):
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(rng.integers(1, 6), 4))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    known[rng.random(len(known)) < 0.2] = np.nan
    rows = rng.normal(size=(rng.integers(1, 6), 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    there = People(np.arange(len(known)) + 5, known.astype(np.float32), far=0.4)
    meant = recognise([None if rng.random() < 0.2 else row for row in rows], there)
    for row, character in zip(rows, meant, strict=True):
        distances = np.where(np.isnan(known).any(axis=1), np.inf, 1 - known @ row)
        if character >= 0:
            assert distances[character - 5] <= 0.4
            assert distances[character - 5] == distances.min()
    for character in set(meant.tolist()) - {-1}:
        of = [1 - known[character - 5] @ row for row, found in zip(rows, meant, strict=True) if found == character]
        assert max(of) - min(of) <= CLEAR + 1e-9


def test_how_far_is_too_far_depends_on_the_embedder():
    assert choose_far(0.985, 0.071) == 0.4
    assert choose_far(0.91, 0.097) == pytest.approx(0.328)
