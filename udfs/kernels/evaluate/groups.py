"""How often tracks of one kind go wrong, and what the adapter does for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from udfs.kernels.evaluate.intervals import wilson
from udfs.kernels.evaluate.significance import swap_test
from udfs.kernels.evaluate.verdicts import RIGHT, UNKNOWN, WRONG

WORST_SHOTS = 10
POSES, NO_FLAG = ("frontal", "profile"), "none"
QUALITY_LABELS = ("frontal", "profile", "blurred", "glasses", "occluded", "dark")  # of MvCorr: F, P, B, G, O, L
OF_ADAPTER = ["n_right_without_adapter", "n_fixed", "n_broke"]
BINS: dict[str, dict[str, float]] = {  # property of a track -> its bins by name, each from here to the next one
    "face_px": {"below 32": 0, "32 to 64": 32, "64 to 128": 64, "from 128": 128},
    "quality": {"below 0.25": 0, "0.25 to 0.5": 0.25, "0.5 to 0.75": 0.5, "from 0.75": 0.75},
    "seconds": {"below 0.5": 0, "0.5 to 1": 0.5, "1 to 2": 1, "2 to 4": 2, "from 4": 4},
    "person_tracks": {"1": 1, "2": 2, "3 to 5": 3, "6 to 20": 6, "more than 20": 21},
}


def by_group(tracks: pd.DataFrame) -> pd.DataFrame:
    """Errors of the tracks that have something in common.

    Args:
        tracks: as for `errors.analyse`, with the columns of `errors.judge_tracks`, `linked` (whether clustering had a
            link of it) and `without_adapter` (its verdict then; None where that was not tried).
    Returns:
        property, value, place (of the value among those of its property, from 0), n_tracks, n_right, n_wrong, n_impure
        (taken for somebody else), n_unknown, share_wrong, share_unknown, wrong_low and wrong_high (95 % interval of
        share_wrong, `wilson`), rest_wrong (share_wrong of all other tracks of which the property is known; NaN
        where there are none), mean_confidence (of those with a character); n_right_without_adapter, n_fixed and n_broke
        (right, or not, only because of the adapter) and p_value (`swap_test` of these two), null where that was not
        tried. A property that no track has is absent; of the shots, those with most errors are there.
    """
    right, before = tracks.verdict == RIGHT, tracks.without_adapter == RIGHT
    member = pd.concat([_members(), *_memberships(tracks)], ignore_index=True)
    counted = pd.DataFrame(
        {
            "n_tracks": 1,
            "n_right": right.astype(int),
            "n_wrong": (tracks.verdict == WRONG).astype(int),
            "n_impure": (tracks.taken_for.notna() & (tracks.taken_for != tracks.person)).astype(int),
            "n_unknown": (tracks.verdict == UNKNOWN).astype(int),
            "n_right_without_adapter": before.astype(int),
            "n_fixed": (right & ~before).astype(int),
            "n_broke": (before & ~right).astype(int),
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
    p_value = swap_test(groups.n_fixed.to_numpy(), groups.n_broke.to_numpy())
    if tracks.without_adapter.isna().any():
        groups, p_value = groups.assign(**dict.fromkeys(OF_ADAPTER, pd.NA)), np.full(len(groups), np.nan)
    return groups.assign(
        share_wrong=groups.n_wrong / groups.n_tracks,
        share_unknown=groups.n_unknown / groups.n_tracks,
        wrong_low=low,
        wrong_high=high,
        rest_wrong=np.divide(rest_wrong, rest, out=np.full(len(groups), np.nan), where=rest > 0),
        p_value=p_value,
    ).pipe(_worst_shots)


def _memberships(tracks: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Which tracks have which value of each property: row, property, place, value."""
    flags = tracks["flags"][tracks["flags"].notna()].map(list)
    pose = flags.map(lambda named: next((name for name in POSES if name in named), "between"))
    yield _members("pose", pose.index, pose, ["frontal", "between", "profile"])
    hard = flags.map(lambda named: [name for name in named if name not in POSES] or [NO_FLAG]).explode()
    names = sorted(set(hard), key=lambda name: (name == NO_FLAG, name))
    yield _members("flag", hard.index, hard, names)
    labels = tracks.quality_labels[tracks.quality_labels.notna()].map(lambda named: list(named) or [NO_FLAG]).explode()
    others = sorted(set(labels) - {*QUALITY_LABELS, NO_FLAG})
    yield _members("quality_label", labels.index, labels, [*QUALITY_LABELS, *others, NO_FLAG])
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
