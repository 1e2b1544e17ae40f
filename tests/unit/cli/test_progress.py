"""Progress, as it is read where output is no terminal and on one that is."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from jobs.cli import progress
from jobs.cli.progress import Progress


@pytest.fixture
def said(monkeypatch):
    """A Progress that writes to a file, and what stands in it."""
    out = io.StringIO()

    def made(terminal: bool = False, quiet: bool = False):
        told = Progress(quiet)
        told._console = Console(file=out, force_terminal=terminal, quiet=quiet, highlight=False, width=100)
        return told, lambda: out.getvalue()

    return made


def test_a_step_ends_with_its_name_its_amount_and_its_seconds(said):
    told, text = said()
    with told.step("finding shots", 1234, "frames"):
        pass
    assert text() == "  finding shots: 1,234 frames, 0.0 s\n"


def test_long_work_says_now_and_then_how_far_it_is(said, monkeypatch):
    told, text = said()
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with told.step("training", 40, "epochs") as done:
        for epoch in range(1, 5):
            now[0] += 10
            done(epoch, f"loss {epoch}")
    assert text().splitlines() == [
        "  training: 2 of 40 epochs, loss 2, about 380 s left",
        "  training: 4 of 40 epochs, loss 4, about 360 s left",
        "  training: 40 epochs, 40.0 s",
    ]


def test_a_count_is_asked_for_and_one_that_fails_is_no_failure_of_the_work(said, monkeypatch):
    told, text = said()
    monkeypatch.setattr(progress, "POLL_S", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    asked = []

    def count():
        asked.append(len(asked))
        if len(asked) < 3:
            raise FileNotFoundError("it was there a moment ago")
        return 7

    with told.step("counting", 10, "files", count):
        deadline = time.monotonic() + 20
        while "7 of 10 files" not in text() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "  counting: 7 of 10 files, about " in text()


def test_a_terminal_gets_a_bar_and_then_the_line(said):
    told, text = said(terminal=True)
    with told.step("finding shots", 10, "frames") as done:
        done(5)
        time.sleep(0.2)
    assert "5/10" in text()
    assert text().rstrip().endswith("finding shots: 10 frames, 0.2 s") or "finding shots: 10 frames" in text()


def test_quiet_says_nothing_and_markup_is_text(said):
    told, text = said(quiet=True)
    with told.step("finding shots", 10, "frames"):
        told.say("a word")
    assert text() == ""
    told, text = said()
    told.say("[red]film[/red] :b: \x1b[2J\u202e a\nb")
    assert text() == "[red]film[/red] :b: \\x1b[2J\\u202e a\\nb\n"
