"""Who is at work on a lake: a lock around every commit, and each run's claim on the titles that it works on.

Both are locks of the operating system on files in the folder `_locks`. They end with the process that holds them,
however it ends, so a kill leaves nothing to clean up; and they hold between machines that share the folder. In a store
they are leases, which end within a minute of their holder.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from conf.errors import LakeError
from conf.files import write_whole
from conf.places import is_in_store, make_folder
from jobs.lake.leases import Lease

PATIENCE_S = 2.0  # a commit takes seconds: who waits for longer is told for whom
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # of a file system that has none
LISTED = 5  # titles in a message

Say = Callable[[str], None]
Lock = FileLock | Lease


@dataclass(frozen=True)
class Claim:
    """A run and the titles that it works on; `writes` is the job whose tables it writes."""

    run_id: str
    writes: str
    titles: tuple[str, ...]
    since: str
    host: str
    pid: int

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host}, since {self.since})"


class Locks:
    """The locks of one lake, in its `files` folder."""

    def __init__(self, files: Path):
        self.folder = files / "_locks"
        self._commit = _open_lock(self.folder / "commit.lock")  # one object: it may be taken again by who holds it
        self._claims: dict[str, Lock] = {}  # by run_id; a lock that nobody refers to is let go
        self._titles: dict[str, list[str]] = {}  # that a run has claimed

    @contextmanager
    def commit(self, say: Say) -> Iterator[None]:
        """Hold the lake alone: nobody else commits, and nobody begins, until the block ends. Waits for its turn.

        A folder without locks (some mounted object stores) lets everybody in; what was written is checked all the same.
        """
        make_folder(self.folder)
        try:
            try:
                self._commit.acquire(timeout=PATIENCE_S)
            except Timeout:
                others = ", ".join(map(str, self._claims_of_others(""))) or "another command"
                say(f"  waiting until {others} has written its titles ...")
                self._commit.acquire(timeout=-1)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            say(f"  warning: {self.folder}: no locks here; let one command at a time write to this lake")
            yield
            return
        try:
            yield
        finally:
            self._commit.release()

    def claim(self, run_id: str, writes: str, titles: Sequence[str], since: str) -> None:
        """Claim titles for a run, beside those that it has, while `commit` is held; until `give_back` or its end.

        Raises:
            LakeError: another run that is at work writes the same tables of one of them.
        """
        for other in self._claims_of_others(run_id):
            both = sorted(set(other.titles) & set(titles)) if other.writes == writes else []
            if both and self._is_alive(other):
                more = f" and {len(both) - LISTED} more" if len(both) > LISTED else ""
                listed = ", ".join(both[:LISTED]) + more
                raise LakeError(f"{other} is at work on {listed}. Start again when it has ended; nothing was changed")
        if run_id not in self._claims:
            lock = _open_lock(self._file(run_id, "lock"))
            try:
                lock.acquire(timeout=0)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    return
                raise
            self._claims[run_id] = lock
        self._titles.setdefault(run_id, []).extend(titles)
        mine = Claim(run_id, writes, tuple(self._titles[run_id]), since, socket.gethostname(), os.getpid())
        with write_whole(self._file(run_id, "json")) as part:
            part.write_text(json.dumps(asdict(mine)))

    def give_back(self, run_id: str) -> None:
        """Give back what a run has claimed, if anything."""
        if lock := self._claims.pop(run_id, None):
            del self._titles[run_id]
            self._drop(run_id, lock)

    def _claims_of_others(self, run_id: str) -> Iterator[Claim]:
        """Those of runs that are at work; what dead ones left is removed."""
        for file in sorted(self.folder.glob("claim-*.json")):
            try:
                found = json.loads(file.read_text())
            except FileNotFoundError:  # given back this moment
                continue
            claim = Claim(**{**found, "titles": tuple(found["titles"])})
            if claim.run_id == run_id:
                continue
            lock = _open_lock(self._file(claim.run_id, "lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                yield claim
                continue
            self._drop(claim.run_id, lock)

    def _is_alive(self, claim: Claim) -> bool:
        """Whether a run that seems to be at work is: who was killed a moment ago still holds a lease."""
        lock = _open_lock(self._file(claim.run_id, "lock"))
        return lock.is_alive() if isinstance(lock, Lease) else True

    def _file(self, run_id: str, ending: str) -> Path:
        return self.folder / f"claim-{run_id}.{ending}"

    def _drop(self, run_id: str, lock: Lock) -> None:
        """Remove a claim of which we hold the lock, and the lock with it."""
        if isinstance(lock, Lease):
            lock.release()  # leaves an object behind
            self._remove(run_id)
        else:
            self._remove(run_id)  # nobody may lock the file between the two
            lock.release()

    def _remove(self, run_id: str) -> None:
        for file in (self._file(run_id, "json"), *self.folder.glob(f"claim-{run_id}.lock*")):
            file.unlink(missing_ok=True)


def _open_lock(file: Path) -> Lock:
    if is_in_store(file):
        return Lease(file)
    return FileLock(file, fallback_to_soft=False)  # a soft lock would stay behind a kill
