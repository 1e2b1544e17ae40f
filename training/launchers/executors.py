"""What the launchers on Spark's executors share: slots that are enough, one process's work, the way back to the driver.

Only the snapshot lies where all can open it. Where the adapters' folder does too, a training that lost a process goes
on from its last epoch, else from its first. The adapter comes back to the driver as the job's result; the epochs come
as a file beside the snapshot, the one thing that both launchers' workers and the driver have in common. What goes to a
process and comes from it is bytes, so that Spark's Python workers in between need not import torch.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from conf.errors import CastmineError, LakeError, UsageError
from conf.files import write_whole
from training.collective import Collective
from training.launchers.job import Job, Made, Progress, loopback, run_in_process

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SLOTS_S = 30  # the executors of a cluster come one by one
POLL_S = 0.5
LAST_LINES = 30  # of an error
JAVA_FRAME = re.compile(r"\s*(at [\w.$/]+\(|\.\.\. \d+ more)")


@dataclass(frozen=True)
class Task:
    """What a process on an executor is told.

    Attributes:
        epochs: the file that rank 0 writes its curve to.
        interface: the network interface to use; None for the library's own choice.
    """

    job: Job
    epochs: Path
    interface: str | None


Outcome = Made | CastmineError  # an error is a result too: raised, it would drown in Spark's and torchrun's words


def launch(job: Job, processes: int, progress: Progress | None, start: Callable[[SparkSession, Task], bytes]) -> Made:
    """As `training.launchers.launch`, for a `start` that gives what `work` returned on rank 0.

    The processes import castmine by themselves: it is installed on every worker, or on its PYTHONPATH. Code that was
    sent with --py-files reaches Spark's own Python workers only.
    """
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None:
        raise UsageError(f"training on Spark's executors needs a Spark session; {job.kind}.launcher=horovod needs none")
    _check_slots(spark, job, processes)
    task = Task(job, job.seen.parent / f".epochs-{uuid.uuid4().hex}.json", loopback() if _on_loopback(spark) else None)
    with _follow(task, progress), signals_kept():
        try:
            outcome: Outcome = pickle.loads(start(spark, task))
        except Exception as error:  # of Spark, Java, Horovod or torchrun: a process ended without an outcome
            raise CastmineError(
                f"{failure(processes, str(error))}\nWhat the processes printed is above or in the executors' logs. "
                "castmine must be installed on every worker (--py-files does not reach these processes)"
            ) from error
    if isinstance(outcome, CastmineError):
        raise outcome
    return outcome


def work(task: Task, collective: Collective) -> bytes:
    """One process of a launch; returns its pickled `Outcome`."""

    def progress(epoch: Any) -> None:
        curve.append(epoch)
        if collective.rank == 0:
            _write(task.epochs, curve)

    curve: list[Any] = []
    outcome: Outcome
    try:
        check_seen_by_all(task.job.seen, task.job.kind, collective)
        outcome = run_in_process(task.job, collective, progress)
    except CastmineError as error:
        outcome = error
    except Exception:
        outcome = failure(collective.size, traceback.format_exc())
    if collective.rank and isinstance(outcome, CastmineError):  # of rank 0 the driver hears
        print(f"rank {collective.rank} on {socket.gethostname()}: {outcome}", file=sys.stderr, flush=True)
    return pickle.dumps(outcome)


def failure(processes: int, said: str) -> CastmineError:
    """What to raise when training failed with the words `said`, of which Java's frames are left out."""
    lines = [line for line in said.splitlines() if line.strip() and not JAVA_FRAME.match(line)]
    return CastmineError(f"training in {processes} processes failed:\n" + "\n".join(lines[-LAST_LINES:]))


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ctrl-C and SIGTERM come through: py4j and Horovod make failures of them, and Horovod keeps their handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where Python delivers no signals
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    noted, note = socket.socketpair()  # Python writes every signal's number here, whoever handles it
    note.setblocking(False)
    with noted, note:
        before = signal.set_wakeup_fd(note.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in kept.items():
                signal.signal(number, handler)
            note.close()
            came = noted.recv(4096)
            if signal.SIGTERM in came:
                signal.raise_signal(signal.SIGTERM)
            if signal.SIGINT in came:
                raise KeyboardInterrupt


def _check_slots(spark: SparkSession, job: Job, processes: int) -> None:
    """All processes run at once or none: Spark would retry for ten minutes, and Horovod wait as long, for more slots.

    Raises:
        UsageError: there are fewer slots than processes.
    """
    if spark.conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        return  # executors come when they are asked for
    until = time.monotonic() + (0 if _is_local(spark) else SLOTS_S)
    while (slots := _task_slots(spark)) < processes:
        if time.monotonic() >= until:
            raise UsageError(
                f"{job.kind}.processes={processes}: all run at once, and Spark has {slots} task slots here. Lower it, "
                f"or give Spark more: --master 'local[{processes}]' on one machine, more executors or cores elsewhere"
            )
        time.sleep(POLL_S)


def _task_slots(spark: SparkSession) -> int:
    """As Spark itself counts them for a barrier stage; there is no public way that minds cores, GPUs and executors."""
    context = spark.sparkContext._jsc.sc()
    return context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile())


def _is_local(spark: SparkSession) -> bool:
    return (spark.conf.get("spark.master") or "").startswith("local")


def _on_loopback(spark: SparkSession) -> bool:
    driver = spark.conf.get("spark.driver.host") or ""
    return _is_local(spark) or driver == "localhost" or driver.startswith("127.")


def check_seen_by_all(file: Path, kind: str, collective: Collective) -> None:
    """Raises LakeError on every process when one does not see a file of the work; `kind` is the job's."""
    blind = "" if file.exists() else f"{socket.gethostname()} "
    told = collective.gather(torch.tensor(list(blind.encode()), dtype=torch.uint8), "blind")
    if len(told):
        hosts = ", ".join(sorted(set(bytes(told.tolist()).decode().split())))
        raise LakeError(
            f"{file.parent}: what is trained on is not there on {hosts}. Give --files a folder that every worker can "
            f"open, or train on this machine with {kind}.launcher=local"
        )


@contextmanager
def _follow(task: Task, progress: Progress | None) -> Iterator[None]:
    """Tell of every epoch that appears in the task's file, which is gone afterwards."""
    told, stop = 0, threading.Event()

    def look() -> None:
        nonlocal told
        for epoch in _read(task)[told:]:
            told += 1
            if progress is not None:
                progress(epoch)

    def follow() -> None:
        while not stop.wait(POLL_S):
            look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()
        task.epochs.unlink(missing_ok=True)


def _write(file: Path, curve: list[Any]) -> None:
    # a folder that cannot be written to is no reason not to train
    with contextlib.suppress(OSError, CastmineError), write_whole(file) as part:
        part.write_text(json.dumps([asdict(epoch) for epoch in curve]))


def _read(task: Task) -> list[Any]:
    try:
        return [task.job.read_epoch(epoch) for epoch in json.loads(task.epochs.read_text())]
    except OSError:
        return []
