"""By spark-submit on a standalone cluster of two workers, the project shipped as its wheel: the same tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.lake import jars
from tests.helpers import lakes
from tests.helpers.processes import SPARK_HOME, spark_environment, standalone_cluster

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
NO_JOB_HERE = ("adapters", "curves", "runs")  # train and report are not run
WRITTEN = [name for name in lakes.MADE if name not in NO_JOB_HERE]

CONF = (  # loopback, and what makes a short job short
    "spark.driver.host=127.0.0.1",
    "spark.driver.bindAddress=127.0.0.1",
    "spark.ui.enabled=false",
    "spark.executor.memory=700m",
    "spark.sql.shuffle.partitions=7",
    "spark.sql.adaptive.enabled=false",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism=2",
    "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
)

# The job script lies in another folder than the packages, and says which packages it and the executors have.
LAUNCHER = """
import json, pathlib, sys
from jobs import cluster, harvest, mine
from jobs.lake import session

def homes(_):
    import conf, jobs, training, udfs
    return [list(package.__path__)[0] for package in (conf, jobs, training, udfs)]

*films, lake = sys.argv[1:]
spark = session.start("launcher", [], None, {})
there = spark.sparkContext.parallelize(range(8), 8).map(homes).collect()
pathlib.Path("homes.json").write_text(json.dumps([homes(0), *there]))
codes = [harvest.main([*films, "--lake", lake, "--set", "harvest.piece_s=2"])]
codes += [job.main(["--lake", lake]) for job in (mine, cluster)]
sys.exit(max(codes))
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel as a .zip: of --py-files only .zip, .egg and .jar reach the executors' path."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("conf", "jobs", "training", "udfs"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*build, folder / "source"], check=True)
    (wheel,) = folder.glob("castmine-*.whl")
    return wheel.rename(folder / "castmine.zip")


def submit(folder: Path, master: str, shipped: Path | None, script: Path, *words: object) -> str:
    """What spark-submit says, started in a folder in which nothing of the project lies."""
    with_delta = ",".join(map(str, jars.fetch("delta")))
    command = [SPARK_HOME / "bin" / "spark-submit", "--master", master, "--jars", with_delta]
    command += [word for entry in CONF for word in ("--conf", entry)]
    command += ["--py-files", shipped] if shipped else []
    words = tuple(str(word) for word in (*command, script, *words))
    done = subprocess.run(words, cwd=folder, env=spark_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    return done.stdout  # to which Spark adds what the script says on standard error


def test_tables_equal_the_local_runs(finished: Path, clip: Path, nobody: Path, shipped, tmp_path):
    lake, launcher = tmp_path / "lake", tmp_path / "launcher.py"
    launcher.write_text(LAUNCHER)
    with standalone_cluster(tmp_path, workers=2) as master:
        submit(tmp_path, master, shipped, launcher, clip, nobody, lake)
    homes = json.loads((tmp_path / "homes.json").read_text())
    assert {Path(home).parent.name for row in homes for home in row} == {"castmine.zip"}
    assert all(list((tmp_path / f"worker-{i}").glob("app-*/*/stderr")) for i in range(2)), "a worker had no executor"
    assert lakes.differences(lake, finished, [clip.stem, nobody.stem], WRITTEN) == []
    assert lakes.repeated_keys(lake) == []


def test_a_job_is_a_script(finished: Path, tmp_path):
    """`spark-submit jobs/NAME.py` on one machine, where castmine is installed."""
    before = lakes.versions(finished)
    said = submit(tmp_path, "local[2]", None, ROOT / "jobs" / "mine.py", "--lake", finished)
    assert "mine: 0 titles mined, 3 unchanged" in said
    assert lakes.versions(finished) == before
