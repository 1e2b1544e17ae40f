"""Where the clustering of one title goes wrong: which tracks, of which kind, taken for whom, and what the links do.

Every function takes the tracks whose true person is known. A track is right where its character is the one that its
person gets by the best one-to-one assignment of characters to people (`scoring.mark_right`), unknown where it has no
character, else wrong. A character is taken for the person whom most of its tracks show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import NO_LINKS, Links
from udfs.kernels.evaluate import before_after, scoring
from udfs.kernels.evaluate.before_after import Raw, cluster_again
from udfs.kernels.evaluate.groups import by_group
from udfs.kernels.evaluate.pairs import PairDistances
from udfs.kernels.evaluate.verdicts import RIGHT, UNKNOWN, characters_of, verdicts

WORST = 6  # tracks that are named as examples of a confusion
KINDS = ("cannot", "must")
LINKS = {"cannot_links": "cannot", "must_links": "must", "links": "all"}  # what is left out -> the links of that kind


class Analysis(NamedTuple):
    """What is known of one title's errors.

    Attributes:
        tracks: the columns of `judge_tracks`, `confidence`, `start_s` and what else was given, a row a track.
        groups: see `groups.by_group`.
        confusions: see `confusions`.
        people, characters: see `count_people` and `count_characters`.
        reliability: see `reliability`.
        scores: `scoring.score` of the tracks.
        figures: of the links, the adapter and the calibration, see `link_figures`, `before_after.measure_gain` and
            `before_after.name_figures`; `ece`, see `scoring.calibration_error`.
        distances: see `before_after.measure_distances`.
        rules: by which it was clustered, where they are known.
    """

    tracks: pd.DataFrame
    groups: pd.DataFrame
    confusions: pd.DataFrame
    people: pd.DataFrame
    characters: pd.DataFrame
    reliability: pd.DataFrame
    scores: dict[str, float]
    figures: dict[str, float]
    distances: dict[str, PairDistances]
    rules: Rules | None


def analyse(
    tracks: pd.DataFrame,
    embeddings: NDArray[np.floating],
    links: Links,
    rules: Rules | None,
    raw: Raw | None = None,
) -> Analysis:
    """All that is known of one title's errors.

    Args:
        tracks: track_id ascending; person (None where it is not known), character_id (NaN: unknown), confidence,
            status, start_s, end_s, n_faces, shot_id, face_px, quality, flags, quality_labels (each null where it is
            not known).
        embeddings: (T, D) unit rows as they were clustered, NaN where a track has none.
        links: those that clustering had.
        rules: by which the title was clustered; None where they are not known, so that
            nobody can say what the links did.
        raw: the title before its adapter; None where raw embeddings were clustered.
    """
    without = {} if rules is None else without_links(tracks, embeddings, links, rules)
    seen = tracks.person.notna().to_numpy()
    mine = tracks[seen].reset_index(drop=True)
    mine = mine.astype({"character_id": "Int32"}).assign(person=mine.person.to_numpy(str))
    mine["linked"] = np.isin(mine.track_id, np.concatenate([pairs.ravel() for pairs in (links.cannot, links.must)]))
    mine = mine.join(judge_tracks(mine, embeddings[seen]))
    mine["without_links"] = verdicts(mine.person, without["links"][seen]) if "links" in without else None
    person = mine.person.to_numpy(str)
    figures = link_figures(mine, links, {name: rows[seen] for name, rows in without.items()})
    distances = before_after.measure_distances(person, embeddings[seen], None if raw is None else raw.embeddings[seen])
    figures |= before_after.name_figures(distances)
    mine["without_adapter"] = None
    if raw is not None and raw.rules is not None:
        before = cluster_again(tracks, raw.embeddings, links, raw.rules)[seen]
        mine["without_adapter"] = verdicts(mine.person, before)
        figures |= before_after.measure_gain(person, before, characters_of(mine)) if len(mine) else {}
    return Analysis(
        tracks=mine,
        groups=by_group(mine),
        confusions=confusions(mine),
        people=count_people(mine),
        characters=count_characters(mine),
        reliability=reliability(mine),
        scores=scoring.score(person, characters_of(mine)),
        figures={"ece": calibration_error(mine), **figures},
        distances=distances,
        rules=rules,
    )


# --- a track's verdict -----------------------------------------------------------------------------------------


def judge_tracks(tracks: pd.DataFrame, embeddings: NDArray[np.floating]) -> pd.DataFrame:
    """What is wrong with each track, in the order of the tracks.

    Args:
        tracks: person, character_id.
        embeddings: (T, D) unit rows, NaN where a track has none.
    Returns:
        taken_for: the person whom most tracks of its character show (of equally many, the first by name); None where
            it has no character. Not its own person: it was taken for somebody else.
        verdict: right, wrong or unknown.
        split: whether most of its person's tracks (of equally many, those of the smaller number) are in another
            character; False where it has no character.
        distance: mean cosine distance to the tracks of its character that show `taken_for`, float32.
        own_distance: to the other tracks of its person. Both without the track itself, and NaN where there is none.
        Cost O(T D).
    """
    person, character = tracks.person.to_numpy(str), characters_of(tracks)
    crossed = scoring.cross_table(person, character)
    majority, known = crossed.majority()[crossed.character], crossed.character != scoring.UNKNOWN
    taken_for = np.full(len(tracks), None, object)
    taken_for[known] = crossed.labels[majority[known]]
    return pd.DataFrame(
        {
            "taken_for": taken_for,
            "verdict": verdicts(person, character),
            "split": known & (crossed.home()[crossed.label] != crossed.character),
            "distance": mean_distance(embeddings, crossed.character, majority == crossed.label),
            "own_distance": mean_distance(embeddings, crossed.label, np.ones(len(tracks), bool)),
        },
        index=tracks.index,
    )


def mean_distance(
    embeddings: NDArray[np.floating], group: NDArray[np.integer], member: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(T,) mean cosine distance of each row to the members of its group, itself left out.

    NaN where a row is of no group (-1) or has no embedding, and where its group has no other member with one.
    """
    there = np.isfinite(embeddings).all(axis=1) & (group >= 0)
    x, place = embeddings[there].astype(np.float64), group[there]
    counts = member[there].astype(float)
    sums = np.zeros((place.max(initial=-1) + 1, x.shape[1]))
    np.add.at(sums, place, x * counts[:, None])
    others = np.bincount(place, counts)[place] - counts if len(place) else counts
    alike = (x * sums[place]).sum(axis=1) - counts * (x**2).sum(axis=1)
    found = np.full(len(embeddings), np.nan, np.float32)
    found[there] = np.round(1 - np.divide(alike, others, out=np.full(len(x), np.nan), where=others > 0), 6)
    return found


def reliability(tracks: pd.DataFrame) -> pd.DataFrame:
    """How often confidence is deserved: bin (0 to 9, of a tenth each), n_tracks, mean_confidence, share_right.

    Right is here a track that shows the person whom most tracks of its character show: confidence is about belonging
    there, not about which of a person's characters is the main one. Empty bins are absent.
    """
    confidence, right = _deserve(tracks)
    columns = {"mean_confidence": confidence, "share_right": right.astype(float)}
    found = pd.DataFrame({"bin": scoring.confidence_bin(confidence), **columns}).groupby("bin")
    return found.size().rename("n_tracks").to_frame().join(found.mean()).reset_index()


def calibration_error(tracks: pd.DataFrame) -> float:
    """The mean gap between the two over the bins of `reliability`, see `scoring.calibration_error`."""
    return scoring.calibration_error(*_deserve(tracks))


def _deserve(tracks: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of the tracks that have one, and whether they show the person their character is taken for."""
    known = tracks[(tracks.verdict != UNKNOWN) & tracks.confidence.notna()]
    return known.confidence.to_numpy(np.float64), (known.taken_for == known.person).to_numpy(bool)


# --- who is taken for whom -------------------------------------------------------------------------------------


def confusions(tracks: pd.DataFrame) -> pd.DataFrame:
    """Pairs of people of whom one was taken for the other, the most frequent first.

    Returns:
        person, taken_for, n_tracks, distance and own_distance (means, see `judge_tracks`), track_ids: the worst of
        these tracks, which are those of most confidence; other_ids: the most confident tracks of `taken_for` in the
        same characters, to see whom they were taken for.
    """
    pairs = ["person", "taken_for"]
    wrong = tracks[tracks.taken_for.notna() & (tracks.taken_for != tracks.person)]
    found = wrong.groupby(pairs)
    rows = found.agg(
        n_tracks=("track_id", "size"), distance=("distance", "mean"), own_distance=("own_distance", "mean")
    )
    rows["track_ids"] = found[["track_id", "confidence"]].apply(_most_confident) if len(rows) else None
    theirs = wrong[[*pairs, "character_id"]].drop_duplicates()
    theirs = theirs.merge(tracks[tracks.taken_for == tracks.person][["character_id", "track_id", "confidence"]])
    others = theirs.groupby(pairs)[["track_id", "confidence"]].apply(_most_confident) if len(theirs) else None
    rows["other_ids"] = others
    return rows.reset_index().sort_values(["n_tracks", *pairs], ascending=[False, True, True], ignore_index=True)


def _most_confident(tracks: pd.DataFrame) -> list[int]:
    chosen = np.lexsort((tracks.track_id, -tracks.confidence.astype("float64").fillna(0)))[:WORST]
    return [int(track) for track in tracks.track_id.iloc[chosen]]


def count_people(tracks: pd.DataFrame) -> pd.DataFrame:
    """Each true person, most tracks first: person, n_tracks, n_right, n_elsewhere (taken for somebody else), n_unknown,
    n_characters: those in which most tracks show this person. None of them: lost among others. Several: split.
    """
    own = tracks.taken_for == tracks.person
    characters_of_own = tracks[own].groupby("person").character_id.nunique()
    rows = pd.DataFrame(
        {
            "person": tracks.person,
            "n_tracks": 1,
            "n_right": tracks.verdict == RIGHT,
            "n_elsewhere": tracks.taken_for.notna() & ~own,
            "n_unknown": tracks.verdict == UNKNOWN,
        }
    )
    found = rows.groupby("person").sum().astype(int)
    found["n_characters"] = characters_of_own.reindex(found.index).fillna(0).astype(int)
    return found.reset_index().sort_values(["n_tracks", "person"], ascending=[False, True], ignore_index=True)


def count_characters(tracks: pd.DataFrame) -> pd.DataFrame:
    """Who is in each character: character_id, person, n_tracks; a character's most frequent person first."""
    known = tracks[tracks.verdict != UNKNOWN]
    found = known.groupby(["character_id", "person"]).size().rename("n_tracks").reset_index()
    found = found.astype({"character_id": int})
    return found.sort_values(["character_id", "n_tracks", "person"], ascending=[True, False, True], ignore_index=True)


# --- what the links do -----------------------------------------------------------------------------------------


def without_links(
    tracks: pd.DataFrame, embeddings: NDArray[np.floating], links: Links, rules: Rules
) -> dict[str, NDArray[np.int64]]:
    """The title clustered again with links left out: (T,) characters, -1 where unknown, by what is left out.

    Args: as in `analyse`, of all tracks.
    Returns:
        Of `LINKS` what there is to leave out: nothing without links, or where the rules obey none, and `links` and one
        kind alike without the other.
    """
    none = np.zeros((0, 2), np.int64)
    kinds = [kind for kind in KINDS if rules.links and len(getattr(links, kind))]
    left = {name: replace(links, **{kind: none}) for name, kind in LINKS.items() if kind in kinds}
    found = {name: cluster_again(tracks, embeddings, kept, rules) for name, kept in left.items()}
    if len(kinds) == 1:
        return {**found, "links": next(iter(found.values()))}
    return {**found, "links": cluster_again(tracks, embeddings, NO_LINKS, rules)} if kinds else {}


def link_figures(tracks: pd.DataFrame, links: Links, without: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """What the links are worth, measured against the truth.

    Args:
        tracks: track_id, person, character_id. without: characters of these tracks by what is left out.
    Returns:
        By kind of link (cannot_links, must_links): KIND_known (pairs of whose tracks both people are known), KIND_false
        (of these, cannot-linked pairs of one person, must-linked pairs of two) and KIND_tracks (in at least one). By
        what is left out (those two and `links`): KIND_fixed and KIND_broke (tracks that are right, or not, only because
        of them), without_KIND_v_measure and without_KIND_wcp, and, links of both kinds aside, KIND_needed (known pairs
        that clustering does not keep unless it is told to).
    """
    person = pd.Series(tracks.person.to_numpy(str), tracks.track_id.to_numpy(np.int64))
    right = scoring.mark_right(person.to_numpy(), characters_of(tracks))
    found: dict[str, float] = {}
    for name, kind in LINKS.items():
        if kind in KINDS:
            of_kind = getattr(links, kind)
            known = of_kind[np.isin(of_kind, person.index).all(axis=1)]
            same = person.loc[known[:, 0]].to_numpy() == person.loc[known[:, 1]].to_numpy()
            found[f"{name}_known"] = len(known)
            found[f"{name}_false"] = int((same if kind == "cannot" else ~same).sum())
            found[f"{name}_tracks"] = len(np.unique(of_kind))
        if name not in without:
            continue
        again = scoring.mark_right(person.to_numpy(), without[name])
        scores = scoring.score(person.to_numpy(), without[name])
        found |= {f"{name}_fixed": int((right & ~again).sum()), f"{name}_broke": int((again & ~right).sum())}
        found |= {f"without_{name}_{figure}": scores[figure] for figure in ("v_measure", "wcp")}
        if kind in KINDS:
            of = pd.Series(without[name], person.index)
            a, b = of.loc[known[:, 0]].to_numpy(), of.loc[known[:, 1]].to_numpy()
            joined = (a == b) & (a != scoring.UNKNOWN)
            found[f"{name}_needed"] = int((joined if kind == "cannot" else ~joined).sum())
    return {name: float(value) for name, value in sorted(found.items())}
