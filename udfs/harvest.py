"""What `harvest` runs in executors: films to shots, tracks and faces, a range of frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.catalog import table
from conf.errors import FilmError
from conf.files import content_hash
from conf.ids import stable_id
from conf.settings import HarvestSettings
from conf.table import unwritten
from udfs import assets
from udfs.batches import one_row, rows_of
from udfs.face_models import face_models
from udfs.kernels.boxes import BOX
from udfs.kernels.harvest import assemble, piece, shots, video
from udfs.staging import FilmFiles, read_index, read_scan, write_index, write_scan, write_table

SCAN_S, SCAN_FRAMES = 60.0, 1440  # seconds of film in one scanned range, and the least frames of it
LEAST_PIECE = 100  # frames of a piece, however few a second has: each piece opens the film anew

OF_FILM = dict(
    codec="STRING", width="INT", height="INT", rotation="INT", mirrored="BOOLEAN", n_frames="INT", fps="DOUBLE",
    duration_s="DOUBLE", start_s="DOUBLE", missing="DOUBLE", warning="STRING",
)  # fmt: skip
TO_PROBE = unwritten(title_id="STRING", uri="STRING", content_hash="STRING")
PROBED = unwritten(title_id="STRING", film_key="STRING", content_hash="STRING", **OF_FILM, error="STRING")
TO_SCAN = unwritten(title_id="STRING", uri="STRING", film_key="STRING", start="INT", end="INT")
TO_PLAN = unwritten(title_id="STRING", film_key="STRING")
TO_HARVEST = unwritten(title_id="STRING", uri="STRING", film_key="STRING", start="INT", end="INT", overlap_end="INT")
STAGED = unwritten(title_id="STRING", start="INT", frames="INT", error="STRING")
PLANNED = unwritten(title_id="STRING", start="INT", end="INT", overlap_end="INT")
COUNTED = unwritten(title_id="STRING", wanted="INT", decoded="INT", missing="DOUBLE")


def probe_films(
    batches: Iterator[pd.DataFrame], staging: str, version: str, max_pixels: int = video.MAX_PIXELS
) -> Iterator[pd.DataFrame]:
    """TO_PROBE (content_hash null where not known yet) -> PROBED, null but for the error of a film that cannot be read.

    Stages the index of each film's frames. `missing`: share of the film that is not there, as far as its packets tell.
    """
    for row in rows_of(batches):
        try:
            known = row.content_hash if isinstance(row.content_hash, str) else None
            film = video.probe(row.uri, max_pixels)
            content = known or content_hash(row.uri)
            key = stable_id(row.title_id, content, version)  # a second title of the same bytes is work of its own
            write_index(FilmFiles.of(staging, key), film)
            said = {name: getattr(film, name) for name in OF_FILM}
            yield one_row(PROBED, title_id=row.title_id, film_key=key, content_hash=content, **said)
        except FilmError as error:
            yield one_row(PROBED, title_id=row.title_id, error=str(error))


def scan_films(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """TO_SCAN -> STAGED, its error null where there was none; stages what the cut detector saw in each range."""
    cv2.setNumThreads(1)
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        try:
            if not files.scan(row.start).exists():
                film = read_index(files)
                lead = max(0, row.start - shots.SCAN_LEAD)
                seen = video.decode_frames(row.uri, film, lead, row.end, width=shots.SCAN_WIDTH)
                write_scan(files.scan(row.start), shots.scan_range(seen, row.start, settings.shot_threshold))
            yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=row.end - row.start)
        except FilmError as error:
            yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=0, error=str(error))


def plan_films(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """TO_PLAN -> PLANNED, one row a piece; stages each film's shots."""
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        film = read_index(files)
        scans = [(start, read_scan(file)) for start, file in files.scans().items()]
        found = shots.join_shots(
            scans,
            film.n_frames,
            max(1, round(settings.min_shot_s * film.fps)),
            settings.thread_shots,
            settings.thread_distance,
        )
        write_table(files.shots, pa.table(found._asdict()))
        cuts = piece.cut_pieces(
            found.start,
            found.end,
            film.key_frames,
            max(LEAST_PIECE, round(settings.piece_s * film.fps)),
            max(3 * LEAST_PIECE, round(settings.max_piece_s * film.fps)),
            _overlap_frames(film, settings),
        )
        yield pd.DataFrame([(row.title_id, *cut) for cut in cuts], columns=PLANNED.names)


def scan_ranges(n_frames: int, fps: float) -> list[tuple[int, int]]:
    """The ranges in which a film is scanned: [start, end) of a minute each, and never of a few frames."""
    step = max(SCAN_FRAMES, round(SCAN_S * fps))
    return [(start, min(start + step, n_frames)) for start in range(0, n_frames, step)]


def harvest_pieces(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """TO_HARVEST -> STAGED, its error null where there was none; stages the faces of each piece."""
    cv2.setNumThreads(1)
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        try:
            if not files.piece(row.start).exists():
                write_table(files.piece(row.start), _piece_table(row, files, settings))
            yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=row.end - row.start)
        except FilmError as error:
            yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=0, error=str(error))


def _piece_table(row: Any, files: FilmFiles, settings: HarvestSettings) -> pa.Table:
    film, cut = read_index(files), piece.Cut(row.start, row.end, row.overlap_end)
    found = pq.read_table(files.shots)
    parts = piece.shots_in(cut, found["start"].to_numpy(), found["end"].to_numpy())
    rules = _rules(film, settings)
    wanted = np.unique(np.concatenate([piece.frames_to_detect(part, rules.stride) for part in parts]))
    decoded = 0

    def counted() -> Iterator[video.Frame]:
        nonlocal decoded
        for frame in video.decode_frames(row.uri, film, cut.start, cut.overlap_end, wanted):
            decoded += 1
            yield frame

    table = piece.piece_faces(counted(), parts, face_models(settings), rules)
    said = {"end": str(cut.end), "wanted": str(len(wanted)), "decoded": str(decoded)}
    return table.replace_schema_metadata(said)


def _rules(film: video.Film, settings: HarvestSettings) -> piece.Rules:
    return piece.Rules(
        stride=video.detect_stride(film.fps, settings.detect_fps),
        low_score=settings.low_score,
        min_score=settings.min_score,
        min_face_px=settings.min_face_px,
        max_gap=round(settings.max_gap_s * film.fps),
        embed_every=max(1.0, settings.embed_every_s * film.fps),
        thumbnail_px=settings.thumbnail_px,
        batch=settings.batch,
    )


def _overlap_frames(film: video.Film, settings: HarvestSettings) -> int:
    return max(1, round(settings.seam_s * film.fps))


def film_rows(
    batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings, name: str, run_id: str
) -> Iterator[pd.DataFrame]:
    """TO_PLAN -> the film's rows of the table `name`: shots, tracks or faces."""
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        film = read_index(files)
        made: Iterator[pd.DataFrame]
        if name == "shots":
            made = iter([shot_rows(film, files.shots)])
        else:
            faces = _film_faces(files, film, settings)
            norms = assets.embedder(settings.models).norms
            made = faces if name == "faces" else assemble.summarise_tracks(faces, film.times, norms)
        for rows in made:
            if len(rows):
                yield rows.assign(title_id=row.title_id, run_id=run_id)[table(name).names]


def film_counts(batches: Iterator[pd.DataFrame], staging: str) -> Iterator[pd.DataFrame]:
    """TO_PLAN -> COUNTED: frames looked at, those that decoded, and the share of the film that is not there."""
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        metadata = [pq.read_schema(file).metadata for file in files.pieces().values()]
        wanted, decoded = (sum(int(said[name]) for said in metadata) for name in (b"wanted", b"decoded"))
        missing = assemble.missing_share(read_index(files).missing, wanted, decoded)
        yield pd.DataFrame([(row.title_id, wanted, decoded, missing)], columns=COUNTED.names)


def _film_faces(files: FilmFiles, film: video.Film, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    light = ["local_id", "shot_id", "frame", "detected", *BOX]
    reduced = []
    for start, file in files.pieces().items():
        end = int(pq.read_schema(file).metadata[b"end"])
        rows = pq.read_table(file, columns=light).to_pandas()
        reduced.append(assemble.piece_tracks(rows, start, end, _overlap_frames(film, settings)))
    numbers = assemble.number_tracks(reduced, settings.min_track_faces)
    pieces = (pq.read_table(file).to_pandas() for file in files.pieces().values())
    return assemble.track_faces(pieces, numbers, film.times)


def shot_rows(film: video.Film, file: Path) -> pd.DataFrame:
    found = pq.read_table(file).to_pandas()
    return pd.DataFrame(
        {
            "shot_id": np.arange(len(found), dtype=np.int32),
            "start_frame": found.start,
            "end_frame": found.end,
            "start_s": film.times[found.start],
            "end_s": film.times[found.end],
            "thread_id": found.thread,
        }
    )
