"""What `cluster` runs in executors: a title's tracks and links to its characters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.table import unwritten
from udfs.batches import one_row
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import Links
from udfs.kernels.cluster.own_thresholds import measure_spread
from udfs.kernels.cluster.title import cluster_title
from udfs.kernels.rows import fill_gaps, stack_rows
from udfs.staging import stage_tables

INTRA_TRACK = unwritten(title_id="STRING", track_id="BIGINT", intra_track="DOUBLE")


def cluster_tracks(
    key: tuple[str],
    tracks: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    staging: str,
    rules: Rules,
    run_id: str,
    adapt: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None,
    adapter_id: str,
    read_out: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> pd.DataFrame:
    """A title's tracks and links -> STAGED_TABLES; stages the rows of track_labels and characters.

    Tracks that have a column `adapted` are clustered by that.

    `adapt` maps (n, D) raw embeddings to (n, D') unit rows; raw ones are clustered where it is None. `read_out` maps
    them to rows of any length, for a method that takes such.
    """
    tracks = tracks.sort_values("track_id", kind="stable").reset_index(drop=True)
    harvested, embeddings = embeddings_of(tracks, adapt)
    outputs = None if read_out is None else embeddings_of(tracks, read_out)[1]
    made = cluster_title(tracks, embeddings, harvested, links_of(pairs), rules, outputs)
    made["track_labels"]["adapter_id"] = adapter_id
    return stage_tables(key[0], made, staging, run_id)


def measure_intra_track(
    key: tuple[str, int], faces: pd.DataFrame, *, adapt: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
) -> pd.DataFrame:
    """The embeddings of a track's faces -> INTRA_TRACK; `adapt` as in `cluster_tracks`."""
    rows = stack_rows(faces.embedding)
    rows = adapt(rows) if adapt is not None else rows
    return one_row(INTRA_TRACK, title_id=key[0], track_id=key[1], intra_track=measure_spread(rows))


def embeddings_of(
    tracks: pd.DataFrame, adapt: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(T, D) and (T, D') float32, NaN where a track has none: as they were harvested, and as they are clustered.

    Args:
        tracks: embedding, and `adapted` where a network was fine-tuned on the title.
        adapt: of other titles, what maps (n, D) to (n, D'); None for nothing.
    """
    there = tracks.embedding.notna().to_numpy()
    harvested = fill_gaps(stack_rows(tracks.embedding[there]), there)
    if is_adapted(tracks):
        there = tracks.adapted.notna().to_numpy()
        return harvested, fill_gaps(stack_rows(tracks.adapted[there]), there)
    if adapt is None or not there.any():
        return harvested, harvested
    return harvested, fill_gaps(adapt(harvested[there]), there)


def is_adapted(tracks: pd.DataFrame) -> bool:
    """Whether a title's tracks have embeddings of a network that was fine-tuned on it."""
    return "adapted" in tracks and bool(tracks.adapted.notna().any())


def links_of(pairs: pd.DataFrame) -> Links:
    """track_a, track_b, kind (cannot or must) -> links between track_ids, in their order."""
    pairs = pairs.sort_values(["track_a", "track_b"], kind="stable")
    kinds = (pairs.loc[pairs.kind == kind, ["track_a", "track_b"]].to_numpy(np.int64) for kind in ("cannot", "must"))
    return Links(*kinds)
