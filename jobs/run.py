"""run: everything, film to characters: harvest, mine, train, cluster, report.

  castmine run FILMS --lake ./lake
  castmine run FILMS --lake ./lake --finetune      and a face network of each title's own before clustering, in hours

Only the jobs in order, each over the same titles and in one session; what is done already is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import SparkSession

from conf import settings as conf_settings
from jobs import cluster, finetune, harvest, mine, report, train
from jobs.cli import options, program
from jobs.cli.progress import Progress
from jobs.inputs import films
from jobs.lake import run_log
from jobs.lake.environment import keep_private
from jobs.lake.session import borrowed_or_started

STEPS = (
    ("mine", mine.main),
    ("train", train.main),
    ("finetune", finetune.main),
    ("cluster", cluster.main),
    ("report", report.main),
)


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine run`."""
    parser = options.parser(__doc__ or "", "run")
    parser.add_argument(
        "films", nargs="+", type=options.filled, metavar="FILMS", help="files, folders, globs, or a manifest"
    )
    parser.add_argument("--finetune", action="store_true", help="see castmine finetune; left out where not asked for")
    args = parser.parse_args(argv)
    settings = conf_settings.load(args.conf, args.set)
    films.find_films(args.films)  # wrong arguments are said before a session is paid for
    private = keep_private(settings.lake.access)
    with private, borrowed_or_started(spark, "run", [args.lake], args.master, settings.spark) as session:
        common = shared_arguments(args)
        worst = harvest.main([*args.films, *common], spark=session, clock=clock, run_id=_step_id(run_id, "harvest"))
        for name, step in STEPS:
            if name == "finetune" and not args.finetune:
                continue
            worst = max(worst, step(common, spark=session, clock=clock, run_id=_step_id(run_id, name)))
    if spark is None:
        progress = Progress(args.quiet)
        progress.say(f"next: look at the contact sheets above, or ask the tables: castmine sql --lake {args.lake}")
        progress.say('  "select * from screen_time order by title_id, screen_time_s desc"')
    return worst


def _step_id(run_id: str | None, step: str) -> str | None:
    """Every job has a run of its own: one job's commit mark must not count for another's rows."""
    return f"{run_id}-{step}" if run_id else None


def shared_arguments(args: argparse.Namespace) -> list[str]:
    """The options of all commands, as they were given."""
    words = ["--lake", args.lake]
    for name in ("files", "conf"):
        words += [f"--{name}", getattr(args, name)] if getattr(args, name) else []
    for assignment in args.set:
        words += ["--set", assignment]
    for name in ("force", "quiet", "json"):
        words += [f"--{name}"] if getattr(args, name) else []
    return [*words, "--titles", *args.titles] if args.titles else words


if __name__ == "__main__":
    program.run(main)
