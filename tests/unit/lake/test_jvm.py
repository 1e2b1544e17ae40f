"""Which Java runs, and that only the right Delta jars are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.errors import UsageError
from jobs.lake import jvm


def install(home: Path, version: str) -> Path:
    """A Java that says it is of this version."""
    script = home / "bin" / "java"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-20' >&2\n")
    script.chmod(0o755)
    return home


@pytest.fixture
def alone(tmp_path, monkeypatch) -> Path:
    """A machine without any Java, and where one may be put: `path/bin` is on the PATH, `jvm` holds the system's."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setattr(jvm, "JAVAS", tmp_path / "jvm")
    return tmp_path


@pytest.mark.parametrize("version", ["17.0.19", "17"])  # the second is what the very first 17 says
def test_the_java_that_spark_needs(alone, monkeypatch, version):
    monkeypatch.setenv("JAVA_HOME", str(install(alone / "mine", version)))
    assert jvm.find_java() == alone / "mine"
    monkeypatch.delenv("JAVA_HOME")
    install(alone / "path", version)
    assert jvm.find_java() is None, "that on the PATH"


@pytest.mark.parametrize("home", ["gone", "old"])
def test_where_java_home_is_none_another_right_one_is_taken(alone, monkeypatch, home):
    install(alone / "old", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(alone / home))
    with pytest.raises(UsageError, match="Spark needs Java 17"):
        jvm.find_java()
    install(alone / "jvm" / "java-17-openjdk", "17.0.1")
    assert jvm.find_java() == alone / "jvm" / "java-17-openjdk"
    install(alone / "path", "17")
    assert jvm.find_java() is None


@pytest.mark.parametrize(
    ("version", "said"), [("11.0.2", "is Java 11;"), ("21", "is Java 21;"), ("1.8.0_392", "is Java 1;")]
)
def test_another_java_is_named_with_the_cure(alone, monkeypatch, version, said):
    monkeypatch.setenv("JAVA_HOME", str(install(alone / "mine", version)))
    with pytest.raises(UsageError, match=f"{said} Spark needs Java 17: set JAVA_HOME"):
        jvm.find_java()


def test_no_java_at_all(alone):
    with pytest.raises(UsageError, match=r"java: no Java\. Spark needs Java 17: apt-get install"):
        jvm.find_java()


def test_a_java_that_does_not_start_says_why(alone, monkeypatch):
    """A variable of the shell that every Java takes is wrong: Java is there, and installing it cures nothing."""
    java = install(alone / "mine", "17") / "bin" / "java"
    said = ["Picked up JAVA_TOOL_OPTIONS: -Xgarbage", "Unrecognized option: -Xgarbage"]
    java.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in said) + "exit 1\n")
    monkeypatch.setenv("JAVA_HOME", str(alone / "mine"))
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xgarbage")
    with pytest.raises(UsageError, match="does not start: Unrecognized option: -Xgarbage; unset JAVA_TOOL_OPTIONS"):
        jvm.find_java()
