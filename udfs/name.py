"""What `name` runs in executors: photographs to embeddings, a title's characters to the people of a gallery."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from conf.settings import HarvestSettings
from conf.table import unwritten
from udfs.batches import one_row, rows_of
from udfs.face_models import face_models
from udfs.kernels.name import gallery, photographs
from udfs.kernels.rows import stack_rows

LARGEST_BYTES = 500_000_000  # of a photograph's file: more than the largest picture that is looked at has
PHOTOGRAPHS = unwritten(number="INT", person="STRING", path="STRING", embedding="ARRAY<FLOAT>", problem="STRING")
MATCHED = unwritten(title_id="STRING", character_id="INT", person="STRING", confidence="DOUBLE", is_match="BOOLEAN")


def look_at_photographs(batches: Iterator[pd.DataFrame], settings: HarvestSettings) -> Iterator[pd.DataFrame]:
    """number, person, path -> PHOTOGRAPHS: the embedding of a photograph's face, or why there is none."""
    cv2.setNumThreads(1)
    for row in rows_of(batches):
        try:
            content = _read(Path(row.path))
            seen = photographs.find_face(content, face_models(settings), settings.min_score, settings.min_face_px)
        except OSError as error:
            seen = photographs.FaceSeen(None, f"cannot be opened: {error.strerror}")
        yield one_row(PHOTOGRAPHS, number=row.number, person=row.person, path=row.path, **seen._asdict())


def _read(file: Path) -> bytes:
    if file.stat().st_size > LARGEST_BYTES:
        raise OSError(errno.EFBIG, "File too large")
    return file.read_bytes()


def match_title(
    key: tuple[str],
    tracks: pd.DataFrame,
    *,
    galleries: Mapping[str, gallery.Gallery],
    by_hand: Mapping[str, Mapping[int, str]],
) -> pd.DataFrame:
    """A title's tracks with a character and an embedding -> MATCHED: who of the gallery its characters are.

    Args:
        galleries: by the adapter_id of the tracks' labels.
        by_hand: title_id -> character_id -> the name that a person gave.
    """
    seen = galleries[tracks.adapter_id.iloc[0]]
    embedding = stack_rows(tracks.embedding)
    embedding = seen.adapt(embedding) if seen.adapt else embedding
    found = gallery.match(seen, embedding, tracks.character_id.to_numpy(np.int64), by_hand.get(key[0]))
    return found.assign(title_id=key[0])[MATCHED.names]
