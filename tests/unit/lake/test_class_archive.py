"""The JVM's kept classes: named after all that they are of, used where they are, and never in the way."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from conf.errors import CastmineError
from jobs.lake import class_archive
from jobs.lake.jvm import find_java


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path))
    return tmp_path


def run_java(*options: str) -> subprocess.CompletedProcess[str]:
    home = find_java()
    java = str(home / "bin" / "java") if home else "java"
    return subprocess.run([java, *options], capture_output=True, text=True)


def test_another_java_has_another_archive(cache, monkeypatch):
    found = {}
    for build in ("17.0.15+6", "17.0.16+8"):
        monkeypatch.setattr(class_archive, "say_build", lambda java, build=build: build)
        found[build] = class_archive.path(None)
    assert len(set(found.values())) == 2
    assert all(path.parent == cache / "java" for path in found.values())


def test_another_installation_has_another_archive_and_one_that_is_gone_has_none(cache, monkeypatch, tmp_path):
    own, gone = class_archive.path(None), tmp_path / "gone"
    monkeypatch.setattr(class_archive, "find_spark", lambda: gone)
    file = class_archive.path(None)
    assert file != own
    file.parent.mkdir()
    for kept, spark in ((file, gone), (own, tmp_path)):
        kept.touch()
        kept.with_suffix(".of").write_text(str(spark))
    class_archive._forget_others(file.parent)
    assert {path.name for path in file.parent.iterdir()} == {own.name, own.with_suffix(".of").name}


def test_nothing_is_told_of_an_archive_that_is_not_there(cache):
    assert class_archive.options(find_java()) == ""


def test_a_file_that_is_no_archive_is_passed_over_in_silence(cache):
    file = class_archive.path(find_java())
    file.parent.mkdir()
    file.write_bytes(b"something else")
    done = run_java(*shlex.split(class_archive.options(find_java())), "-version")
    assert (done.returncode, done.stdout) == (0, "")
    assert str(file) in class_archive.options(find_java())


def test_a_folder_with_a_space_would_split_the_option(tmp_path, monkeypatch):
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path / "my cache"))
    file = class_archive.path(find_java())
    file.parent.mkdir(parents=True)
    file.touch()
    assert class_archive.options(find_java()) == ""


def test_what_made_none_says_so_and_leaves_nothing(cache, monkeypatch):
    monkeypatch.setattr(class_archive.sys, "executable", "/bin/false")
    with pytest.raises(CastmineError, match="this Java makes none"):
        class_archive.make(find_java())
    assert list((cache / "java").iterdir()) == []


def test_the_archive_of_set_up_is_in_use(spark):
    """A JVM that does not like it does not map it."""
    file = class_archive.path(find_java())
    told = spark.sparkContext._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
    assert f"-XX:SharedArchiveFile={file}" in list(told)
    mapped = Path(f"/proc/{spark.sparkContext._gateway.proc.pid}/maps").read_text()
    assert str(file) in mapped
