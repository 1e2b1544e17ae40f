"""What Spark needs beside Python: the right Java, and Delta's jars."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from conf.cache import cache_dir, make_cache
from conf.errors import CastmineError, UsageError

# Of the 33 jars that Ivy resolves for delta-spark these two are not in pyspark already. Resolved once, then kept.
DELTA_PACKAGE = "io.delta:delta-spark_4.0_2.13:4.4.0"
DELTA_JARS = {
    "io.delta_delta-spark_4.0_2.13-4.4.0.jar": "49e899667168b9412f83cbe894ce264107d7b896d6c5e12edca4e216845c1104",
    "io.delta_delta-storage-4.4.0.jar": "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
}
JAVA = "17"
JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")  # that every Java of a shell takes
JAVAS = Path("/usr/lib/jvm")  # where Linux keeps them


def find_java() -> Path | None:
    """The home of the Java that Spark is to run; None for the `java` on the PATH.

    That of JAVA_HOME where it is the right one, else the first right one that there is: a shell may be set for others.

    Raises:
        UsageError: there is none.
    """
    tried: dict[str, str | None] = {}
    named = os.environ.get("JAVA_HOME")
    for home in [*([Path(named)] if named else []), None, *sorted(JAVAS.glob(f"*{JAVA}*"))]:
        java = str(home / "bin" / "java") if home else "java"
        tried[java] = _version_of(java)
        if tried[java] == JAVA:
            return home
    java = str(Path(named, "bin", "java")) if named else "java"
    if tried[java] is None and (why := _why_not(java)):
        raise UsageError(f"{java} does not start: {why}")
    if tried[java] is None:
        raise UsageError(f"{java}: no Java. Spark needs Java {JAVA}: apt-get install openjdk-17-jre-headless")
    cure = "set JAVA_HOME to a Java 17" if named else "install it: apt-get install openjdk-17-jre-headless"
    raise UsageError(f"{java} is Java {tried[java] or 'of unknown version'}; Spark needs Java {JAVA}: {cure}")


def _version_of(java: str) -> str | None:
    """The first number of a Java's version, empty where it says none; None where it does not run."""
    try:
        said = _say_version(java, os.environ.get("PATH"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.partition('version "')[2].partition('"')[0].partition(".")[0]


def say_build(home: Path | None) -> str:
    """What the Java of a home, as `find_java` has it, says of its version and build."""
    return _say_version(str(home / "bin" / "java") if home else "java", os.environ.get("PATH"))


@functools.cache  # a start asks twice, and a Java takes its time to answer
def _say_version(java: str, path: str | None) -> str:
    """What a Java says of itself; which one a bare `java` is goes by the PATH."""
    return subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr


def _why_not(java: str) -> str | None:
    """What a Java that is there says where it does not start, and what in the shell may be the cause."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace").stderr
    except OSError:
        return None
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Picked up")]
    named = [name for name in JAVA_OPTIONS if name in os.environ]
    return (lines or ["it says nothing"])[0] + (f"; unset {', '.join(named)}" if named else "")


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
    make_cache(folder)
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
