"""Who must be the same person: tracks of one title in one place of one camera set-up. castmine's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from udfs.kernels.boxes import iou_by_pair


class MustLinks(NamedTuple):
    """Pairs of tracks that are one person, sorted by (track_a, track_b), each pair once with track_a < track_b."""

    track_a: NDArray[np.int64]  # (L,) int64
    track_b: NDArray[np.int64]  # (L,) int64
    score: NDArray[np.float32]  # (L,) float32, cosine of the two embeddings
    contradicted: NDArray[np.bool_]  # (L,) bool, see `find_contradicted`


def find_must_links(
    track_id: NDArray[np.integer],
    shot_id: NDArray[np.integer],
    thread_id: NDArray[np.integer],
    start_box: NDArray[np.floating],
    end_box: NDArray[np.floating],
    embedding: NDArray[np.floating],
    cannot_a: NDArray[np.integer],
    cannot_b: NDArray[np.integer],
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

    kept = (score >= min_cosine) & (iou_by_pair(end_box[a], start_box[b]) >= min_iou)
    ends = np.sort(np.stack([track_id[a[kept]], track_id[b[kept]]]).astype(np.int64), axis=0)
    order = np.lexsort((ends[1], ends[0]))
    track_a, track_b = ends[:, order]
    marks = find_contradicted(track_a, track_b, cannot_a, cannot_b)
    return MustLinks(track_a, track_b, score[kept][order].astype(np.float32), marks)


def _returns(
    rows: NDArray[np.intp],
    track_id: NDArray[np.integer],
    shot_id: NDArray[np.integer],
    thread_id: NDArray[np.integer],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The rows of each shot with those of the next shot of its thread, each side in order of track_id."""
    rows = rows[np.lexsort((track_id[rows], shot_id[rows], thread_id[rows]))]
    breaks = np.diff(thread_id[rows], prepend=-1).astype(bool) | np.diff(shot_id[rows], prepend=-1).astype(bool)
    shots = np.split(rows, np.flatnonzero(breaks)[1:]) if len(rows) else []
    for before, after in pairwise(shots):
        if thread_id[before[0]] == thread_id[after[0]]:
            yield before, after


def find_contradicted(
    must_a: NDArray[np.integer],
    must_b: NDArray[np.integer],
    cannot_a: NDArray[np.integer],
    cannot_b: NDArray[np.integer],
) -> NDArray[np.bool_]:
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


def _blocks(n: int, links: NDArray[np.integer]) -> NDArray[np.int64]:
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
