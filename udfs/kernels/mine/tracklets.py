"""Algorithm 1: hard-positive and hard-negative tracklets, the free supervision in one title's tracks.

Source: Algorithm 1 of MvCorr (Somandepalli et al., 2021, III-C), read so: exactly M tracklets a track, Euclidean
distance of unit vectors, the anchor face at the earlier end of the farthest pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# The k nearest faces are found by looking at all that are left. The paper searches a KD-tree; one query a round never
# pays for building it: with D = 512, k = N / 3, on one core, it took 6 times as long at N = 16, 9 at 256, 20 at 2,000.


_DECIMALS = 9  # two distances that agree to so many decimals are tied
_BLOCK = 512  # rows of a distance matrix held at once


class Tracklets(NamedTuple):
    """Groups of faces of one track in rank order."""

    embedding: NDArray[np.float32]  # (M, D) float32, unit mean of the unit rows of a tracklet's faces
    frames: NDArray[np.int32]  # (M, k) int32, frames of a tracklet's faces, ascending
    distance: NDArray[
        np.float32
    ]  # (M,) float32, 0 to 2, from the anchor tracklet (rank 0); NaN where there is no anchor


class TrackletRows(NamedTuple):
    """Tracklets of a title, sorted by (track_id, rank)."""

    track_id: NDArray[np.int64]  # (R,) int64
    rank: NDArray[np.int32]  # (R,) int32, from 0 in each track
    role: NDArray[np.str_]  # (R,) str: anchor (rank 0), hard_positive; face where the track is too short to segment
    frames: list[NDArray[np.int32]]  # R arrays of int32, ascending
    embedding: NDArray[np.float32]  # (R, D) float32, unit rows
    distance: NDArray[np.float32]  # (R,) float32, from the track's anchor; NaN for role face


class HardNegativeRows(NamedTuple):
    """One row for each track that has an anchor and a partner with faces, sorted by track_id."""

    track_id: NDArray[np.int64]  # (Q,) int64
    negative_track_id: NDArray[np.int64]  # (Q,) int64
    negative_rank: NDArray[np.int32]  # (Q,) int32, rank of the tracklet in its track
    embedding: NDArray[np.float32]  # (Q, D) float32, of that tracklet
    distance: NDArray[np.float32]  # (Q,) float32, 0 to 2, from the anchor tracklet


def segment(embeddings: NDArray[np.floating], frames: NDArray[np.integer], M: int) -> Tracklets | None:
    """M groups of k = N // M faces of one track, mutually unlike (Algorithm 1).

    The anchor face is the earlier face of the farthest pair. Rank 0 holds the k faces nearest to it; rank r takes, of
    the faces still left, the one farthest from the anchor face and its k nearest. N - M * k faces stay unused.
    Distances are compared rounded to 9 decimals, ties go to the earlier frame.

    Args:
        embeddings: (N, D) float32, rows of any length above 0; only their directions count.
        frames: (N,) int32, one face a frame; rows in any order.
        M: tracklets, 2 or more.
    Returns:
        The tracklets, or None where N < M. A tracklet whose faces cancel out is given the row of its first-chosen face.
    Raises:
        ValueError: M < 2, unequal lengths, a repeated frame, a row that is zero or not finite.

    Cost O(N^2 D) time for the farthest pair, O(M N D) for the rest; memory O(N D + 512 N).
    """
    if M < 2:
        raise ValueError(f"M is {M}; an anchor and a positive are at least 2 tracklets")
    unit, frames = _in_frame_order(embeddings, frames)
    if len(unit) < M:
        return None
    k = len(unit) // M
    anchor = _farthest_pair(unit)[0]
    left = np.arange(len(unit))
    means, groups = np.empty((M, unit.shape[1])), np.empty((M, k), np.intp)
    for rank in range(M):
        seed = left[np.argmax(_distances(unit[anchor], unit[left]))] if rank else anchor
        near = _nearest(unit[seed], unit[left], k)
        groups[rank] = left[near]
        means[rank] = _unit_mean(unit[groups[rank]], unit[seed])
        left = np.delete(left, near)
    embedding = means.astype(np.float32)
    return Tracklets(embedding, frames[groups], _distances(embedding[0], embedding).astype(np.float32))


def partner_tracklets(embeddings: NDArray[np.floating], frames: NDArray[np.integer], M: int) -> Tracklets:
    """What a track offers its partners as negatives: its tracklets, or each face alone where it has fewer than M.

    Arguments, errors and cost as for `segment`. Faces alone are ranked in frame order and have no anchor; N = 0 gives
    no tracklets.
    """
    segmented = segment(embeddings, frames, M)
    if segmented is not None:
        return segmented
    unit, frames = _in_frame_order(embeddings, frames)
    return Tracklets(unit.astype(np.float32), frames[:, None], np.full(len(unit), np.nan, np.float32))


def mine_title(
    track_id: NDArray[np.integer],
    frame: NDArray[np.integer],
    embedding: NDArray[np.floating],
    track_a: NDArray[np.integer],
    track_b: NDArray[np.integer],
    M: int,
) -> tuple[TrackletRows, HardNegativeRows]:
    """Tracklets of every track of a title, and the hard negative of every anchor (Algorithm 1).

    Each track is segmented once. The hard negative of an anchor is, of all tracklets of all tracks that its track is
    cannot-linked to, the one closest to the anchor tracklet; ties by (distance to 9 decimals, track_id, rank).

    Args:
        track_id, frame: (F,) int64 and int32, the embedded faces of the title, in any order.
        embedding: (F, D) float32, rows of any length above 0.
        track_a, track_b: (L,) int64, cannot-links; a track without an embedded face has no tracklets to offer.
        M: tracklets of a track, 2 or more.
    Returns:
        (tracklets, hard negatives). A track with fewer than M faces has `face` rows and no hard negative, though it may
        be one; a track without partners has no hard negative. F = 0 gives no rows. Distances are those between the
        float32 rows returned, so they can be checked from the tables; no row order of the input has an influence.
    Raises:
        ValueError: as `segment`, and a track cannot-linked to itself.

    Cost O(sum of N^2 D) over tracks of N faces, and O(D) for each pair of an anchor and a partner's tracklet.
    """
    if not len(track_id) == len(frame) == len(embedding):
        raise ValueError(f"{len(track_id)} track ids, {len(frame)} frames, {len(embedding)} rows: one of each per face")
    if np.any(track_a == track_b):
        raise ValueError("a track is cannot-linked to itself")
    order = np.argsort(track_id, kind="stable")
    tracks, starts = np.unique(track_id[order], return_index=True)
    faces = np.split(order, starts[1:]) if len(tracks) else []
    mined = [partner_tracklets(embedding[rows], frame[rows], M) for rows in faces]
    tracklets = _flat(tracks, mined, embedding.shape[1])
    return tracklets, _hard_negatives(tracklets, _partners(tracks, track_a, track_b))


def _in_frame_order(
    embeddings: NDArray[np.floating], frames: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """(N, D) float64 unit rows and (N,) int32 frames, both in frame order."""
    if len(embeddings) != len(frames):
        raise ValueError(f"{len(embeddings)} embeddings and {len(frames)} frames: one of each per face")
    order = np.argsort(frames, kind="stable")
    rows, ordered = embeddings[order].astype(np.float64), frames[order].astype(np.int32)
    if np.any(np.diff(ordered) == 0):
        raise ValueError("a track has one face a frame, but a frame is repeated")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(length) & (length > 0)):
        raise ValueError("an embedding is zero or not finite; give only the faces that have one")
    return rows / length, ordered


def _distances(point: NDArray[np.floating], rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) Euclidean distances as they are compared: from differences, as a dot product is off by 1e-8 near 0."""
    return np.round(cdist(point[None], rows)[0], _DECIMALS)


def _farthest_pair(unit: NDArray[np.floating]) -> tuple[int, int]:
    """(a, b): the farthest two of (N, D) unit rows, N >= 2; of tied pairs the first in row order.

    A matrix product in single precision finds the rows that can be an end of it; only these are compared exactly. All
    rows can be, and all are, where all pairs are tied.
    """
    rows = unit.astype(np.float32)
    lowest = np.concatenate([(rows[at : at + _BLOCK] @ rows.T).min(axis=1) for at in range(0, len(rows), _BLOCK)])
    # d^2 = 2 - 2 cosine and d <= 2: distances tied at 9 decimals have cosines within 2e-9, rounding errors apart, which
    # for D products of unit rows stay below (D + 2) * 2**-24 on each side
    ends = np.flatnonzero(lowest <= lowest.min() + 2e-9 + 2 * (unit.shape[1] + 2) * 2.0**-24)
    a, b, farthest = 0, 1, 0.0
    for at in range(0, len(ends), _BLOCK):
        exact = np.round(cdist(unit[ends[at : at + _BLOCK]], unit), _DECIMALS)
        row, column = divmod(int(exact.argmax()), len(unit))
        if exact[row, column] > farthest:
            a, b, farthest = int(ends[at + row]), column, exact[row, column]
    return a, b


def _nearest(point: NDArray[np.floating], rows: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """(k,) ascending numbers of the k rows nearest to `point`, 1 <= k <= N; of tied rows the first are taken."""
    return np.sort(np.argsort(_distances(point, rows), kind="stable")[:k])


def _unit_mean(rows: NDArray[np.floating], fallback: NDArray[np.floating]) -> NDArray[np.floating]:
    mean = rows.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-9 else fallback


def _flat(tracks: NDArray[np.integer], mined: list[Tracklets], D: int) -> TrackletRows:
    count = np.array([len(found.frames) for found in mined], np.intp)
    rank = np.concatenate([np.zeros(0, np.int32), *(np.arange(n, dtype=np.int32) for n in count)])
    distance = np.concatenate([np.zeros(0, np.float32), *(found.distance for found in mined)])
    return TrackletRows(
        track_id=np.repeat(tracks.astype(np.int64), count),
        rank=rank,
        role=np.where(np.isnan(distance), "face", np.where(rank == 0, "anchor", "hard_positive")),
        frames=[frames for found in mined for frames in found.frames],
        embedding=np.concatenate([np.zeros((0, D), np.float32), *(found.embedding for found in mined)]),
        distance=distance,
    )


def _partners(
    tracks: NDArray[np.integer], track_a: NDArray[np.integer], track_b: NDArray[np.integer]
) -> dict[int, NDArray[np.integer]]:
    """For each of `tracks` with partners among them, those partners: ascending, each once."""
    known = np.isin(track_a, tracks) & np.isin(track_b, tracks)
    a, b = track_a[known], track_b[known]
    pairs = np.unique(np.stack([np.concatenate([a, b]), np.concatenate([b, a])], axis=1), axis=0)
    owners, starts = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(owners.tolist(), np.split(pairs[:, 1], starts[1:]), strict=False))


def _hard_negatives(tracklets: TrackletRows, partners: dict[int, NDArray[np.integer]]) -> HardNegativeRows:
    anchors = [row for row in np.flatnonzero(tracklets.role == "anchor") if int(tracklets.track_id[row]) in partners]
    chosen, distance = np.empty(len(anchors), np.intp), np.empty(len(anchors), np.float32)
    for place, anchor in enumerate(anchors):
        tracks = partners[int(tracklets.track_id[anchor])]
        first, last = (np.searchsorted(tracklets.track_id, tracks, side) for side in ("left", "right"))
        rows = np.concatenate([np.arange(*span) for span in zip(first, last, strict=True)])
        away = _distances(tracklets.embedding[anchor], tracklets.embedding[rows])
        chosen[place], distance[place] = rows[away.argmin()], away.min()  # rows are in order of (track_id, rank)
    return HardNegativeRows(
        track_id=tracklets.track_id[anchors],
        negative_track_id=tracklets.track_id[chosen],
        negative_rank=tracklets.rank[chosen],
        embedding=tracklets.embedding[chosen],
        distance=distance,
    )
