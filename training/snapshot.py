"""The pinned training snapshot on disk: flat, rectangular Parquet without nulls, and what it was made from.

    snapshot.json     what is in it, and the table versions it was read at
    train/*.parquet   rows that move the weights
    dev/*.parquet     rows that stop the training and judge the adapter

The rows of a part are numbered in the order of title and track and dealt out: a file is a window, its row groups are
its `LANES` lanes, of equal length, each with its share of every title. Windows and lanes are the same for every number
of processes, of which each reads lanes of its own; so all see the same batches, and an epoch is one exact pass.

One row is one track. In a snapshot of tracklets, `views` holds its M tracklet embeddings one after the other (anchor,
then hard positives in rank order), `negative` its hard negative. In a snapshot of faces, `views` holds faces spread
evenly over the track, `negative` some of each of several tracks that it is cannot-linked to, again from the first where
there are fewer. Zeros where there is no negative.
"""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conf.errors import LakeError
from conf.files import write_whole
from conf.places import fetch_folder, is_in_store, locate, read, remove_folder, settle
from training.place import Place

LANES = 48  # row groups of a file: a multiple of 1, 2, 3, 4, 6, 8, 12, 16, 24 processes, who then read equal shares
GROUP_BYTES = 2 * 2**20  # of embeddings in a row group, about; what is not kept in memory is read so much at a time

Part = Literal["train", "dev"]
Kind = Literal["tracklets", "faces"]
Needs = Literal["all", "negative", "label"]  # which rows a method can learn from
NOBODY = -1  # the label of a track that the truth file does not name

COLUMNS = ["row", "title_id", "views", "negative", "has_negative", "label"]  # that training reads
SCHEMA = pa.schema(
    [
        pa.field("title_id", pa.string(), nullable=False),
        pa.field("track_id", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # position in key order, from 0 in each part
        pa.field("views", pa.list_(pa.float32()), nullable=False),  # views * D numbers
        pa.field("negative", pa.list_(pa.float32()), nullable=False),  # partners * negatives * D numbers
        pa.field("has_negative", pa.bool_(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),  # place in the manifest's `labels`, or NOBODY
    ]
)


class Snapshot(BaseModel):
    """What `snapshot.json` says, and where it lies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Place = Field(exclude=True)
    fingerprint: str = Field(min_length=1, description="hash of the content")
    kind: Kind = Field(description="what the views are")
    n_views: int = Field(ge=2, description="views per row; of tracklets M, the anchor included")
    n_partners: int = Field(1, ge=1, description="tracks that a row's negative is of")
    n_negatives: int = Field(ge=1, description="embeddings of each of them")
    dim: int = Field(ge=1, description="D: width of the base embedder")
    base_embedder_sha256: str = Field(min_length=1)
    rows_train: int = Field(ge=0)
    rows_dev: int = Field(ge=0)
    split: Literal["people", "titles", "shots"] = Field(
        description="what was held out: of labelled tracks people, of others whole titles, or shots where those are few"
    )
    titles_train: tuple[str, ...]
    titles_dev: tuple[str, ...]
    source_versions: dict[str, int | str] = Field(description="version of each table that was read")
    labels: tuple[str, ...] = Field((), description="identities of a truth file, sorted; empty where none was given")
    labels_from: str | None = Field(None, description="whose labels: name and sha256 of that file")

    @classmethod
    def open(cls, folder: str | Path) -> Snapshot:
        """Read a snapshot's manifest and check it against the footers of its files.

        Files in a store are copied to this machine, and stay while this process lives.

        Raises:
            LakeError: missing or damaged, another number of rows than the manifest says, or a title in both parts.
        """
        folder = settle(folder)
        snapshot = cls._from_manifest(folder)
        both = set(snapshot.titles_train) & set(snapshot.titles_dev)
        if snapshot.split == "titles" and both:
            raise LakeError(f"{folder}: split by titles, but {', '.join(sorted(both))} is in both parts")
        snapshot._check("train", snapshot.rows_train)
        snapshot._check("dev", snapshot.rows_dev)
        return snapshot

    @classmethod
    def _from_manifest(cls, folder: Path) -> Snapshot:
        try:
            return cls.model_validate({**json.loads(read(folder / "snapshot.json")), "folder": folder})
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise LakeError(f"{folder}/snapshot.json: {problems}. Run castmine train again.") from error
        except (OSError, ValueError, TypeError) as error:
            raise LakeError(f"{folder}: no readable snapshot.json ({error}). Run castmine train again.") from error

    def _check(self, part: Part, expected: int) -> None:
        found = 0
        for file in self.files(part):
            try:
                footer = pq.ParquetFile(file)
            except (OSError, pa.ArrowException) as error:
                raise LakeError(f"{file}: cannot be read as Parquet. Run castmine train again.") from error
            if footer.schema_arrow.names != SCHEMA.names:
                raise LakeError(f"{file}: columns {footer.schema_arrow.names}, expected {SCHEMA.names}")
            found += footer.metadata.num_rows
        if found != expected:
            raise LakeError(
                f"{self.folder / part}: {found} rows, snapshot.json says {expected}. Run castmine train again."
            )

    def save(self) -> None:
        """Write `snapshot.json`: the last file of a snapshot, whole or not at all."""
        with write_whole(self.folder / "snapshot.json") as part:
            part.write_text(self.model_dump_json(indent=1) + "\n")

    def files(self, part: Part) -> list[Path]:
        """The part's Parquet files on this machine, in name order; empty when it has none."""
        return sorted((_copy_here(self.folder) / part).glob("*.parquet"))

    def rows(self, part: Part, needs: Needs = "all") -> int:
        """Rows of a part that have a negative, or an identity; or all. Reads that one column."""
        if needs == "negative":
            return sum(pc.sum(column).as_py() or 0 for column in self._column(part, "has_negative"))
        if needs == "label":
            return sum(pc.sum(pc.not_equal(column, NOBODY)).as_py() or 0 for column in self._column(part, "label"))
        return self.rows_train if part == "train" else self.rows_dev

    def _column(self, part: Part, name: str) -> Iterator[pa.ChunkedArray]:
        return (pq.read_table(file, columns=[name])[0] for file in self.files(part))


def count_windows(rows: int, views: int, dim: int) -> int:
    """How many files a part of so many rows of `views` embeddings has."""
    return max(1, round(rows * views * dim * 4 / (LANES * GROUP_BYTES)))


def find_row_group(row: NDArray[np.integer], windows: int) -> NDArray[np.int64]:
    """(N,) int64: the row group of each row of a part, in its window `row % windows`. Lengths differ by one at most."""
    return row // windows % LANES


@functools.cache
def _copy_here(folder: Path) -> Path:
    if not is_in_store(folder):
        return folder
    here = Path(tempfile.mkdtemp(prefix="castmine-snapshot-"))
    atexit.register(remove_folder, here)
    fetch_folder(folder, here)
    return here


def write_window(path: str | Path, rows: pa.Table, windows: int) -> None:
    """Write one file of a snapshot's part, whole or not at all; an existing file is replaced.

    Args:
        rows: the columns of `SCHEMA` in any order of rows, no nulls; no rows are fine.
        windows: files of the part.
    Raises:
        LakeError: a missing column, a null, or lists of unequal length.
    """
    path = locate(path)
    try:
        table = rows.select(SCHEMA.names).cast(SCHEMA)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise LakeError(f"{path}: rows do not fit a training snapshot: {error}") from error
    for name in SCHEMA.names:
        column: Any = table[name]
        if column.null_count or (pa.types.is_list(column.type) and pc.list_flatten(column).null_count):
            raise LakeError(f"{path}: column {name} holds nulls")
        if pa.types.is_list(column.type) and len(pc.unique(pc.list_value_length(column))) > 1:
            raise LakeError(f"{path}: column {name} holds lists of unequal length")
    row = table["row"].to_numpy()
    lane = find_row_group(row, windows)
    order = np.lexsort((row, lane))
    lengths = np.bincount(lane, minlength=LANES)
    writer = functools.partial(pq.ParquetWriter, schema=SCHEMA, compression="none", use_dictionary=["title_id"])
    with write_whole(path) as part, writer(part) as file:
        for chosen in np.split(order, np.cumsum(lengths)[:-1]):
            if len(chosen):
                file.write_table(table.take(chosen), row_group_size=len(chosen))
