"""From the pieces of a film to its tracks and faces: join what a cut through a shot parted, number, summarise.

A film's faces are never in memory together: numbering needs one short row a track, and the faces then pass piece by
piece. Pieces are tables of `udfs.kernels.piece.SCHEMA`, in order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from udfs.kernels import quality

BOX = ["x", "y", "w", "h"]


class PieceTracks(NamedTuple):
    """What numbering needs of one piece.

    tracks: DataFrame indexed by local_id: first_frame, shot_id, x, y, n_detected (owned and seam).
    head, tail: detections (local_id, frame, x, y, w, h) near the piece's start, and those past its end.
    """

    tracks: pd.DataFrame
    head: pd.DataFrame
    tail: pd.DataFrame


def piece_tracks(faces: pd.DataFrame, start: int, end: int, seam: int) -> PieceTracks:
    """Reduce a piece that owns [start, end) to what numbering needs; `seam` frames of overlap on either side."""
    detected = faces[faces.detected]
    first = detected.sort_values(["local_id", "frame"]).groupby("local_id")
    tracks = first.first()[["frame", "shot_id", "x", "y"]].rename(columns={"frame": "first_frame"})
    tracks["n_detected"] = first.size()
    columns = ["local_id", "frame", *BOX]
    return PieceTracks(
        tracks,
        detected.loc[detected.frame < start + seam, columns],
        detected.loc[detected.frame >= end, columns],
    )


def number_tracks(pieces: list[PieceTracks], min_faces: int) -> list[pd.Series]:
    """The film's track_id of every track of every piece.

    Two tracks of neighbouring pieces are one where they hold the same detection (same frame, same box) in the overlap;
    each joins at most the one with which it shares most. Tracks are numbered from 0 by (first frame, x, y).

    Args:
        min_faces: tracks with fewer detections, after joining, are noise and get -1.
    Returns:
        One Series a piece: local_id -> track_id, int64.
    """
    if not pieces:
        return []
    parts = pd.concat([piece.tracks.assign(piece=i) for i, piece in enumerate(pieces)]).reset_index()
    parts = parts.set_index(["piece", "local_id"])
    node = pd.Series(np.arange(len(parts)), index=parts.index)
    edges = [
        (node[i, a], node[i + 1, b])
        for i in range(len(pieces) - 1)
        for a, b in _same_tracks(pieces[i].tail, pieces[i + 1].head)
    ]
    a, b = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(len(parts), len(parts)))
    whole = connected_components(graph, directed=False)[1] if len(parts) else np.zeros(0, int)
    seams = np.bincount(whole[a], minlength=whole.max(initial=-1) + 1) if len(a) else 0
    tracks = parts.assign(whole=whole).sort_values(["whole", "first_frame", "x", "y"]).groupby("whole")
    summary = tracks.first()[["first_frame", "x", "y"]]
    # a joined track's overlap is counted twice, once in each piece: harmless for a threshold of a few faces
    enough = (tracks.n_detected.sum() - seams) >= min_faces
    ranked = summary[enough].sort_values(["first_frame", "x", "y"])
    track_id = pd.Series(np.arange(len(ranked)), index=ranked.index).reindex(summary.index, fill_value=-1)
    parts["track_id"] = track_id.to_numpy()[whole] if len(parts) else np.zeros(0, np.int64)
    return [
        parts.loc[i].track_id if i in parts.index.levels[0] else pd.Series(dtype=np.int64) for i in range(len(pieces))
    ]


def track_faces(
    pieces: Iterable[pd.DataFrame], numbers: list[pd.Series], ends: list[int], times: np.ndarray
) -> Iterator[pd.DataFrame]:
    """The film's faces, piece by piece, ordered by (track_id, frame) inside each.

    Rows past a piece's end are the next piece's, but for those bridged up to that piece's first sight of the track.

    Args:
        pieces: tables of SCHEMA as DataFrames. numbers: from `number_tracks`. ends: each piece's end frame.
        times: (n_frames + 1,) seconds of each frame.
    Yields:
        SCHEMA's columns with track_id and time_s in the place of local_id.
    """
    waiting: pd.DataFrame | None = None  # rows past the last end, which may bridge into this piece
    for faces, number, end in zip(pieces, numbers, ends, strict=True):
        rows = faces.assign(track_id=faces.local_id.map(number).fillna(-1).astype(np.int64))
        rows = rows[rows.track_id >= 0]
        owned = rows[rows.frame < end]
        if waiting is not None and len(waiting):
            first = owned.groupby("track_id").frame.min()
            starts = waiting.track_id.map(first)
            owned = pd.concat([waiting[waiting.frame < starts], owned])
        waiting = rows[rows.frame >= end]
        ordered = owned.sort_values(["track_id", "frame"]).drop(columns="local_id")
        yield ordered.assign(time_s=times[ordered.frame.to_numpy(int)])


def summarise_tracks(pieces: Iterable[pd.DataFrame], times: np.ndarray) -> Iterator[pd.DataFrame]:
    """Rows of `tracks` from the faces of `track_faces`, each as soon as its track has ended.

    Memory: the faces of one piece and of the tracks that go on into the next.
    """
    open_faces: pd.DataFrame | None = None
    for faces in pieces:
        rows = faces if open_faces is None else pd.concat([open_faces, faces])
        last = faces.groupby("track_id").frame.max()
        newest = last.max() if len(last) else -1
        # a track that reaches the newest frames may go on in the next piece; what does not, cannot
        going_on = rows.track_id.isin(last[last >= newest - 1].index)
        yield _summary(rows[~going_on], times)
        open_faces = rows[going_on]
    if open_faces is not None:
        yield _summary(open_faces, times)


def film_warning(index_warning: str | None, n_wanted: int, n_decoded: int) -> str | None:
    """What is incomplete about a film: from its index, or because frames did not decode. null when nothing."""
    lost = n_wanted - n_decoded
    said = [index_warning] if index_warning else []
    if lost > 0:
        said.append(f"{lost} of {n_wanted} frames looked at did not decode")
    return "; ".join(said) or None


def _same_tracks(tail: pd.DataFrame, head: pd.DataFrame) -> list[tuple[int, int]]:
    shared = tail.merge(head, on=["frame", *BOX], suffixes=("_a", "_b"))
    counts = shared.groupby(["local_id_a", "local_id_b"]).size().rename("n").reset_index()
    counts = counts.sort_values(["n", "local_id_a", "local_id_b"], ascending=[False, True, True])
    pairs, used_a, used_b = [], set(), set()
    for a, b, _ in counts.itertuples(index=False):
        if a not in used_a and b not in used_b:
            pairs.append((a, b))
            used_a.add(a)
            used_b.add(b)
    return pairs


def _summary(faces: pd.DataFrame, times: np.ndarray) -> pd.DataFrame:
    rows = [_track_row(int(track_id), rows, times) for track_id, rows in faces.groupby("track_id", sort=True)]
    return pd.DataFrame(rows)


def _track_row(track_id: int, faces: pd.DataFrame, times: np.ndarray) -> dict[str, object]:
    seen = faces[faces.detected]
    looks = quality.Looks(*(seen[name].to_numpy(np.float32) for name in quality.Looks._fields))
    embeddings = seen.embedding[seen.embedding.notna()]
    pictures = seen[seen.thumbnail.notna()]
    start, end = int(faces.frame.iloc[0]), int(faces.frame.iloc[-1]) + 1
    return {
        "track_id": track_id,
        "shot_id": int(faces.shot_id.iloc[0]),
        "start_frame": start,
        "end_frame": end,
        "start_s": times[start],
        "end_s": times[end],
        "n_faces": len(seen),
        "n_embedded": len(embeddings),
        "face_px": float(np.median(looks.size_px)),
        "quality": quality.track_quality(seen.quality.to_numpy(np.float32)),
        "flags": quality.track_flags(looks),
        "embedding": _unit_mean(embeddings),
        "thumbnail": pictures.thumbnail.iloc[int(np.argmax(pictures.quality.to_numpy()))] if len(pictures) else None,
    }


def _unit_mean(embeddings: pd.Series) -> np.ndarray | None:
    if not len(embeddings):
        return None
    mean = np.mean(np.stack(embeddings.to_list()).astype(np.float64), axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
