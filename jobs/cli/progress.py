"""Progress of long work, for people: a live line on a terminal, else a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from conf.text import visible

POLL_S = 1.0
WAIT_FOR_COUNT_S = 2.0  # at the end of a step: on a slow mount a count takes long, and is not needed any more
LINE_EVERY_S = 15.0  # where output is no terminal


class Done(Protocol):
    """Sets how much of a step is done; a note stands in the place of the speed."""

    def __call__(self, amount: float, note: str = "") -> None: ...


class Progress:
    """Says what is going on, on standard error; silent with `quiet`."""

    def __init__(self, quiet: bool = False):
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line for the user; control characters of names and errors are shown, not obeyed."""
        self._console.print(visible(text), markup=False, emoji=False)

    @contextmanager
    def step(
        self, name: str, total: float | None = None, unit: str = "", count: Callable[[], float] | None = None
    ) -> Iterator[Done]:
        """Show a step while it runs; yields a function that sets how much is done, with a note.

        `count` is asked for that every second in the place of being told. A count that fails is no failure of the work.
        """
        began = time.monotonic()
        if self._console.quiet:
            yield lambda amount, note="": None
        elif not self._console.is_terminal:
            with self._lines(name, total, unit, count, began) as done:
                yield done
        else:
            with self._bar(name, total, unit, count) as done:
                yield done
            self.say(f"  {name}: {_amount(total, unit)}{time.monotonic() - began:.1f} s")

    @contextmanager
    def _bar(self, name: str, total: float | None, unit: str, count: Callable[[], float] | None) -> Iterator[Done]:
        counted = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *(counted if total else ()), TimeElapsedColumn())
        with Bars(*columns, console=self._console, transient=True) as bars:
            task: TaskID = bars.add_task(name, total=total, speed="")
            began = time.monotonic()

            def done(amount: float, note: str = "") -> None:
                speed = f"{amount / max(time.monotonic() - began, 1e-3):,.1f} {unit}/s" if amount else ""
                bars.update(task, completed=amount, speed=note or speed)

            with _poll(count, done):
                yield done

    @contextmanager
    def _lines(
        self, name: str, total: float | None, unit: str, count: Callable[[], float] | None, began: float
    ) -> Iterator[Done]:
        said = [began]

        def done(amount: float, note: str = "") -> None:
            now = time.monotonic()
            if total and now - said[0] > LINE_EVERY_S and amount:
                said[0] = now
                left = (now - began) * (total - amount) / amount
                what = f"{amount:,.0f} of {total:,.0f} {unit}{', ' if note else ''}{note}"
                self.say(f"  {name}: {what}, about {left:.0f} s left")

        with _poll(count, done):
            yield done
        self.say(f"  {name}: {_amount(total, unit)}{time.monotonic() - began:.1f} s")


@contextmanager
def _poll(count: Callable[[], float] | None, done: Callable[[float], None]) -> Iterator[None]:
    if count is None:
        yield
        return
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(POLL_S):
            try:
                done(count())
            except OSError:
                continue  # a file vanished between listing and looking; the next second will tell

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=WAIT_FOR_COUNT_S)


def _amount(total: float | None, unit: str) -> str:
    return f"{total:,.0f} {unit}, " if total else ""
