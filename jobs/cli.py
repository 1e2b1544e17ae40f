"""castmine: films to tables of who is on screen, when.

usage: castmine COMMAND ...      (castmine COMMAND --help explains a command)
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf import settings as conf_settings
from conf.errors import CastmineError
from conf.settings import Settings
from jobs import runs
from jobs.lake import Lake
from jobs.progress import Progress
from jobs.session import borrowed_or_started, spark_log

DONE, CANNOT_GO_ON, WRONG_USE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

# command -> module, what it does; in the order of the work
COMMANDS = {
    "run": ("jobs.run", "everything: films to characters, contact sheets and views"),
    "harvest": ("jobs.harvest", "films -> titles, shots, tracks, faces"),
    "import": ("jobs.import_tracks", "ready-made tracks and faces in Parquet -> the same tables"),
    "mine": ("jobs.mine", "tracks -> cannot-links, must-links, tracklets, hard negatives"),
    "train": ("jobs.train", "mined tracklets -> an adapter of the face embedding"),
    "cluster": ("jobs.cluster", "tracks -> characters, their number found"),
    "name": ("jobs.name", "photographs of people, or a word -> names of characters"),
    "evaluate": ("jobs.evaluate", "characters against a truth file -> metrics, and where they go wrong"),
    "report": ("jobs.report.contact_sheets", "a contact sheet per title: one row a character"),
    "sql": ("jobs.sql", "read-only SQL over the tables and views"),
    "status": ("jobs.status", "what is done, failed, stale"),
    "export": ("jobs.export", "appearances as csv, json or RTTM"),
    "models": ("jobs.models", "face models: licences, where they come from, which are here"),
    "show": ("jobs.show", "settings with their defaults, tables with their columns"),
    "doctor": ("jobs.doctor", "whether this machine has what castmine needs"),
    "demo": ("jobs.demo.run", "two films, every stage, the score against the truth"),
}


@dataclass
class Job:
    """An opened command: the session, the lake, the settings, the run, and somewhere to say how far it is."""

    spark: SparkSession
    lake: Lake
    settings: Settings
    args: argparse.Namespace
    progress: Progress
    clock: runs.Clock
    run_id: str | None
    is_step: bool  # of another command, which says itself what to do next

    def begin(self, job: str, settings_hash: str, code_version: int) -> runs.Run:
        """Start the run log's entry of this command."""
        return runs.begin(self.lake, job, settings_hash, code_version, self.clock, self.run_id)

    def finish(self, run: runs.Run | None, summary: dict[str, Any], next_step: str = "") -> int:
        """Say how it ended, and return the exit code."""
        failures = run.failures if run else []
        for failure in failures:
            self.progress.say(f"  failed: {failure.task.title_id}: {failure.error}")
        if self.args.json:
            failed = {failure.task.title_id: failure.error for failure in failures}
            print(json.dumps({**summary, "failed": failed}, sort_keys=True, default=str))
        if next_step and not failures and not self.is_step:
            self.progress.say(f"next: {next_step}")
        return SOME_FAILED if failures else DONE


def parser(doc: str, command: str, titles: bool = True) -> argparse.ArgumentParser:
    """A command's parser with the options that all have."""
    made = argparse.ArgumentParser(
        prog=f"castmine {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = made.add_argument_group("options of all commands")
    common.add_argument("--lake", default="./lake", help="folder, or catalog.schema (default: ./lake)")
    common.add_argument("--files", help="folder for staged pieces, adapters, reports (default: the lake's folder)")
    common.add_argument("--conf", metavar="FILE", help="YAML settings; `preset: NAME` inside starts from a preset")
    common.add_argument("--set", action="append", default=[], metavar="job.key=value", help="one setting; repeatable")
    common.add_argument("--master", help="Spark master (default: local[*]; under spark-submit: its own)")
    if titles:
        common.add_argument("--titles", nargs="+", metavar="ID", help="these titles only")
        common.add_argument("--force", action="store_true", help="do it again even where nothing changed")
    common.add_argument("--quiet", action="store_true", help="say nothing but errors")
    common.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return made


@contextmanager
def opened(
    args: argparse.Namespace,
    command: str,
    spark: SparkSession | None = None,
    clock: runs.Clock = runs.utc_now,
    run_id: str | None = None,
    *,
    create: bool = False,
) -> Iterator[Job]:
    """Settings first (every mistake, before a cluster is paid for), then session, then lake."""
    settings = conf_settings.load(args.conf, args.set)
    with borrowed_or_started(spark, command, args.master, settings.spark) as session:
        lake = Lake(session, args.lake, args.files)
        if create:
            lake.create()
        else:
            lake.must_exist()
        yield Job(session, lake, settings, args, Progress(args.quiet), clock, run_id, spark is not None)


def run(main: Callable[[], int]) -> None:
    """Run a command as a program: castmine's own errors become a message and an exit code, others a stack trace.

    Raises SystemExit for anything but success: platforms that call the entry function look at nothing else.
    """
    try:
        code = main()
    except CastmineError as error:
        print(f"castmine: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception:
        print(f"castmine: unexpected; what Spark said is in {spark_log()}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("\ncastmine: stopped. What is committed stays; the same command goes on from there.", file=sys.stderr)
        code = INTERRUPTED
    if code:
        raise SystemExit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """`castmine COMMAND ...`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if words else WRONG_USE
    if words[0] not in COMMANDS:
        print(f"castmine: no command {words[0]!r}\n\n{_help()}", file=sys.stderr)
        return WRONG_USE
    module = importlib.import_module(COMMANDS[words[0]][0])
    return int(module.main(words[1:]))


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    exits = "exit: 0 done, 2 wrong use, 3 some titles failed, 1 cannot go on"
    return f"{(__doc__ or '').strip()}\n\ncommands\n{listed}\n\n{exits}"


def entry() -> None:
    """The console script and the wheel task."""
    run(main)


if __name__ == "__main__":
    entry()
