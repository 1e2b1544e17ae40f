"""One piece of a film: its frames in, the faces of its tracks out. The place where detection, tracking, quality and
embedding meet; everything that looks at pixels is here, so that a film is decoded once for all of them.

Where a piece was cut inside a shot, it looks on to `overlap_end`: the tracks of two pieces are one where they hold the
very same detection there (`assemble`). The frames of the overlap are then its own, not the next one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.kernels.harvest import quality
from udfs.kernels.harvest import tracker as track
from udfs.kernels.harvest.networks import Faces, align
from udfs.kernels.harvest.video import Frame

JPEG_QUALITY = 85
EMBED_AT_ONCE = 64  # crops; more are never held back
BATCH_BYTES = 1 << 28  # of frames that wait for the detector; a single larger one is a batch of its own

SCHEMA = pa.schema(
    [
        ("local_id", pa.int32()),  # the track inside this piece
        ("shot_id", pa.int32()),
        ("frame", pa.int32()),
        ("detected", pa.bool_()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("w", pa.float32()),
        ("h", pa.float32()),
        ("score", pa.float32()),
        ("landmarks", pa.list_(pa.float32())),
        ("embedding", pa.list_(pa.float32())),
        ("embedding_norm", pa.float32()),
        ("quality", pa.float32()),
        *((name, pa.float32()) for name in quality.Measures._fields if name != "score"),
        ("thumbnail", pa.binary()),  # of the track's best face in this piece, else null
    ]
)


@dataclass(frozen=True)
class Rules:
    """Settings of `conf.settings.HarvestSettings` in frames and pixels of one film."""

    stride: int
    low_score: float
    min_score: float
    min_face_px: float
    max_gap: int
    embed_every: float  # frames, as a film of even rate would have them
    thumbnail_px: int
    batch: int


class Shot(NamedTuple):
    """The part of a shot that a piece looks at: [start, end), of the shot that begins at frame `begins`."""

    shot_id: int
    begins: int
    start: int
    end: int
    ends: bool  # whether the shot ends with this part


class _Found(NamedTuple):
    """Faces of one frame: see `Detections`; crops (n, 112, 112, 3) uint8; height and width of the picture."""

    frame: int
    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    landmarks: NDArray[np.floating]
    crops: NDArray[np.uint8]
    picture: tuple[int, int]


class Cut(NamedTuple):
    """A piece of work: the frames [start, end), and on to `overlap_end` (= end where it ends with a shot)."""

    start: int
    end: int
    overlap_end: int


def cut_pieces(
    shot_start: NDArray[np.integer],
    shot_end: NDArray[np.integer],
    key_frames: NDArray[np.integer],
    piece: int,
    longest: int,
    overlap: int,
) -> list[Cut]:
    """Cut a film into pieces of about `piece` frames, between shots; inside one only where it is longer than `longest`.

    The cuts depend on the film and these numbers alone. A long shot is cut at key frames, so that no frame is decoded
    twice but those of the overlap; where key frames are rare, a part may be longer than `longest`.
    """
    cuts: list[Cut] = []
    begin = 0
    for start, end in zip(shot_start.tolist(), shot_end.tolist(), strict=True):
        if end - start > longest:
            if start > begin:
                cuts.append(Cut(begin, start, start))
            at = start
            for key in key_frames[(key_frames > start) & (key_frames < end - piece // 2)].tolist():
                if key - at >= piece:
                    cuts.append(Cut(at, key, min(key + overlap, end)))
                    at = key
            cuts.append(Cut(at, end, end))
            begin = end
        elif end - begin >= piece:
            cuts.append(Cut(begin, end, end))
            begin = end
    if len(shot_end) and begin < shot_end[-1]:
        cuts.append(Cut(begin, int(shot_end[-1]), int(shot_end[-1])))
    return cuts


def shots_in(cut: Cut, shot_start: NDArray[np.integer], shot_end: NDArray[np.integer]) -> list[Shot]:
    """The shots, or parts of one, that a piece looks at; the overlap belongs to its last one."""
    inside = np.flatnonzero((shot_start < cut.end) & (shot_end > cut.start))
    return [
        Shot(
            int(i),
            int(shot_start[i]),
            max(int(shot_start[i]), cut.start),
            min(int(shot_end[i]), cut.overlap_end),
            int(shot_end[i]) <= cut.overlap_end,
        )
        for i in inside
    ]


def frames_to_detect(shot: Shot, stride: int) -> NDArray[np.int64]:
    """Every `stride`-th frame from where the shot begins (not the piece: two pieces must agree), and its last one."""
    first = shot.begins + -(-(shot.start - shot.begins) // stride) * stride
    wanted = np.arange(first, shot.end, stride, dtype=np.int32)
    return np.union1d(wanted, [shot.end - 1] if shot.ends else []).astype(np.int32)


def piece_faces(frames: Iterable[Frame], shots: list[Shot], models: Faces, rules: Rules) -> pa.Table:
    """Detect, track and embed the faces of one piece.

    Args:
        frames: those of `frames_to_detect` of all the shots that decode, in order.
        shots: in order.
    Returns:
        Rows of SCHEMA ordered by local_id and frame. Memory: a batch of frames, one face crop (37 kB) a track, and
        `EMBED_AT_ONCE` more.
    """
    found = _find_faces(frames, models, rules)
    tables, next_id = [], 0
    which = {int(frame): i for i, shot in enumerate(shots) for frame in frames_to_detect(shot, rules.stride)}
    for index, group in groupby(found, key=lambda f: which[f.frame]):
        rows = shot_faces(group, shots[index].shot_id, next_id, models, rules)
        next_id += len(set(rows.column("local_id").to_pylist()))
        tables.append(rows)
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _find_faces(frames: Iterable[Frame], models: Faces, rules: Rules) -> Iterator[_Found]:
    for batch in batch_frames(frames, rules.batch):
        for frame, faces in zip(batch, models.detect([f.image for f in batch]), strict=True):
            keep = (faces.scores >= rules.low_score) & (
                faces.boxes[:, 2:].min(axis=1, initial=np.inf) >= rules.min_face_px
            )
            landmarks, (height, width) = faces.landmarks[keep], frame.image.shape[:2]
            crops = align(frame.image, landmarks)
            yield _Found(frame.number, faces.boxes[keep], faces.scores[keep], landmarks, crops, (height, width))


def batch_frames(frames: Iterable[Frame], most: int) -> Iterator[list[Frame]]:
    """Frames in batches of at most `most`, and of BATCH_BYTES unless one alone is larger."""
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == most or len(batch) * frame.image.nbytes + frame.image.nbytes > BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def shot_faces(found: Iterable[_Found], shot_id: int, first_id: int, models: Faces, rules: Rules) -> pa.Table:
    tracker = track.ShotTracker(rules.min_score, rules.max_gap)
    samples = _Samples(models, rules.embed_every)
    offsets, count = {}, 0
    qualities, measures, landmarks = [], [], []
    for faces in found:
        offsets[faces.frame] = count
        measured = quality.measure_faces(faces.crops, faces.boxes, faces.landmarks, faces.scores, faces.picture)
        quality_of = quality.face_quality(measured)
        ids = tracker.step(faces.frame, faces.boxes, faces.scores, track.describe_appearance(faces.crops))
        samples.add(faces.frame, ids, quality_of, faces.crops, count)
        qualities.append(quality_of)
        measures.append(measured)
        landmarks.append(faces.landmarks.reshape(-1, 10))
        count += len(faces.boxes)
    tracked = tracker.finish(offsets)
    if not len(tracked.track):
        return SCHEMA.empty_table()
    detection, seen = tracked.detection, tracked.detection >= 0
    ids, local = np.unique(tracked.track, return_inverse=True)
    (embeddings, norms), thumbnails = samples.embeddings(), samples.thumbnails(rules.thumbnail_px)
    points = np.concatenate(landmarks)
    measured = quality.Measures(*(np.concatenate(values) for values in zip(*measures, strict=True)))
    columns = {
        "local_id": (first_id + local).astype(np.int32),
        "shot_id": np.full(len(local), shot_id, np.int32),
        "frame": tracked.frame,
        "detected": seen,
        **dict(zip("xywh", tracked.box.T, strict=True)),
        "landmarks": pa.array(
            [row if s else None for row, s in zip(points[detection].tolist(), seen, strict=True)],
            pa.list_(pa.float32()),
        ),
        "embedding": pa.array([embeddings.get(d) for d in detection.tolist()], pa.list_(pa.float32())),
        "embedding_norm": pa.array([norms.get(d) for d in detection.tolist()], pa.float32()),
        "quality": _where_seen(np.concatenate(qualities), detection),
        **{name: _where_seen(values, detection) for name, values in measured._asdict().items()},
        "thumbnail": pa.array([thumbnails.get(d) for d in detection.tolist()], pa.binary()),
    }
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


class _Sample(NamedTuple):
    quality_of: float
    detection: int
    crop: NDArray[np.uint8]


class _Samples:
    """The best face of each track in each window of `every` frames, embedded soon after the window is over.

    The earliest of equals. Of a track's crops only the very best is kept, for its thumbnail.
    """

    def __init__(self, models: Faces, every: float):
        self._models, self._every = models, every
        self._window = 0
        self._of_window: dict[int, _Sample] = {}
        self._of_track: dict[int, _Sample] = {}
        self._waiting: list[_Sample] = []
        self._embeddings: dict[int, NDArray[np.float32]] = {}
        self._norms: dict[int, float] = {}

    def add(
        self,
        frame: int,
        ids: NDArray[np.integer],
        quality_of: NDArray[np.floating],
        crops: NDArray[np.uint8],
        first_detection: int,
    ) -> None:
        """The faces of the next frame: their tracks (-1: none), qualities and crops."""
        if (window := int(frame / self._every)) > self._window:
            self._close_window()
            self._window = window
        for i in np.flatnonzero(ids >= 0):
            for held in (self._of_window, self._of_track):
                if ids[i] not in held or quality_of[i] > held[ids[i]].quality_of:
                    held[int(ids[i])] = _Sample(float(quality_of[i]), first_detection + int(i), crops[i].copy())

    def embeddings(self) -> tuple[dict[int, NDArray[np.float32]], dict[int, float]]:
        """(dim,) float32 rows and their lengths (`Embedded`) by detection, after the last frame."""
        self._close_window()
        self._embed()
        return self._embeddings, self._norms

    def thumbnails(self, side: int) -> dict[int, bytes]:
        """JPEG of the best face of each track, by detection."""
        return {best.detection: _jpeg(best.crop, side) for best in self._of_track.values()}

    def _close_window(self) -> None:
        self._waiting += self._of_window.values()
        self._of_window = {}
        if len(self._waiting) >= EMBED_AT_ONCE:
            self._embed()

    def _embed(self) -> None:
        if self._waiting:
            crops = np.stack([sample.crop for sample in self._waiting])
            detections = [sample.detection for sample in self._waiting]
            embedded = self._models.embed(crops)
            self._embeddings.update(zip(detections, embedded.rows, strict=True))
            self._norms.update(zip(detections, embedded.norm.tolist(), strict=True))
            self._waiting = []


def _jpeg(crop: NDArray[np.uint8], side: int) -> bytes:
    resized = crop if side == crop.shape[0] else cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def _where_seen(values: NDArray[np.floating], detection: NDArray[np.integer]) -> pa.Array:
    return pa.array(values[detection].astype(np.float32), pa.float32(), mask=detection < 0)
