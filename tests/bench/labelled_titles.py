"""Titles with truth, as the benchmarks of adaptation and clustering read them, and adapters trained on some of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from conf.errors import TooLittleData
from conf.settings import MineSettings, TrainSettings
from jobs.cluster import expect_distances
from jobs.lake.snapshots import FACES, NEGATIVES, PARTNERS, TITLES_TO_SPLIT, hold_out_people
from tests.helpers.snapshots import write_part
from training.adapters import Adapter, apply
from training.loop import train
from training.methods.base import Parent
from training.methods.registry import kind, make_plan
from training.snapshot import NOBODY, Snapshot
from udfs import assets
from udfs.kernels.boxes import BOX
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.mine.rule import training_rule
from udfs.kernels.mine.title import mine_title_tables
from udfs.kernels.rows import stack_rows
from udfs.kernels.train.selection import spread_faces

EMBEDDER, DETECTIONS_PER_S = "0" * 64, 24.0
COMPOSITE = assets.pack("buffalo_sc").embedder  # of the composite titles' embeddings
MINING = MineSettings()
Map = Callable[[NDArray[np.floating]], NDArray[np.floating]]
Mined = dict[str, pd.DataFrame]  # as `mine_title_tables`
Alter = Callable[[Mined, NDArray[np.int64], NDArray[np.float32]], Mined]  # of the tables, by track and row of each face


@dataclass(frozen=True)
class Title:
    """One title: its tracks, their faces, and the rows of a training snapshot by kind."""

    embedding: NDArray[np.float32]
    label: NDArray[np.str_]
    person: NDArray[np.str_]  # who plays the label: the same in other titles; the label where the truth does not say
    cannot: NDArray[np.int64]  # (P, 2) rows of tracks
    track: NDArray[np.int64]  # (F,) the row of each face's track, ascending
    faces: NDArray[np.float32]  # (F, D)
    rows: dict[str, pd.DataFrame]  # track_id, shot_id, person, views, negative (None where there is none)

    def without(self, people: set[str]) -> Title:
        """The same with nothing to learn from tracks of these people."""
        return replace(self, rows={of: rows[~rows.person.isin(people)] for of, rows in self.rows.items()})


def load(folder: Path, m: int = MINING.tracklets, alter: Alter = lambda made, ids, rows: made) -> dict[str, Title]:
    """Titles of a folder, mined as `castmine mine` does, with m tracklets a track."""
    return {path.stem: _load(folder, path.name, m, alter) for path in sorted((folder / "tracks").glob("*.parquet"))}


def _load(folder: Path, name: str, m: int, alter: Alter) -> Title:
    truth = pd.read_parquet(folder / "truth" / name)
    truth = truth.assign(person=truth.get("person", truth.label))[["track_id", "label", "person"]]
    tracks = pd.read_parquet(folder / "tracks" / name).merge(truth, on="track_id").sort_values("track_id")
    tracks = tracks[tracks.label != "unknown"].reset_index(drop=True)
    faces = pd.read_parquet(folder / "faces" / name)
    faces = faces[faces.track_id.isin(tracks.track_id)].sort_values(["track_id", "frame"], kind="stable")
    embedded = faces.embedding.notna()
    ids, frames, rows = faces.track_id[embedded], faces.frame[embedded], stack_rows(faces.embedding[embedded])
    light = faces[["track_id", "frame", *BOX]].assign(embedded=embedded, shot_id=np.nan, thread_id=np.nan)
    made = mine_title_tables(
        light,
        rows,
        seconds_per_detection=1 / DETECTIONS_PER_S,
        n_tracklets=m,
        **MINING.model_dump(exclude={"tracklets"}),
    )
    made, cannot = alter(made, ids.to_numpy(), rows), made["cannot_links"]
    rule = training_rule(
        tracks.track_id.to_numpy(),
        faces.groupby("track_id").size().loc[tracks.track_id].to_numpy(),
        cannot.track_a.to_numpy(),
        cannot.track_b.to_numpy(),
        cannot.shared_frames.to_numpy(),
        detections_per_s=DETECTIONS_PER_S,
        min_track_s=MINING.min_track_s,
        min_shared_s=MINING.min_shared_s,
    )
    trained, passing = tracks[["track_id", "shot_id", "person"]][rule.long_enough], cannot[rule.links]
    number = pd.Series(np.arange(len(tracks)), tracks.track_id)
    return Title(
        embedding=stack_rows(tracks.embedding),
        label=tracks.label.to_numpy(str),
        person=tracks.person.to_numpy(str),
        track=number.loc[ids].to_numpy(),
        faces=rows,
        cannot=np.stack([number.loc[cannot.track_a], number.loc[cannot.track_b]], axis=1),
        rows={
            "tracklets": _of_tracklets(trained, made, m),
            "faces": _of_faces(trained, *spread_faces(ids.to_numpy(), frames.to_numpy(), rows, FACES), passing),
        },
    )


def _of_tracklets(tracks: pd.DataFrame, made: Mined, m: int) -> pd.DataFrame:
    whole = made["tracklets"][made["tracklets"].role != "face"]  # sorted by track and rank
    views = {track: np.concatenate(group.to_list()) for track, group in whole.groupby("track_id").embedding}
    hard = made["hard_negatives"].set_index("track_id").embedding.to_dict()
    rows = tracks[tracks.track_id.isin(list(views))]
    return rows.assign(views=rows.track_id.map(views), negative=[hard.get(track) for track in rows.track_id])


def _of_faces(
    tracks: pd.DataFrame, ids: NDArray[np.integer], views: NDArray[np.float32], links: pd.DataFrame
) -> pd.DataFrame:
    faces = dict(zip(ids.tolist(), views.reshape(len(ids), -1), strict=True))
    few = dict(zip(ids.tolist(), views[:, :: FACES // NEGATIVES].reshape(len(ids), -1), strict=True))
    partners: dict[int, list[int]] = {}
    for a, b in sorted(zip(links.track_a.tolist(), links.track_b.tolist(), strict=True), key=hash):
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    rows = tracks[tracks.track_id.isin(list(faces))]

    def negative(track: int) -> NDArray[np.float32] | None:
        held = [few[partner] for partner in partners.get(track, []) if partner in few]
        return np.concatenate([held[place % len(held)] for place in range(PARTNERS)]) if held else None

    return rows.assign(views=[faces[t] for t in rows.track_id], negative=[negative(t) for t in rows.track_id])


def snapshot(
    folder: Path, of: str, training: dict[str, Title], held_out: str | None, seed: int, labels: bool = False
) -> Snapshot:
    """The training snapshot of some titles.

    Args:
        held_out: one of the titles; None holds out a quarter of the shots.
        labels: whether the people's names are known; a quarter of the people is held out then.
    """
    rows = pd.concat([title.rows[of].assign(title_id=name) for name, title in training.items()], ignore_index=True)
    names = sorted(set(rows.person)) if labels else []
    strangers = hold_out_people(rows.person.value_counts().to_dict() if labels else {}, TrainSettings().held_out, seed)
    rows["label"] = rows.person.map({name: place for place, name in enumerate(names)}).fillna(NOBODY).astype(int)
    if strangers:
        dev = rows.person.isin(strangers).to_numpy()
    elif held_out:
        dev = (rows.title_id == held_out).to_numpy()
    else:
        away = {
            n: np.random.default_rng(seed).random(int(t.rows[of].shot_id.max()) + 1) < 0.25 for n, t in training.items()
        }
        dev = np.array([away[title][shot] for title, shot in zip(rows.title_id, rows.shot_id, strict=True)])
    dim = next(iter(training.values())).embedding.shape[1]
    n_partners, n_negatives = (1, 1) if of == "tracklets" else (PARTNERS, NEGATIVES)
    counts, titles = {}, {}
    for part, chosen in (("train", rows[~dev]), ("dev", rows[dev])):
        has = chosen.negative.notna().to_numpy()
        nothing = np.zeros(n_partners * n_negatives * dim, np.float32)
        made = chosen[["title_id", "track_id", "views", "label"]].assign(
            row=np.arange(len(chosen)),
            negative=[row if there else nothing for row, there in zip(chosen.negative, has, strict=True)],
            has_negative=has,
        )
        write_part(folder / part, pa.Table.from_pandas(made, preserve_index=False))
        counts[f"rows_{part}"], titles[f"titles_{part}"] = len(chosen), tuple(sorted(set(chosen.title_id)))
    Snapshot.model_validate(
        {
            **{"folder": folder, "fingerprint": "bench", "kind": of, "base_embedder_sha256": EMBEDDER, "dim": dim},
            **{"n_views": len(rows.views.iloc[0]) // dim, "n_partners": n_partners, "n_negatives": n_negatives},
            **counts,
            **titles,
            **{"labels": names, "labels_from": "truth" if labels else None, "source_versions": {}},
            "split": "people" if strangers else "titles" if held_out else "shots",
        }
    ).save()
    return Snapshot.open(folder)


@dataclass(frozen=True)
class Adapted:
    """A trained adapter as a map to unit rows, and what it does to what is known of distances."""

    adapter: Adapter

    def __call__(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        return apply(self.adapter, np.asarray(x, np.float32), EMBEDDER)

    def read_out(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rows as the method's own way of comparing has them."""
        return apply(self.adapter, np.asarray(x, np.float32), EMBEDDER, unit=False)


def known(adapt: Map | None = None) -> Distances:
    """What is known of the distances in the composite titles' embeddings, raw or after an adapter."""
    moved = adapt.adapter.card.moved if isinstance(adapt, Adapted) else None
    return expect_distances(assets.registry().files[COMPOSITE].sha256, moved)


def trained(
    method: str,
    training: dict[str, Title],
    seed: int,
    *,
    labels: bool = False,
    parent: Map | None = None,
    settings: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
) -> tuple[Map, str]:
    """The map of a method and its verdict; the identity where there was too little to train on.

    Args:
        parent: an adapter to go on from; without one where too little was there for it.
        settings: of `train`, beside method and seed. plan: changes of what these make of it, field by field.
    """
    held_out = None if len(training) < TITLES_TO_SPLIT else sorted(training)[seed % len(training)]
    chosen = TrainSettings.model_validate({"method": method, "seed": seed, **(settings or {})})
    before = Parent("parent", parent.adapter) if isinstance(parent, Adapted) else None
    with tempfile.TemporaryDirectory() as folder:
        made = snapshot(Path(folder), kind(chosen.method), training, held_out, seed, labels)
        try:
            planned = make_plan(chosen, made, before).model_copy(update=plan or {})
            found = train(made, planned, library="arrow", parent=before and before.adapter)
        except TooLittleData as error:
            return unit, f"skipped: {error}"
    return Adapted(found.adapter), found.status


def unit(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of unit length, float64."""
    return x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True)
