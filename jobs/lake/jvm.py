"""The Java that Spark needs."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from conf.errors import UsageError

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
