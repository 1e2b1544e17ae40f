"""A job that is opened: session, lake, settings, and somewhere to say how far it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf import settings as conf_settings
from conf.settings import Settings
from jobs.cli import program
from jobs.cli.progress import Progress
from jobs.lake import run_log
from jobs.lake.environment import keep_private
from jobs.lake.faults import explain
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started


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
    ending: ExitStack  # what is given back when the command ends

    def begin(self, job: str, settings_hash: str) -> run_log.Run:
        """Start the run log's entry of this command."""
        run = run_log.begin(self.lake, job, settings_hash, self.clock, self.run_id)
        self.ending.callback(run.give_back)
        return run

    def finish(self, run: run_log.Run | None, summary: dict[str, Any], next_step: str = "") -> int:
        """Say how it ended, and return the exit code."""
        failed = {d.task.title_id: d.error for d in run.failures} if run else {}
        partial = {d.task.title_id: d.partial for d in run.partial} if run else {}
        for state, titles in (("failed", failed), ("partial", partial)):
            for title, reason in titles.items():
                self.progress.say(f"  {state}: {title}: {reason}")
        if self.args.json:
            print(json.dumps({**summary, "failed": failed, "partial": partial}, sort_keys=True, default=str))
        if next_step and not failed and not self.is_step:
            self.progress.say(f"next: {next_step}")
        return program.SOME_FAILED if failed or partial else program.DONE


@contextmanager
def open_job(
    args: argparse.Namespace,
    command: str,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
    *,
    create: bool = False,
    writes: bool = True,
) -> Iterator[Job]:
    """Settings first (every mistake, before a cluster is paid for), then session, then lake, see `Lake.open`."""
    settings = conf_settings.load(args.conf, args.set)
    private = keep_private(settings.lake.access)
    with private, borrowed_or_started(spark, command, [args.lake], args.master, settings.spark) as session:
        lake, progress = Lake(session, args.lake, args.files), Progress(args.quiet)
        try:
            lake.open(progress.say, create=create, writes=writes)
            with ExitStack() as ending:
                yield Job(session, lake, settings, args, progress, clock, run_id, spark is not None, ending)
        except Exception as error:
            if (meant := explain(error, lake.root)) is not error:
                raise meant from error
            raise
