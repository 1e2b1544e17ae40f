"""Films at hand: one on a disk is read where it is, one in an object store is copied to the worker's own disk.

All workers of a machine share the copies, so each film is copied there once; as many bytes are kept as a setting says.
The copies lie in a folder of the Spark application, which goes with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from pyspark import SparkFiles

from conf.errors import CastmineError, FilmError
from conf.ids import stable_id
from conf.places import is_in_store, locate, say_failures

# in which a cluster keeps what goes with an application: standalone, YARN, Kubernetes
APPLICATION_DIRS = ("SPARK_EXECUTOR_DIRS", "LOCAL_DIRS", "SPARK_LOCAL_DIRS")
FOLDER = "castmine-films"
WAIT_S = 0.5  # between two looks for room
BLOCK = 2**24  # bytes of one read


@contextlib.contextmanager
def at_hand(uri: str, disk_gb: float) -> Iterator[str]:
    """The path of a film on this machine, which stays while the block runs.

    Args:
        disk_gb: of the copies that this machine keeps at once; the films in work are kept in any case.
    Raises:
        FilmError: the object is not there.
        OSError: its store does not give it now.
    """
    if not is_in_store(uri):
        yield uri
        return
    with _store_of(uri):
        found = locate(uri).stat()
    copies = _Copies(_application_dir() / FOLDER, disk_gb)
    with copies.hold(stable_id(uri, found.st_size, str(found.st_mtime)), uri, found.st_size) as copy:
        yield str(copy)


@contextlib.contextmanager
def _store_of(uri: str) -> Iterator[None]:
    try:
        with say_failures(uri):
            yield
    except FileNotFoundError as error:
        raise FilmError(f"{uri} cannot be read: no such object") from error
    except CastmineError as error:  # no fault of the film, and of this moment perhaps
        raise OSError(str(error)) from error


def _application_dir() -> Path:
    """A folder of this machine that all workers of the application share, and that goes with it."""
    files = Path(SparkFiles.getRootDirectory())
    if files.is_absolute():  # Spark's own where driver and workers are one; elsewhere the executor's working directory
        return files
    given = [os.environ[name] for name in APPLICATION_DIRS if os.environ.get(name)]
    return Path(re.split("[,:]", given[0])[0]) if given else files.absolute()


def _read(uri: str, source: IO[bytes]) -> bytes:
    with _store_of(uri):
        return source.read(BLOCK)


class _Copies:
    """The copies of films on this machine. Who uses one, or makes it, holds a lock of the operating system on it, which
    ends with the process; so what a killed worker leaves is known for what it is."""

    def __init__(self, folder: Path, disk_gb: float):
        self.folder, self.bound = folder, disk_gb * 1e9
        folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def hold(self, name: str, uri: str, size: int) -> Iterator[Path]:
        """The copy of a film, made where there is none; it is not removed while the block runs."""
        copy = self.folder / f"{name}{PurePosixPath(uri).suffix}"
        with self._open_lock(name) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not copy.exists():
                fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it; a moment passes between two locks, so all look again
                if not copy.exists():
                    self._fetch(uri, copy, size)
                fcntl.flock(lock, fcntl.LOCK_SH)
            os.utime(copy)
            yield copy

    def _fetch(self, uri: str, copy: Path, size: int) -> None:
        part = copy.with_suffix(".part")
        part.unlink(missing_ok=True)  # of a worker that was killed
        try:
            self._make_room(part, size)
            with _store_of(uri):
                source = locate(uri).open("rb")
            with source, part.open("r+b") as target:
                while block := _read(uri, source):
                    target.write(block)
            os.replace(part, copy)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, part: Path, size: int) -> None:
        """Make `part` of so many bytes, which are there from now on for whoever counts; others' copies may go."""
        while True:
            with self._open_lock("room") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                is_free = self._remove_oldest(size)
                if is_free:
                    with part.open("wb") as file:
                        file.truncate(size)
                    return
            time.sleep(WAIT_S)

    def _remove_oldest(self, size: int) -> bool:
        """Whether so many bytes have room, after copies that nobody uses were removed; or nobody uses any."""
        found = list[tuple[float, int, Path]]()
        for copy in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # one that was just being made has its own name now
                if copy.suffix != ".lock":
                    found.append((copy.stat().st_mtime, copy.stat().st_size, copy))
        kept, in_use = sum(n for _, n, _ in found), 0
        for _, n, copy in sorted(found):
            if kept + size <= self.bound:
                return True
            with self._open_lock(copy.stem) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    in_use += 1
                    continue
                kept -= n
                copy.unlink(missing_ok=True)
        return kept + size <= self.bound or not in_use

    def _open_lock(self, name: str) -> IO[bytes]:
        return (self.folder / f"{name}.lock").open("ab")
