"""What castmine's own Spark takes from the shell, and what not: a Spark user's shell is set for another Spark.

Under spark-submit and on Databricks the session is not castmine's, and nothing is touched.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from conf.errors import UsageError

# of another Spark, Python or Hadoop: paths to it, words for its launcher, settings that it reads
OF_ANOTHER_SPARK = (
    *("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_ENV_LOADED", "SPARK_DIST_CLASSPATH", "SPARK_CLASSPATH", "SPARK_REMOTE"),
    *("SPARK_SUBMIT_OPTS", "SPARK_PREPEND_CLASSES", "SPARK_SCALA_VERSION", "SPARK_CONNECT_MODE_ENABLED"),
    *("SPARK_API_MODE", "SPARK_MASTER", "SPARK_USER", "SPARK_PYTHON_RUNTIME", "SPARK_LAUNCHER_OPTS", "SPARK_JARS_DIR"),
    *("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "PYSPARK_DRIVER_PYTHON_OPTS", "PYSPARK_SUBMIT_ARGS"),
    *("SPARK_DRIVER_MEMORY", "SPARK_EXECUTOR_MEMORY", "SPARK_EXECUTOR_CORES", "ARROW_PRE_0_15_IPC_FORMAT"),
    *("PYSPARK_PIN_THREAD", "PYTHONHOME", "PYTHONSTARTUP", "CLASSPATH"),
)
OF_A_CLUSTER = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "HADOOP_HOME")  # a master that is not local is found with them
UTF8 = "C.UTF-8"
UMASKS = {"private": 0o077, "group": 0o007}  # by the setting lake.access


def launched_by_submit(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the session is spark-submit's."""
    return "PYSPARK_GATEWAY_PORT" in environment


def describe(environment: Mapping[str, str] = os.environ) -> str:
    """What the shell has set for another Spark or in another language, and what castmine makes of it.

    Raises: as `check_locale`.
    """
    check_locale(environment)
    ignored = [name for name in OF_ANOTHER_SPARK + OF_A_CLUSTER if name in environment]
    proxies = [name for name in environment if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    said = [f"{', '.join(ignored)} set for another Spark or Python, and not used by castmine's own"] if ignored else []
    said += [f"{', '.join(proxies)} used for what is fetched"] if proxies else []
    return "; ".join(said) or "nothing set for another Spark"


def check_locale(environment: Mapping[str, str] = os.environ) -> None:
    """Raises UsageError where Python runs in a locale that is not UTF-8: names of files would come out wrong."""
    if sys.getfilesystemencoding().lower() != "utf-8":
        said = " ".join(f"{name}={environment[name]}" for name in ("LC_ALL", "LC_CTYPE", "LANG") if name in environment)
        raise UsageError(f"{said}: names of files are not read as UTF-8 so; export LC_ALL={UTF8}")


def settle(master: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the environment one in which castmine's own Spark and Python run, wherever the shell points.

    Raises: as `check_locale`.
    """
    check_locale(environment)
    for name in OF_ANOTHER_SPARK + (OF_A_CLUSTER if master.startswith("local") else ()):
        environment.pop(name, None)
    drop_other_pyspark(sys.path, environment)
    if not all(_can_be_made(folder) for folder in environment.get("SPARK_LOCAL_DIRS", "").split(",")):
        environment.pop("SPARK_LOCAL_DIRS")
    environment["PYSPARK_PYTHON"] = environment["PYSPARK_DRIVER_PYTHON"] = sys.executable
    environment["LC_ALL"] = UTF8  # Java names files in it; a lake may lie anywhere
    environment["TZ"] = "UTC"
    time.tzset()


def _can_be_made(folder: str) -> bool:
    try:
        os.makedirs(folder or "/", exist_ok=True)
    except OSError:
        return False
    return True


@contextmanager
def keep_private(access: str) -> Iterator[None]:
    """Files made inside, also by processes started there, are for the user alone, or (`group`) for the group."""
    before = os.umask(UMASKS[access])
    try:
        yield
    finally:
        os.umask(before)


def drop_other_pyspark(path: list[str], environment: MutableMapping[str, str]) -> None:
    """Take folders that hold a pyspark of their own (such as $SPARK_HOME/python) out of PYTHONPATH and `path`."""
    if launched_by_submit(environment):
        return
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    others = [entry for entry in given if entry and (Path(entry, "pyspark").is_dir() or "py4j" in Path(entry).name)]
    if not others:
        return
    path[:] = [entry for entry in path if entry not in others]
    kept = [entry for entry in given if entry and entry not in others]
    environment.pop("PYTHONPATH")
    if kept:
        environment["PYTHONPATH"] = os.pathsep.join(kept)
