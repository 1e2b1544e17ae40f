"""Programs of their own: castmine killed at a chosen moment, a Spark cluster on loopback. Nothing is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

LIMIT_S = 600
LOOK_S = 0.02
SPARK_HOME = Path(pyspark.__file__).parent


@contextmanager
def started(
    command: Sequence[object], said: Path, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` in a session of its own, its output in the file `said`; the whole session is killed at the end."""
    with said.open("wb") as file:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        _kill_session(process.pid)
        process.wait()


def run_and_kill(words: Sequence[object], happened: Callable[[], bool], folder: Path) -> None:
    """Start `castmine WORDS`, kill -9 its driver and its JVM as soon as `happened`, and wait until all of it is gone.

    Raises:
        AssertionError: it ended, or `LIMIT_S` passed, before that.
    """
    said = folder / "said.txt"
    with started([sys.executable, "-m", "jobs.cli", *words], said, folder) as process:
        until = time.monotonic() + LIMIT_S
        while not happened():
            assert process.poll() is None, f"ended before the moment came, {process.returncode}:\n{said.read_text()}"
            assert time.monotonic() < until, f"the moment did not come:\n{said.read_text()}"
            time.sleep(LOOK_S)
        os.killpg(process.pid, signal.SIGKILL)  # the JVM is in the driver's group
        process.wait()


@contextmanager
def standalone_cluster(folder: Path, workers: int) -> Iterator[str]:
    """A Spark master and workers of one core each on loopback; yields the master's address."""
    port = _free_port()
    env = spark_environment() | {"SPARK_MASTER_HOST": "127.0.0.1"}
    address, launch = f"spark://127.0.0.1:{port}", SPARK_HOME / "bin" / "spark-class"
    master = [launch, "org.apache.spark.deploy.master.Master", "--port", port, "--webui-port", 0]
    worker = [launch, "org.apache.spark.deploy.worker.Worker", "--cores", 1, "--memory", "1g", "--webui-port", 0]
    with started(master, folder / "master.txt", folder, env):
        _wait_for(port, folder / "master.txt")
        with ExitStack() as running:
            for i in range(workers):
                command = [*worker, "--work-dir", folder / f"worker-{i}", address]
                running.enter_context(started(command, folder / f"worker-{i}.txt", folder, env))
            yield address


def spark_environment() -> dict[str, str]:
    """The environment of Spark's own scripts; what the shipped package is to hide is not on the path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "SPARK", "PYSPARK"))}
    here = {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    return env | here


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, said: Path) -> None:
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.2)


def _kill_session(leader: int) -> None:
    """Kill what is alive of a session; Python workers leave the driver's group, but not its session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
