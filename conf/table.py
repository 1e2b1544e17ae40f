"""What a table is: its columns, their types, who makes them and what they mean. Plain text, no pyspark.

Units: pixels of the displayed frame (turned and mirrored as a player does, origin top left), seconds from the first
frame, frames counted from 0 in presentation order, intervals half-open `[start, end)`. A player's clock begins with the
first stream of the file, maybe sound: there a time is `titles.start_s` later. Embeddings are unit-length float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

ARROW = {
    "STRING": pa.string(),
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BOOLEAN": pa.bool_(),
    "BINARY": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "ARRAY<FLOAT>": pa.list_(pa.float32()),
    "ARRAY<INT>": pa.list_(pa.int32()),
    "ARRAY<STRING>": pa.list_(pa.string()),
}

# Without deletion vectors any Delta reader can open a lake. A title is one partition and one file, so the least and
# greatest values of files help no query; to keep them is an eighth of a small job's time.
PROPERTIES = {"delta.enableDeletionVectors": "false", "delta.dataSkippingNumIndexedCols": "0"}
FORMAT_PROPERTY = "castmine.format"  # of the table `runs`: the format of its lake


FROM_START = "seconds from the film's first frame (a player shows that at titles.start_s)"


class Column(NamedTuple):
    """One column: SQL type, the function that makes it (`module:name`), and what it means."""

    name: str
    type: str
    made_by: str
    meaning: str
    volatile: bool = False  # a run id, a wall clock or a table version: differs between two equal runs

    @property
    def comment(self) -> str:
        """Meaning and maker, as a SQL string."""
        return _quote(f"{self.meaning} [{self.made_by}]")

    def __str__(self) -> str:
        return self.name


class Table(NamedTuple):
    """One Delta table.

    Attributes:
        written_by: the job that makes its rows; "" for every job.
        also_by: other jobs that write to it.
        by_title: whether it is partitioned by title_id.
    """

    name: str
    written_by: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    by_title: bool = True
    also_by: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def writers(self) -> str:
        """The commands that write to it."""
        return (
            ", ".join(f"castmine {job}" for job in (self.written_by, *self.also_by)) if self.written_by else "every job"
        )

    @property
    def schema(self) -> str:
        """DDL text that Spark takes as a schema, in column order."""
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """The same schema for Arrow, in column order."""
        return pa.schema([(column.name, ARROW[column.type.removesuffix(" NOT NULL")]) for column in self.columns])

    @property
    def stable(self) -> list[str]:
        """Columns that two equal runs fill with equal values."""
        return [column.name for column in self.columns if not column.volatile]

    def ddl(self, address: str, more: Mapping[str, str] | None = None) -> str:
        """`CREATE TABLE IF NOT EXISTS` with a comment on the table and on every column, and `more` properties."""
        properties = ", ".join(
            f"{_quote(key)} = {_quote(value)}" for key, value in {**PROPERTIES, **(more or {})}.items()
        )
        lines = ",\n  ".join(
            f"{c.name} {c.type}{'' if c.name not in self.key else ' NOT NULL'} COMMENT {c.comment}"
            for c in self.columns
        )
        partition = "PARTITIONED BY (title_id)\n" if self.by_title else ""
        return (
            f"CREATE TABLE IF NOT EXISTS {address} (\n  {lines}\n) USING DELTA\n{partition}"
            f"COMMENT {_quote(f'{self.meaning} Written by {self.writers}.')}\n"
            f"TBLPROPERTIES ({properties})"
        )


TITLE_ID = Column(
    "title_id", "STRING", "jobs.inputs.titles:name_titles", "the film: from the manifest, else from the file's name"
)
TRACK_ID = Column(
    "track_id",
    "BIGINT",
    "udfs.kernels.harvest.assemble:number_tracks",
    "the track, numbered from 0 in order of appearance",
)


def unwritten(**types: str) -> Table:
    """A table that is not kept, of these columns and SQL types: what a UDF yields."""
    return Table("", "", "", (), tuple(Column(name, kind, "", "") for name, kind in types.items()), by_title=False)


def run_id(job: str) -> Column:
    """The column that ties a title's rows to the run that wrote them."""
    return Column(
        "run_id",
        "STRING",
        "jobs.lake.run_log:begin",
        f"the {job} run that wrote the row; its `ok` row commits it",
        True,
    )


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
