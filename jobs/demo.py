"""demo: castmine on two films, from pixels to a cast.

One real clip, and one film with known truth that is built here from freely usable photographs. Runs every stage, prints
who was found, scores the second film against its truth, and says where everything is.

  castmine demo [--lake ./demo]
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console

from conf import settings as conf_settings
from conf.places import locate, make_folder
from jobs import evaluate, run
from jobs.cli import command, options, program
from jobs.cli.progress import Progress
from jobs.cli.text_table import print_table
from jobs.demo_film import film
from jobs.lake import run_log
from jobs.lake.environment import keep_private
from jobs.lake.session import borrowed_or_started
from udfs import assets

CLIP = "demovideo.mp4"
QUERIES = (
    "select title_id, character_id, round(screen_time_s, 1) as seconds, n_tracks from screen_time "
    "order by title_id, seconds desc",
    "select * from co_appearances order by shared_s desc limit 10",
    "select title_id, character_id, round(start_s, 1) as start_s, round(end_s, 1) as end_s from appearances "
    "order by title_id, start_s limit 20",
)


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine demo`."""
    parser = options.parser(__doc__ or "", "demo", titles=False)
    parser.set_defaults(lake="./demo", titles=None, force=False)
    args = parser.parse_args(argv)
    progress = Progress(args.quiet)
    clip, known = demo_films(progress)
    manifest = _manifest(locate(args.lake), clip, known)
    settings = conf_settings.load(args.conf, args.set)
    private = keep_private(settings.lake.access)
    with private, borrowed_or_started(spark, "demo", [args.lake], args.master, settings.spark) as session:
        common = run.shared_arguments(args)
        code = run.main([str(manifest), *common], spark=session, clock=clock, run_id=run_id)
        truth = ["--truth", str(known.truth), "--titles", known.path.stem]
        code = max(code, evaluate.main([*truth, *common], spark=session, clock=clock))
        if not args.quiet:
            with command.open_job(args, "demo", session, writes=False) as job:
                _show(job, Path(args.lake))
    return code


def demo_films(progress: Progress) -> tuple[Path, film.Film]:
    """The real clip, and the film with its truth; fetched and built where they are missing."""
    clip = assets.fetch(CLIP, say=progress.say)
    return clip, film.build(say=progress.say)


def _manifest(lake: Path, clip: Path, known: film.Film) -> Path:
    make_folder(lake)
    rows = [
        ("photobooth_clip", clip, "A clip of three people"),
        (known.path.stem, known.path, "The castmine demo film"),
    ]
    file = lake / "films.csv"
    lines = [f"{title},{uri},{name}" for title, uri, name in rows]
    file.write_text("\n".join(["title_id,uri,display_name", *lines]) + "\n")
    return file


def _show(job: command.Job, lake: Path) -> None:
    """The cast of every title, the score, and where to go on."""
    console = Console(highlight=False)
    names = {row["title_id"]: row["display_name"] for row in job.lake.rows("titles").collect()}
    cast = job.lake.rows("characters").orderBy("title_id", "character_id").collect()
    for title, name in sorted(names.items()):
        rows = [
            [
                row["name"] or f"character {row['character_id']}",
                row["n_tracks"],
                round(row["screen_time_s"], 1),
                f"{row['first_s'] // 60:.0f}:{row['first_s'] % 60:04.1f}",
            ]
            for row in cast
            if row["title_id"] == title
        ]
        print(f"\n{name} ({title})")
        print_table(["who", "tracks", "seconds on screen", "first seen"], rows)
    print()
    for title, figures in _newest_scores(job).items():
        console.print(f"{names[title]} against its truth:\n  {evaluate.say_scores(figures)}", soft_wrap=True)
    adapters = job.lake.raw("adapters").collect()
    for row in adapters:
        found = json.loads(row["metrics"])
        aucs = ", ".join(f"{name} {value:.3f}" for name, value in sorted(found.items()) if "auc" in name)
        console.print(
            f"adapter {row['adapter_id']} ({row['method']}): {row['status']}; {row['reason'] or aucs}", soft_wrap=True
        )
    console.print(f"\ncontact sheets   {job.lake.files / 'reports'}/*.png\ntables (Delta)   {job.lake.root}\n\ntry")
    for query in QUERIES:
        console.print(f'  {_command()} sql --lake {lake} "{query}"', soft_wrap=True)


def _command() -> str:
    """castmine as the user can call it from here."""
    return "castmine" if shutil.which("castmine") else os.path.relpath(Path(sys.executable).with_name("castmine"))


def _newest_scores(job: command.Job) -> dict[str, dict[str, float]]:
    newest = run_log.list_evaluated(job.lake)
    rows = job.lake.rows("metrics").collect()
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        if newest.get(row["title_id"]) == row["run_id"]:
            scores.setdefault(row["title_id"], {})[row["metric"]] = row["value"]
    return scores


if __name__ == "__main__":
    program.run(main)
