"""The Spark session: borrowed where one runs already (Databricks, spark-submit), else started here with Delta."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from pyspark.sql import SparkSession

from conf.cache import cache_dir, log_file
from conf.errors import LakeError, UsageError
from conf.places import for_spark
from jobs.lake import class_archive, environment, jars
from jobs.lake.jvm import find_java

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

TRIES = 4  # of a task, as on a cluster: a worker that was killed is replaced


@contextmanager
def borrowed_or_started(
    spark: SparkSession | None,
    job: str,
    reached: Collection[str],
    master: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[SparkSession]:
    """`spark` where given; else the running session; else a new one, see `start`, stopped at the end."""
    running = spark or SparkSession.getActiveSession()
    session = running or start(job, reached, master, more or {})
    try:
        yield session
    finally:
        if running is not None:
            _make_active(running)
        elif not _on_databricks():
            session.stop()


def _make_active(session: SparkSession) -> None:
    """Make a borrowed session the active one again: a query in another one (`Lake.apart`) had made that one so.

    To make rows is the one public way to do it, for PySpark and the JVM alike.
    """
    session.createDataFrame([], "nothing INT")


def start(job: str, reached: Collection[str], master: str | None, more: Mapping[str, str]) -> SparkSession:
    """A session with Delta. Under spark-submit, master and jars are what it was told.

    Args:
        reached: addresses of tables that it must reach, in S3 or elsewhere.

    Raises:
        UsageError: not the Java that Spark needs, or --master is given to a script that spark-submit runs.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # what it has to say comes as an exception, too
    builder = SparkSession.builder.appName(f"castmine {job}").config("spark.sql.session.timeZone", "UTC")
    if not _on_databricks():
        for key, value in DELTA.items():
            builder = builder.config(key, value)
    if environment.launched_by_submit() or _on_databricks():
        if master:
            raise UsageError("--master: this session is already started; give the master to spark-submit instead")
    else:
        for key, value in launch_options(master or "local[*]", reached).items():
            builder = builder.config(key, value)
    for key, value in more.items():
        builder = builder.config(key, value)
    with _stderr_to(log_file()):
        try:
            session = builder.getOrCreate()
        except Exception as error:
            raise LakeError(f"Spark could not start: {_why(error)} (what it said is in {log_file()})") from error
    if not _on_databricks():
        session.sparkContext.setLogLevel("ERROR")
    return session


def _why(error: Exception) -> str:
    """The last line in which Spark's launcher says what is wrong."""
    said = [line for line in log_file().read_text(errors="replace").splitlines() if re.search("Exception|Error", line)]
    return (said[-1] if said else str(error)).strip()


@contextmanager
def _stderr_to(file: Path) -> Iterator[None]:
    """Processes started inside write their standard error to `file`."""
    sys.stderr.flush()
    kept, log = os.dup(2), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(log, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(log)


def launch_options(master: str, reached: Collection[str] = ()) -> dict[str, str]:
    """What a session that is started here is told, beside Delta. Args: as of `start`.

    Raises:
        UsageError: no Java that Spark can run on. CastmineError: a jar cannot be had.
    """
    environment.settle(master)
    home = find_java()
    if home:
        os.environ["JAVA_HOME"] = str(home)
    else:
        os.environ.pop("JAVA_HOME", None)
    in_s3 = any(for_spark(address).startswith("s3a://") for address in reached)
    delta, s3 = jars.fetch("delta"), jars.fetch("s3") if in_s3 else []
    log4j = resources.files("conf") / "log4j2.properties"
    java = f"-Dlog4j2.configurationFile={log4j} -Dlog4j.configurationFile={log4j}"
    warehouse = f"file://{log_file().parent}/warehouse"  # Spark makes one even where nothing uses it
    common = {
        "spark.master": master,
        "spark.sql.warehouse.dir": warehouse,
        "spark.driver.memory": _driver_memory(),
        "spark.hadoop.fs.permissions.umask-mode": f"{_read_umask():03o}",  # in HDFS; a disk goes by the process
        "spark.driver.extraJavaOptions": java,
        "spark.jars.ivy": str(cache_dir() / "ivy"),  # a user without a home has none of Java's
    }
    if in_s3:
        common |= _reach_s3()
    if not master.startswith("local"):
        return {**common, "spark.jars": ",".join(map(str, [*delta, *s3]))}
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    cores = str(_cores(master))
    if master.endswith("]") and "," not in master:
        common["spark.master"] = f"{master[:-1]},{TRIES}]"
    threads = {"spark.sql.shuffle.partitions": cores, "spark.default.parallelism": cores}
    # The work is in Python: start fast, leave the cores to it. With one tier come 48 MB for compiled code, which some
    # hundred queries fill; then all is compiled again and again.
    java = (
        f"{java} -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC {class_archive.options(home)}"
    )
    paths = {"spark.driver.extraClassPath": os.pathsep.join(map(str, delta)), "spark.driver.extraJavaOptions": java}
    if s3:  # at the end of the class path: the JVM's kept classes are of a path that begins as they know it
        known = os.environ.get("SPARK_DIST_CLASSPATH", "").split(os.pathsep)
        os.environ["SPARK_DIST_CLASSPATH"] = os.pathsep.join(filter(None, dict.fromkeys([*known, *map(str, s3)])))
    return {**common, **LOCAL, **threads, **paths}


def _reach_s3() -> dict[str, str]:
    """Keys and endpoint are found where Python, and Amazon's own tools, find them."""
    options = {"aws.credentials.provider": "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        encrypted = str(endpoint.startswith("https:")).lower()
        options |= {"endpoint": endpoint, "path.style.access": "true", "connection.ssl.enabled": encrypted}
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in options.items()}


def _read_umask() -> int:
    umask = os.umask(0o077)  # it cannot be read without being set
    os.umask(umask)
    return umask


def _on_databricks() -> bool:
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def _driver_memory() -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{max(1, min(8, int(gigabytes / 4)))}g"


def _cores(master: str) -> int:
    inside = master.partition("[")[2].partition("]")[0].partition(",")[0]
    return len(os.sched_getaffinity(0)) if inside in ("*", "") and master != "local" else int(inside or 1)
