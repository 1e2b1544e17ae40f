"""Locks in an object store."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import Timeout

from conf.places import locate
from jobs.lake import leases
from jobs.lake.leases import Lease
from jobs.lake.locks import Locks


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times as of a store whose clock has whole seconds."""
    monkeypatch.setattr(leases, "RENEW_S", 1.0)
    monkeypatch.setattr(leases, "DEAD_S", 4.0)
    monkeypatch.setattr(leases, "LOOK_S", 0.05)


@pytest.fixture
def file(bucket: str) -> Path:
    return locate(f"{bucket}/lake/_locks/commit.lock")


def kill(lease: Lease) -> None:
    """What is left of a lease when its process is killed."""
    lease._given_back.set()


def test_one_holds_it_until_it_is_given_back(file):
    first, second = Lease(file), Lease(file)
    first.acquire(0)
    with pytest.raises(Timeout):
        second.acquire(0)
    first.acquire(0)
    first.release()
    with pytest.raises(Timeout):
        second.acquire(0.2)
    first.release()
    second.acquire(0)
    with pytest.raises(Timeout):
        first.acquire(0)
    second.release()
    assert len(list(file.parent.iterdir())) == 1


def test_it_is_renewed_for_as_long_as_it_is_held(file):
    first = Lease(file)
    first.acquire(0)
    with pytest.raises(Timeout):
        Lease(file).acquire(6)
    first.release()


def test_a_dead_holders_lease_is_taken_over(file):
    first, second = Lease(file), Lease(file)
    first.acquire(0)
    kill(first)
    began = time.monotonic()
    assert not second.is_alive()
    assert 3 < time.monotonic() - began < 15
    second.acquire(0)
    assert Lease(file).is_alive()
    first.release()  # it was not dead after all: the lease is another one now
    with pytest.raises(Timeout):
        Lease(file).acquire(0)


def test_of_many_one_at_a_time(file):
    inside, most, done = [0], [0], threading.Lock()

    def work(_: int) -> None:
        lease = Lease(file)
        lease.acquire(-1)
        with done:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        with done:
            inside[0] -= 1
        lease.release()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    assert most == [1]


def test_claims_in_a_store(bucket):
    ours, theirs = Locks(locate(f"{bucket}/lake")), Locks(locate(f"{bucket}/lake"))
    said: list[str] = []
    with ours.commit(said.append):
        ours.claim("run-1", "harvest", ["a", "b"], "now")
    with theirs.commit(said.append):
        with pytest.raises(Exception, match=r"run run-1 .* is at work on b"):
            theirs.claim("run-2", "harvest", ["b", "c"], "now")
        theirs.claim("run-2", "mine", ["b"], "now")
    ours.give_back("run-1")
    with theirs.commit(said.append):
        theirs.claim("run-3", "harvest", ["b"], "now")
    kill(theirs._claims["run-3"])
    with ours.commit(said.append):
        ours.claim("run-4", "harvest", ["b"], "now")
    with ours.commit(said.append):  # what the dead run left is removed by whoever comes next
        ours.claim("run-5", "harvest", ["z"], "now")
    theirs.give_back("run-2")
    for run in ("run-4", "run-5"):
        ours.give_back(run)
    assert said == []
    assert [file.name for file in ours.folder.glob("claim-*")] == []
