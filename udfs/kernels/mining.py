"""All that is mined from one title: constraints between its tracks, and the tracklets of Algorithm 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from udfs.kernels import links, tracklets

BOX = ["x", "y", "w", "h"]


def mined_tables(
    faces: pd.DataFrame,
    tracks: pd.DataFrame,
    *,
    n_tracklets: int,
    duplicate_iou: float,
    must_link_cosine: float,
    must_link_iou: float,
) -> dict[str, pd.DataFrame]:
    """The rows of cannot_links, must_links, tracklets and hard_negatives of one title, without title_id and run_id.

    Args:
        faces: detected faces: track_id, frame, x, y, w, h, embedding (None where not sampled).
        tracks: track_id, shot_id and thread_id (NaN where not known: no must-link), embedding (None where there is
            none), and seconds_per_detection.
        n_tracklets: M. The others: see `links.cannot_links` and `links.must_links`.
    """
    faces = faces.sort_values(["track_id", "frame"], kind="stable")
    tracks = tracks.sort_values("track_id", kind="stable")
    box = faces[BOX].to_numpy(np.float32)
    cannot = links.cannot_links(
        faces.track_id.to_numpy(np.int64), faces.frame.to_numpy(np.int32), box, duplicate_iou=duplicate_iou
    )
    per_detection = float(tracks.seconds_per_detection.iloc[0]) if len(tracks) else 0.0
    must = _must_links(faces, tracks, cannot, must_link_cosine, must_link_iou)
    mined, negatives = _tracklets(faces, cannot, n_tracklets)
    return {
        "cannot_links": pd.DataFrame(
            {
                "track_a": cannot.track_a,
                "track_b": cannot.track_b,
                "shared_frames": cannot.shared_frames,
                "shared_s": cannot.shared_frames * per_detection,
                "first_frame": cannot.first_frame,
                "reason": "co_occurrence",
            }
        ),
        "must_links": pd.DataFrame({**must._asdict(), "reason": "shot_thread"}),
        "tracklets": _frame(mined._asdict()),
        "hard_negatives": _frame(negatives._asdict()),
    }


def _must_links(
    faces: pd.DataFrame, tracks: pd.DataFrame, cannot: links.CannotLinks, min_cosine: float, min_iou: float
) -> links.MustLinks:
    ends = faces.groupby("track_id")[BOX]
    seen = tracks[tracks.track_id.isin(faces.track_id) & tracks.embedding.notna()]
    first, last = (boxes.loc[seen.track_id].to_numpy(np.float32) for boxes in (ends.first(), ends.last()))
    return links.must_links(
        seen.track_id.to_numpy(np.int64),
        seen.shot_id.astype(float).fillna(-1).to_numpy(np.int32),
        seen.thread_id.astype(float).fillna(-1).to_numpy(np.int32),
        first,
        last,
        stacked(seen.embedding),
        cannot.track_a,
        cannot.track_b,
        min_cosine=min_cosine,
        min_iou=min_iou,
    )


def _tracklets(
    faces: pd.DataFrame, cannot: links.CannotLinks, n_tracklets: int
) -> tuple[tracklets.TrackletRows, tracklets.HardNegativeRows]:
    embedded = faces[faces.embedding.notna()]
    return tracklets.mine_title(
        embedded.track_id.to_numpy(np.int64),
        embedded.frame.to_numpy(np.int32),
        stacked(embedded.embedding),
        cannot.track_a,
        cannot.track_b,
        n_tracklets,
    )


def stacked(embeddings: pd.Series) -> np.ndarray:
    """A column of (D,) arrays as (n, D) float32; (0, 1) where there is none, since no row says what D is."""
    return np.stack(embeddings.to_list()).astype(np.float32) if len(embeddings) else np.zeros((0, 1), np.float32)


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Columns of arrays stay such when they are empty; pandas would take them for numbers."""
    of_arrays = {"frames", "embedding"}
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=object) if name in of_arrays else values
            for name, values in columns.items()
        }
    )
