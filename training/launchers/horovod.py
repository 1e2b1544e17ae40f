"""Training in N processes of this machine with Horovod, over Gloo on the loopback interface.

The processes are started by Horovod's own command line as `python -m training.launchers.horovod FOLDER`, not by
`horovod.run`: that one hands a pickled function to the workers through an HTTP port that is open to the network and
asks nobody who they are, and it takes over this process's signals. A snapshot, a plan and a file need no pickle.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from conf.errors import CastmineError, UsageError
from training.collective import Processes
from training.launchers.job import STALL_S, START_S, Job, Made, Progress, loopback, run_in_process
from training.launchers.read_job import read_job

END_S = 10  # Horovod's own grace before it kills is 5 seconds
FIRST_RANK = "[0]<stdout>:"  # how horovodrun marks what rank 0 prints
# horovodrun writes the whole environment into the command lines of its workers, where any user of the machine reads it
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


class HorovodCollective(Processes):
    """The processes that Horovod started. Every call has a name: unnamed ones pair up by order and can hang."""

    def __init__(self) -> None:
        import horovod.torch as hvd

        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", str(STALL_S))
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(STALL_S))
        hvd.init()
        self.size, self.rank = hvd.size(), hvd.rank()
        self._hvd = hvd

    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        return self._hvd.broadcast(tensor.detach(), root_rank=0, name=name)

    def _all_rows(self, rows: Tensor, counts: list[int], name: str) -> Tensor:
        return self._hvd.allgather(rows, name=name)

    def _all_sum(self, tensor: Tensor, name: str) -> Tensor:
        return self._hvd.allreduce(tensor.detach(), op=self._hvd.Sum, name=name)  # the default would be the mean


def launch(job: Job, processes: int, progress: Progress | None) -> Made:
    """As `training.launchers.launch`; the first epoch comes some 20 seconds after the call."""
    check_installed(f"{job.kind}.launcher=horovod", f"{job.kind}.launcher=local")
    with tempfile.TemporaryDirectory(prefix="castmine-train-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(job.model_dump_json())
        with (folder / "job.json").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when this process ends, in whatever way: see `_end_with`
            horovodrun(processes, [sys.executable, "-m", __name__, name], _read_reports(job, progress))
        return json.loads((folder / "result.json").read_text()), job.load(folder / "made.safetensors")


def _read_reports(job: Job, progress: Progress | None) -> Callable[[str], None]:
    def report(line: str) -> None:
        if progress is not None and line.startswith('{"epoch"'):
            progress(job.read_epoch(json.loads(line)))

    return report


def horovodrun(processes: int, command: Sequence[str], on_line: Callable[[str], None] = lambda line: None) -> None:
    """Run a command in N processes that can find each other with `horovod.torch.init()`; none outlives this call.

    Args:
        on_line: gets what rank 0 prints, line by line.
    Raises:
        CastmineError: one of them failed; the message holds the last lines they printed.
    """
    horovod = [sys.executable, "-m", "horovod.runner.launch", "--gloo", "--disable-cache"]
    horovod += ["-np", str(processes), "--network-interfaces", loopback(), "--start-timeout", str(START_S)]
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    last: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        [*horovod, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us, and we end them
    ) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("["):  # a worker's; the rest is horovodrun's own, a long story about its threads
                    last.append(line.rstrip())
                if line.startswith(FIRST_RANK):
                    on_line(line.removeprefix(FIRST_RANK).rstrip())
            code = process.wait()
        finally:
            _end(process)
    if code:
        raise CastmineError(f"training in {processes} processes failed (exit {code}):\n" + "\n".join(last))


def _end(process: subprocess.Popen[str]) -> None:
    """Stop horovodrun if it still runs; its workers watch it and end with it, even when it is killed."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()


def check_installed(asked: str, instead: str) -> None:
    """Raises UsageError where Horovod is not installed: what asked for it, and what does without."""
    if importlib.util.find_spec("horovod") is None:
        raise UsageError(
            f"{asked}: Horovod is not installed. `make test` builds it, as does pip install 'castmine[horovod]'; "
            f"{instead} needs nothing"
        )


def work(folder: Path) -> None:
    """One process of a launch; rank 0 leaves what came out in `folder`."""
    threading.Thread(target=_end_with, args=(folder / "job.json",), daemon=True).start()
    collective = HorovodCollective()

    def progress(epoch: Any) -> None:
        if collective.rank == 0:
            print(json.dumps(asdict(epoch)), flush=True)

    job = read_job((folder / "job.json").read_text())
    result, made = run_in_process(job, collective, progress)
    if collective.rank == 0:
        made.save(folder / "made.safetensors")
        (folder / "result.json").write_text(json.dumps(result))


def _end_with(job_file: Path) -> None:
    """Wait for the launcher's lock, which is to wait for its end, and end: nobody wants this training any more."""
    with job_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    os._exit(1)  # from a thread, and past a collective or a full pipe that would never return


if __name__ == "__main__":
    work(Path(sys.argv[1]))
