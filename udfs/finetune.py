"""What `finetune` runs in executors: faces to crops, a title's crops to a network, and what it says of the title."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from conf.errors import FilmError, TooLittleData
from conf.table import unwritten
from udfs import assets
from udfs.batches import one_row, rows_of
from udfs.face_models import gpu_index
from udfs.films import at_hand
from udfs.kernels.cluster.videoclusternet import Answers, summarise_tracks
from udfs.kernels.harvest import video
from udfs.kernels.harvest.networks import align
from udfs.kernels.rows import unit_means
from udfs.staging import FilmFiles, read_index, read_table, stage_tables, write_table

JPEG_QUALITY = 95
OF_FACE = dict(track_id="BIGINT", frame="BIGINT", time_s="DOUBLE", good="BOOLEAN", embedding="ARRAY<FLOAT>")
TO_CUT = unwritten(
    title_id="STRING", film_key="STRING", uri="STRING", piece="BIGINT", **OF_FACE, landmarks="ARRAY<FLOAT>"
)
KEPT = unwritten(title_id="STRING", film_key="STRING", **OF_FACE, jpeg="BINARY")
CUT = unwritten(title_id="STRING", crops="BIGINT", error="STRING")
TO_TUNE = unwritten(title_id="STRING", film_key="STRING", adapter_id="STRING")
TUNED = unwritten(title_id="STRING", result="STRING", error="STRING")

CROP_SCHEMA = pa.schema(
    [
        ("track_id", pa.int64()),
        ("frame", pa.int64()),
        ("time_s", pa.float64()),
        ("good", pa.bool_()),
        ("jpeg", pa.binary()),
        ("embedding", pa.list_(pa.float32())),
    ]
)


class FaceAnswers(Protocol):
    """What a fine-tuned network says of a title's faces, see `training.finetune.work.FaceAnswers`."""

    track_id: NDArray[np.int64]
    frame: NDArray[np.int64]
    embedding: NDArray[np.float32]
    teacher: NDArray[np.float32]
    student: NDArray[np.float32]
    alone_teacher: NDArray[np.float32]
    alone_student: NDArray[np.float32]
    centre: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    unsure: NDArray[np.bool_]


# title_id, folder of its staged crops, ONNX file to begin with, file to write the network to, GPU or none -> what is
# to be known of the fine-tuning, in plain JSON values, and what the network says of the title's faces
Tune = Callable[[str, Path, Path, Path, int | None], tuple[dict[str, Any], FaceAnswers]]


def cut_crops(key: tuple[str, int], faces: pd.DataFrame, *, staging: str, disk_gb: float) -> pd.DataFrame:
    """The faces of one piece of a film (TO_CUT) -> CUT; stages their aligned crops, of frames that decode.

    Args:
        disk_gb: as for `udfs.films.at_hand`.
    """
    title_id, piece = key
    files = FilmFiles.of(staging, faces.film_key.iloc[0])
    target = files.crops(int(piece))
    faces = faces.sort_values(["frame", "track_id"], kind="stable").reset_index(drop=True)
    try:
        with at_hand(faces.uri.iloc[0], disk_gb) as path:
            cut = _cut(path, faces, read_index(files))
        table = pa.Table.from_pandas(cut, schema=CROP_SCHEMA, preserve_index=False)
    except FilmError as error:
        return one_row(CUT, title_id=title_id, crops=0, error=str(error))
    write_table(target, table)
    return one_row(CUT, title_id=title_id, crops=len(table))


def _cut(path: str, faces: pd.DataFrame, film: video.Film) -> pd.DataFrame:
    """The faces whose frames decode, with their crops; every one's frame is decoded once."""
    cv2.setNumThreads(1)
    frames, parts = faces.frame.to_numpy(np.int64), [faces.iloc[:0].assign(jpeg=[])]
    wanted = np.unique(frames)
    for frame in video.decode_frames(path, film, int(wanted[0]), int(wanted[-1]) + 1, wanted):
        shown = faces[frames == frame.number]
        landmarks = np.stack(shown.landmarks.to_list()).reshape(-1, 5, 2)
        parts.append(shown.assign(jpeg=[encode_crop(crop) for crop in align(frame.image, landmarks)]))
    return pd.concat(parts)[CROP_SCHEMA.names]


def encode_crop(crop: NDArray[np.uint8]) -> bytes:
    """JPEG of a (112, 112, 3) BGR crop."""
    return cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def stage_kept(key: tuple[str], crops: pd.DataFrame, *, staging: str) -> pd.DataFrame:
    """A title's crops that were kept (KEPT) -> CUT; stages them as if they had been cut."""
    files = FilmFiles.of(staging, crops.film_key.iloc[0])
    ordered = crops.sort_values(["track_id", "frame"], kind="stable")[CROP_SCHEMA.names]
    write_table(files.crops(0), pa.Table.from_pandas(ordered, schema=CROP_SCHEMA, preserve_index=False))
    return one_row(CUT, title_id=key[0], crops=len(crops))


def stage_links(key: tuple[str], titles: pd.DataFrame, links: pd.DataFrame, *, staging: str) -> pd.DataFrame:
    """A title (TO_TUNE) and its cannot-links -> CUT; stages the links beside its crops."""
    rows = links.sort_values(["track_a", "track_b"])[["track_a", "track_b"]].astype("int64")
    write_table(FilmFiles.of(staging, titles.film_key.iloc[0]).links, pa.Table.from_pandas(rows, preserve_index=False))
    return one_row(CUT, title_id=key[0], crops=0)


def fine_tune_titles(
    batches: Iterator[pd.DataFrame],
    *,
    staging: str,
    run_id: str,
    adapters: Path,
    embedder: str,
    device: str,
    keep: bool,
    tune: Tune,
) -> Iterator[pd.DataFrame]:
    """TO_TUNE, whose crops are staged -> TUNED; trains each title's network and stages the title's tables.

    Args:
        adapters: the folder of adapters' files. embedder: file of conf/models.yml that is fine-tuned.
        keep: whether crops are kept, too.
    """
    for row in rows_of(batches):
        files = FilmFiles.of(staging, row.film_key)
        gpu = gpu_index() if device == "cuda" else None
        weights, out_file = assets.fetch(embedder, say=lambda _: None), adapters / f"{row.adapter_id}.safetensors"
        try:
            result, answers = tune(row.title_id, files.folder, weights, out_file, gpu)
        except TooLittleData as error:
            skipped = {"status": "skipped", "note": str(error)}
            yield one_row(TUNED, title_id=row.title_id, result=json.dumps(skipped))
        except FilmError as error:
            yield one_row(TUNED, title_id=row.title_id, error=str(error))
        else:
            rows = stage_answers(row.title_id, row.adapter_id, answers, files if keep else None, staging, run_id)
            yield one_row(TUNED, title_id=row.title_id, result=json.dumps({**result, "rows": rows}))


def stage_answers(
    title_id: str, adapter_id: str, answers: FaceAnswers, kept: FilmFiles | None, staging: str, run_id: str
) -> dict[str, int]:
    """Stage a title's adapted_embeddings and adapted_tracks, and its crops where they are kept; rows by table."""
    faces = {"track_id": answers.track_id, "frame": answers.frame, "embedding": list(answers.embedding)}
    made = {"adapted_embeddings": pd.DataFrame(faces), "adapted_tracks": summarise_title(answers)}
    made = {name: rows.assign(adapter_id=adapter_id) for name, rows in made.items()}
    if kept is not None:
        parts = [read_table(file, ["track_id", "frame", "jpeg"]).to_pandas() for file in kept.all_crops().values()]
        made["crops"] = pd.concat(parts).sort_values(["track_id", "frame"], kind="stable")
    counts = stage_tables(title_id, made, staging, run_id)
    return dict(zip(counts.table, counts.rows.astype(int).tolist(), strict=True))


def summarise_title(answers: FaceAnswers) -> pd.DataFrame:
    """track_id and the columns of adapted_tracks that follow from what is said of its faces."""
    ids, track = np.unique(answers.track_id, return_inverse=True)
    fixed = answers.centre, (float(answers.temperatures[0]), float(answers.temperatures[1]))
    to_crops = Answers(answers.teacher, answers.student, *fixed)
    mirrored = Answers(answers.alone_teacher, answers.alone_student, *fixed)
    found = summarise_tracks(to_crops, mirrored, track, len(ids))
    rows = {name: list(part.astype(np.float32)) for name, part in found._asdict().items() if part.ndim == 2}
    return pd.DataFrame(
        {
            "track_id": ids,
            "n_faces": np.bincount(track).astype(np.int32),
            "embedding": list(unit_means(answers.embedding, track, len(ids)).astype(np.float32)),
            "unsure": answers.unsure,
            "threshold": found.threshold,
            **rows,
        }
    )
