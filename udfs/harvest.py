"""What `harvest` runs in executors: films to shots, tracks and faces, a range of frames at a time."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.errors import CastmineError, FilmError, LakeError
from conf.files import content_hash
from conf.ids import stable_id
from conf.places import for_arrow, locate
from conf.settings import HarvestSettings
from conf.table import unwritten
from udfs import assets
from udfs.batches import one_row, rows_of
from udfs.face_models import face_models
from udfs.films import at_hand
from udfs.kernels.boxes import BOX
from udfs.kernels.harvest import assemble, piece, shots, video
from udfs.staging import (
    FilmFiles,
    read_index,
    read_scan,
    read_table,
    stage_rows,
    table_file,
    write_index,
    write_scan,
    write_table,
    writing,
)

SCAN_S, SCAN_FRAMES = 60.0, 1440  # seconds of film in one scanned range, and the least frames of it
PIECE_FPS = 4.0  # pieces have as many frames as if a second had so many, at least: each piece opens the film anew

OF_FILM = dict(
    codec="STRING", width="INT", height="INT", rotation="INT", mirrored="BOOLEAN", n_frames="INT", fps="DOUBLE",
    duration_s="DOUBLE", start_s="DOUBLE", missing="DOUBLE", warning="STRING",
)  # fmt: skip
TO_HASH = unwritten(uri="STRING", number="INT")
HASHED = unwritten(uri="STRING", content_hash="STRING")
TO_PROBE = unwritten(title_id="STRING", uri="STRING", content_hash="STRING")
PROBED = unwritten(title_id="STRING", film_key="STRING", content_hash="STRING", **OF_FILM, error="STRING")
TO_SCAN = unwritten(title_id="STRING", uri="STRING", film_key="STRING", start="INT", end="INT")
TO_PLAN = unwritten(title_id="STRING", film_key="STRING")
TO_HARVEST = unwritten(title_id="STRING", uri="STRING", film_key="STRING", start="INT", end="INT", overlap_end="INT")
STAGED = unwritten(title_id="STRING", start="INT", frames="INT", error="STRING")
PLANNED = unwritten(title_id="STRING", start="INT", end="INT", overlap_end="INT", error="STRING")
ASSEMBLED = unwritten(
    title_id="STRING",
    shots="BIGINT",
    tracks="BIGINT",
    faces="BIGINT",
    wanted="INT",
    decoded="INT",
    missing="DOUBLE",
    error="STRING",
)

UNEXPECTED = "unexpected: "  # begins the errors that are not known to be the film's; it is tried again
DEATHS = 2  # of a worker over one piece of work, and it is left alone


def hash_files(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings
) -> Iterator[pd.DataFrame]:
    """TO_HASH -> HASHED, null of a file that cannot be read."""
    for row in rows_of(batches):
        with contextlib.suppress(FilmError, OSError), at_hand(row.uri, settings.film_disk_gb) as path:
            yield one_row(HASHED, uri=row.uri, content_hash=content_hash(path))


def probe_films(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings, version: str
) -> Iterator[pd.DataFrame]:
    """TO_PROBE (content_hash null where not known yet) -> PROBED, null but for the error of a film that cannot be read,
    and its content_hash where its bytes could be.

    Stages the index of each film's frames. `missing`: share of the film that is not there, as far as its packets tell.
    """
    for row in rows_of(batches):
        said: dict[str, Any] = {"title_id": row.title_id, "content_hash": row.content_hash or None}

        def probe(row: Any = row, said: dict[str, Any] = said) -> None:
            with at_hand(row.uri, settings.film_disk_gb) as path:
                film = video.probe(path, settings.max_pixels)  # first: it says more of what cannot be read
                said["content_hash"] = said["content_hash"] or content_hash(path)
            key = stable_id(row.title_id, said["content_hash"], version)  # a second title of the same bytes is its own
            write_index(FilmFiles.of(staging, key), film)
            said.update({name: getattr(film, name) for name in OF_FILM}, film_key=key)

        error = _guard(probe, staging, run_id, "probe", row.title_id, 0)
        yield one_row(PROBED, **said, error=error)


def scan_films(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings
) -> Iterator[pd.DataFrame]:
    """TO_SCAN -> STAGED, its error null where there was none; stages what the cut detector saw in each range."""
    cv2.setNumThreads(1)
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)

        def scan(row: Any = row, files: FilmFiles = files) -> None:
            film = read_index(files)
            lead = max(0, row.start - shots.SCAN_LEAD)
            with at_hand(row.uri, settings.film_disk_gb) as path:
                seen = video.decode_frames(path, film, lead, row.end, width=shots.SCAN_WIDTH)
                write_scan(files.scan(row.start), shots.scan_range(seen, row.start, settings.shot_threshold))

        there = files.scan(row.start).exists()
        error = None if there else _guard(scan, staging, run_id, "scan", row.title_id, row.start)
        yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=row.end - row.start, error=error)


def plan_films(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings
) -> Iterator[pd.DataFrame]:
    """TO_PLAN -> PLANNED, one row a piece, or one with the error of the film; stages each film's shots."""
    for row in rows_of(batches):
        cuts: list[piece.Cut] = []

        def plan(row: Any = row, cuts: list[piece.Cut] = cuts) -> None:
            files = FilmFiles.of(staging, row.film_key)
            cuts += _plan(files, read_index(files), settings)

        if error := _guard(plan, staging, run_id, "plan", row.title_id, 0):
            yield one_row(PLANNED, title_id=row.title_id, error=error)
        else:
            yield pd.DataFrame([(row.title_id, *cut, None) for cut in cuts], columns=PLANNED.names)


def _plan(files: FilmFiles, film: video.Film, settings: HarvestSettings) -> list[piece.Cut]:
    """The pieces in which a film is harvested; stages its shots."""
    scans = [(start, read_scan(files.scan(start))) for start, _ in scan_ranges(film.n_frames, film.fps)]
    found = shots.join_shots(
        scans,
        film.n_frames,
        max(1, round(settings.min_shot_s * film.fps)),
        settings.thread_shots,
        settings.thread_distance,
    )
    write_table(files.shots, pa.table(found._asdict()))
    return piece.cut_pieces(
        found.start,
        found.end,
        film.key_frames,
        round(settings.piece_s * max(film.fps, PIECE_FPS)),
        round(settings.max_piece_s * max(film.fps, PIECE_FPS)),
        _overlap_frames(film, settings),
    )


def scan_ranges(n_frames: int, fps: float) -> list[tuple[int, int]]:
    """The ranges in which a film is scanned: [start, end) of a minute each, and never of a few frames."""
    step = max(SCAN_FRAMES, round(SCAN_S * fps))
    return [(start, min(start + step, n_frames)) for start in range(0, n_frames, step)]


def harvest_pieces(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings
) -> Iterator[pd.DataFrame]:
    """TO_HARVEST -> STAGED, its error null where there was none; stages the faces of each piece."""
    cv2.setNumThreads(1)
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)

        def harvest(row: Any = row, files: FilmFiles = files) -> None:
            with at_hand(row.uri, settings.film_disk_gb) as path:
                write_table(files.piece(row.start), _piece_table(path, row, files, settings))

        there = files.piece(row.start).exists()
        error = None if there else _guard(harvest, staging, run_id, "piece", row.title_id, row.start)
        yield one_row(STAGED, title_id=row.title_id, start=row.start, frames=row.end - row.start, error=error)


def _guard(work: Callable[[], None], staging: str, run_id: str, step: str, title_id: str, start: int) -> str | None:
    """Do a piece of work; what was wrong with its film, None where nothing was. Nothing a film does ends the run.

    A worker that dies over it (no memory left, a decoder that crashes) leaves a mark behind; so a film that kills its
    workers is found out.

    Raises:
        CastmineError: it is the lake, the models or the GPU that is at fault.
    """
    marks = locate(staging) / run_id / "at_work"
    name = stable_id(step, title_id, start)
    if len(list(marks.glob(f"{name}-*"))) >= DEATHS:
        return f"{UNEXPECTED}{DEATHS} workers ended over it (out of memory?): {step} from frame {start} on"
    mark = marks / f"{name}-{secrets.token_hex(8)}"
    with writing(mark) as part:
        part.touch()
    try:
        work()
    except FilmError as error:
        return str(error)
    except CastmineError:
        raise
    except Exception as error:
        return f"{UNEXPECTED}{type(error).__name__}: {error}"
    finally:
        mark.unlink(missing_ok=True)
    return None


def _piece_table(path: str, row: Any, files: FilmFiles, settings: HarvestSettings) -> pa.Table:
    film, cut = read_index(files), piece.Cut(row.start, row.end, row.overlap_end)
    found = read_table(files.shots)
    parts = piece.shots_in(cut, found["start"].to_numpy(), found["end"].to_numpy())
    rules = _rules(film, settings)
    wanted = np.unique(np.concatenate([piece.frames_to_detect(part, rules.stride) for part in parts]))
    decoded = 0

    def counted() -> Iterator[video.Frame]:
        nonlocal decoded
        for frame in video.decode_frames(path, film, cut.start, cut.overlap_end, wanted):
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


def assemble_films(
    batches: Iterator[pd.DataFrame], staging: str, run_id: str, settings: HarvestSettings
) -> Iterator[pd.DataFrame]:
    """TO_PLAN -> ASSEMBLED: how many rows there are, of how many frames that were looked at how many decoded, and the
    share of the film that is not there.

    Stages the film's shots, tracks and faces.
    """
    for row in rows_of(batches):
        said: dict[str, Any] = dict.fromkeys(("shots", "tracks", "faces"), 0)

        def assemble_film(row: Any = row, said: dict[str, Any] = said) -> None:
            def staged(name: str, parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
                own = (rows.assign(title_id=row.title_id, run_id=run_id) for rows in parts)
                for rows in stage_rows(table_file(staging, run_id, name, row.title_id), name, own):
                    said[name] += len(rows)
                    yield rows

            files = FilmFiles.of(staging, row.film_key)
            film, norms = read_index(files), assets.embedder(settings.models).norms
            pieces = _read_pieces(files, film)
            looked = {name: sum(part.looked[name] for part in pieces) for name in ("wanted", "decoded")}
            if not looked["decoded"]:
                raise FilmError(f"none of the {looked['wanted']} frames looked at decodes: damaged, or encrypted")
            faces = staged("faces", _film_faces(pieces, film, settings))
            tracks = staged("tracks", assemble.summarise_tracks(faces, film.times, norms))
            for made in (tracks, staged("shots", iter([shot_rows(film, files.shots)]))):
                deque(made, maxlen=0)  # what is staged passes by
            said.update(looked, missing=assemble.missing_share(film.missing, *looked.values()))

        error = _guard(assemble_film, staging, run_id, "assemble", row.title_id, 0)
        yield one_row(ASSEMBLED, title_id=row.title_id, **said, error=error)


class _Piece(NamedTuple):
    """A staged piece: its frames [start, end), its file, and how many frames it looked at (`wanted`, `decoded`)."""

    start: int
    end: int
    file: Path
    looked: dict[str, int]


def _read_pieces(files: FilmFiles, film: video.Film) -> list[_Piece]:
    """The pieces of a film, in order.

    Raises:
        LakeError: they do not tile the film: some are gone.
    """
    pieces: list[_Piece] = []
    for start, file in files.pieces().items():
        said = pq.read_schema(for_arrow(file)).metadata
        looked = {name: int(said[name.encode()]) for name in ("wanted", "decoded")}
        pieces.append(_Piece(start, int(said[b"end"]), file, looked))
    ends = [0, *(piece.end for piece in pieces)]
    if [*(piece.start for piece in pieces), film.n_frames] != ends:
        raise LakeError(
            f"{files.folder}: pieces of the film are gone while castmine is at work; run the same command again"
        )
    return pieces


def _film_faces(pieces: list[_Piece], film: video.Film, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    light, overlap = ["local_id", "shot_id", "frame", "detected", *BOX], _overlap_frames(film, settings)
    reduced = [
        assemble.piece_tracks(read_table(part.file, light).to_pandas(), part.start, part.end, overlap)
        for part in pieces
    ]
    numbers = assemble.number_tracks(reduced, settings.min_track_faces)
    return assemble.track_faces((read_table(part.file).to_pandas() for part in pieces), numbers, film.times)


def shot_rows(film: video.Film, file: Path) -> pd.DataFrame:
    found = read_table(file).to_pandas()
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
