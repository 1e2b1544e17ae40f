"""A lock in an object store, which knows no locks: a lease that its holder renews while it lives.

A lease is an object with a number, `NAME.1`, `NAME.2`, ...; who makes the newest one holds it. All that a store must do
is to let one of several make an object that is not there (`conf.places.create`). The holder writes its object anew
every RENEW_S, and an empty one when it gives the lease back. An object that is empty, or was not renewed for DEAD_S by
the store's own clock, is followed by the next number.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from pathlib import Path

from filelock import Timeout

from conf.places import create, read

RENEW_S = 10.0
DEAD_S = 45.0  # a holder that cannot renew four times in a row is dead, or as good as dead
LOOK_S = 0.5  # between two looks of one who waits


class Lease:
    """One lock, used like `filelock.FileLock`; its holder may take it again."""

    def __init__(self, file: Path):
        self.file = file
        self._holder = secrets.token_hex(16).encode()
        self._held: Path | None = None
        self._times = 0
        self._given_back = threading.Event()

    def acquire(self, timeout: float) -> None:
        """Take the lease; waits for `timeout` seconds, or for ever where that is negative.

        Raises:
            Timeout: somebody else holds it.
        """
        began = time.monotonic()
        while self._held is None and not self._try(self._newest()):
            if 0 <= timeout <= time.monotonic() - began:
                raise Timeout(str(self.file))
            time.sleep(LOOK_S)
        self._times += 1

    def is_alive(self) -> bool:
        """Whether somebody holds it who lives: waits until it is renewed, or over."""
        held = self._newest()
        before = held.stat().st_mtime if held else 0.0
        while held is not None and not self._is_over(held):
            with contextlib.suppress(FileNotFoundError):
                if held.stat().st_mtime != before:
                    return True
            time.sleep(LOOK_S)
        return False

    def release(self) -> None:
        """Give it back, once for each time that it was taken."""
        self._times -= 1
        if self._times or self._held is None:
            return
        self._given_back.set()
        held, self._held = self._held, None
        held.write_bytes(b"")

    def _try(self, newest: Path | None) -> bool:
        """Whether the lease that follows the newest one is ours now."""
        if newest is not None and not self._is_over(newest):
            return False
        number = 1 if newest is None else _number(newest) + 1
        mine = self.file.with_name(f"{self.file.name}.{number}")
        # where an answer was lost, the store was asked twice, and the object is our own
        if not create(mine, self._holder) and _content(mine) != self._holder:
            return False
        self._held, self._given_back = mine, threading.Event()
        threading.Thread(target=self._renew, args=(mine, self._given_back), daemon=True).start()
        for old in self._all():
            if _number(old) < number:
                old.unlink(missing_ok=True)
        return True

    def _renew(self, mine: Path, given_back: threading.Event) -> None:
        while not given_back.wait(RENEW_S):
            with contextlib.suppress(Exception):  # there is a next time, and DEAD_S has some
                mine.write_bytes(self._holder)

    def _all(self) -> list[Path]:
        return [
            file for file in self.file.parent.glob(f"{self.file.name}.*") if file.name.rpartition(".")[2].isdecimal()
        ]

    def _newest(self) -> Path | None:
        return max(self._all(), key=_number, default=None)

    def _is_over(self, lease: Path) -> bool:
        return not _content(lease) or self._age_s(lease) > DEAD_S

    def _age_s(self, lease: Path) -> float:
        """Seconds since a lease was renewed, both by the store's clock; without end where it is gone."""
        clock = self.file.with_name(f"clock-{secrets.token_hex(8)}")
        clock.write_bytes(b"")
        try:
            return clock.stat().st_mtime - lease.stat().st_mtime
        except FileNotFoundError:
            return float("inf")
        finally:
            clock.unlink(missing_ok=True)


def _number(lease: Path) -> int:
    return int(lease.name.rpartition(".")[2])


def _content(lease: Path) -> bytes:
    try:
        return read(lease)
    except FileNotFoundError:
        return b""
