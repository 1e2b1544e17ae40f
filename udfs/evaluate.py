"""What `evaluate` runs in executors: a title's tracks and its truth to figures, verdicts and a page of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.files import title_file, write_whole
from conf.table import unwritten
from udfs.cluster import embeddings_of, is_adapted, links_of
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.evaluate import errors
from udfs.kernels.evaluate.before_after import Raw
from udfs.kernels.evaluate.title import figures_by_boxes, figures_by_tracks, match
from udfs.kernels.report import error_page
from udfs.staging import stage_tables

SCORED = unwritten(title_id="STRING", protocol="STRING", metric="STRING", value="DOUBLE")
ANALYSED = unwritten(
    title_id="STRING", protocol="STRING", metric="STRING", value="DOUBLE", table="STRING", rows="BIGINT"
)
LABELLED = unwritten(title_id="STRING", track_id="BIGINT", person="STRING")


def score_title(
    key: tuple[str],
    ours: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    match_iou: float,
    adapt: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]],
    protocol: str | None = None,
) -> pd.DataFrame:
    """A title's tracks (with boxes of faces below them where the truth has boxes) and its truth -> SCORED.

    A row is a metric and its value.

    `adapt` maps a title's embeddings as they were when it was clustered; titles that are not in it were so raw.
    `protocol` is the benchmark's name; without one it is what the truth is about, `tracks` or `boxes`.
    """
    tracks = ours[ours["seconds"].notna()].reset_index(drop=True)
    embeddings = embeddings_of(tracks, adapt.get(key[0]))[1]
    there = np.isfinite(embeddings).all(axis=1)
    rows = pd.Series(list(embeddings[there]), tracks.track_id[there].to_numpy(np.int64), dtype=object)
    tracks["embedding"] = rows.reindex(tracks.track_id).to_numpy()
    if "track_id" in truth:
        kind, figures = "tracks", figures_by_tracks(tracks, truth)
    else:
        faces = ours[ours["seconds"].isna()]
        kind, figures = "boxes", figures_by_boxes(tracks, faces, truth, match_iou)
    rows = [(key[0], protocol or kind, name, float(value)) for name, value in sorted(figures.items())]
    return pd.DataFrame(rows, columns=SCORED.names)


def label_tracks(key: tuple[str], faces: pd.DataFrame, truth: pd.DataFrame, *, match_iou: float) -> pd.DataFrame:
    """A title's boxes and its truth by boxes -> LABELLED: the tracks that show somebody of the truth."""
    matched = match(faces, truth, match_iou)
    shows = matched.matched_faces > 0
    columns = {"track_id": matched.track_ids[shows], "person": matched.labels[shows]}
    return pd.DataFrame({"title_id": key[0], **columns}, columns=LABELLED.names)


def analyse_title(
    key: tuple[str],
    tracks: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    protocol: str,
    staging: str,
    run_id: str,
    folder: str,
    blur: bool,
    rules: Mapping[str, Rules],
    raw_rules: Mapping[str, Rules],
    adapt: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]],
) -> pd.DataFrame:
    """A title's labelled tracks and its links -> ANALYSED: SCORED's rows, and how many rows of each table are staged.

    Stages the rows of verdicts and error_rates, and writes the title's page.

    `rules` maps titles to the rules of their clustering, where those are known; `raw_rules` those with an adapter to
    the same without it; `adapt` as in `score_title`. A title without tracks comes as one row without a track_id.
    """
    name, tracks = str(tracks.display_name.iloc[0]), tracks[tracks.track_id.notna()]
    tracks = tracks.sort_values("track_id").reset_index(drop=True)
    harvested, embeddings = embeddings_of(tracks, adapt.get(key[0]))
    raw = Raw(harvested, raw_rules.get(key[0])) if key[0] in adapt or is_adapted(tracks) else None
    pictures = dict(zip(tracks.track_id.astype(int), tracks.thumbnail, strict=True))
    tracks = tracks.drop(columns=["embedding", "adapted", "thumbnail"], errors="ignore").astype({"track_id": np.int64})
    found = errors.analyse(tracks, embeddings, links_of(pairs), rules.get(key[0]), raw)
    staged = stage_tables(key[0], {"verdicts": found.tracks, "error_rates": found.groups}, staging, run_id)
    with write_whole(error_page_file(folder, key[0])) as file:
        file.write_bytes(error_page.draw_page(name, found, pictures, blur))
    rows = [(key[0], protocol, figure, value) for figure, value in sorted(found.figures.items())]
    return pd.concat([pd.DataFrame(rows, columns=SCORED.names), staged])[ANALYSED.names]


def error_page_file(folder: str, title_id: str) -> Path:
    """Where a title's page of errors lies. Raises: as `title_file`."""
    return title_file(folder, title_id, ".errors.html")
