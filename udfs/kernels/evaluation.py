"""One title's characters against the truth: by track id, or by boxes on frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from udfs.kernels import scoring

BOX = ["x", "y", "w", "h"]


def figures_by_boxes(faces: pd.DataFrame, truth: pd.DataFrame, match_iou: float) -> dict[str, float]:
    """Scores of a title whose truth is boxes with labels.

    Args:
        faces: track_id, frame, x, y, w, h and character_id (NaN where unknown) of every box of every track.
        truth: frame, x, y, w, h, label.
        match_iou: least overlap, see `scoring.match_boxes`.
    Returns:
        `scoring.score` over the tracks that show somebody of the truth, and detection_recall, false_tracks (tracks that
        match no true box; scored nowhere else) and mixed_tracks (tracks that follow two people).
    """
    matched = scoring.match_boxes(
        truth.frame.to_numpy(np.int64),
        truth[BOX].to_numpy(np.float64),
        truth.label.astype(str).to_numpy(),
        faces.track_id.to_numpy(np.int64),
        faces.frame.to_numpy(np.int64),
        faces[BOX].to_numpy(np.float64),
        match_iou,
    )
    predicted = _predicted(faces.drop_duplicates("track_id").set_index("track_id").character_id, matched.track_ids)
    shows = np.array([label is not None for label in matched.labels], bool)
    return {
        **scoring.score(matched.labels[shows].astype(str), predicted[shows]),
        "detection_recall": matched.detection_recall,
        "false_tracks": float((~shows).sum()),
        "mixed_tracks": float((matched.purity < 1).sum()),
    }


def figures_by_tracks(labels: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Scores of a title whose truth is track_id, label; labels: track_id, character_id (NaN where unknown).

    Tracks without truth are left out; true tracks that the title lacks are counted as missing_tracks.
    """
    known = truth[truth.track_id.isin(labels.track_id)].sort_values("track_id")
    predicted = _predicted(labels.set_index("track_id").character_id, known.track_id.to_numpy(np.int64))
    return {
        **scoring.score(known.label.astype(str).to_numpy(), predicted),
        "missing_tracks": float(len(truth) - len(known)),
    }


def _predicted(character: pd.Series, tracks: np.ndarray) -> np.ndarray:
    return character.reindex(tracks).astype("float64").fillna(scoring.UNKNOWN).to_numpy().astype(np.int32)
