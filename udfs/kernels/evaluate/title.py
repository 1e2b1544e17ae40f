"""One title's characters against the truth: by track id, or by boxes on frames.

A true label may be null: the track or the box is there, but the benchmark does not count it. What shows such a one is
neither scored nor called false.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.boxes import BOX
from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.matching import MatchedTracks, box_accuracy, match_boxes
from udfs.kernels.evaluate.verification import verify_tracks

NOT_COUNTED = ""  # the label of a null one while boxes are matched


def figures_by_boxes(
    tracks: pd.DataFrame, faces: pd.DataFrame, truth: pd.DataFrame, match_iou: float
) -> dict[str, float]:
    """Scores of a title whose truth is boxes with labels.

    Args:
        tracks: as in `figures_by_tracks`.
        faces: track_id, frame, x, y, w, h of every box of every track.
        truth: frame, x, y, w, h, label (null where the box is not counted).
        match_iou: least overlap, see `match_boxes`.
    Returns:
        The figures of `figures_by_tracks` over the tracks that show somebody of the truth, and detection_recall,
        box_accuracy, known_box_accuracy (of the found boxes of tracks with a character), false_tracks (tracks that
        match no true box; scored nowhere else) and mixed_tracks (tracks that follow two people).
    """
    labels = truth.label.fillna(NOT_COUNTED).astype(str).to_numpy()
    matched = match(faces, truth, match_iou)
    of_track, found = tracks.set_index("track_id"), matched.matched_faces > 0
    of_face = _predict(of_track, faces.track_id.to_numpy(np.int64))
    counted = labels != NOT_COUNTED
    pairs = matched.pairs[counted[matched.pairs[:, 0]]]
    matched = replace(matched, true_boxes=int(counted.sum()), matched_boxes=len(pairs), pairs=pairs)
    shows, known = found & (matched.labels != NOT_COUNTED), pairs[of_face[pairs[:, 1]] != scoring.UNKNOWN]
    return {
        **_scores(matched.labels[shows].astype(str), of_track, matched.track_ids[shows]),
        "detection_recall": matched.detection_recall,
        "box_accuracy": box_accuracy(labels, of_face, matched.pairs, matched.true_boxes),
        "known_box_accuracy": box_accuracy(labels, of_face, known, len(known)),
        "false_tracks": float((~found).sum()),
        "mixed_tracks": float((matched.purity[shows] < 1).sum()),
    }


def match(faces: pd.DataFrame, truth: pd.DataFrame, match_iou: float) -> MatchedTracks:
    """Whom each track shows; arguments as in `figures_by_boxes`."""
    return match_boxes(
        truth.frame.to_numpy(np.int64),
        truth[BOX].to_numpy(np.float64),
        truth.label.fillna(NOT_COUNTED).astype(str).to_numpy(),
        faces.track_id.to_numpy(np.int64),
        faces.frame.to_numpy(np.int64),
        faces[BOX].to_numpy(np.float64),
        match_iou,
    )


def figures_by_tracks(tracks: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Scores of a title whose truth is track_id, label.

    Args:
        tracks: track_id, character_id (NaN where unknown), seconds (how long it lasts), embedding (unit row or None).
        truth: track_id, label (null where the track is not counted).
    Returns:
        `scoring.score`, `scoring.over_time` and, over the tracks with an embedding, `verification`; the last
        two also with `known_` before the name, over the tracks with a character. Tracks without truth are left out;
        true tracks that the title lacks are counted as missing_tracks.
    """
    truth = truth[truth.label.notna()]
    there = truth[truth.track_id.isin(tracks.track_id)].sort_values("track_id")
    return {
        **_scores(there.label.astype(str).to_numpy(), tracks.set_index("track_id"), there.track_id.to_numpy(np.int64)),
        "missing_tracks": float(len(truth) - len(there)),
    }


def _scores(true: NDArray[np.integer], of_track: pd.DataFrame, ids: NDArray[np.integer]) -> dict[str, float]:
    predicted, chosen = _predict(of_track, ids), of_track.reindex(ids)
    known = predicted != scoring.UNKNOWN
    of_known = _over_rows(true[known], predicted[known], chosen[known])
    return {
        **scoring.score(true, predicted),
        **_over_rows(true, predicted, chosen),
        **{f"known_{name}": value for name, value in of_known.items()},
    }


def _over_rows(true: NDArray[np.integer], predicted: NDArray[np.integer], chosen: pd.DataFrame) -> dict[str, float]:
    """The figures that need more of a track than its character: its seconds, and its embedding where it has one."""
    seen = chosen.embedding.notna().to_numpy()
    rows = np.stack(chosen.embedding[seen].to_list()) if seen.any() else np.zeros((0, 1), np.float32)
    pairs = {name: value for name, value in verify_tracks(rows, true[seen]).items() if np.isfinite(value)}
    return {**scoring.over_time(true, predicted, chosen.seconds.to_numpy(np.float64)), **pairs}


def _predict(of_track: pd.DataFrame, tracks: NDArray[np.integer]) -> NDArray[np.int64]:
    """(T,) characters of tracks, -1 where unknown."""
    found = of_track.character_id.reindex(tracks).astype("float64").fillna(scoring.UNKNOWN)
    return found.to_numpy().astype(np.int32)
