"""Who cannot be the same person, who must be: links between the tracks of one title.

Source: methods card 1 (the co-occurrence rule); must-links inside shot threads are castmine's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class PairsSeen:
    """Pairs of tracks seen in one frame, sorted by (track_a, track_b), each pair once with track_a < track_b."""

    track_a: np.ndarray  # (L,) int64
    track_b: np.ndarray  # (L,) int64
    shared_frames: np.ndarray  # (L,) int32, frames in which both are detected, 1 or more
    first_frame: np.ndarray  # (L,) int32, the first of them


@dataclass(frozen=True, eq=False)
class CannotLinks(PairsSeen):
    """Pairs that are two people, and beside them the pairs that are more likely one face detected twice."""

    duplicates: PairsSeen


class TrainingRule(NamedTuple):
    """What passes the rule of card 1; each mask is in the order of its argument."""

    long_enough: np.ndarray  # (T,) bool, step 2: the track is long enough
    links: np.ndarray  # (L,) bool, step 3: both tracks are long enough and seen together for long enough
    tracks: np.ndarray  # (T,) bool, long enough and in at least one passing link


class MustLinks(NamedTuple):
    """Pairs of tracks that are one person, sorted by (track_a, track_b), each pair once with track_a < track_b."""

    track_a: np.ndarray  # (L,) int64
    track_b: np.ndarray  # (L,) int64
    score: np.ndarray  # (L,) float32, cosine of the two embeddings
    contradicted: np.ndarray  # (L,) bool, see `contradicted`


def cannot_links(track_id: np.ndarray, frame: np.ndarray, box: np.ndarray, *, duplicate_iou: float) -> CannotLinks:
    """Every pair of tracks of one title seen together in at least one frame (methods card 1).

    A pair whose boxes overlap with IoU > `duplicate_iou` in any shared frame is one face detected twice: it is no
    cannot-link and is returned under `duplicates` instead. The 1 s and 0.25 s rules are not applied here.

    Args:
        track_id: (F,) int64.
        frame: (F,) int32. Rows are real detections only, never bridged boxes; in any order.
        box: (F, 4) float32, x, y, width, height in pixels. A box with a NaN overlaps nothing.
        duplicate_iou: 0 to 1.
    Returns:
        The links; no rows where no two tracks meet, or F = 0. The row order of the input has no influence.
    Raises:
        ValueError: unequal lengths, or a track twice in one frame.

    One sweep over the frames: with P = sum over frames of n(n-1)/2 for n faces in a frame, time is
    O(F log F + P log P) and memory O(F + P). Tracks that never meet cost nothing.
    """
    if not len(track_id) == len(frame) == len(box):
        raise ValueError(f"{len(track_id)} track ids, {len(frame)} frames and {len(box)} boxes: one of each per face")
    order = np.lexsort((track_id, frame))
    track_id, frame, box = track_id[order], frame[order], box[order]
    if np.any((np.diff(frame) == 0) & (np.diff(track_id) == 0)):
        raise ValueError("a track has two detections in one frame; faces are unique by (track_id, frame)")

    ids, number = np.unique(track_id, return_inverse=True)
    pairs, frames, overlaps = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0)]
    for left, right in _rows_in_one_frame(frame):
        pairs.append(number[left] * len(ids) + number[right])
        frames.append(frame[left].astype(np.int32))
        overlaps.append(paired_iou(box[left], box[right]))
    pair = np.concatenate(pairs)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    first, second = np.divmod(pair[starts], max(len(ids), 1))
    seen = PairsSeen(
        ids[first].astype(np.int64),
        ids[second].astype(np.int64),
        np.diff(starts, append=len(pair)).astype(np.int32),
        np.minimum.reduceat(np.concatenate(frames)[order], starts),
    )
    twice = np.fmax.reduceat(np.concatenate(overlaps)[order], starts) > duplicate_iou
    return CannotLinks(**vars(_where(seen, ~twice)), duplicates=_where(seen, twice))


def _where(pairs: PairsSeen, mask: np.ndarray) -> PairsSeen:
    return PairsSeen(*(column[mask] for column in vars(pairs).values()))


def _rows_in_one_frame(frame: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of rows left < right with equal frame, those at distance 1 first; `frame` is sorted."""
    for distance in range(1, len(frame)):
        left = np.flatnonzero(frame[:-distance] == frame[distance:])
        if not len(left):  # so no frame holds more than `distance` rows
            return
        yield left, left + distance


def training_rule(
    track_id: np.ndarray,
    n_faces: np.ndarray,
    track_a: np.ndarray,
    track_b: np.ndarray,
    shared_frames: np.ndarray,
    *,
    detections_per_s: float,
    min_track_s: float,
    min_shared_s: float,
) -> TrainingRule:
    """The paper's choice of tracks and cannot-links for a training snapshot (methods card 1, steps 2 and 3).

    The paper counts faces: 24 for a track and 6 shared at 24 fps, every frame detected. With a detection in every
    stride-th frame only, each detection stands for stride / fps seconds, so both lengths stay counts of detections,
    at the rate fps / stride: `ceil(seconds * detections_per_s - 1e-9)` are needed, which gives 24 and 6 for 23.976 fps
    as well. Frames bridged between detections count for nothing: a track of 1 s with a missed detection is too short.

    Args:
        track_id, n_faces: (T,) the tracks of a title and in how many frames each is really detected.
        track_a, track_b, shared_frames: (L,) cannot-links between them and in how many frames both are detected.
        detections_per_s: frame rate / detection stride, more than 0.
        min_track_s, min_shared_s: seconds.
    Returns:
        Masks over the tracks and the links; T = 0 or L = 0 give empty masks.
    Raises:
        ValueError: a link names a track that `track_id` lacks, or the rate is not above 0.
    """
    if not detections_per_s > 0:
        raise ValueError(f"detections_per_s is {detections_per_s}; it must be above 0")
    if not np.isin([track_a, track_b], track_id).all():
        raise ValueError("a cannot-link names a track that is not among the tracks")
    long_enough = n_faces >= _detections_in(min_track_s, detections_per_s)
    survivors = track_id[long_enough]
    links = np.isin(track_a, survivors) & np.isin(track_b, survivors)
    links &= shared_frames >= _detections_in(min_shared_s, detections_per_s)
    partnered = np.isin(track_id, np.concatenate([track_a[links], track_b[links]]))
    return TrainingRule(long_enough, links, partnered)


def _detections_in(seconds: float, detections_per_s: float) -> int:
    return math.ceil(seconds * detections_per_s - 1e-9)


def must_links(
    track_id: np.ndarray,
    shot_id: np.ndarray,
    thread_id: np.ndarray,
    start_box: np.ndarray,
    end_box: np.ndarray,
    embedding: np.ndarray,
    cannot_a: np.ndarray,
    cannot_b: np.ndarray,
    *,
    min_cosine: float,
    min_iou: float,
) -> MustLinks:
    """Tracks that continue each other when the film returns to a camera set-up: same place, like face.

    The shots of a thread that hold an embedded track are taken in order of time, each with the next. Between the two,
    a track and its return are each other's best match by cosine among all tracks there, the cosine reaches
    `min_cosine`, and the box at the end of the earlier overlaps the box at the start of the later by `min_iou`. The
    best match is sought before the place is asked for: a face that looks like someone elsewhere in the shot has
    moved, and the second best is not taken for it. So a track has at most one link into any other shot. Equal cosines
    (to 9 decimals) go to the smaller track_id.

    Args:
        track_id: (T,) int64, without repeats, in any order.
        shot_id: (T,) int, counted in order of time.
        thread_id: (T,) int, the thread of the track's shot; -1 for none, which links nothing.
        start_box, end_box: (T, 4) float32, x, y, width, height in pixels where the track starts and ends.
        embedding: (T, D) float32; rows that are zero or hold a NaN are tracks without one, which link nothing.
        cannot_a, cannot_b: (C,) int64, cannot-links of the title. They mark links, they never prevent one.
        min_cosine, min_iou: 0 to 1, both inclusive.
    Returns:
        The links; no rows where nothing returns, or T = 0. The row order of the input has no influence.
    Raises:
        ValueError: unequal lengths.

    Cost: one matrix product per return, O(sum of n * n_next * D) for shots of n and n_next tracks.
    """
    if len({len(rows) for rows in (track_id, shot_id, thread_id, start_box, end_box, embedding)}) > 1:
        raise ValueError("track_id, shot_id, thread_id, start_box, end_box and embedding must have one row per track")
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = embedding / np.linalg.norm(embedding.astype(np.float64), axis=1, keepdims=True)
    usable = np.flatnonzero((thread_id >= 0) & np.isfinite(unit).all(axis=1))

    earlier, later, cosine = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], [np.zeros(0)]
    for before, after in _returns(usable, track_id, shot_id, thread_id):
        alike = np.round(unit[before] @ unit[after].T, 9)
        best = alike.argmax(axis=1)
        mutual = np.flatnonzero(alike.argmax(axis=0)[best] == np.arange(len(before)))
        earlier.append(before[mutual])
        later.append(after[best[mutual]])
        cosine.append(alike[mutual, best[mutual]])
    a, b, score = np.concatenate(earlier), np.concatenate(later), np.concatenate(cosine)

    kept = (score >= min_cosine) & (paired_iou(end_box[a], start_box[b]) >= min_iou)
    ends = np.sort(np.stack([track_id[a[kept]], track_id[b[kept]]]).astype(np.int64), axis=0)
    order = np.lexsort((ends[1], ends[0]))
    track_a, track_b = ends[:, order]
    marks = contradicted(track_a, track_b, cannot_a, cannot_b)
    return MustLinks(track_a, track_b, score[kept][order].astype(np.float32), marks)


def _returns(
    rows: np.ndarray, track_id: np.ndarray, shot_id: np.ndarray, thread_id: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each shot with those of the next shot of its thread, each side in order of track_id."""
    rows = rows[np.lexsort((track_id[rows], shot_id[rows], thread_id[rows]))]
    breaks = np.diff(thread_id[rows], prepend=-1).astype(bool) | np.diff(shot_id[rows], prepend=-1).astype(bool)
    shots = np.split(rows, np.flatnonzero(breaks)[1:]) if len(rows) else []
    for before, after in pairwise(shots):
        if thread_id[before[0]] == thread_id[after[0]]:
            yield before, after


def contradicted(must_a: np.ndarray, must_b: np.ndarray, cannot_a: np.ndarray, cannot_b: np.ndarray) -> np.ndarray:
    """Which must-links are on a chain that joins two cannot-linked tracks; at least one link of the chain is wrong.

    A chain is a path that passes no track twice; where several join the two tracks, all are marked. What only hangs on
    a chain is not in doubt. A must-link that is itself a cannot-link is a chain of one. Any must-links and cannot-links
    of a title may be given, a person's edits too.

    A must-link is on such a chain exactly if, once the joined cannot-links are links as well, it lies on a loop with
    one of them: in one block, that is. So no pair needs a search of its own.

    Args:
        must_a, must_b: (L,) int64 track ids of the must-links.
        cannot_a, cannot_b: (C,) int64 track ids of the cannot-links; tracks without must-links may be named.
    Returns:
        (L,) bool; all False where C = 0. Cost O((L + C) log L).
    Raises:
        ValueError: a track cannot-linked to itself.
    """
    if np.any(cannot_a == cannot_b):
        raise ValueError("a track is cannot-linked to itself")
    ids, node = np.unique(np.concatenate([must_a, must_b]), return_inverse=True)
    must = node.reshape(2, -1)
    graph = coo_array((np.ones(len(must_a), bool), (must[0], must[1])), shape=(len(ids), len(ids)))
    component = connected_components(graph, directed=False)[1]
    chained = np.isin(cannot_a, ids) & np.isin(cannot_b, ids)
    cannot = np.searchsorted(ids, np.stack([cannot_a[chained], cannot_b[chained]]))
    joined = cannot[:, component[cannot[0]] == component[cannot[1]]]
    block = _blocks(len(ids), np.concatenate([must, joined], axis=1))
    return np.isin(block[: len(must_a)], block[len(must_a) :])


def _blocks(n: int, links: np.ndarray) -> np.ndarray:
    """The block of each link: two links are in one exactly if a loop that passes no node twice holds both.

    By depth-first search (Hopcroft and Tarjan 1973). `links` (2, E) of the nodes 0 to n - 1; of two links between the
    same nodes, each is a link of its own. Returns (E,) int, some node as the name of a block.
    """
    at: list[list[int]] = [[] for _ in range(n)]
    for link, (a, b) in enumerate(links.T.tolist()):
        at[a].append(link)
        at[b].append(link)
    sum_of_ends = links.sum(axis=0).tolist()

    order: list[int] = []
    number, parent = [-1] * n, [-1] * n
    in_tree = np.zeros(links.shape[1], bool)
    waiting = [(node, -1) for node in range(n)]  # where to go on, and over which link; -1: a new component
    while waiting:
        node, link = waiting.pop()
        if number[node] < 0:
            number[node] = len(order)
            order.append(node)
            if link >= 0:
                in_tree[link], parent[node] = True, sum_of_ends[link] - node
            waiting += [(sum_of_ends[other] - node, other) for other in at[node]]

    numbers = np.array(number, np.int64)
    later = np.where(numbers[links[0]] > numbers[links[1]], links[0], links[1])
    low = numbers.copy()  # the first node that is reached from a node or below it over one link outside of the tree
    np.minimum.at(low, later[~in_tree], numbers[links.sum(axis=0) - later][~in_tree])
    for node in reversed(order):
        if parent[node] >= 0:
            low[parent[node]] = min(low[parent[node]], low[node])
    block = list(range(n))
    for node in order:
        if parent[node] >= 0 and low[node] < number[parent[node]]:
            block[node] = block[parent[node]]
    return np.array(block, np.int64)[later]


def paired_iou(box_a: np.ndarray, box_b: np.ndarray) -> np.ndarray:
    """Intersection over union, row by row.

    Args:
        box_a, box_b: (P, 4) x, y, width, height in pixels.
    Returns:
        (P,) float64, 0 to 1; 0 where both boxes are empty, NaN where a box holds a NaN.
    """
    a, b = np.asarray(box_a, np.float64), np.asarray(box_b, np.float64)
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    either = np.prod(a[:, 2:], axis=1) + np.prod(b[:, 2:], axis=1) - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either != 0)
