"""Where the clustering of one title goes wrong: which tracks, of which kind, taken for whom, and what the links do.

Every function takes the tracks whose true person is known. A track is right where its character is the one that its
person gets by the best one-to-one assignment of characters to people (`scoring.mark_right`), unknown where it has no
character, else wrong. A character is taken for the person whom most of its tracks show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import NO_LINKS, Links
from udfs.kernels.cluster.title import cluster_title
from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.intervals import wilson

RIGHT, WRONG, UNKNOWN = "right", "wrong", "unknown"
WORST = 6  # tracks that are named as examples of a confusion
WORST_SHOTS = 10
POSES, NO_FLAG = ("frontal", "profile"), "none"
BINS: dict[str, dict[str, float]] = {  # property of a track -> its bins by name, each from here to the next one
    "face_px": {"below 32": 0, "32 to 64": 32, "64 to 128": 64, "from 128": 128},
    "quality": {"below 0.25": 0, "0.25 to 0.5": 0.25, "0.5 to 0.75": 0.5, "from 0.75": 0.75},
    "seconds": {"below 0.5": 0, "0.5 to 1": 0.5, "1 to 2": 1, "2 to 4": 2, "from 4": 4},
    "person_tracks": {"1": 1, "2": 2, "3 to 5": 3, "6 to 20": 6, "more than 20": 21},
}
KINDS = ("cannot", "must")
LINKS = {"cannot_links": "cannot", "must_links": "must", "links": "all"}  # what is left out -> the links of that kind


class Analysis(NamedTuple):
    """What is known of one title's errors.

    Attributes:
        tracks: the columns of `judge_tracks`, `confidence`, `start_s` and what else was given, a row a track.
        groups: see `by_group`.
        confusions: see `confusions`.
        people, characters: see `count_people` and `count_characters`.
        reliability: see `reliability`.
        scores: `scoring.score` of the tracks.
        figures: of the links and the calibration, see `link_figures`; `ece`, see `scoring.calibration_error`.
    """

    tracks: pd.DataFrame
    groups: pd.DataFrame
    confusions: pd.DataFrame
    people: pd.DataFrame
    characters: pd.DataFrame
    reliability: pd.DataFrame
    scores: dict[str, float]
    figures: dict[str, float]


def analyse(tracks: pd.DataFrame, embeddings: NDArray[np.floating], links: Links, rules: Rules | None) -> Analysis:
    """All that is known of one title's errors.

    Args:
        tracks: track_id ascending; person (None where it is not known), character_id (NaN: unknown), confidence,
            status, start_s, end_s, n_faces, shot_id, face_px, quality, flags (each null where it is not known).
        embeddings: (T, D) unit rows as they were clustered, NaN where a track has none.
        links: those that clustering had.
        rules: by which the title was clustered; None where they are not known, so that
            nobody can say what the links did.
    """
    without = {} if rules is None else without_links(tracks, embeddings, links, rules)
    seen = tracks.person.notna().to_numpy()
    mine = tracks[seen].reset_index(drop=True)
    mine = mine.astype({"character_id": "Int32"}).assign(person=mine.person.to_numpy(str))
    mine["linked"] = np.isin(mine.track_id, np.concatenate([pairs.ravel() for pairs in (links.cannot, links.must)]))
    mine = mine.join(judge_tracks(mine, embeddings[seen]))
    mine["without_links"] = verdicts(mine.person, without["links"][seen]) if "links" in without else None
    bins, figures = reliability(mine), link_figures(mine, links, {name: rows[seen] for name, rows in without.items()})
    return Analysis(
        tracks=mine,
        groups=by_group(mine),
        confusions=confusions(mine),
        people=count_people(mine),
        characters=count_characters(mine),
        reliability=bins,
        scores=scoring.score(mine.person.to_numpy(str), characters_of(mine)),
        figures={"ece": calibration_error(mine), **figures},
    )


# --- a track's verdict -----------------------------------------------------------------------------------------


def characters_of(tracks: pd.DataFrame) -> NDArray[np.int64]:
    """(T,) character_id, -1 where it is null."""
    return tracks.character_id.astype("float64").fillna(scoring.UNKNOWN).to_numpy(np.int64)


def verdicts(person: NDArray | pd.Series, character: NDArray[np.integer]) -> NDArray[np.object_]:
    """(T,) right, wrong or unknown.

    Args:
        person: (T,) str. character: (T,) int, -1 where it is unknown.
    """
    names = np.array([WRONG, RIGHT], object)[scoring.mark_right(np.asarray(person, str), character).astype(int)]
    names[character == scoring.UNKNOWN] = UNKNOWN
    return names


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


# --- errors by kind of track -----------------------------------------------------------------------------------


def by_group(tracks: pd.DataFrame) -> pd.DataFrame:
    """Errors of the tracks that have something in common.

    Args:
        tracks: as for `analyse`, with the columns of `judge_tracks` and `linked` (whether clustering had a link of it).
    Returns:
        property, value, place (of the value among those of its property, from 0), n_tracks, n_wrong, n_impure (taken
        for somebody else), n_unknown, share_wrong, share_unknown, wrong_low and wrong_high (95 % interval of
        share_wrong, `wilson`), rest_wrong (share_wrong of all other tracks of which the property is known; NaN
        where there are none), mean_confidence (of those with a character). A property that no track has is absent; of
        the shots, those with most errors are there.
    """
    member = pd.concat([_members(), *_memberships(tracks)], ignore_index=True)
    counted = pd.DataFrame(
        {
            "n_tracks": 1,
            "n_wrong": (tracks.verdict == WRONG).astype(int),
            "n_impure": (tracks.taken_for.notna() & (tracks.taken_for != tracks.person)).astype(int),
            "n_unknown": (tracks.verdict == UNKNOWN).astype(int),
        }
    )
    confidence = tracks.confidence.where(tracks.verdict != UNKNOWN).astype("float64").rename("mean_confidence")
    rows = member.join(counted, on="row").join(confidence, on="row")
    keys = rows.groupby(["property", "place", "value"], sort=True)
    groups = keys[counted.columns.to_list()].sum().join(keys.mean_confidence.mean()).reset_index()
    once = rows.drop_duplicates(["property", "row"])  # a track has several flags
    whole = once.groupby("property")[["n_tracks", "n_wrong"]].sum().reindex(groups.property)
    rest, rest_wrong = (whole[name].to_numpy() - groups[name].to_numpy() for name in ("n_tracks", "n_wrong"))
    low, high = wilson(groups.n_wrong.to_numpy(), groups.n_tracks.to_numpy())
    return groups.assign(
        share_wrong=groups.n_wrong / groups.n_tracks,
        share_unknown=groups.n_unknown / groups.n_tracks,
        wrong_low=low,
        wrong_high=high,
        rest_wrong=np.divide(rest_wrong, rest, out=np.full(len(groups), np.nan), where=rest > 0),
    ).pipe(_worst_shots)


def _memberships(tracks: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Which tracks have which value of each property: row, property, place, value."""
    flags = tracks["flags"][tracks["flags"].notna()].map(list)
    pose = flags.map(lambda named: next((name for name in POSES if name in named), "between"))
    yield _members("pose", pose.index, pose, ["frontal", "between", "profile"])
    hard = flags.map(lambda named: [name for name in named if name not in POSES] or [NO_FLAG]).explode()
    names = sorted(set(hard), key=lambda name: (name == NO_FLAG, name))
    yield _members("flag", hard.index, hard, names)
    seconds = (tracks.end_s - tracks.start_s).astype("float64")
    of_person = tracks.groupby("person").track_id.transform("size")
    columns = {"face_px": tracks.face_px, "quality": tracks.quality, "seconds": seconds, "person_tracks": of_person}
    for name, bins in BINS.items():
        there = columns[name].dropna().astype("float64")
        edges = np.searchsorted([*bins.values()], np.round(there, 6), side="right") - 1
        yield _members(name, there.index, np.array([*bins], object)[np.maximum(edges, 0)], [*bins])
    linked = np.where(tracks.linked, "with links", "without links")
    yield _members("links", tracks.index, linked, ["with links", "without links"])
    status = tracks.status[tracks.verdict != UNKNOWN].dropna()
    yield _members("status", status.index, status, sorted(set(status)))
    shots = tracks.shot_id.dropna().astype(int)
    yield _members("shot", shots.index, shots.astype(str), [str(shot) for shot in sorted(set(shots))])


def _members(name: str = "", rows: Any = (), values: Any = (), order: list[str] | None = None) -> pd.DataFrame:
    place = {value: number for number, value in enumerate(order or [])}
    values = np.asarray(values, object)
    columns = {"property": name, "value": values, "place": [place[value] for value in values]}
    return pd.DataFrame({"row": np.asarray(rows, np.int64), **columns}).astype({"place": np.int64, "value": object})


def _worst_shots(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups, of the shots those with most errors, in that order."""
    shots = groups[(groups.property == "shot") & (groups.n_wrong + groups.n_unknown > 0)]
    missed = shots.n_wrong + shots.n_unknown
    worst = shots.iloc[np.lexsort((shots.place, -missed))][:WORST_SHOTS].assign(place=lambda found: range(len(found)))
    return pd.concat([groups[groups.property != "shot"], worst], ignore_index=True)


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
        Of `LINKS` what there is to leave out: nothing without links, and `links` and one kind alike without the other.
    """
    none = np.zeros((0, 2), np.int64)
    kinds = [kind for kind in KINDS if len(getattr(links, kind))]

    def cast(kept: Links) -> NDArray[np.int64]:
        made = cluster_title(tracks, embeddings, embeddings, kept, rules)["track_labels"]
        return characters_of(made)

    left = {name: replace(links, **{kind: none}) for name, kind in LINKS.items() if kind in kinds}
    found = {name: cast(kept) for name, kept in left.items()}
    if len(kinds) == 1:
        return {**found, "links": next(iter(found.values()))}
    return {**found, "links": cast(NO_LINKS)} if kinds else {}


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
