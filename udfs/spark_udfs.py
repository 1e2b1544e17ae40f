"""The one place where kernels become Spark UDFs. Everything runs in `mapInPandas` over rows of paths and ranges.

A film's work is staged as files under `<staging>/<film_key>/`, named by what they hold, written under another name and
then renamed: what exists is whole, and is not made again. Model sessions live once per Python worker.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.errors import FilmError, GpuUnavailable
from conf.ids import stable_id
from conf.settings import UNKNOWN_RATE, HarvestSettings
from conf.tables import table
from udfs import assets
from udfs.kernels.cluster import title as casting
from udfs.kernels.cluster.videoclusternet import within
from udfs.kernels.evaluate import errors
from udfs.kernels.evaluate import title as evaluation
from udfs.kernels.harvest import assemble, piece, shots, video
from udfs.kernels.harvest.networks import Faces, open_faces
from udfs.kernels.mine import links, tracklets
from udfs.kernels.mine import title as mining
from udfs.kernels.name import gallery, photographs
from udfs.kernels.report import contact_sheet, error_page

SCAN_S = 60.0  # seconds of film in one scanned range

PROBED = (
    "title_id STRING, film_key STRING, content_hash STRING, codec STRING, width INT, height INT, rotation INT, "
    "n_frames INT, fps DOUBLE, duration_s DOUBLE, warning STRING, error STRING"
)
STAGED = "title_id STRING, start INT, frames INT, error STRING"
PLANNED = "title_id STRING, start INT, end INT, seam_end INT"

_MODELS: dict[str, Faces] = {}  # lives in the Python worker; only _models() touches it


# --- probe: one row a film -----------------------------------------------------------------------------------


def probe_films(batches: Iterator[pd.DataFrame], staging: str, version: str) -> Iterator[pd.DataFrame]:
    """title_id, uri, content_hash (null where not known yet) -> PROBED; stages each film's packet index."""
    for row in _rows(batches):
        try:
            known = row.content_hash if isinstance(row.content_hash, str) else None
            film = video.probe(row.uri)
            content = known or video.content_hash(row.uri)
            key = stable_id(row.title_id, content, version)  # a second title of the same bytes is work of its own
            _stage(Path(staging, key, "index.parquet"), _index_table(film))
            yield _frame(
                PROBED,
                row.title_id,
                key,
                content,
                film.codec,
                film.width,
                film.height,
                film.rotation,
                film.n_frames,
                film.fps,
                film.duration_s,
                film.warning,
                None,
            )
        except FilmError as error:
            yield _frame(PROBED, row.title_id, *[None] * 10, str(error))


# --- scan and plan: shots, then pieces -----------------------------------------------------------------------


def scan_films(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """title_id, uri, film_key, start, end -> STAGED; stages what the cut detector saw in each range."""
    cv2.setNumThreads(1)
    for row in _rows(batches):
        file = Path(staging, row.film_key, f"scan-{row.start:08d}.parquet")
        try:
            if not file.exists():
                film = _index(staging, row.film_key)
                lead = max(0, row.start - shots.SCAN_LEAD)
                seen = video.frames(row.uri, film, lead, row.end, width=shots.SCAN_WIDTH)
                _stage(
                    file,
                    _scan_table(shots.scan(seen, row.start, settings.shot_threshold)),
                )
            yield _frame(STAGED, row.title_id, row.start, row.end - row.start, None)
        except FilmError as error:
            yield _frame(STAGED, row.title_id, row.start, 0, str(error))


def plan_films(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """title_id, film_key -> PLANNED, one row a piece; stages each film's shots."""
    for row in _rows(batches):
        film, folder = _index(staging, row.film_key), Path(staging, row.film_key)
        scans = [(int(file.stem[5:]), _scan(file)) for file in sorted(folder.glob("scan-*.parquet"))]
        found = shots.join_shots(
            scans,
            film.n_frames,
            max(1, round(settings.min_shot_s * film.fps)),
            settings.thread_shots,
            settings.thread_distance,
        )
        _stage(folder / "shots.parquet", pa.table(found._asdict()))
        cuts = piece.cut_pieces(
            found.start,
            found.end,
            film.key_frames,
            round(settings.piece_s * film.fps),
            round(settings.max_piece_s * film.fps),
            _seam(film, settings),
        )
        yield pd.DataFrame([(row.title_id, *cut) for cut in cuts], columns=_names(PLANNED))


def scan_ranges(n_frames: int, fps: float) -> list[tuple[int, int]]:
    """The ranges in which a film is scanned: [start, end) of about a minute each."""
    step = max(1, round(SCAN_S * fps))
    return [(start, min(start + step, n_frames)) for start in range(0, n_frames, step)]


# --- pieces: faces -------------------------------------------------------------------------------------------


def harvest_pieces(batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """title_id, uri, film_key, start, end, seam_end -> STAGED; stages the faces of each piece."""
    cv2.setNumThreads(1)
    for row in _rows(batches):
        file = piece_file(staging, row.film_key, row.start)
        try:
            if not file.exists():
                _stage(file, _piece_table(row, _index(staging, row.film_key), staging, settings))
            yield _frame(STAGED, row.title_id, row.start, row.end - row.start, None)
        except FilmError as error:
            yield _frame(STAGED, row.title_id, row.start, 0, str(error))


def piece_file(staging: str, film_key: str, start: int) -> Path:
    """Where the faces of the piece that starts at frame `start` are staged."""
    return Path(staging, film_key, f"piece-{start:08d}.parquet")


def _piece_table(row: Any, film: video.Film, staging: str, settings: HarvestSettings) -> pa.Table:
    cut = piece.Cut(row.start, row.end, row.seam_end)
    found = pq.read_table(Path(staging, row.film_key, "shots.parquet"))
    parts = piece.shots_in(cut, found["start"].to_numpy(), found["end"].to_numpy())
    rules = _rules(film, settings)
    wanted = np.unique(np.concatenate([piece.frames_to_detect(part, rules.stride) for part in parts]))
    decoded = 0

    def counted() -> Iterator[video.Frame]:
        nonlocal decoded
        for frame in video.frames(row.uri, film, cut.start, cut.seam_end, wanted):
            decoded += 1
            yield frame

    table = piece.piece_faces(counted(), parts, _models(settings), rules)
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


def _seam(film: video.Film, settings: HarvestSettings) -> int:
    return max(1, round(settings.seam_s * film.fps))


# --- a film's rows, title by title ---------------------------------------------------------------------------


def film_rows(
    batches: Iterator[pd.DataFrame], staging: str, settings: HarvestSettings, name: str, run_id: str
) -> Iterator[pd.DataFrame]:
    """title_id, film_key -> the film's rows of the table `name`: shots, tracks or faces."""
    for row in _rows(batches):
        film = _index(staging, row.film_key)
        made: Iterator[pd.DataFrame]
        if name == "shots":
            made = iter([_shot_rows(film, Path(staging, row.film_key, "shots.parquet"))])
        else:
            faces = _film_faces(staging, row.film_key, film, settings)
            norms = assets.embedder(settings.models).norms
            made = faces if name == "faces" else assemble.summarise_tracks(faces, film.times, norms)
        for rows in made:
            if len(rows):
                yield rows.assign(title_id=row.title_id, run_id=run_id)[table(name).names]


def film_counts(batches: Iterator[pd.DataFrame], staging: str) -> Iterator[pd.DataFrame]:
    """title_id, film_key -> title_id, wanted, decoded: frames looked at, and those that decoded."""
    for row in _rows(batches):
        metadata = [pq.read_schema(file).metadata for file in _pieces(staging, row.film_key)]
        wanted, decoded = (sum(int(said[name]) for said in metadata) for name in (b"wanted", b"decoded"))
        yield pd.DataFrame([(row.title_id, wanted, decoded)], columns=["title_id", "wanted", "decoded"])


def _film_faces(staging: str, film_key: str, film: video.Film, settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    files = _pieces(staging, film_key)
    light = ["local_id", "shot_id", "frame", "detected", *assemble.BOX]
    bounds = [(int(file.stem[6:]), int(pq.read_schema(file).metadata[b"end"])) for file in files]
    reduced = [
        assemble.piece_tracks(pq.read_table(file, columns=light).to_pandas(), *bound, _seam(film, settings))
        for file, bound in zip(files, bounds, strict=True)
    ]
    numbers = assemble.number_tracks(reduced, settings.min_track_faces)
    pieces = (pq.read_table(file).to_pandas() for file in files)
    return assemble.track_faces(pieces, numbers, film.times)


def _pieces(staging: str, film_key: str) -> list[Path]:
    return sorted(Path(staging, film_key).glob("piece-*.parquet"))


def _shot_rows(film: video.Film, file: Path) -> pd.DataFrame:
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


# --- mining and clustering: a title's small tables from its faces or tracks --------------------------------------

TITLE_FILES = "place INT, title_id STRING, files ARRAY<STRING>, run_ids ARRAY<STRING>"


def titles_from_files(
    batches: Iterator[pa.RecordBatch],
    *,
    columns: list[str],
    then: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """TITLE_FILES, and maybe `tracks` to lay beside the rows -> what `then` makes of the titles' rows.

    Only rows of `run_ids` count: others are of a run that did not end.
    """

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for i in range(len(batch)):
                title = {name: batch[name][i] for name in batch.schema.names}
                files = [pq.ParquetFile(file).read([*columns, "run_id"]) for file in title["files"].as_py()]
                found = pa.concat_tables(files)
                counts = pc.is_in(found["run_id"], title["run_ids"].values)
                found = (found if pc.all(counts).as_py() else found.filter(counts)).drop_columns(["run_id"])
                found = found.append_column("title_id", pa.repeat(title["title_id"], len(found)))
                if "tracks" in title:
                    found = _beside(found, title["tracks"].values)
                yield from found.to_batches()

    yield from then(rows())


def _beside(rows: pa.Table, tracks: pa.StructArray) -> pa.Table:
    """Each row with the other columns of its track, null where `tracks` lacks it."""
    of = dict(zip((field.name for field in tracks.type), tracks.flatten(), strict=True))
    place = pc.index_in(rows["track_id"], of.pop("track_id"))
    for name, column in of.items():
        rows = rows.append_column(name, pc.take(column, place))
    return rows


def mine_titles(
    batches: Iterator[pa.RecordBatch],
    *,
    staging: str,
    rules: dict[str, Any],
    run_id: str,
    seconds_per_detection: dict[str, float],
) -> Iterator[pa.RecordBatch]:
    """Titles' faces (with the shot_id and thread_id of their tracks) -> STAGED_TABLES; stages the four mined tables."""
    for title_id, faces in _titles(batches):
        faces = faces.filter(faces["detected"])
        light = faces.drop_columns(["title_id", "detected", "embedding"]).to_pandas()
        light["embedded"] = faces["embedding"].is_valid().to_numpy()
        rate = seconds_per_detection.get(title_id, float("nan"))
        made = mining.mined_tables(light, _matrix(faces["embedding"]), seconds_per_detection=rate, **rules)
        yield pa.RecordBatch.from_pandas(_stage_tables(title_id, made, staging, run_id), preserve_index=False)


def _titles(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each title of a partition, in which those of a title lie together."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        for part in _of_one_title(batch):
            if held and held[0]["title_id"][0] != part["title_id"][0]:
                yield held[0]["title_id"][0].as_py(), pa.Table.from_batches(held)
                held = []
            held.append(part)
    if held:
        yield held[0]["title_id"][0].as_py(), pa.Table.from_batches(held)


def _of_one_title(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    titles = batch["title_id"].dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(titles, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(titles)], strict=True):
        yield batch.slice(start, end - start)


def _matrix(embeddings: pa.ChunkedArray) -> np.ndarray:
    """(E, D) float32: the rows that are not null; (0, 1) where all are, since no row says what D is."""
    there = embeddings.drop_null()
    if not len(there):
        return np.zeros((0, 1), np.float32)
    return pc.list_flatten(there).to_numpy().reshape(len(there), -1).astype(np.float32, copy=False)


def cast_title(
    key: tuple[str],
    tracks: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    staging: str,
    rules: dict[str, Any],
    run_id: str,
    adapt: Callable[[np.ndarray], np.ndarray] | None,
    adapter_id: str | None,
) -> pd.DataFrame:
    """A title's tracks and links -> STAGED_TABLES; stages the rows of track_labels and characters.

    `adapt` maps (n, D) raw embeddings to (n, D') unit rows; raw ones are clustered where it is None.
    """
    tracks = tracks.sort_values("track_id", kind="stable").reset_index(drop=True)
    harvested, embeddings = _embeddings(tracks.embedding, adapt)
    linked = _links(pairs)
    made = casting.cast_tables(tracks, embeddings, harvested, linked["cannot"], linked["must"], **rules)
    made["track_labels"]["adapter_id"] = adapter_id
    return _stage_tables(key[0], made, staging, run_id)


WITHIN = "title_id STRING, track_id BIGINT, within DOUBLE"


def within_track(
    key: tuple[str, int], faces: pd.DataFrame, *, adapt: Callable[[np.ndarray], np.ndarray] | None
) -> pd.DataFrame:
    """The embeddings of a track's faces -> WITHIN; `adapt` as in `cast_title`."""
    rows = mining.stacked(faces.embedding)
    return _frame(WITHIN, *key, within(adapt(rows) if adapt is not None else rows))


def _embeddings(column: pd.Series, adapt: Callable[[np.ndarray], np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) and (T, D') float32, NaN where a track has none: as they were harvested, and as they are clustered."""
    there = column.notna().to_numpy()
    harvested = _with_gaps(mining.stacked(column[there]), there)
    if adapt is None or not there.any():
        return harvested, harvested
    return harvested, _with_gaps(adapt(harvested[there]), there)


def _links(pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    """track_a, track_b, kind -> by kind the (P, 2) track ids, in their order."""
    pairs = pairs.sort_values(["track_a", "track_b"], kind="stable")
    return {
        kind: pairs.loc[pairs.kind == kind, ["track_a", "track_b"]].to_numpy(np.int64) for kind in ("cannot", "must")
    }


def _with_gaps(rows: np.ndarray, there: np.ndarray) -> np.ndarray:
    """(T, D) float32: the rows, in the places that are there; NaN in the others."""
    whole = np.full((len(there), rows.shape[1]), np.nan, np.float32)
    whole[there] = rows
    return whole


STAGED_TABLES = "title_id STRING, table STRING, rows BIGINT"


def table_file(staging: str, run_id: str, name: str, title_id: str) -> Path:
    """Where a run stages its rows of table `name` of a title."""
    return Path(staging, run_id, name, f"{title_id}.parquet")


def stage(file: Path, name: str, rows: pd.DataFrame) -> None:
    """Stage rows of table `name`; a file that is there is replaced as a whole."""
    schema = table(name).arrow
    whole = rows.reindex(columns=schema.names)
    whole = whole if len(rows) else whole.astype(object)  # no float columns where lists belong
    _stage(file, pa.Table.from_pandas(whole, schema=schema, preserve_index=False))


def _stage_tables(title_id: str, made: dict[str, pd.DataFrame], staging: str, run_id: str) -> pd.DataFrame:
    for name, rows in made.items():
        whole = rows.assign(title_id=title_id, run_id=run_id)
        stage(table_file(staging, run_id, name, title_id), name, whole)
    counts = [(title_id, name, len(rows)) for name, rows in made.items()]
    return pd.DataFrame(counts, columns=_names(STAGED_TABLES))


# --- training snapshots -------------------------------------------------------------------------------------------

TRAINABLE = "title_id STRING, track_id BIGINT, shot_id INT, partners ARRAY<BIGINT>"


def trainable_tracks(
    key: tuple[str],
    tracks: pd.DataFrame,
    found: pd.DataFrame,
    *,
    min_track_s: float,
    min_shared_s: float,
    co_occurring: bool,
) -> pd.DataFrame:
    """A title's tracks and cannot-links -> TRAINABLE: tracks that may train, with the partners whose links may."""
    rate = float(tracks.detections_per_s.iloc[0]) if len(tracks) else float("nan")
    rule = links.training_rule(
        tracks.track_id.to_numpy(np.int64),
        tracks.n_faces.to_numpy(np.int64),
        found.track_a.to_numpy(np.int64),
        found.track_b.to_numpy(np.int64),
        found.shared_frames.to_numpy(np.int64),
        detections_per_s=rate if np.isfinite(rate) else UNKNOWN_RATE,
        min_track_s=min_track_s,
        min_shared_s=min_shared_s,
    )
    passing = found[rule.links]
    both = pd.concat([passing, passing.rename(columns={"track_a": "track_b", "track_b": "track_a"})])
    partners = both.sort_values(["track_a", "track_b"]).groupby("track_a").track_b.apply(list)
    chosen = tracks[rule.tracks if co_occurring else rule.long_enough]
    held = [partners.get(track_id, []) for track_id in chosen.track_id]
    return chosen[["title_id", "track_id", "shot_id"]].assign(partners=held)


SPREAD = "title_id STRING, track_id BIGINT, views ARRAY<FLOAT>"


def spread_faces(batches: Iterator[pa.RecordBatch], *, n: int) -> Iterator[pa.RecordBatch]:
    """Titles' faces (track_id, frame, embedding) -> SPREAD: n of each track, one after the other."""
    for title_id, faces in _titles(batches):
        faces = faces.filter(faces["embedding"].is_valid())
        tracks, views = tracklets.spread_faces(
            faces["track_id"].to_numpy(), faces["frame"].to_numpy(), _matrix(faces["embedding"]), n
        )
        flat = pa.FixedSizeListArray.from_arrays(views.ravel(), views[0].size).cast(pa.list_(pa.float32()))
        yield pa.RecordBatch.from_pydict({"title_id": [title_id] * len(tracks), "track_id": tracks, "views": flat})


def write_files(
    key: tuple[str, int], rows: pd.DataFrame, *, folder: str, writers: Mapping[str, Callable[[Path, pa.Table], None]]
) -> pd.DataFrame:
    """The rows of one file of a training snapshot -> how many; its part's writer puts them down whole."""
    part, number = key
    table = pa.Table.from_pandas(rows.drop(columns=["part", "file"]), preserve_index=False)
    writers[part](Path(folder, part, f"part-{number:05d}.parquet"), table)
    return pd.DataFrame({"rows": [len(rows)]})


# --- evaluation and reports ---------------------------------------------------------------------------------------

SCORED = "title_id STRING, protocol STRING, metric STRING, value DOUBLE"


def score_title(
    key: tuple[str],
    ours: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    match_iou: float,
    adapt: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    protocol: str | None = None,
) -> pd.DataFrame:
    """A title's tracks (with boxes of faces below them where the truth has boxes) and its truth -> SCORED.

    `adapt` maps a title's embeddings as they were when it was clustered; titles that are not in it were so raw.
    `protocol` is the benchmark's name; without one it is what the truth is about, `tracks` or `boxes`.
    """
    tracks = ours[ours["seconds"].notna()].reset_index(drop=True)
    there = tracks.embedding.notna().to_numpy()
    embeddings = mining.stacked(tracks.embedding[there]) if there.any() else np.zeros((0, 1), np.float32)
    if key[0] in adapt and len(embeddings):
        embeddings = adapt[key[0]](embeddings)
    rows = pd.Series(list(embeddings), tracks.track_id[there].to_numpy(np.int64), dtype=object)
    tracks["embedding"] = rows.reindex(tracks.track_id).to_numpy()
    if "track_id" in truth:
        kind, figures = "tracks", evaluation.figures_by_tracks(tracks, truth)
    else:
        faces = ours[ours["seconds"].isna()]
        kind, figures = "boxes", evaluation.figures_by_boxes(tracks, faces, truth, match_iou)
    rows = [(key[0], protocol or kind, name, float(value)) for name, value in sorted(figures.items())]
    return pd.DataFrame(rows, columns=_names(SCORED))


LABELLED = "title_id STRING, track_id BIGINT, person STRING"


def label_tracks(key: tuple[str], faces: pd.DataFrame, truth: pd.DataFrame, *, match_iou: float) -> pd.DataFrame:
    """A title's boxes and its truth by boxes -> LABELLED: the tracks that show somebody of the truth."""
    matched = evaluation.match(faces, truth, match_iou)
    shows = matched.matched_faces > 0
    columns = {"track_id": matched.track_ids[shows], "person": matched.labels[shows]}
    return pd.DataFrame({"title_id": key[0], **columns}, columns=_names(LABELLED))


def analyse_title(
    key: tuple[str],
    tracks: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    protocol: str,
    staging: str,
    run_id: str,
    folder: str,
    blur: bool,
    rules: Mapping[str, dict[str, Any]],
    adapt: Mapping[str, Callable[[np.ndarray], np.ndarray]],
) -> pd.DataFrame:
    """A title's labelled tracks and its links -> SCORED; stages the rows of verdicts and errors, writes its page.

    `rules` maps titles to the rules of their clustering, where those are known; `adapt` as in `score_title`. A title
    without tracks comes as one row without a track_id.
    """
    name, tracks = str(tracks.display_name.iloc[0]), tracks[tracks.track_id.notna()]
    tracks = tracks.sort_values("track_id").reset_index(drop=True)
    _, embeddings = _embeddings(tracks.embedding, adapt.get(key[0]))
    pictures = dict(zip(tracks.track_id.astype(int), tracks.thumbnail, strict=True))
    tracks = tracks.drop(columns=["embedding", "thumbnail"]).astype({"track_id": np.int64})
    found = errors.analysed(tracks, embeddings, _links(pairs), rules.get(key[0]))
    _stage_tables(key[0], {"verdicts": found.tracks, "errors": found.groups}, staging, run_id)
    _write_whole(error_page_file(folder, key[0]), error_page.draw_page(name, found, pictures, blur))
    rows = [(key[0], protocol, figure, value) for figure, value in sorted(found.figures.items())]
    return pd.DataFrame(rows, columns=_names(SCORED))


def error_page_file(folder: str, title_id: str) -> Path:
    """Where a title's page of errors lies."""
    return Path(folder, f"{title_id}.errors.html")


def draw_title(
    key: tuple[str], tracks: pd.DataFrame, characters: pd.DataFrame, *, folder: str, columns: int, blur: bool
) -> pd.DataFrame:
    """A title's labelled tracks and its characters -> its contact sheet, and how many rows it has.

    A title without tracks comes as one row without a track_id.
    """
    name, tracks = str(tracks.display_name.iloc[0]), tracks[tracks.track_id.notna()]
    rows = [_character_row(row, tracks, columns) for row in characters.sort_values("character_id").itertuples()]
    unknown = tracks[tracks.character_id.isna()].sort_values("start_s")
    if len(unknown):
        faces = _spread(unknown, columns)
        rows.append(contact_sheet.Row("unknown", [f"{len(unknown)} tracks without", "enough evidence"], faces))
    n_known = len(tracks) - len(unknown)
    subtitle = f"{len(characters)} characters in {n_known} tracks, {len(unknown)} tracks unknown"
    _write_whole(sheet_file(folder, key[0]), contact_sheet.draw_sheet(name, subtitle, rows, columns, blur))
    return pd.DataFrame([(key[0], len(rows))], columns=["title_id", "rows"])


def sheet_file(folder: str, title_id: str) -> Path:
    """Where a title's contact sheet lies."""
    return Path(folder, f"{title_id}.png")


def _character_row(character: Any, tracks: pd.DataFrame, columns: int) -> contact_sheet.Row:
    mine = tracks[tracks.character_id == character.character_id].sort_values("start_s")
    exemplar = mine[mine.track_id == character.exemplar_track_id]
    others = _spread(mine.drop(exemplar.index), columns - 1)
    minutes, seconds = divmod(int(character.first_s), 60)
    said = [
        f"{character.screen_time_s:.1f} s on screen",
        f"{character.n_tracks} track{'s' if character.n_tracks != 1 else ''}",
        f"first seen {minutes}:{seconds:02d}",
    ]
    title = character.name or f"character {character.character_id}"
    return contact_sheet.Row(title, said, [*exemplar.thumbnail, *others])


def _spread(tracks: pd.DataFrame, wanted: int) -> list[bytes | None]:
    """Thumbnails of `wanted` tracks spread evenly over the film."""
    chosen = np.unique(np.linspace(0, len(tracks) - 1, min(wanted, len(tracks))).round().astype(int))
    return list(tracks.thumbnail.iloc[chosen]) if len(tracks) else []


def _write_whole(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, file)


# --- names from photographs ---------------------------------------------------------------------------------------

PHOTOGRAPHS = "number INT, person STRING, path STRING, embedding ARRAY<FLOAT>, problem STRING"


def look_at_photographs(batches: Iterator[pd.DataFrame], settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """number, person, path -> PHOTOGRAPHS: the embedding of a photograph's face, or why there is none."""
    cv2.setNumThreads(1)
    for row in _rows(batches):
        try:
            content = Path(row.path).read_bytes()
            seen = photographs.look(content, _models(settings), settings.min_score, settings.min_face_px)
        except OSError as error:
            seen = photographs.Seen(None, f"cannot be opened: {error.strerror}")
        yield _frame(PHOTOGRAPHS, row.number, row.person, row.path, seen.embedding, seen.problem)


MATCHED = "title_id STRING, character_id INT, person STRING, confidence DOUBLE, is_match BOOLEAN"


def match_title(
    key: tuple[str],
    tracks: pd.DataFrame,
    *,
    galleries: Mapping[str, gallery.Gallery],
    by_hand: Mapping[str, Mapping[int, str]],
) -> pd.DataFrame:
    """A title's tracks with a character and an embedding -> MATCHED: who of the gallery its characters are.

    Args:
        galleries: by the adapter_id of the tracks' labels, '' for none.
        by_hand: title_id -> character_id -> the name that a person gave.
    """
    seen = galleries[tracks.adapter_id.iloc[0] or ""]
    embedding = mining.stacked(tracks.embedding)
    embedding = seen.adapt(embedding) if seen.adapt else embedding
    found = gallery.match(seen, embedding, tracks.character_id.to_numpy(np.int64), by_hand.get(key[0]))
    return found.assign(title_id=key[0])[_names(MATCHED)]


# --- models and staged files ---------------------------------------------------------------------------------


def _models(settings: HarvestSettings) -> Faces:
    key = f"{settings.models} {settings.device} {settings.detect_size} {settings.low_score}"
    if key not in _MODELS:
        _MODELS.clear()  # a reused worker holds one pair of models, not one per run
        detector, embedder = assets.fetch_pack(settings.models, say=_silent)
        _MODELS[key] = open_faces(
            detector,
            embedder,
            assets.pack(settings.models).kind,
            device=settings.device,
            gpu_index=gpu_index() if settings.device == "cuda" else None,
            detect_size=settings.detect_size,
            min_score=settings.low_score,
        )
    return _MODELS[key]


def _silent(_: str) -> None:
    """Licences are shown by the driver, once, not by every worker."""


def gpu_index() -> int:
    """The GPU that Spark granted to this task.

    Raises:
        GpuUnavailable: none was granted.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    granted = context.resources().get("gpu") if context else None
    if granted is None:
        if context is not None and os.environ.get("CASTMINE_LOCAL_GPU"):
            return int(os.environ["CASTMINE_LOCAL_GPU"])  # local mode grants no resources; the session says which GPU
        raise GpuUnavailable(
            "harvest.device is cuda, but Spark granted this task no GPU: set spark.executor.resource.gpu.amount, "
            "spark.task.resource.gpu.amount and a discovery script, or --set harvest.device=cpu"
        )
    address, visible = granted.addresses[0], os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",").index(address) if visible else int(address)


def _stage(file: Path, table: pa.Table) -> None:
    """Write whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    pq.write_table(table, part, compression="zstd")
    os.replace(part, file)


def _index_table(film: video.Film) -> pa.Table:
    key = np.zeros(film.n_frames, bool)
    key[film.key_frames] = True
    said = {name: str(getattr(film, name)) for name in ("codec", "width", "height", "rotation", "time_base")}
    return pa.table({"pts": film.pts, "key": key}).replace_schema_metadata(said)


@functools.lru_cache(maxsize=4)
def _index(staging: str, film_key: str) -> video.Film:
    table = pq.read_table(Path(staging, film_key, "index.parquet"))
    said = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    return video.Film(
        said["codec"], int(said["width"]), int(said["height"]), int(said["rotation"]), table["pts"].to_numpy(),
        np.flatnonzero(table["key"].to_numpy()).astype(np.int32), Fraction(said["time_base"]), None,
    )  # fmt: skip


def _scan_table(scan: shots.Scan) -> pa.Table:
    columns = {"frame": scan.frame, "opens": list(scan.opens), "closes": list(scan.closes)}
    types = [("frame", pa.int32()), ("opens", pa.list_(pa.uint8())), ("closes", pa.list_(pa.uint8()))]
    return pa.table(columns, schema=pa.schema(types)).replace_schema_metadata({"last": scan.last.tobytes()})


def _scan(file: Path) -> shots.Scan:
    table = pq.read_table(file)
    last = np.frombuffer(table.schema.metadata[b"last"], np.uint8)
    opens, closes = (
        np.array(table[name].to_pylist(), np.uint8).reshape(len(table), len(last)) for name in ("opens", "closes")
    )
    return shots.Scan(table["frame"].to_numpy(), opens, closes, last)


# --- rows ----------------------------------------------------------------------------------------------------


def bound(function: Callable[..., Iterator[pd.DataFrame]], **fixed: Any) -> Callable[..., Iterator[pd.DataFrame]]:
    """`function` with its settings, ready for `mapInPandas`; pickles as a name and the settings, nothing else."""
    return functools.partial(function, **fixed)


def _rows(batches: Iterator[pd.DataFrame]) -> Iterator[Any]:
    for batch in batches:
        yield from batch.itertuples(index=False)


def _frame(schema: str, *values: Any) -> pd.DataFrame:
    return pd.DataFrame([values], columns=_names(schema))


def _names(schema: str) -> list[str]:
    return [field.split()[0] for field in schema.split(", ")]
