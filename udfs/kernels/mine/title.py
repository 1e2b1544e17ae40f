"""All that is mined from one title: constraints between its tracks, and the tracklets of Algorithm 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.settings import UNKNOWN_RATE
from udfs.kernels.boxes import BOX
from udfs.kernels.mine import tracklets
from udfs.kernels.mine.cannot_links import CannotLinks, find_cannot_links
from udfs.kernels.mine.must_links import MustLinks, find_must_links
from udfs.kernels.mine.rule import training_rule


def mine_title_tables(
    faces: pd.DataFrame,
    embedding: NDArray[np.floating],
    *,
    seconds_per_detection: float,
    n_tracklets: int,
    duplicate_iou: float,
    must_link_cosine: float,
    must_link_iou: float,
    min_track_s: float,
    min_shared_s: float,
) -> dict[str, pd.DataFrame]:
    """The rows of cannot_links, must_links, tracklets and hard_negatives of one title, without title_id and run_id.

    All links are kept; hard negatives are sought over those alone that pass the rule of the paper, see `rule`.

    Args:
        faces: detected faces in any order: track_id, frame, x, y, w, h, embedded (bool), and the shot_id and thread_id
            of their track (NaN where not known: no must-link).
        embedding: (E, D) float32 unit rows of the embedded faces, in the order of `faces`.
        seconds_per_detection: NaN where not known.
        n_tracklets: M. The others: see `cannot_links`, `must_links` and `rule`.
    """
    order = np.lexsort((faces.frame.to_numpy(), faces.track_id.to_numpy()))
    number = np.cumsum(faces.embedded.to_numpy(bool)) - 1  # a face's row of `embedding`
    faces = faces.iloc[order]
    seen = faces.embedded.to_numpy(bool)
    number = number[order][seen]
    track_id, frame = faces.track_id.to_numpy(np.int64), faces.frame.to_numpy(np.int32)
    cannot = find_cannot_links(track_id, frame, faces[BOX].to_numpy(np.float32), duplicate_iou=duplicate_iou)
    embedding = embedding[number]
    must = _must_links(faces, embedding, cannot, must_link_cosine, must_link_iou)
    tracks, n_faces = np.unique(track_id, return_counts=True)
    passing = training_rule(
        tracks,
        n_faces,
        cannot.track_a,
        cannot.track_b,
        cannot.shared_frames,
        detections_per_s=UNKNOWN_RATE if np.isnan(seconds_per_detection) else 1 / seconds_per_detection,
        min_track_s=min_track_s,
        min_shared_s=min_shared_s,
    ).links
    mined, negatives = tracklets.mine_title(
        track_id[seen], frame[seen], embedding, cannot.track_a[passing], cannot.track_b[passing], n_tracklets
    )
    return {
        "cannot_links": pd.DataFrame(
            {
                "track_a": cannot.track_a,
                "track_b": cannot.track_b,
                "shared_frames": cannot.shared_frames,
                "shared_s": cannot.shared_frames * seconds_per_detection,
                "first_frame": cannot.first_frame,
                "reason": "co_occurrence",
                "doubted": False,
            }
        ),
        "must_links": pd.DataFrame({**must._asdict(), "reason": "shot_thread"}),
        "tracklets": _frame(mined._asdict()),
        "hard_negatives": _frame(negatives._asdict()),
    }


def _must_links(
    faces: pd.DataFrame, embedding: NDArray[np.floating], cannot: CannotLinks, min_cosine: float, min_iou: float
) -> MustLinks:
    """Of the tracks that have an embedding; `faces` are sorted by track and frame."""
    tracks, start = np.unique(faces.track_id.to_numpy(np.int64)[faces.embedded], return_index=True)
    whole = faces[faces.track_id.isin(tracks)].groupby("track_id")
    first, last = whole.first(), whole.last()
    thread = first.thread_id.astype(float).fillna(-1).to_numpy(np.int32)
    sums = np.zeros((len(tracks), embedding.shape[1]))
    for track in np.flatnonzero(thread >= 0):  # one by one: reduceat takes 20 times as long
        sums[track] = embedding[start[track] : start[track + 1] if track + 1 < len(start) else None].sum(0, np.float64)
    return find_must_links(
        tracks,
        first.shot_id.astype(float).fillna(-1).to_numpy(np.int32),
        thread,
        first[BOX].to_numpy(np.float32),
        last[BOX].to_numpy(np.float32),
        sums,
        cannot.track_a,
        cannot.track_b,
        min_cosine=min_cosine,
        min_iou=min_iou,
    )


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Columns of arrays stay such when they are empty; pandas would take them for numbers."""
    of_arrays = {"frames", "embedding"}
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=object) if name in of_arrays else values
            for name, values in columns.items()
        }
    )
