"""Adapters on labelled tracks: verification and clustering before and after each method, no label seen in training.

DATA holds tracks/, faces/ and truth/ with a Parquet file a title: title_id, track_id and embedding of tracks; track_id,
frame, box and embedding of faces; track_id and label of the truth. For the composite titles these are figures of
composite titles: real track structure, photographs of other people.

Three protocols: `others` trains on all titles but the one that is scored, `itself` on the scored title alone, `all` on
the whole corpus, as `castmine run` does. Held out to stop and to judge is, as in `castmine train`, one of the training
titles, or a quarter of the shots where they are few.
Scores: TPR at three FPR over all pairs of tracks, and the V-measure of average linkage on cosine at the true number of
people, in percent, mean over titles.
`iterated` is the reference of the data's README: strict clusters at a fixed cut, whitening, three rounds.

  python -m tests.bench.adaptation DATA [--methods NAME ...] [--seeds 7 8 9] [--protocol others itself all]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import v_measure_score

from conf.errors import TooLittleData
from conf.settings import TrainSettings
from jobs.cluster import expect_distances
from jobs.lake.snapshots import TITLES_TO_SPLIT
from tests.helpers.snapshots import write_part
from training.adapters import Adapter, apply
from training.loop import train
from training.methods.registry import kind, make_plan
from training.snapshot import NOBODY, Snapshot
from udfs import assets
from udfs.kernels.cluster.interface import Bounds, Links
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.mine import tracklets
from udfs.kernels.mine.cannot_links import find_cannot_links
from udfs.kernels.rows import stack_rows
from udfs.kernels.train.selection import training_rule

EMBEDDER, M, FACES, DETECTIONS_PER_S = "0" * 64, 3, 8, 24.0
METHODS = ("whitened_triplet", "lda_triplet", "whitening", "imptriplet", "mvcorr", "bcl", "tsiam", "ssiam")
PROTOCOLS = ("others", "itself", "all")
FPR = (0.001, 0.01, 0.1)
Map = Callable[[np.ndarray], np.ndarray]
COMPOSITE = assets.pack("buffalo_sc").embedder  # of the composite titles' embeddings
Mine = Callable[..., tuple[tracklets.TrackletRows, tracklets.HardNegativeRows]]  # as tracklets.mine_title


@dataclass(frozen=True)
class Title:
    """One title: its tracks, their faces, and the rows of a training snapshot by kind."""

    embedding: np.ndarray
    label: np.ndarray
    person: np.ndarray  # who plays the label: the same in other titles; the label where the truth does not say
    cannot: np.ndarray  # (P, 2) rows of tracks
    track: np.ndarray  # (F,) the row of each face's track, ascending
    faces: np.ndarray  # (F, D)
    rows: dict[str, pd.DataFrame]


def load(folder: Path, m: int = M, mine: Mine = tracklets.mine_title) -> dict[str, Title]:
    """Titles of a folder, mined by the kernels that the jobs run, with m tracklets a track."""
    return {path.stem: _load(folder, path.name, m, mine) for path in sorted((folder / "tracks").glob("*.parquet"))}


def _load(folder: Path, name: str, m: int, mine: Mine) -> Title:
    truth = pd.read_parquet(folder / "truth" / name)
    truth = truth.assign(person=truth.get("person", truth.label))[["track_id", "label", "person"]]
    tracks = pd.read_parquet(folder / "tracks" / name).merge(truth, on="track_id").sort_values("track_id")
    tracks = tracks[tracks.label != "unknown"].reset_index(drop=True)
    faces = pd.read_parquet(folder / "faces" / name)
    faces = faces[faces.track_id.isin(tracks.track_id)]
    ids, frame = faces.track_id.to_numpy(np.int64), faces.frame.to_numpy(np.int32)
    cannot = find_cannot_links(ids, frame, faces[["x", "y", "w", "h"]].to_numpy(np.float32), duplicate_iou=0.5)
    rule = training_rule(
        tracks.track_id.to_numpy(np.int64),
        faces.groupby("track_id").size().loc[tracks.track_id].to_numpy(),
        cannot.track_a,
        cannot.track_b,
        cannot.shared_frames,
        detections_per_s=DETECTIONS_PER_S,
        min_track_s=1.0,
        min_shared_s=0.25,
    )
    seen = faces[faces.embedding.notna()].sort_values(["track_id", "frame"], kind="stable")
    seen_ids, seen_frames = seen.track_id.to_numpy(np.int64), seen.frame.to_numpy(np.int32)
    rows = stack_rows(seen.embedding)
    passing = cannot.track_a[rule.links], cannot.track_b[rule.links]
    mined, negatives = mine(seen_ids, seen_frames, rows, *passing, m)
    trained = tracks[["track_id", "shot_id"]][rule.long_enough]
    number = pd.Series(np.arange(len(tracks)), tracks.track_id)
    return Title(
        embedding=stack_rows(tracks.embedding),
        label=tracks.label.to_numpy(str),
        person=tracks.person.to_numpy(str),
        track=number.loc[seen_ids].to_numpy(),
        faces=rows,
        cannot=number.loc[np.stack([cannot.track_a, cannot.track_b]).ravel()].to_numpy().reshape(2, -1).T,
        rows={
            "tracklets": _of_tracklets(trained, mined, negatives, m),
            "faces": _of_faces(trained, *tracklets.spread_faces(seen_ids, seen_frames, rows, FACES), *passing),
        },
    )


def _of_tracklets(
    tracks: pd.DataFrame, mined: tracklets.TrackletRows, negatives: tracklets.HardNegativeRows, m: int
) -> pd.DataFrame:
    whole = mined.role != "face"
    ids = mined.track_id[whole][::m]  # sorted by track and rank
    views = pd.Series(list(mined.embedding[whole].reshape(len(ids), -1)), ids)
    hard = dict(zip(negatives.track_id.tolist(), negatives.embedding, strict=True))
    rows = tracks[tracks.track_id.isin(views.index)]
    return rows.assign(views=views.loc[rows.track_id].to_list(), negative=[hard.get(t) for t in rows.track_id])


def _of_faces(
    tracks: pd.DataFrame, ids: np.ndarray, views: np.ndarray, track_a: np.ndarray, track_b: np.ndarray
) -> pd.DataFrame:
    faces = dict(zip(ids.tolist(), views.reshape(len(ids), -1), strict=True))
    partner: dict[int, int] = {}
    for a, b in sorted(zip(track_a.tolist(), track_b.tolist(), strict=True), key=lambda pair: hash(pair)):
        partner.setdefault(a, b)
        partner.setdefault(b, a)
    rows = tracks[tracks.track_id.isin(list(faces))]
    negative = [faces.get(partner.get(t, -1)) for t in rows.track_id]
    return rows.assign(views=[faces[t] for t in rows.track_id], negative=negative)


def snapshot(folder: Path, of: str, training: dict[str, Title], held_out: str | None, seed: int) -> Snapshot:
    """The training snapshot of some titles; `held_out` is one of them, None holds out a quarter of the shots."""
    parts: dict[str, list[pd.DataFrame]] = {"train": [], "dev": []}
    for name, title in training.items():
        rows = title.rows[of].assign(title_id=name)
        away = np.random.default_rng(seed).random(int(rows.shot_id.max()) + 1) < 0.25
        dev = np.full(len(rows), name == held_out) if held_out else away[rows.shot_id]
        parts["dev"].append(rows[dev])
        parts["train"].append(rows[~dev])
    one = next(iter(training.values()))
    dim = one.embedding.shape[1]
    n_views = len(one.rows[of].views.iloc[0]) // dim
    n_negatives = 1 if of == "tracklets" else FACES
    counts, names = {}, {}
    for part, tables in parts.items():
        rows = pd.concat(tables)
        has = rows.negative.notna().to_numpy()
        nothing = np.zeros(n_negatives * dim, np.float32)
        negative = [row if there else nothing for row, there in zip(rows.negative, has, strict=True)]
        made = rows[["title_id", "track_id", "views"]].assign(
            row=np.arange(len(rows)), negative=negative, has_negative=has, label=NOBODY
        )
        write_part(folder / part, pa.Table.from_pandas(made, preserve_index=False))
        counts[f"rows_{part}"], names[f"titles_{part}"] = len(rows), tuple(sorted(set(rows.title_id)))
    fixed = {"folder": folder, "fingerprint": "bench", "kind": of, "base_embedder_sha256": EMBEDDER, "dim": dim}
    shape = {"n_views": n_views, "n_negatives": n_negatives, "split": "titles" if held_out else "shots"}
    Snapshot.model_validate({**fixed, **shape, **counts, **names, "source_versions": {}}).save()
    return Snapshot.open(folder)


@dataclass(frozen=True)
class Adapted:
    """A trained adapter as a map, and what it does to what is known of distances."""

    adapter: Adapter

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return apply(self.adapter, x, EMBEDDER)


def known(adapt: Map | None = None) -> Distances:
    """What is known of the distances in the composite titles' embeddings, raw or after an adapter."""
    moved = adapt.adapter.card.moved if isinstance(adapt, Adapted) else None
    return expect_distances(assets.registry().files[COMPOSITE].sha256, moved)


def trained(method: str, training: dict[str, Title], seed: int, **changes: Any) -> tuple[Map, str, float]:
    """The map of a method, its verdict, and how long it took; the identity where there was too little to train on.

    Args:
        changes: of the plan, field by field.
    """
    held_out = None if len(training) < TITLES_TO_SPLIT else sorted(training)[seed % len(training)]
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainSettings.model_validate({"method": method, "seed": seed})
        made = snapshot(Path(folder), kind(chosen.method), training, held_out, seed)
        began = time.perf_counter()
        try:
            found = train(made, make_plan(chosen, made).model_copy(update=changes), library="arrow")
        except TooLittleData as error:
            return (lambda x: x), f"skipped: {error}", 0.0
    return Adapted(found.adapter), found.status, time.perf_counter() - began


def iterated(training: dict[str, Title]) -> Map:
    """The reference: clusters at a fixed cut under the cannot-links, whitening shrunk by 0.1, three rounds."""
    from udfs.kernels.cluster.hac import average_linkage

    none, raw = np.zeros((0, 2), np.int64), {name: unit(title.embedding) for name, title in training.items()}
    now, cut, weight = raw, 0.75, np.eye(0)
    for _ in range(3):
        total, n = 0.0, 0
        for name, title in training.items():
            group = average_linkage(now[name], Links(title.cannot, none), Bounds(cut=cut)).labels
            kept = np.bincount(group)[group] >= 3
            x = pd.DataFrame(raw[name][kept])
            away = (x - x.groupby(group[kept]).transform("mean")).to_numpy()
            total, n = total + away.T @ away, n + len(away)
        spread = 0.9 * total / n + 0.1 * np.trace(total) / n / len(total) * np.eye(len(total))
        values, axes = np.linalg.eigh(spread)
        weight = (axes / np.sqrt(values)) @ axes.T
        now, cut = {name: unit(x @ weight) for name, x in raw.items()}, 0.85
    return lambda x: unit(unit(x) @ weight)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length, float64."""
    return x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True)


def scores(title: Title, moved: np.ndarray) -> list[float]:
    """TPR at each of FPR, and V at the true number, percent."""
    x = unit(moved)
    cosine = x @ x.T
    i, j = np.triu_indices(len(x), 1)
    same, values = title.label[i] == title.label[j], cosine[i, j]
    tpr = [100 * float((values[same] > np.quantile(values[~same], 1 - fpr)).mean()) for fpr in FPR]
    distance = np.maximum(1 - cosine, 0)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    return [*tpr, 100 * v_measure_score(title.label, fcluster(tree, len(set(title.label)), "maxclust"))]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[7])
    parser.add_argument("--protocol", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    args = parser.parse_args(argv)
    titles = load(args.data)
    columns = ("protocol", "method", "TPR @ 0.1 %", "@ 1 %", "@ 10 %", "V, K known", "V by title", "verdicts", "s")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for protocol in args.protocol:
        _print(protocol, "raw", [[scores(t, t.embedding) for t in titles.values()]], [], 0.0)
        for method in ("iterated", *args.methods):
            found, verdicts, seconds = [], [], 0.0
            for seed in args.seeds if method != "iterated" else args.seeds[:1]:
                maps: dict[tuple[str, ...], Map] = {}
                rows = []
                for name, title in titles.items():
                    training = {
                        n: t for n, t in titles.items() if protocol == "all" or (n == name) == (protocol == "itself")
                    }
                    if tuple(training) not in maps:
                        maps[tuple(training)], verdict, took = _trained(method, training, seed)
                        verdicts += [verdict] if verdict else []
                        seconds += took
                    rows.append(scores(title, maps[tuple(training)](title.embedding)))
                found.append(rows)
            _print(protocol, method, found, verdicts, seconds / max(1, len(verdicts)))


def _trained(method: str, training: dict[str, Title], seed: int) -> tuple[Map, str, float]:
    return (iterated(training), "", 0.0) if method == "iterated" else trained(method, training, seed)


def _print(protocol: str, method: str, found: list[list[list[float]]], verdicts: list[str], seconds: float) -> None:
    figures = np.array(found)  # seed, title, score
    mean, spread = figures.mean(axis=(0, 1)), figures.mean(axis=1).std(axis=0)
    several = len(found) > 1
    shown = " | ".join(f"{m:.1f} ± {s:.1f}" if several else f"{m:.1f}" for m, s in zip(mean, spread, strict=True))
    by_title = " ".join(f"{v:.0f}" for v in figures.mean(axis=0)[:, -1])
    ready = f"{verdicts.count('ready')} of {len(verdicts)} ready" if verdicts else ""
    print(f"| {protocol} | {method} | {shown} | {by_title} | {ready} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
