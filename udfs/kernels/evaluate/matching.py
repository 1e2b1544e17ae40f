"""Truth by boxes brought to tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from udfs.kernels.boxes import find_overlapping
from udfs.kernels.evaluate.scoring import UNKNOWN, share


@dataclass(frozen=True)
class MatchedTracks:
    """What true boxes say about T tracks.

    Attributes:
        track_ids: (T,) ascending.
        labels: (T,) object, the label of most of a track's matched faces; None where none is matched.
        matched_faces: (T,) int64, the faces of a track that match a true box.
        purity: (T,) float32, the share of the matched faces that have the track's label; NaN where none is matched.
            A track below 1 mixes people.
        true_boxes, matched_boxes: counts over the whole title.
        pairs: (P, 2) int64, the matched rows: of the true boxes, and of the faces.
    """

    track_ids: NDArray[np.int64]
    labels: NDArray[np.object_]
    matched_faces: NDArray[np.int64]
    purity: NDArray[np.float32]
    true_boxes: int
    matched_boxes: int
    pairs: NDArray[np.int64]

    @property
    def detection_recall(self) -> float:
        """The share of the true boxes that some face matches; 1 where there is no true box."""
        return share(self.matched_boxes, self.true_boxes)


def match_boxes(
    true_frame: NDArray[np.integer],
    true_box: NDArray[np.floating],
    true_label: Sequence | NDArray,
    track_id: NDArray[np.integer],
    frame: NDArray[np.integer],
    box: NDArray[np.floating],
    match_iou: float = 0.5,
) -> MatchedTracks:
    """Match true boxes to faces, one to one in each frame, and give each track its majority label.

    In a frame the pairs are chosen whose summed intersection over union is largest, each of at least `match_iou`. A
    track with equally many faces of two labels gets the smaller label.

    Args:
        true_frame, true_box, true_label: (M,), (M, 4) x, y, w, h in pixels, (M,) int or str.
        track_id, frame, box: (N,), (N,), (N, 4) of the tracks' faces.
        match_iou: above 0, up to 1.

    Returns:
        Every track of `track_id` once. M = 0 or N = 0 match nothing. Cost O((M + N) log N) and the pairs that share
        a frame; the assignment is solved only for frames in which a box has a choice.
    """
    label_names, label_code = np.unique(np.asarray(true_label), return_inverse=True)
    tracks, track_code = np.unique(np.asarray(track_id, np.int64), return_inverse=True)
    truth, face, overlap = find_overlapping(true_frame, true_box, frame, box, match_iou)
    chosen = _one_to_one(np.asarray(true_frame)[truth], truth, face, overlap)

    votes = np.zeros((len(tracks), max(len(label_names), 1)), np.int64)
    np.add.at(votes, (track_code[face[chosen]], label_code[truth[chosen]]), 1)
    matched = votes.sum(axis=1)
    labels = np.full(len(tracks), None, dtype=object)
    seen = matched > 0
    labels[seen] = label_names[votes[seen].argmax(axis=1)].tolist() if seen.any() else []
    purity = np.full(len(tracks), np.nan, np.float32)
    np.divide(votes.max(axis=1), matched, out=purity, where=seen, casting="unsafe")
    pairs = np.column_stack([truth[chosen], face[chosen]])
    return MatchedTracks(tracks, labels, matched, purity, len(label_code), len(pairs), pairs)


def box_accuracy(
    true_label: Sequence | NDArray, predicted: NDArray[np.integer], pairs: NDArray[np.int64], true_boxes: int
) -> float:
    """The share of all true boxes that are found and named right under the best one-to-one assignment.

    A box that no face matches is an error as one of a wrong or an unknown character is: what a viewer sees in the end.

    Args:
        true_label: (M,) labels of the true boxes. predicted: (N,) characters of the faces, -1 = unknown.
        pairs: (P, 2) rows of both, see `MatchedTracks`.
    """
    label, character = np.unique(np.asarray(true_label), return_inverse=True)[1][pairs[:, 0]], predicted[pairs[:, 1]]
    known = character != UNKNOWN
    if not known.any():
        return share(0, true_boxes)
    _, column = np.unique(character[known], return_inverse=True)
    table = np.zeros((label.max() + 1, column.max() + 1))
    np.add.at(table, (label[known], column), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return share(float(table[rows, columns].sum()), true_boxes)


def _one_to_one(
    frame: NDArray[np.integer], truth: NDArray[np.int64], face: NDArray[np.int64], overlap: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which of the candidate pairs are chosen, so that no box is in two."""
    _, truth_at, truth_uses = np.unique(truth, return_inverse=True, return_counts=True)
    _, face_at, face_uses = np.unique(face, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero((truth_uses[truth_at] > 1) | (face_uses[face_at] > 1))
    crowded = crowded[np.argsort(frame[crowded], kind="stable")]
    chosen = np.ones(len(truth), bool)
    for pairs in np.split(crowded, np.flatnonzero(np.diff(frame[crowded])) + 1):
        (truths, row), (faces, column) = (np.unique(boxes[pairs], return_inverse=True) for boxes in (truth, face))
        weight, pair = np.zeros((len(truths), len(faces))), np.full((len(truths), len(faces)), -1)
        weight[row, column], pair[row, column] = overlap[pairs], pairs
        best = pair[linear_sum_assignment(weight, maximize=True)]
        chosen[pairs] = np.isin(pairs, best)
    return chosen
