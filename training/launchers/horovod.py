"""Training in N processes of this machine with Horovod, over Gloo on the loopback interface.

The processes are started by Horovod's own command line as `python -m training.launchers.horovod JOB`, not by
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

import torch
from torch import Tensor

from conf.errors import CastmineError, UsageError
from conf.settings import Library
from training.collective import Collective
from training.launchers import run
from training.loop import Epoch, Progress
from training.presets import Plan

START_S = 180  # a busy machine may take a minute to import torch N times
STALL_S = 300  # one process waits this long for another's call before all end
END_S = 10  # Horovod's own grace before it kills is 5 seconds
FIRST_RANK = "[0]<stdout>:"  # how horovodrun marks what rank 0 prints
# horovodrun writes the whole environment into the command lines of its workers, where any user of the machine reads it
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


class HorovodCollective:
    """The processes that horovodrun started. Every call has a name: unnamed ones pair up by order and can hang."""

    def __init__(self) -> None:
        import horovod.torch as hvd

        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", str(STALL_S))
        os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", str(STALL_S))
        hvd.init()
        self.size, self.rank = hvd.size(), hvd.rank()
        self._hvd = hvd

    def gather(self, rows: Tensor, name: str) -> Tensor:
        """As `Collective.gather`: Horovod's own would add up the gradients of equal losses, one per process."""
        counts = self._hvd.allgather(torch.tensor([len(rows)]), name=f"{name}.counts").tolist()
        sent = rows.detach().to(torch.uint8) if rows.dtype == torch.bool else rows.detach()  # Horovod knows no bool
        everyone = self._hvd.allgather(sent, name=name).to(rows.dtype)
        start = sum(counts[: self.rank])
        return torch.cat([everyone[:start], rows, everyone[start + len(rows) :]])

    def sum(self, tensor: Tensor, name: str) -> Tensor:
        return _Sum.apply(tensor, self._all_sum, name)

    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        return self._hvd.broadcast(tensor.detach(), root_rank=0, name=name)

    def _all_sum(self, tensor: Tensor, name: str) -> Tensor:
        return self._hvd.allreduce(tensor.detach(), op=self._hvd.Sum, name=name)  # the default would be the mean


class _Sum(torch.autograd.Function):
    """A sum over processes whose gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, all_sum: Callable[[Tensor, str], Tensor], name: str) -> Tensor:
        ctx.all_sum, ctx.name = all_sum, name
        return all_sum(tensor, name)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.all_sum(gradients[0], f"{ctx.name}.gradient"), None, None


def launch(
    snapshot_folder: Path, plan: Plan, out_file: Path, processes: int, progress: Progress | None, library: Library
) -> dict[str, Any]:
    """As `training.launchers.launch`; the first epoch comes some 20 seconds after the call."""
    with tempfile.TemporaryDirectory(prefix="castmine-train-") as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        job.write_text(
            json.dumps(
                {
                    "snapshot": str(snapshot_folder),
                    "plan": plan.model_dump(mode="json"),
                    "out_file": str(out_file.resolve()),
                    "result": str(result),
                    "library": library,
                }
            )
        )
        with job.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released when this process ends, in whatever way: see `_end_with`
            horovodrun(processes, [sys.executable, "-m", __name__, str(job)], _reported(progress))
        return json.loads(result.read_text())


def _reported(progress: Progress | None) -> Callable[[str], None]:
    def report(line: str) -> None:
        if progress is not None and line.startswith('{"epoch"'):
            progress(Epoch(**json.loads(line)))

    return report


def horovodrun(processes: int, command: Sequence[str], on_line: Callable[[str], None] = lambda line: None) -> None:
    """Run a command in N processes that can find each other with `horovod.torch.init()`; none outlives this call.

    Args:
        on_line: gets what rank 0 prints, line by line.
    Raises:
        UsageError: Horovod is not installed.
        CastmineError: one of them failed; the message holds the last lines they printed.
    """
    if importlib.util.find_spec("horovod") is None:
        raise UsageError(
            "train.launcher=horovod: Horovod is not installed. `make test` builds it, as does "
            "pip install 'castmine[horovod]'; train.launcher=local needs nothing"
        )
    horovod = [sys.executable, "-m", "horovod.runner.launch", "--gloo", "--disable-cache"]
    horovod += ["-np", str(processes), "--network-interfaces", _loopback(), "--start-timeout", str(START_S)]
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


def _loopback() -> str:
    import socket

    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def work(job_file: Path) -> None:
    """One process of a launch: the same training as everyone's, checked to have come out the same."""
    threading.Thread(target=_end_with, args=(job_file,), daemon=True).start()
    job = json.loads(job_file.read_text())
    collective = HorovodCollective()

    def progress(epoch: Epoch) -> None:
        if collective.rank == 0:
            print(json.dumps(asdict(epoch)), flush=True)

    plan = Plan.model_validate(job["plan"])
    result = run(Path(job["snapshot"]), plan, Path(job["out_file"]), collective, progress, job["library"])
    _agree(result["sha256"], collective)
    if collective.rank == 0:
        Path(job["result"]).write_text(json.dumps(result))


def _agree(sha256: str, collective: Collective) -> None:
    everyone = collective.gather(torch.tensor([list(bytes.fromhex(sha256))]), "adapter")
    if not bool((everyone == everyone[0]).all()):
        raise CastmineError("the processes ended with different adapters")


def _end_with(job_file: Path) -> None:
    """Wait for the launcher's lock, which is to wait for its end, and end: nobody wants this training any more."""
    with job_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    os._exit(1)  # from a thread, and past a collective or a full pipe that would never return


if __name__ == "__main__":
    work(Path(sys.argv[1]))
