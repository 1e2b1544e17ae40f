"""One title's characters against the truth: by track id, or by boxes on frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from udfs.kernels import scoring

BOX = ["x", "y", "w", "h"]


def figures_by_boxes(
    tracks: pd.DataFrame, faces: pd.DataFrame, truth: pd.DataFrame, match_iou: float
) -> dict[str, float]:
    """Scores of a title whose truth is boxes with labels.

    Args:
        tracks: as in `figures_by_tracks`.
        faces: track_id, frame, x, y, w, h of every box of every track.
        truth: frame, x, y, w, h, label.
        match_iou: least overlap, see `scoring.match_boxes`.
    Returns:
        The figures of `figures_by_tracks` over the tracks that show somebody of the truth, and detection_recall,
        box_accuracy, false_tracks (tracks that match no true box; scored nowhere else) and mixed_tracks (tracks that
        follow two people).
    """
    matched = match(faces, truth, match_iou)
    of_track, shows = tracks.set_index("track_id"), matched.matched_faces > 0
    of_face = _predicted(of_track, faces.track_id.to_numpy(np.int64))
    labels = truth.label.astype(str).to_numpy()
    return {
        **_scores(matched.labels[shows].astype(str), of_track, matched.track_ids[shows]),
        "detection_recall": matched.detection_recall,
        "box_accuracy": scoring.box_accuracy(labels, of_face, matched.pairs, matched.true_boxes),
        "false_tracks": float((~shows).sum()),
        "mixed_tracks": float((matched.purity < 1).sum()),
    }


def match(faces: pd.DataFrame, truth: pd.DataFrame, match_iou: float) -> scoring.MatchedTracks:
    """Whom each track shows; arguments as in `figures_by_boxes`."""
    return scoring.match_boxes(
        truth.frame.to_numpy(np.int64),
        truth[BOX].to_numpy(np.float64),
        truth.label.astype(str).to_numpy(),
        faces.track_id.to_numpy(np.int64),
        faces.frame.to_numpy(np.int64),
        faces[BOX].to_numpy(np.float64),
        match_iou,
    )


def figures_by_tracks(tracks: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Scores of a title whose truth is track_id, label.

    Args:
        tracks: track_id, character_id (NaN where unknown), seconds (how long it lasts), embedding (unit row or None).
    Returns:
        `scoring.score`, `scoring.over_time` and, over the tracks with an embedding, `scoring.verification`. Tracks
        without truth are left out; true tracks that the title lacks are counted as missing_tracks.
    """
    known = truth[truth.track_id.isin(tracks.track_id)].sort_values("track_id")
    return {
        **_scores(known.label.astype(str).to_numpy(), tracks.set_index("track_id"), known.track_id.to_numpy(np.int64)),
        "missing_tracks": float(len(truth) - len(known)),
    }


def _scores(true: np.ndarray, of_track: pd.DataFrame, ids: np.ndarray) -> dict[str, float]:
    predicted, chosen = _predicted(of_track, ids), of_track.reindex(ids)
    seen = chosen.embedding.notna().to_numpy()
    rows = np.stack(chosen.embedding[seen].to_list()) if seen.any() else np.zeros((0, 1), np.float32)
    pairs = {name: value for name, value in scoring.verification(rows, true[seen]).items() if np.isfinite(value)}
    seconds = chosen.seconds.to_numpy(np.float64)
    return {**scoring.score(true, predicted), **scoring.over_time(true, predicted, seconds), **pairs}


def _predicted(of_track: pd.DataFrame, tracks: np.ndarray) -> np.ndarray:
    """(T,) characters of tracks, -1 where unknown."""
    found = of_track.character_id.reindex(tracks).astype("float64").fillna(scoring.UNKNOWN)
    return found.to_numpy().astype(np.int32)
