"""The Spark session: borrowed where one runs already (Databricks, spark-submit), else started here with Delta."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from pyspark.sql import SparkSession

from conf.errors import CastmineError, UsageError
from udfs.assets import cache_dir

# Of the 33 jars that Ivy resolves for delta-spark these two are not in pyspark already. Resolved once, then kept.
DELTA_PACKAGE = "io.delta:delta-spark_4.0_2.13:4.4.0"
DELTA_JARS = {
    "io.delta_delta-spark_4.0_2.13-4.4.0.jar": "49e899667168b9412f83cbe894ce264107d7b896d6c5e12edca4e216845c1104",
    "io.delta_delta-storage-4.4.0.jar": "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
}
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",  # a lake's log is small; 50, the default, double a job's CPU time
}
LOCAL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.ui.showConsoleProgress": "false",
}
JAVA = "17"


@contextmanager
def borrowed_or_started(
    spark: SparkSession | None, job: str, master: str | None = None, more: Mapping[str, str] | None = None
) -> Iterator[SparkSession]:
    """`spark` where given; else the running session; else a new one, stopped at the end."""
    if spark is not None:
        yield spark
        return
    running = SparkSession.getActiveSession()
    session = running or start(job, master, more or {})
    try:
        yield session
    finally:
        if running is None and not _on_databricks():
            session.stop()


def start(job: str, master: str | None, more: Mapping[str, str]) -> SparkSession:
    """A session with Delta. Under spark-submit, master and jars are what it was told.

    Raises:
        UsageError: not the Java that Spark needs, or --master is given to a script that spark-submit runs.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    builder = SparkSession.builder.appName(f"castmine {job}").config("spark.sql.session.timeZone", "UTC")
    if not _on_databricks():
        for key, value in DELTA.items():
            builder = builder.config(key, value)
    if _launched_by_submit() or _on_databricks():
        if master:
            raise UsageError("--master: this session is already started; give the master to spark-submit instead")
    else:
        for key, value in _own_launch(master or "local[*]").items():
            builder = builder.config(key, value)
    for key, value in more.items():
        builder = builder.config(key, value)
    with _stderr_to(spark_log()):
        session = builder.getOrCreate()
    if not _on_databricks():
        session.sparkContext.setLogLevel("ERROR")
    return session


def spark_log() -> Path:
    """Where the JVM that castmine starts writes what it has to say; a terminal shows castmine's own words only."""
    return cache_dir() / "spark.log"


@contextmanager
def _stderr_to(file: Path) -> Iterator[None]:
    """Processes started inside write their standard error to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept, log = os.dup(2), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.dup2(log, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


def _own_launch(master: str) -> dict[str, str]:
    check_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run this environment, not the first python3
    jars = [str(jar) for jar in delta_jars()]
    log4j = resources.files("conf") / "log4j2.properties"
    java = f"-Dlog4j2.configurationFile={log4j} -Dlog4j.configurationFile={log4j}"
    warehouse = str(cache_dir() / "warehouse")  # Spark makes one even where nothing uses it; not in the user's folder
    common = {
        "spark.master": master,
        "spark.sql.warehouse.dir": warehouse,
        "spark.driver.memory": _driver_memory(),
        "spark.driver.extraJavaOptions": java,
    }
    if not master.startswith("local"):
        return {**common, "spark.jars": ",".join(jars)}
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    cores = str(_cores(master))
    threads = {"spark.sql.shuffle.partitions": cores, "spark.default.parallelism": cores}
    # The work is in Python: start fast, leave the cores to it. With one tier come 48 MB for compiled code, which some
    # hundred queries fill; then all is compiled again and again.
    java = f"{java} -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
    paths = {"spark.driver.extraClassPath": os.pathsep.join(jars), "spark.driver.extraJavaOptions": java}
    return {**common, **LOCAL, **threads, **paths}


def check_java() -> None:
    """Raises UsageError unless the Java that Spark would run is the one it needs."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        raise UsageError(
            f"{java}: no Java. Spark needs Java {JAVA}: apt-get install openjdk-17-jre-headless"
        ) from error
    version = said.partition('version "')[2].partition(".")[0].strip('"')
    if version != JAVA:
        cure = "set JAVA_HOME to a Java 17" if home else "install it: apt-get install openjdk-17-jre-headless"
        raise UsageError(f"{java} is Java {version or 'of unknown version'}; Spark needs Java {JAVA}: {cure}")


def delta_jars() -> list[Path]:
    """The two Delta jars, resolved by Spark's own Ivy client once and kept in the user's cache.

    Raises:
        CastmineError: they are not there, and cannot be resolved.
    """
    folder = cache_dir() / "jars"
    paths = [folder / name for name in DELTA_JARS]
    if not all(path.exists() for path in paths):
        _resolve_delta_jars(folder)
    for path in paths:
        if not _right(path):
            raise CastmineError(f"{path}: not the jar it should be. Delete it and run: castmine doctor --fetch")
    return paths


def _resolve_delta_jars(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        "import sys; from pyspark.sql import SparkSession\n"
        "SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        ".config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1')"
        ".config('spark.jars.packages', sys.argv[1]).config('spark.jars.ivy', sys.argv[2]).getOrCreate().stop()"
    )
    with tempfile.TemporaryDirectory(dir=folder) as ivy:
        done = subprocess.run([sys.executable, "-c", script, DELTA_PACKAGE, ivy], capture_output=True, text=True)
        for name in DELTA_JARS:
            jar = Path(ivy, "jars", name)
            if done.returncode or not jar.exists():
                raise CastmineError(
                    f"{DELTA_PACKAGE} could not be resolved from Maven Central (no network?). Place the jars by hand "
                    f"into {folder}: {', '.join(DELTA_JARS)}\n{done.stderr[-500:]}"
                )
            if not _right(jar):
                raise CastmineError(f"{name}: Maven gave a jar with another checksum; not used")
            jar.replace(folder / name)


def _right(jar: Path) -> bool:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == DELTA_JARS[jar.name]


def _launched_by_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _on_databricks() -> bool:
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def _driver_memory() -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{max(1, min(8, int(gigabytes / 4)))}g"


def _cores(master: str) -> int:
    inside = master.partition("[")[2].partition("]")[0].partition(",")[0]
    return len(os.sched_getaffinity(0)) if inside in ("*", "") and master != "local" else int(inside or 1)
