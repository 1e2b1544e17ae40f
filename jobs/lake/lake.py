"""The lake: where the tables are, how titles are replaced in them, and which rows count.

A lake is a folder or object-store prefix (`--lake ./lake`), or a catalog and schema (`--lake main.castmine`). Only this
module and `jobs/lake/run_log.py` read or write tables.
"""

from __future__ import annotations

import functools
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf import views
from conf.catalog import all_tables, table
from conf.code_versions import FORMAT
from conf.errors import LakeError, UsageError
from conf.places import for_spark, is_in_store, locate
from conf.table import FORMAT_PROPERTY, Column, Table
from jobs.lake.addresses import check_address, is_catalog
from jobs.lake.last_runs import COMMITTED, LastRuns, list_counted, read_last_runs
from jobs.lake.locks import Locks, Say
from jobs.lake.title_files import count_bytes, count_runs, group_by_title, list_local_paths, list_paths
from udfs import batches

# what Delta says to the loser of two writers; the last one to whoever comes while another is creating the table
CONFLICTS = (
    *("DELTA_CONCURRENT", "DELTA_PROTOCOL_CHANGED", "DELTA_METADATA_CHANGED"),
    "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION",
)
UNDIVIDED = str(2**50)  # bytes; as cost of opening a file, it also keeps two files out of one partition
TASKS = 10_000  # of one stage, at most
TRIES = 3  # to make a table that is not seen afterwards
ABANDONED_S = 10  # without a change, and a table's folder that has no commit is one that a killed job left
RETRIES = 6  # another writer's commit at the same moment; each retry waits twice as long

ByTitle = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class Lake:
    """One lake, opened. `files` is the folder for what is no table: staged pieces, snapshots, adapters, reports."""

    def __init__(self, spark: SparkSession, address: str, files: str | None = None):
        self.spark = spark
        self.is_catalog = is_catalog(address)
        if self.is_catalog and not files:
            raise UsageError(
                f"--lake {address} is a catalog: say where files go with --files (staged pieces, adapters, reports); "
                f"a folder of that name is ./{address}"
            )
        given = check_address(address)
        self.is_folder = not self.is_catalog and not is_in_store(given)  # on a disk that this machine sees
        self.root = str(Path(given).absolute()) if self.is_folder else given.rstrip("/")
        self.files = locate(files or self.root)
        if not is_in_store(self.files):
            self.files = self.files.absolute()
        self.locks = Locks(self.files)
        self.format = FORMAT
        self._last_runs: tuple[int | None, dict[str, LastRuns]] | None = None  # as of a version of `runs`

    def address(self, name: str) -> str:
        """What a table is called in SQL."""
        if self.is_catalog:
            return f"{self.root}.{name}"
        place = f"file://{self.root}" if self.is_folder else for_spark(self.root)  # Spark's default may be elsewhere
        return f"delta.`{place.replace('`', '``')}/{name}`"

    def open(self, say: Say, *, create: bool = False, writes: bool = True) -> None:
        """Open the lake; a lake of an older castmine gets what it lacks where it is written to, and is read as it is.

        Args:
            create: make it where there is none. writes: False for commands that only read.
        Raises:
            LakeError: there is no lake, or a newer castmine has made it.
        """
        if not self.exists("runs"):
            if not create:
                raise LakeError(
                    f"{self.root}: no castmine lake here. Make one: castmine harvest FILMS --lake {self.root}"
                )
            self.create()
            return
        self.format = self.read_format()
        if self.format > FORMAT:
            raise LakeError(
                f"{self.root}: a lake of format {self.format}, made by a newer castmine; this one knows formats up to "
                f"{FORMAT}, and would lose what it does not know. Use the newer castmine"
            )
        if writes and self.format < FORMAT:
            with self.locked(say):
                self._migrate()
            say(f"{self.root}: brought from format {self.format} to {FORMAT}; no older castmine may write to it now")
            self.format = FORMAT
        elif create:
            self.create()  # whoever made the lake may have been killed then

    def create(self) -> None:
        """Make every table that is missing, in one step before anything writes: two first writers would collide."""
        if self.is_folder:
            self.files.mkdir(parents=True, exist_ok=True)
        missing = [made for made in all_tables() if not self.exists(made.name)]
        with ThreadPoolExecutor(4) as pool:  # each is one small commit; the waiting is the driver's
            list(pool.map(self._create, missing))

    def read_format(self) -> int:
        """The format of a lake that is there; 1 before formats had numbers."""
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self.address('runs')}").collect()
        return int(next((row["value"] for row in rows if row["key"] == FORMAT_PROPERTY), 1))

    def _migrate(self) -> None:
        """Make the tables and columns that are missing, and then say so: who is killed before does it again."""
        self.create()
        for made in all_tables():
            if missing := _missing(made, self.spark.table(self.address(made.name))):
                columns = ", ".join(f"{c.name} {c.type} COMMENT {c.comment}" for c in missing)
                self._alter(f"ALTER TABLE {self.address(made.name)} ADD COLUMNS ({columns})")
        self._alter(f"ALTER TABLE {self.address('runs')} SET TBLPROPERTIES ('{FORMAT_PROPERTY}' = '{FORMAT}')")

    def _alter(self, statement: str) -> None:
        self._again_on_conflict(functools.partial(self.spark.sql, statement))

    def _create(self, made: Table) -> None:
        format_of_lake = {FORMAT_PROPERTY: str(FORMAT)} if made.name == "runs" else {}
        create = functools.partial(self.spark.sql, made.ddl(self.address(made.name), format_of_lake))
        self._again_on_conflict(create)
        if not self.is_folder:
            return
        # IF NOT EXISTS is content with a folder that has no commit: somebody is creating the table, or was killed then
        folder, tries = Path(self.root, made.name), 0
        while not self.exists(made.name):
            if _idle_s(folder) <= ABANDONED_S:
                time.sleep(0.5)
                continue
            tries += 1
            if tries > TRIES:
                raise LakeError(f"{folder}: made, and not seen here. Do Spark and castmine see one file system?")
            shutil.rmtree(folder, ignore_errors=True)
            self._again_on_conflict(create)

    def exists(self, name: str) -> bool:
        """Whether the table is there."""
        if self.is_catalog:
            return self.spark.catalog.tableExists(f"{self.root}.{name}")
        if self.is_folder:
            return any(Path(self.root, name, "_delta_log").glob("*.json"))  # a folder alone: somebody is creating it
        from delta.tables import DeltaTable

        return bool(DeltaTable.isDeltaTable(self.spark, f"{for_spark(self.root)}/{name}"))

    def raw(self, name: str) -> DataFrame:
        """All rows of a table, half-written titles too. What a lake of an older castmine lacks is null, or no row."""
        if self.format < FORMAT and not self.exists(name):
            return self.spark.createDataFrame([], table(name).schema)
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
        runs = F.broadcast(self._committed(made, titles))
        return found.join(runs, ["title_id", "run_id"], "left_semi").select(*found.columns)

    def _committed(self, made: Table, titles: Sequence[str] | None) -> DataFrame:
        """title_id and run_id of the runs whose rows count; where rows are only added, of all that have ended."""
        if "run_id" in made.key:
            runs = self.raw("runs").where((F.col("job") == made.written_by) & F.col("status").isin(*COMMITTED))
            return runs.select("title_id", "run_id")
        wanted, counted = None if titles is None else set(titles), self.counted(made.written_by)
        rows = [(title, run_id) for title, run_id in counted.items() if wanted is None or title in wanted]
        return self.spark.createDataFrame(rows, "title_id STRING, run_id STRING")

    def count_rows(self, name: str, titles: Sequence[str]) -> Mapping[tuple[str, str], int]:
        """Rows of a table by (title_id, run_id), half-written ones too."""
        found = self.raw(name).where(F.col("title_id").isin(list(titles)))
        paths = list_local_paths(found.inputFiles())
        if paths is not None and paths.keys() <= set(titles):
            return count_runs(paths)
        rows = found.groupBy("title_id", "run_id").count().collect()
        return {(row["title_id"], row["run_id"]): row["count"] for row in rows}

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
        paths = list_paths(self.raw(name).where(F.col("title_id").isin(list(titles))).inputFiles())
        if paths is None or not paths.keys() <= set(titles):
            whole = self._whole_titles(name, titles).select("title_id", *columns)
            if tracks is not None:
                whole = whole.join(F.broadcast(tracks), ["title_id", "track_id"], "left")
            return whole.mapInArrow(function, schema)
        counted = self.counted(table(name).written_by)
        largest_first = sorted(counted.keys() & paths.keys(), key=lambda title: (-count_bytes(paths[title]), title))
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
        if all(len(files) <= 1 for files in group_by_title(found.inputFiles()).values()):
            return found
        return found.repartition("title_id").sortWithinPartitions("title_id")

    @contextmanager
    def locked(self, say: Say) -> Iterator[None]:
        """Hold the lake alone, see `Locks.commit`."""
        with self.locks.commit(say):
            self._forget_runs()
            yield

    def last_runs(self) -> dict[str, LastRuns]:
        """What stands: now, where the lake's log is at hand; else as of the last look, not before `locked`."""
        version = self._version_of_files("runs")
        if self._last_runs is None or self._last_runs[0] != version:
            self._last_runs = version, read_last_runs(self.raw("runs"))
        return self._last_runs[1]

    def _forget_runs(self) -> None:
        if not self.is_folder:
            self._last_runs = None

    def counted(self, job: str) -> dict[str, str]:
        """title_id -> the run whose rows count in the tables that `job` writes; see `last_runs.list_counted`."""
        return {title: row["run_id"] for title, row in list_counted(self.last_runs(), job).items()}

    def next_number(self) -> int:
        """Larger than the `number` of any row of `runs`, while the lake is locked.

        Every commit raises the table's version; where the table was copied into a new one, that began anew.
        """
        found = self._last_runs[1] if self._last_runs else self.last_runs()
        known = (row["number"] or 0 for of_job in found.values() for row in of_job.last.values())
        return max(self.version("runs"), *known, 0) + 1

    def apart(self) -> Lake:
        """The same lake in a session of its own, where names can be registered without touching anybody else's."""
        session = self.spark.newSession()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        apart = Lake(session, self.root, str(self.files))
        apart.format = self.format
        return apart

    def replace(self, made: Table, rows: DataFrame, titles: Sequence[str]) -> None:
        """Make the rows of `titles` exactly `rows`; other titles are untouched, and writing again changes nothing."""
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
            data = [tuple(row.get(name) for name in made.names) for row in rows]
            frame = self.spark.createDataFrame(data, made.schema).coalesce(1)
            self._again_on_conflict(lambda: frame.writeTo(self.address(made.name)).append())
            if made.name == "runs":
                self._forget_runs()

    def version(self, name: str) -> int:
        """The newest version of a table."""
        found = self._version_of_files(name)
        if found is not None:
            return found
        return int(self.spark.sql(f"DESCRIBE HISTORY {self.address(name)} LIMIT 1").first()["version"])

    def _version_of_files(self, name: str) -> int | None:
        """The newest version where the table's log is a folder at hand, which is looked into at no cost; else None."""
        if not self.is_folder:
            return None
        logs = Path(self.root, name, "_delta_log").glob("*.json")
        return max((int(log.stem) for log in logs if log.stem.isdecimal()), default=None)

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


def _idle_s(folder: Path) -> float:
    """Seconds since anything in a folder changed; without end where there is none."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return float("inf")


def _names_in(query: str) -> set[str]:
    """The words of a query, and those of the views that it names."""
    words = set(re.findall(r"\w+", query.lower()))
    return words.union(*(re.findall(r"\w+", views.VIEWS[name].lower()) for name in words & views.VIEWS.keys()))


def _is_conflict(error: Exception) -> bool:
    return any(word in str(error) for word in CONFLICTS) or "Concurrent" in type(error).__name__
