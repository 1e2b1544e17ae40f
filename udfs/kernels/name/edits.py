"""Edits found again in the tracks that there are now, and what they say together.

An edit is about somebody who is seen in some frames at some places, its anchors. So it outlives the numbers of tracks
and characters: after a new clustering or a new harvest its anchors lie on other tracks, of another character. In
another version of the film (a recut, other bytes) frames show somebody else: there a character is known by its
embedding alone, and who is not found for sure is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.boxes import BOX, find_overlapping

MATCH_IOU = 0.5  # least overlap of an anchor and a face
NOBODY = -1  # no character, and no face
BY_GALLERY = "gallery"  # the source of an edit that no person made


FAR = 0.4  # cosine distance of two characters who may be one person, at most, whatever the embedder
FAR_SD = 6.0  # standard deviations below the distances of two people
FAR_UNMEASURED = 0.3  # of an embedder that nobody has measured
CLEAR = 0.1  # by which a character must be nearer to one edit than to another one that means somebody else


class People(NamedTuple):
    """The characters of a title as they are now.

    Attributes:
        character_id: (C,).
        embedding: (C, D) float32 unit rows, NaN where a character has none.
        far: cosine distance from which on two characters are two people, see `choose_far`.
    """

    character_id: NDArray[np.integer]
    embedding: NDArray[np.float32]
    far: float


class Names(NamedTuple):
    """What the name edits of a title come to.

    Attributes:
        standing: the edits that count, one a character, with the column character_id; in the order of that.
        overruled: edits about a character who has another name by a standing one; the standing name as `instead`.
        lost: edits about somebody who is not found.
    """

    standing: pd.DataFrame
    overruled: pd.DataFrame
    lost: pd.DataFrame


def resolve_names(edits: pd.DataFrame, anchors: pd.DataFrame, faces: pd.DataFrame, people: People) -> Names:
    """The name of each character of a title.

    An edit of this version of the film is about the character of most of the tracks that its anchors lie on; of
    equally many, about that of the earlier anchor. One of another version is about whom `recognise` finds. What another
    edit replaces is void. A person's word counts more than the gallery's; of two that weigh the same the later counts,
    of one moment the more confident. The gallery gives a name once in a title: the later time counts, and where a
    person has given that name, none does. A person may give one name to several characters (somebody whom clustering
    has split), and an empty name says that a character has none.

    Args:
        edits: edit_id, name, confidence (NaN where not known), source, replaces (an edit_id or None), made_at,
            is_same_film, and embedding of the character that was meant (None where not known, or of another embedder).
        anchors: edit_id, frame, x, y, w, h; those of an edit in the order of their weight.
        faces: track_id, frame, x, y, w, h, character_id (NaN where unknown) of at least the anchors' frames.
    """
    valid = edits[~edits.edit_id.isin(edits.replaces.dropna())].drop_duplicates("edit_id")
    anchors = anchors[anchors.edit_id.isin(valid.edit_id)]
    number = pd.Series(np.arange(len(valid)), valid.edit_id)
    at = faces_at(
        anchors.frame.to_numpy(np.int64),
        anchors[BOX].to_numpy(np.float64),
        faces.frame.to_numpy(np.int64),
        faces[BOX].to_numpy(np.float64),
    )
    of_face = np.append(faces.character_id.astype("float64").fillna(NOBODY).to_numpy(np.int64), NOBODY)
    meant = characters_meant(number.loc[anchors.edit_id].to_numpy(np.int64), of_face[at], len(valid))
    other = ~valid.is_same_film.to_numpy(bool)
    meant[other] = recognise(valid.embedding[other].tolist(), people)
    found = valid.assign(character_id=meant)[meant != NOBODY]

    found = found.assign(of_person=found.source != BY_GALLERY, sure=found.confidence.astype("float64").fillna(0.0))
    found = found.sort_values(["of_person", "made_at", "sure", "edit_id"], kind="stable")
    by_person = found[found.of_person].drop_duplicates("character_id", keep="last")
    by_gallery = found[~found.of_person & ~found.name.isin(by_person.name)].drop_duplicates("name", keep="last")
    both = pd.concat([by_gallery, by_person])
    standing = both.drop_duplicates("character_id", keep="last").sort_values("character_id")
    instead = found.character_id.map(standing.set_index("character_id").name)
    overruled = found[instead.notna() & (found.name != instead)].assign(instead=instead)
    overruled = overruled[overruled.edit_id.isin([*by_gallery.edit_id, *found.edit_id[found.of_person]])]
    lost = valid[meant == NOBODY]
    return Names(*(rows.reset_index(drop=True) for rows in (standing, overruled, lost)))


def choose_far(different_mean: float, different_sd: float) -> float:
    """Cosine distance below which characters surely are one person, for an embedder's distances of two people."""
    return min(FAR, different_mean - FAR_SD * different_sd)


def recognise(embeddings: Sequence[Sequence[float] | None], people: People) -> NDArray[np.int64]:
    """(E,) the character who is nearest to each embedding, and near enough; -1: nobody.

    A character whom an edit means that is clearly nearer is not somebody else as well.

    Args:
        embeddings: E unit rows of D numbers, or None.
    """
    meant = np.full(len(embeddings), NOBODY, np.int64)
    known = np.array([row is not None and len(row) == people.embedding.shape[1] for row in embeddings], bool)
    if not known.any() or not len(people.character_id):
        return meant
    rows = np.array([row for row, there in zip(embeddings, known, strict=True) if there], np.float64)
    distance = np.nan_to_num(1.0 - rows @ people.embedding.astype(np.float64).T, nan=np.inf)
    nearest = distance.argmin(axis=1)
    least = distance[np.arange(len(rows)), nearest]
    best = np.full(len(people.character_id), np.inf)
    np.minimum.at(best, nearest, least)
    sure = (least <= people.far) & (least <= best[nearest] + CLEAR)
    meant[known] = np.where(sure, people.character_id[nearest], NOBODY)
    return meant


def faces_at(
    anchor_frame: NDArray[np.integer],
    anchor_box: NDArray[np.floating],
    frame: NDArray[np.integer],
    box: NDArray[np.floating],
) -> NDArray[np.int64]:
    """(A,) the row of the face that overlaps an anchor most in its frame, the first of equals; -1 where none does by
    half.

    Args:
        anchor_frame, anchor_box: (A,), (A, 4) x, y, w, h in pixels. frame, box: (F,), (F, 4) of faces.
    """
    anchor, face, overlap = find_overlapping(anchor_frame, anchor_box, frame, box, MATCH_IOU)
    found = np.full(len(anchor_frame), NOBODY, np.int64)
    order = np.lexsort((-face, overlap))  # of several, the last one is what remains
    found[anchor[order]] = face[order]
    return found


def characters_meant(edit: NDArray[np.integer], character: NDArray[np.integer], n_edits: int) -> NDArray[np.int64]:
    """(n_edits,) the character of most of an edit's anchors, of equally many that of the earlier anchor; -1: nobody.

    Args:
        edit, character: (A,) of each anchor; character -1 where it lies on no track of a character.
    """
    known = np.flatnonzero(character != NOBODY)
    pairs = np.column_stack([edit[known], character[known]])
    pairs, first, votes = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    meant = np.full(n_edits, NOBODY, np.int64)
    order = np.lexsort((-first, votes))  # of several, the last one is what remains
    meant[pairs[order, 0]] = pairs[order, 1]
    return meant
