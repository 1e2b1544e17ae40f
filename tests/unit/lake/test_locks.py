"""One commit at a time, and one run at a title: between processes, and after one was killed."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.errors import LakeError
from jobs.lake.locks import Locks

HOLDS = """
import sys, time
from pathlib import Path
from jobs.lake.locks import Locks
locks = Locks(Path(sys.argv[1]))
with locks.commit(print):
    locks.claim("run-1", "mine", ["a", "b"], "now")
    if sys.argv[2] == "lock":
        print("held", flush=True); time.sleep(60)
print("held", flush=True); time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the claim of run-1 on a and b, or the lock as well; it is killed at the end."""
    started = []

    def start(what: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLDS, str(tmp_path), what]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def claimed(locks: Locks, run_id: str, writes: str, titles: list[str]) -> Callable[[], None]:
    """Claim; what it returns gives the titles back."""
    with locks.commit(print):
        locks.claim(run_id, writes, titles, "now")
    return lambda: locks.give_back(run_id)


def test_titles_of_another_run_cannot_be_claimed_until_it_has_ended(tmp_path):
    locks = Locks(tmp_path)
    give_back = claimed(locks, "run-1", "mine", ["a", "b"])
    for writes, titles in (("mine", ["c"]), ("cluster", ["a", "b"])):
        claimed(Locks(tmp_path), f"run-{writes}", writes, titles)()
    with pytest.raises(LakeError, match=r"run run-1 \(process \d+ on .*, since now\) is at work on b\. Start again"):
        claimed(Locks(tmp_path), "run-2", "mine", ["b", "c"])
    give_back()
    claimed(Locks(tmp_path), "run-2", "mine", ["b", "c"])()
    assert [path.name for path in (tmp_path / "_locks").iterdir()] == ["commit.lock"]


def test_a_run_may_claim_more_and_again(tmp_path):
    locks = Locks(tmp_path)
    claimed(locks, "run-1", "mine", ["a"])
    give_back = claimed(locks, "run-1", "mine", ["b"])
    for title in "ab":
        with pytest.raises(LakeError, match=f"is at work on {title}"):
            claimed(Locks(tmp_path), "run-2", "mine", [title])
    give_back()
    claimed(Locks(tmp_path), "run-2", "mine", ["a", "b"])()
    claimed(locks, "run-1", "mine", ["a"])()


def test_the_claims_of_a_killed_process_are_void(tmp_path, holder):
    process = holder("claim")
    with pytest.raises(LakeError, match=f"process {process.pid} on"):
        claimed(Locks(tmp_path), "run-2", "mine", ["a"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    claimed(Locks(tmp_path), "run-2", "mine", ["a"])()
    assert not list((tmp_path / "_locks").glob("claim-*"))


def test_who_waits_is_told_for_whom_and_goes_on_when_that_one_is_killed(tmp_path, holder, monkeypatch):
    monkeypatch.setattr("jobs.lake.locks.PATIENCE_S", 0.2)
    process, said, entered = holder("lock"), [], threading.Event()

    def wait() -> None:
        with Locks(tmp_path).commit(said.append):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    until = time.monotonic() + 20
    while not said and time.monotonic() < until:
        time.sleep(0.05)
    assert len(said) == 1
    assert f"waiting until run run-1 (process {process.pid} on" in said[0]
    assert not entered.is_set()
    process.send_signal(signal.SIGKILL)
    waiting.join(20)
    assert entered.is_set()


def test_who_holds_the_lock_may_take_it_again(tmp_path):
    locks = Locks(tmp_path)
    with locks.commit(print), locks.commit(print):
        pass
    with Locks(tmp_path).commit(print):
        pass


def test_two_threads_take_turns(tmp_path):
    order, inside = [], threading.Event()

    def first() -> None:
        with Locks(tmp_path).commit(print):
            inside.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with Locks(tmp_path).commit(print):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_file_system_without_locks_is_said_once_a_commit(tmp_path, monkeypatch):
    def no_locks(fd: int) -> bool:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", no_locks)
    said: list[str] = []
    locks = Locks(tmp_path)
    with locks.commit(said.append):
        locks.claim("run-1", "mine", ["a"], "now")
    assert len(said) == 1
    assert "no locks here; let one command at a time write to this lake" in said[0]
    assert Path(tmp_path, "_locks").exists()
