"""Whole titles out of the batches that Spark hands over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from conf.catalog import table
from conf.errors import LakeError
from conf.places import for_arrow, locate
from conf.table import Table, unwritten

TITLE_FILES = unwritten(place="INT", title_id="STRING", files="ARRAY<STRING>", run_id="STRING")

STAGED_FILES = unwritten(place="INT", file="STRING")


def rows_of(batches: Iterator[pd.DataFrame]) -> Iterator[Any]:
    """The rows of all batches, one after the other, as named tuples."""
    for batch in batches:
        yield from batch.itertuples(index=False)


def one_row(made: Table, **values: Any) -> pd.DataFrame:
    """A frame of one row of `made`; null in the columns that are not named."""
    assert values.keys() <= set(made.names)
    return pd.DataFrame([[values.get(name) for name in made.names]], columns=made.names)


def titles_from_files(
    batches: Iterator[pa.RecordBatch],
    *,
    columns: list[str],
    then: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """TITLE_FILES, and maybe `tracks` to lay beside the rows -> what `then` makes of the titles' rows.

    Only rows of `run_id` count: others are of a run that did not end.
    """

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for i in range(len(batch)):
                title = {name: batch[name][i] for name in batch.schema.names}
                files = [pq.ParquetFile(for_arrow(file)).read([*columns, "run_id"]) for file in title["files"].as_py()]
                found = pa.concat_tables(files)
                counts = pc.equal(found["run_id"], title["run_id"])
                found = (found if pc.all(counts).as_py() else found.filter(counts)).drop_columns(["run_id"])
                found = found.append_column("title_id", pa.repeat(title["title_id"], len(found)))
                if "tracks" in title:
                    found = _beside(found, title["tracks"].values)
                yield from found.to_batches()

    yield from then(rows())


def rows_from_files(batches: Iterator[pa.RecordBatch], *, name: str, seen_s: float) -> Iterator[pa.RecordBatch]:
    """STAGED_FILES -> their rows, of the table `name`; waits `seen_s` for a file.

    Raises:
        LakeError: a file is not there.
    """
    columns = table(name).names
    for batch in batches:
        for file in map(locate, batch["file"].to_pylist()):
            _must_be_seen(file, seen_s)
            for rows in pq.ParquetFile(for_arrow(file)).iter_batches():
                yield rows.select(columns)


def _must_be_seen(file: Path, seen_s: float) -> None:
    until = time.monotonic() + seen_s
    while not file.exists():
        if time.monotonic() > until:
            raise LakeError(
                f"{file}: staged by another task, and not seen by this one. --files must be one folder that all "
                "machines share, and nobody may clean up in it while castmine is at work"
            )
        time.sleep(0.5)


def _beside(rows: pa.Table, tracks: pa.StructArray) -> pa.Table:
    """Each row with the other columns of its track, null where `tracks` lacks it."""
    of = dict(zip((field.name for field in tracks.type), tracks.flatten(), strict=True))
    place = pc.index_in(rows["track_id"], of.pop("track_id"))
    for name, column in of.items():
        rows = rows.append_column(name, pc.take(column, place))
    return rows


def titles_of(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
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


def matrix(embeddings: pa.ChunkedArray) -> NDArray[np.float32]:
    """(E, D) float32: the rows that are not null; (0, 1) where all are, since no row says what D is."""
    there = embeddings.drop_null()
    if not len(there):
        return np.zeros((0, 1), np.float32)
    return pc.list_flatten(there).to_numpy().reshape(len(there), -1).astype(np.float32, copy=False)
