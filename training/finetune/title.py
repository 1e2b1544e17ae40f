"""One title's crops as they are staged for fine-tuning, and what fine-tuning leaves behind of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.errors import LakeError
from conf.places import for_arrow
from training.finetune.crops import Crops, JpegPixels

CROPS, LINKS = "crops-*.parquet", "cannot_links.parquet"  # of a title's folder
CROP_COLUMNS = ("track_id", "frame", "time_s", "good", "jpeg", "embedding")


@dataclass(frozen=True)
class TitleCrops:
    """The embedded faces of one title, by track and frame.

    Attributes:
        crops: their pixels; `crops.track` are places in track_ids.
        frame: (F,) int64. time_s: (F,) float64.
        good: (F,) bool, clear enough to train on; the others are only adapted.
        raw: (F, D) float32 unit rows, their embeddings as they were harvested.
        track_ids: (T,) int64, ascending.
        cannot: (P, 2) int64 places of tracks that are two people.
    """

    crops: Crops
    frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    good: NDArray[np.bool_]
    raw: NDArray[np.float32]
    track_ids: NDArray[np.int64]
    cannot: NDArray[np.int64]


def read_title(folder: Path) -> TitleCrops:
    """What is staged in a title's folder.

    Raises:
        LakeError: nothing is, or it is damaged.
    """
    try:
        parts = [pq.read_table(for_arrow(file), columns=list(CROP_COLUMNS)) for file in sorted(folder.glob(CROPS))]
        links = pq.read_table(for_arrow(folder / LINKS), columns=["track_a", "track_b"])
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(f"{folder}: staged crops are gone or damaged ({error}); run the same command again") from error
    if not parts:
        raise LakeError(f"{folder}: no crops are staged; run the same command again")
    faces = pa.concat_tables(parts).sort_by([("track_id", "ascending"), ("frame", "ascending")])
    ids, track = np.unique(faces["track_id"].to_numpy(), return_inverse=True)
    both = np.stack([links["track_a"].to_numpy(), links["track_b"].to_numpy()], axis=1)
    known = np.isin(both, ids).all(axis=1)
    return TitleCrops(
        Crops(JpegPixels(faces["jpeg"].to_pylist()), track.astype(np.int64), len(ids)),
        faces["frame"].to_numpy().astype(np.int64),
        faces["time_s"].to_numpy(),
        faces["good"].to_numpy(),
        np.array(faces["embedding"].to_pylist(), np.float32).reshape(len(faces), -1),
        ids,
        np.searchsorted(ids, both[known]).astype(np.int64),
    )
