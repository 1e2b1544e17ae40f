"""castmine's own Spark and Python, whatever a Spark user's shell says; and places of any name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.cache import cache_dir
from tests.helpers import lakes

PLACE = "東京 [a]{b,c}* 50% #1? q'\"uo`te"  # of a lake: what paths, globs, SQL and URIs each take for their own


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """A shell in which everything that can be set for another Spark, Java and Python is set wrong."""
    confs = tmp_path / "confs"
    confs.mkdir()
    (confs / "spark-defaults.conf").write_text(
        "spark.jars.packages org.nowhere:nothing:1\nspark.sql.extensions org.nowhere.Nothing\nspark.master yarn\n"
    )
    (confs / "core-site.xml").write_text(
        "<configuration><property><name>fs.defaultFS</name><value>hdfs://nowhere:1</value></property></configuration>"
    )
    (tmp_path / "python" / "pyspark").mkdir(parents=True)
    (tmp_path / "python" / "pyspark" / "__init__.py").write_text("raise ImportError('another pyspark')")
    wrong = {
        "SPARK_HOME": str(tmp_path / "no-spark"),
        "SPARK_CONF_DIR": str(confs),
        "HADOOP_CONF_DIR": str(confs),
        "HADOOP_HOME": str(tmp_path / "no-hadoop"),
        "PYSPARK_PYTHON": "/bin/false",
        "PYSPARK_DRIVER_PYTHON": "ipython",
        "PYSPARK_SUBMIT_ARGS": "--master yarn --packages org.nowhere:nothing:1 pyspark-shell",
        "SPARK_REMOTE": "sc://localhost:1",
        "JAVA_HOME": str(tmp_path / "no-java"),
        "HOME": "/proc/nobody",
        "LC_ALL": "C",
        "LANG": "C",
        "TZ": "Nowhere/Land",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "CASTMINE_CACHE": str(cache_dir()),
    }
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS", "TMPDIR")}
    return {**kept, **wrong}


def call(env: dict[str, str], folder: Path, *words: object, umask: int = -1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, umask=umask)


def test_a_shell_that_is_set_for_others_does_no_harm(hostile, nobody, tmp_path):
    lake = tmp_path / PLACE / "lake"
    ran = call(hostile, tmp_path, "harvest", nobody, "--lake", lake, umask=0)
    assert ran.returncode == 0, ran.stderr
    assert lakes.rows(lake, "titles")["title_id"].to_pylist() == ["nobody"]
    assert {path.name for path in tmp_path.iterdir()} == {"confs", "python", PLACE}, "nothing beside it"
    modes = {path.stat().st_mode & 0o077 for path in [lake, *lake.rglob("*")]}
    assert modes == {0}, "a lake holds faces: it is for its user alone"
    asked = call(hostile, tmp_path, "sql", "--lake", lake, "select title_id, n_frames from titles", "--format", "csv")
    assert (asked.returncode, asked.stdout) == (0, "title_id,n_frames\nnobody,48\n"), asked.stderr


def test_a_pyspark_of_another_spark_on_the_path_is_not_taken(hostile, tmp_path):
    shown = call({**hostile, "PYTHONPATH": str(tmp_path / "python")}, tmp_path, "status", "--lake", tmp_path / "none")
    assert (shown.returncode, len(shown.stderr.splitlines())) == (1, 1), shown.stderr
    assert "no castmine lake here" in shown.stderr


def test_without_a_home_and_a_cache_it_is_said_what_to_set(hostile, nobody, tmp_path):
    del hostile["CASTMINE_CACHE"]
    ran = call(hostile, tmp_path, "harvest", nobody, "--lake", tmp_path / "lake")
    said = [line for line in ran.stderr.splitlines() if "onnxruntime" not in line]  # it, too, misses a home
    assert (ran.returncode, len(said)) == (2, 1), ran.stderr
    assert "set CASTMINE_CACHE to a folder" in said[0]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_daemon_may_have_closed_the_standard_streams(tmp_path, closed):
    """As cron and daemons start programs: what they say goes nowhere, and all else is as ever."""

    def close() -> None:
        for number in closed:
            os.close(number)

    command = [sys.executable, "-m", "jobs.cli", "show", "settings"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], preexec_fn=close, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("harvest.min_score" in done.stdout) == (1 not in closed)


def test_letters_that_a_terminal_does_not_know_are_spelled_out(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = call(env, Path(__file__).parents[2], "status", "--lake", tmp_path / "東京")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "\\u6771\\u4eac: no castmine lake here" in done.stderr
