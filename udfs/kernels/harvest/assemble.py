"""From the pieces of a film to its tracks and faces: join what a cut through a shot parted, number, summarise.

A film's faces are never in memory together: numbering needs one short row a track, and the faces then pass piece by
piece. Pieces are tables of `udfs.kernels.harvest.piece.SCHEMA`, in order of time.

Cutting a shot changes no box and no track, as long as the later tracker has settled within the overlap: a face that is
missed or only weakly seen through all of it becomes two tracks. Where an overlap ends, one window may have two
embedded faces instead of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.boxes import BOX
from udfs.kernels.harvest import quality


class PieceTracks(NamedTuple):
    """What numbering needs of one piece.

    Attributes:
        tracks: indexed by local_id: first_frame, last_frame, x, y (of the first detection), n_detected.
        head: detections (local_id, frame, x, y, w, h) in the overlap at the piece's start, with the first one of each
            track behind it.
        tail: those past the piece's end.
    """

    tracks: pd.DataFrame
    head: pd.DataFrame
    tail: pd.DataFrame


def piece_tracks(faces: pd.DataFrame, start: int, end: int, overlap: int) -> PieceTracks:
    """Reduce a piece that was cut at [start, end) to what numbering needs, with `overlap` frames on either side."""
    detected = faces[faces.detected].sort_values(["local_id", "frame"])
    of_track = detected.groupby("local_id")
    tracks = of_track[["frame", "x", "y"]].first().rename(columns={"frame": "first_frame"})
    tracks["last_frame"] = of_track.frame.max()
    tracks["n_detected"] = of_track.size()
    columns = ["local_id", "frame", *BOX]
    inside, behind = (
        detected[where] for where in (detected.frame < start + overlap, detected.frame >= start + overlap)
    )
    head = pd.concat([inside, behind.drop_duplicates("local_id")])
    return PieceTracks(tracks, head[columns], detected.loc[detected.frame >= end, columns])


def number_tracks(pieces: list[PieceTracks], min_faces: int) -> list[pd.DataFrame]:
    """The film's track_id of every track of every piece.

    In an overlap the earlier piece is believed: its tracker has followed the faces for long, the later one has just
    begun. Two tracks of neighbouring pieces are one where they hold the same detection (same frame, same box); each is
    joined with at most one, first those that share the latest detection. The later track's rows count from behind the
    last detection of the earlier one; where it was joined with none, from behind the last detection that it shares.
    Tracks are numbered from 0 by (first frame, x, y).

    Args:
        min_faces: tracks with fewer detections, after joining, are noise and get -1.
    Returns:
        One DataFrame a piece, by local_id: track_id int64; first_frame_kept, the first frame whose rows count;
        last_piece, the number of the last piece with rows of the track.
    """
    if not pieces:
        return []
    parts = pd.concat([piece.tracks for piece in pieces], keys=range(len(pieces)), names=["piece", "local_id"])
    parts["first_frame_kept"], parts["whole"] = 0, np.arange(len(parts))
    for i, (before, after) in enumerate(pairwise(pieces)):
        for a, b, shared, joined in _find_shared_detections(before.tail, after.head).itertuples(index=False):
            row, seen = (i + 1, b), after.head.frame[after.head.local_id == b]
            if joined:
                parts.loc[row, "whole"] = parts.whole[i, a]
                parts.loc[row, "first_frame_kept"] = before.tracks.last_frame[a] + 1
            else:
                parts.loc[row, "first_frame_kept"] = seen[seen > shared].min() if (seen > shared).any() else shared + 1
            parts.loc[row, "n_detected"] -= (seen < parts.first_frame_kept[row]).sum()
    parts = parts.reset_index()
    of_track = parts.sort_values(["whole", "piece"]).groupby("whole")
    summary = of_track[["first_frame", "x", "y"]].first()
    ranked = summary[of_track.n_detected.sum() >= min_faces].sort_values(["first_frame", "x", "y"])
    track_id = pd.Series(np.arange(len(ranked)), index=ranked.index)
    parts["track_id"] = parts.whole.map(track_id).fillna(-1).astype(np.int64)
    parts["last_piece"] = of_track.piece.max().reindex(parts.whole).to_numpy()
    columns = ["track_id", "first_frame_kept", "last_piece"]
    return [parts[parts.piece == i].set_index("local_id")[columns] for i in range(len(pieces))]


def track_faces(
    pieces: Iterable[pd.DataFrame], numbers: list[pd.DataFrame], times: NDArray[np.floating]
) -> Iterator[pd.DataFrame]:
    """The film's faces, piece by piece, ordered by (track_id, frame) inside each.

    Args:
        pieces: tables of SCHEMA as DataFrames. numbers: from `number_tracks`.
        times: (n_frames + 1,) seconds of each frame.
    Yields:
        SCHEMA's columns with track_id and time_s in the place of local_id, and last_piece of `number_tracks`.
    """
    for faces, number in zip(pieces, numbers, strict=True):
        rows = faces.join(number, on="local_id")
        rows = rows[(rows.track_id >= 0) & (rows.frame >= rows.first_frame_kept)]
        ordered = rows.sort_values(["track_id", "frame"]).drop(columns=["local_id", "first_frame_kept"])
        yield ordered.assign(time_s=times[ordered.frame.to_numpy(int)])


def summarise_tracks(
    pieces: Iterable[pd.DataFrame], times: NDArray[np.floating], norms: tuple[float, float] | None
) -> Iterator[pd.DataFrame]:
    """Rows of `tracks` from the faces of `track_faces`, each as soon as its track has ended.

    Args:
        norms: of the embedder, see `quality.track_quality`.

    Memory: the faces of one piece and of the tracks that go on into the next.
    """
    open_faces: pd.DataFrame | None = None
    for number, faces in enumerate(pieces):
        rows = faces if open_faces is None else pd.concat([open_faces, faces])
        going_on = rows.last_piece > number
        yield _summary(rows[~going_on], times, norms)
        open_faces = rows[going_on]


def film_warning(index_warning: str | None, n_wanted: int, n_decoded: int) -> str | None:
    """What is incomplete about a film: from its index, or because frames did not decode. null when nothing."""
    lost = n_wanted - n_decoded
    said = [index_warning] if index_warning else []
    if lost > 0:
        said.append(f"{lost} of {n_wanted} frames looked at did not decode")
    return "; ".join(said) or None


def missing_share(of_film: float, n_wanted: int, n_decoded: int) -> float:
    """The share of a film that is not there, 0 to 1: by its packets (`Film.missing`), and of these by what decoded."""
    return round(1 - (1 - of_film) * (n_decoded / n_wanted if n_wanted else 1.0), 6)


def film_status(missing: float, max_missing: float) -> str:
    """`partial` where more of a film is missing than `harvest.max_missing` allows, else `ok`."""
    return "partial" if missing > max_missing else "ok"


def _find_shared_detections(tail: pd.DataFrame, head: pd.DataFrame) -> pd.DataFrame:
    """before, after (local_ids), frame (of the last detection they share) and joined, one row a track after."""
    shared = tail.merge(head, on=["frame", *BOX], suffixes=("_a", "_b"))
    shared = shared.rename(columns={"local_id_a": "before", "local_id_b": "after"})[["before", "after", "frame"]]
    last = shared.sort_values(["frame", "before"], ascending=[False, True]).drop_duplicates("after")
    return last.assign(joined=~last.duplicated("before"))


def _summary(faces: pd.DataFrame, times: NDArray[np.floating], norms: tuple[float, float] | None) -> pd.DataFrame:
    rows = [
        summarise_track(int(track_id), rows, times, norms) for track_id, rows in faces.groupby("track_id", sort=True)
    ]
    return pd.DataFrame(rows)


def summarise_track(
    track_id: int, faces: pd.DataFrame, times: NDArray[np.floating], norms: tuple[float, float] | None
) -> dict[str, object]:
    seen = faces[faces.detected]
    measures = quality.Measures(*(seen[name].to_numpy(np.float32) for name in quality.Measures._fields))
    embedded = seen[seen.embedding.notna()]
    quality_of, norm = _quality_and_norm(embedded if len(embedded) else seen)
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
        "n_embedded": len(embedded),
        "face_px": float(np.median(measures.size_px)),
        "quality": quality.track_quality(quality_of, norm, norms if len(embedded) else None),
        "flags": quality.track_flags(measures),
        "quality_labels": quality.give_quality_labels(measures),
        "embedding": average_embeddings(embedded),
        "thumbnail": pictures.thumbnail.iloc[int(np.argmax(pictures.quality.to_numpy()))] if len(pictures) else None,
    }


def average_embeddings(faces: pd.DataFrame) -> NDArray[np.float32] | None:
    """The unit mean of their embeddings, each as long as the network made it and weighed by its face's quality.

    So a blurred face says less. None for none.
    """
    if not len(faces):
        return None
    quality_of, norm = _quality_and_norm(faces)
    weights = np.maximum(quality_of.astype(np.float64), quality.LEAST) * norm
    mean = np.average(np.stack(faces.embedding.to_list()).astype(np.float64), axis=0, weights=weights)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def _quality_and_norm(faces: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return faces.quality.to_numpy(np.float32), faces.embedding_norm.to_numpy(np.float32)
