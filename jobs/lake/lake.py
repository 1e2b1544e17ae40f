"""The lake: where the tables are, how titles are replaced in them, and which rows count.

A lake is a folder or object-store prefix (`--lake ./lake`), or a catalog and schema (`--lake main.castmine`). Only this
module and `jobs/lake/run_log.py` read or write tables.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf import views
from conf.catalog import all_tables, table
from conf.errors import LakeError, UsageError
from conf.table import Column, Table
from udfs import batches

# what Delta says to the loser of two writers; the last one to whoever comes while another is creating the table
CONFLICTS = (
    *("DELTA_CONCURRENT", "DELTA_PROTOCOL_CHANGED", "DELTA_METADATA_CHANGED"),
    "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION",
)
UNDIVIDED = str(2**50)  # bytes; as cost of opening a file, it also keeps two files out of one partition
TASKS = 10_000  # of one stage, at most
ABANDONED_S = 10  # without a change, and a table's folder that has no commit is one that a killed job left
RETRIES = 6  # another writer's commit at the same moment; each retry waits twice as long
COMMITTED = ("ok", "failed")  # a failed title's row of `titles` counts: it says why
MADE_FROM = {"mine": "harvest", "cluster": "mine"}  # whose rows a job's rows are about, as in its runs' input_versions

ByTitle = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class Lake:
    """One lake, opened. `files` is the folder for what is no table: staged pieces, snapshots, adapters, reports."""

    def __init__(self, spark: SparkSession, address: str, files: str | None = None):
        self.spark = spark
        self.is_catalog = _is_catalog(address)
        if self.is_catalog and not files:
            raise UsageError(
                f"--lake {address} is a catalog: say where files go with --files (staged pieces, adapters, reports)"
            )
        self.root = address if self.is_catalog or "://" in address else str(Path(address).absolute())
        self.files = Path(files or self.root).absolute()

    def address(self, name: str) -> str:
        """What a table is called in SQL."""
        return f"{self.root}.{name}" if self.is_catalog else f"delta.`{self.root}/{name}`"

    def create(self) -> None:
        """Make every table that is missing, in one step before anything writes: two first writers would collide."""
        if not self.is_catalog and "://" not in self.root:
            self.files.mkdir(parents=True, exist_ok=True)
        missing = [made for made in all_tables() if not self.exists(made.name)]
        with ThreadPoolExecutor(4) as pool:  # each is one small commit; the waiting is the driver's
            list(pool.map(self._create, missing))

    def _create(self, made: Table) -> None:
        create = functools.partial(self.spark.sql, made.ddl(self.address(made.name)))
        self._again_on_conflict(create)
        if self.is_catalog or "://" in self.root:
            return
        # IF NOT EXISTS is content with a folder that has no commit: somebody is creating the table, or was killed then
        while not self.exists(made.name):
            folder = Path(self.root, made.name)
            if _idle_s(folder) > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
                self._again_on_conflict(create)
            else:
                time.sleep(0.5)

    def exists(self, name: str) -> bool:
        """Whether the table is there."""
        if self.is_catalog:
            return self.spark.catalog.tableExists(f"{self.root}.{name}")
        if "://" not in self.root:
            return any(Path(self.root, name, "_delta_log").glob("*.json"))  # a folder alone: somebody is creating it
        from delta.tables import DeltaTable

        return bool(DeltaTable.isDeltaTable(self.spark, f"{self.root}/{name}"))

    def must_exist(self) -> None:
        """Raises LakeError where there is no lake."""
        if not self.exists("runs"):
            raise LakeError(f"{self.root}: no castmine lake here. Make one: castmine harvest FILMS --lake {self.root}")

    def raw(self, name: str) -> DataFrame:
        """All rows of a table, half-written titles too; null in columns that a lake of an older castmine lacks."""
        found = self.spark.table(self.address(name))
        missing = _missing(table(name), found)
        return found.withColumns({c.name: F.lit(None).cast(c.type) for c in missing}) if missing else found

    def rows(self, name: str, titles: Sequence[str] | None = None) -> DataFrame:
        """The rows of a table that count, of `titles` only where given. Corpus-wide tables are returned whole.

        They count when they are committed, and what they are about is still there: labels of tracks that a newer
        harvest replaced are not shown on the new ones.
        """
        found = self.raw(name)
        if titles is not None and "title_id" in found.columns:
            found = found.where(F.col("title_id").isin(list(titles)))
        made = table(name)
        if not made.by_title:
            return found
        counted = F.broadcast(self.counted(made.written_by))
        return found.join(counted, ["run_id", "title_id"], "left_semi").select(*found.columns)

    def map_titles(
        self,
        name: str,
        titles: Sequence[str],
        columns: Sequence[str],
        function: ByTitle,
        schema: str,
        tracks: DataFrame | None = None,
    ) -> DataFrame:
        """What `function` makes of the rows that count of each title of `titles`; no row is shuffled.

        A task is a title's path where the lake's files have one that every worker can open: so rows come from Parquet
        to Arrow without the JVM, which takes an embedding apart number by number. Where they have not (a catalog in a
        cloud, a title that its folder's name does not give back), Spark reads them.

        Args:
            columns: of the table, title_id aside, which `function` gets in any case.
            function: as for `mapInArrow`; the rows of a title come one after the other.
            schema: of what it makes.
            tracks: title_id, track_id and columns to be laid beside the rows of a track, null where it is not named.
        """
        paths = _local_paths(self.raw(name).where(F.col("title_id").isin(list(titles))).inputFiles())
        if paths is None or not paths.keys() <= set(titles):
            whole = self._whole_titles(name, titles).select("title_id", *columns)
            if tracks is not None:
                whole = whole.join(F.broadcast(tracks), ["title_id", "track_id"], "left")
            return whole.mapInArrow(function, schema)
        counted: dict[str, list[str]] = {}
        for row in self.counted(table(name).written_by).where(F.col("title_id").isin(list(titles))).collect():
            counted.setdefault(row["title_id"], []).append(row["run_id"])
        largest_first = sorted(counted.keys() & paths.keys(), key=lambda title: (-_size(paths[title]), title))
        rows = [(place, title, paths[title], counted[title]) for place, title in enumerate(largest_first)]
        work = self.spark.createDataFrame(rows, batches.TITLE_FILES.schema)
        work = work.repartitionByRange(max(1, min(len(rows), TASKS)), "place")
        if tracks is not None:
            together = F.collect_list(F.struct(*tracks.drop("title_id").columns)).alias("tracks")
            work = work.join(F.broadcast(tracks.groupBy("title_id").agg(together)), "title_id", "left")
            work = work.withColumn("tracks", F.expr("coalesce(tracks, array())"))
        reading = functools.partial(batches.titles_from_files, columns=list(columns), then=function)
        return work.mapInArrow(reading, schema)

    def _whole_titles(self, name: str, titles: Sequence[str]) -> DataFrame:
        """The rows of a table that count, each title's together in one partition, and where possible without a shuffle.

        Jobs write a title's rows with one task, so they lie in one file: each file is read by one task, undivided. Only
        where another program has cut a title into several files are rows shuffled by title.
        """
        lake = self.apart()
        for option in ("maxPartitionBytes", "openCostInBytes"):
            lake.spark.conf.set(f"spark.sql.files.{option}", UNDIVIDED)
        found = lake.rows(name, titles)
        if all(len(files) <= 1 for files in _by_title(found.inputFiles()).values()):
            return found
        return found.repartition("title_id").sortWithinPartitions("title_id")

    def counted(self, job: str) -> DataFrame:
        """run_id and title_id of the runs whose rows count, for the tables that `job` writes."""
        runs = self.raw("runs").where(F.col("status").isin(*COMMITTED))
        if job in MADE_FROM:
            source = MADE_FROM[job]
            there = self.raw("titles") if source == "harvest" else self.counted(source)
            there = there.select(F.col("run_id").alias("source"), "title_id")
            made_from = F.get_json_object("input_versions", f"$.{source}").alias("source")
            runs = runs.where(F.col("job") == job).select("run_id", "title_id", made_from)
            runs = runs.join(F.broadcast(there), ["source", "title_id"], "left_semi")
        return runs.select("run_id", "title_id")

    def apart(self) -> Lake:
        """The same lake in a session of its own, where names can be registered without touching anybody else's."""
        session = self.spark.newSession()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        return Lake(session, self.root, str(self.files))

    def replace(self, made: Table, rows: DataFrame, titles: Sequence[str]) -> None:
        """Make the rows of `titles` exactly `rows`; other titles are untouched, and writing again changes nothing."""
        self._complete(made)
        ready = rows.select(*[F.col(c.name).cast(c.type) for c in made.columns])
        target = self.address(made.name)
        self._again_on_conflict(
            lambda: ready.writeTo(target).overwrite(F.col("title_id").isin(list(titles)))  # literal titles: no conflict
        )

    def update(self, made: Table, rows: DataFrame, titles: Sequence[str]) -> None:
        """Set what `rows` say beside key and run_id in the rows of `titles` that have these, in one commit.

        A row that another run has written since is left as it is.
        """
        from delta.tables import DeltaTable

        self._complete(made)
        same = (*made.key, "run_id")
        on = F.col("old.title_id").isin(list(titles))  # literal titles: no conflict
        for name in same:
            on = on & (F.col(f"old.{name}") == F.col(f"new.{name}"))
        values = {name: F.col(f"new.{name}") for name in rows.columns if name not in same}
        target = DeltaTable.forName(self.spark, self.address(made.name)).alias("old")
        merge = target.merge(rows.alias("new"), on).whenMatchedUpdate(set=values)
        self._again_on_conflict(merge.execute)

    def append(self, made: Table, rows: Sequence[dict[str, object]]) -> None:
        """Add rows to an append-only table (`runs`, `adapters`, `edits`)."""
        if rows:
            self._complete(made)
            data = [tuple(row.get(name) for name in made.names) for row in rows]
            frame = self.spark.createDataFrame(data, made.schema).coalesce(1)
            self._again_on_conflict(lambda: frame.writeTo(self.address(made.name)).append())

    def _complete(self, made: Table) -> None:
        """Give a table of an older castmine the columns that it lacks."""

        def add() -> None:  # looks again after a conflict: another job may have added them
            if missing := _missing(made, self.spark.table(self.address(made.name))):
                columns = ", ".join(f"{c.name} {c.type} COMMENT {c.comment}" for c in missing)
                self.spark.sql(f"ALTER TABLE {self.address(made.name)} ADD COLUMNS ({columns})")

        self._again_on_conflict(add)

    def version(self, name: str) -> int:
        """The newest version of a table."""
        return int(self.spark.sql(f"DESCRIBE HISTORY {self.address(name)} LIMIT 1").first()["version"])

    def register_views(self, query: str | None = None) -> list[str]:
        """Make the tables (rows that count) and the views over them readable by name in this session.

        Where a query is given, those alone whose names it holds: opening a table takes time.
        """
        wanted = None if query is None else _names_in(query)
        tables = [made.name for made in all_tables() if wanted is None or made.name in wanted]
        chosen = [name for name in views.VIEWS if wanted is None or name in wanted]
        for name in tables:
            self.rows(name).createOrReplaceTempView(name)
        for name in chosen:
            self.spark.sql(views.VIEWS[name]).createOrReplaceTempView(name)
        return [*tables, *chosen]

    def _again_on_conflict(self, write: Callable[[], object]) -> None:
        for attempt in range(RETRIES):
            try:
                write()
                return
            except Exception as error:
                if not _is_conflict(error) or attempt == RETRIES - 1:
                    raise
                time.sleep(0.5 * 2**attempt)


def _missing(made: Table, there: DataFrame) -> list[Column]:
    return [column for column in made.columns if column.name not in there.columns]


def _by_title(files: Iterable[str]) -> dict[str, list[str]]:
    """The files of each title, as Delta names them: the folder escaped by Hive's rules, the whole not as a URI."""
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if folder := re.search(r"/title_id=([^/]+)/[^/]+$", file):
            found.setdefault(unquote(folder[1]), []).append(file)
    return found


def _local_paths(files: Iterable[str]) -> dict[str, list[str]] | None:
    """The paths of each title's files; None where some have none on this machine or a shared disk."""
    found = _by_title(files)
    if not all(file.startswith("file:/") for listed in found.values() for file in listed):
        return None
    return {title: ["/" + file.removeprefix("file:").lstrip("/") for file in listed] for title, listed in found.items()}


def _idle_s(folder: Path) -> float:
    """Seconds since anything in a folder changed; without end where there is none."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return float("inf")


def _size(paths: Iterable[str]) -> int:
    return sum(os.path.getsize(path) for path in paths)


def _is_catalog(address: str) -> bool:
    """`catalog.schema` with nothing of a path about it."""
    return re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", address) is not None and not Path(address).exists()


def _names_in(query: str) -> set[str]:
    """The words of a query, and those of the views that it names."""
    words = set(re.findall(r"\w+", query.lower()))
    return words.union(*(re.findall(r"\w+", views.VIEWS[name].lower()) for name in words & views.VIEWS.keys()))


def _is_conflict(error: Exception) -> bool:
    return any(word in str(error) for word in CONFLICTS) or "Concurrent" in type(error).__name__
