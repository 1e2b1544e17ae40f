"""What all commands share: their options, what opens a job, how a program ends."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf import settings as conf_settings
from conf.errors import CastmineError
from conf.settings import Settings
from jobs.cli.progress import Progress
from jobs.lake import run_log
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started, spark_log

DONE, CANNOT_GO_ON, WRONG_USE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass
class Job:
    """An opened command: the session, the lake, the settings, the run, and somewhere to say how far it is."""

    spark: SparkSession
    lake: Lake
    settings: Settings
    args: argparse.Namespace
    progress: Progress
    clock: run_log.Clock
    run_id: str | None
    is_step: bool  # of another command, which says itself what to do next

    def begin(self, job: str, settings_hash: str, code_version: int) -> run_log.Run:
        """Start the run log's entry of this command."""
        return run_log.begin(self.lake, job, settings_hash, code_version, self.clock, self.run_id)

    def finish(self, run: run_log.Run | None, summary: dict[str, Any], next_step: str = "") -> int:
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
    clock: run_log.Clock = run_log.utc_now,
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
