"""The classes of Spark and Delta as the JVM has them in memory, kept: a command then takes 4 seconds of CPU less.

A class-data archive is the JVM's own (JEP 350), made once by a session that does a little of everything. The JVM checks
it against its own build and the jars, paths and all, and does without it where it does not fit: so every installation
has its own.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from conf.cache import cache_dir
from conf.errors import CastmineError
from conf.files import write_whole
from conf.ids import stable_id
from jobs.lake import jars
from jobs.lake.jvm import say_build

QUIET = "-Xlog:disable -Xlog:all=error:stderr"  # an archive that does not fit would be said on standard output


def path(java: Path | None) -> Path:
    """Where the archive of this Java and this installation's Spark lies, or is to lie.

    Args:
        java: as `find_java`.
    """
    of = stable_id(say_build(java), str(find_spark()), importlib.metadata.version("pyspark"), *jars.known("delta").jars)
    return cache_dir() / "java" / f"{of}.jsa"


def find_spark() -> Path:
    """The folder of this installation's pyspark. Raises ModuleNotFoundError where there is none."""
    return Path(str(importlib.metadata.distribution("pyspark").locate_file("pyspark")))


def options(java: Path | None) -> str:
    """What the JVM is told of the archive; empty where there is none."""
    file = path(java)
    return f"-XX:SharedArchiveFile={file} {QUIET}" if file.exists() and not re.search(r"\s", str(file)) else ""


def make(java: Path | None) -> Path:
    """Make the archive, unless it is there: half a minute.

    Raises:
        CastmineError: the session that should make it failed.
    """
    file = path(java)
    if file.exists():
        return file
    _forget_others(file.parent)
    with write_whole(file) as part:
        done = subprocess.run([sys.executable, "-m", __spec__.name, str(part)], capture_output=True, text=True)
        if done.returncode or not part.exists():
            said = (done.stderr or done.stdout).strip() or "this Java makes none"
            raise CastmineError(said.splitlines()[-1])
    file.with_suffix(".of").write_text(str(find_spark()))
    return file


def _forget_others(folder: Path) -> None:
    """Delete the archives of installations that are gone: 180 MB each."""
    for of in folder.glob("*.of"):
        if not Path(of.read_text()).exists():
            of.with_suffix(".jsa").unlink(missing_ok=True)
            of.unlink(missing_ok=True)


def main(file: str) -> None:
    """A session that makes the tables of a lake, writes, reads, joins and maps, and leaves its classes in `file`."""
    from jobs.lake import session
    from jobs.lake.lake import Lake

    own = session.launch_options("local[2]")["spark.driver.extraJavaOptions"]
    java = {"spark.driver.extraJavaOptions": f"{own} -XX:ArchiveClassesAtExit={file} {QUIET}"}
    with (
        tempfile.TemporaryDirectory() as folder,
        session.borrowed_or_started(None, "classes", [], "local[2]", java) as spark,
    ):
        lake = Lake(spark, folder)
        lake.create()
        lake.register_views()
        spark.sql("SELECT title_id, count(*) FROM screen_time GROUP BY title_id ORDER BY 1").collect()
        rows = spark.createDataFrame([(1, "x"), (2, "y")], "a BIGINT, b STRING")
        rows = rows.groupBy("a").applyInPandas(lambda group: group, rows.schema)
        keys = rows.select("a").mapInArrow(lambda batches: batches, "a BIGINT")
        rows.join(keys, "a").write.format("delta").save(f"{folder}/t")
        process = spark.sparkContext._gateway.proc
    process.stdin.close()  # the JVM ends with it, and writes as it ends
    process.wait()


if __name__ == "__main__":
    main(sys.argv[1])
