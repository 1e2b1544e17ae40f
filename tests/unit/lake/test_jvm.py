"""Which Java runs, and that only the right Delta jars are used."""

from __future__ import annotations

import hashlib

import pytest

from conf.errors import CastmineError, UsageError
from jobs.lake import jvm


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Sets JAVA_HOME to a Java that says it is of this version."""

    def install(version: str) -> None:
        script = tmp_path / "bin" / "java"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-20' >&2\n")
        script.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    return install


@pytest.mark.parametrize("version", ["17.0.19", "17"])  # the second is what the very first 17 says
def test_the_java_that_spark_needs(java, version):
    java(version)
    jvm.check_java()


@pytest.mark.parametrize(
    ("version", "said"), [("11.0.2", "is Java 11;"), ("21", "is Java 21;"), ("1.8.0_392", "is Java 1;")]
)
def test_another_java_is_named_with_the_cure(java, version, said):
    java(version)
    with pytest.raises(UsageError, match=f"{said} Spark needs Java 17: set JAVA_HOME"):
        jvm.check_java()


def test_no_java_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no Java\. Spark needs Java 17: apt-get install"):
        jvm.check_java()


def test_a_jar_that_is_another_is_not_used(monkeypatch, tmp_path):
    jars = {"one.jar": hashlib.sha256(b"one").hexdigest(), "two.jar": hashlib.sha256(b"two").hexdigest()}
    monkeypatch.setattr(jvm, "DELTA_JARS", jars)
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path))
    (tmp_path / "jars").mkdir()
    for name in jars:
        (tmp_path / "jars" / name).write_bytes(name.removesuffix(".jar").encode())
    assert [jar.name for jar in jvm.delta_jars()] == list(jars)
    (tmp_path / "jars" / "two.jar").write_bytes(b"three")
    with pytest.raises(CastmineError, match=r"two\.jar: not the jar it should be\. Delete it"):
        jvm.delta_jars()
