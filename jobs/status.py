"""status: what is done, failed, stale; how much there is.

  castmine status --lake ./lake
  castmine status --lake ./lake --json

A stage of a title is `done`, `partial` (done, but much of the film is missing), `failed` with the reason, `stale` (what
it was made from, its settings or castmine's code changed since: the job would do it again), or `-` (not done yet).
--conf and --set count: what they change is stale.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.places import Seen, look
from conf.settings import Settings
from jobs.cli import command, options, program
from jobs.cli.text_table import print_table
from jobs.inputs.films import stamp_of
from jobs.lake import run_log
from jobs.lake.adapters import NO_ADAPTER, adapters_for, id_of
from jobs.lake.lake import Lake
from jobs.lake.last_runs import LastRuns
from udfs import assets

STAGES = ("harvest", "mine", "cluster")
COUNTS = ("faces", "tracks", "unknown", "characters")  # faces detected; unknown: tracks without a character
FILM = ("title_id", "uri", "embedder_sha256", "duration_s", "run_id", "status", "warning")
SHOWN_FIGURES = 4  # of an adapter's metrics


@dataclass(frozen=True)
class Stage:
    """How far a job is with a title: done, partial, failed, stale or missing, and why it is not done."""

    state: str
    reason: str | None = None

    def __str__(self) -> str:
        name = "-" if self.state == "missing" else self.state
        return f"{name}: {self.reason}" if self.reason else name


Stages = dict[str, Stage]  # by name
Films = Mapping[str, Mapping[str, Any]]


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine status`."""
    args = options.parser(__doc__ or "", "status", titles=False).parse_args(argv)
    with command.open_job(args, "status", spark, clock, run_id, writes=False) as job:
        lake = job.lake
        films = {row["title_id"]: row.asDict() for row in lake.raw("titles").select(*FILM).collect()}
        adapters = [row.asDict() for row in lake.raw("adapters").orderBy("created_at", "adapter_id").collect()]
        stages = title_stages(lake.last_runs(), films, _chosen_adapters(lake, job.settings, films), job.settings)
        counts = title_counts(lake)
        totals = corpus_totals(stages, films, counts)
    if args.json:
        titles = {
            title: {**{name: asdict(stage) for name, stage in made.items()}, **counts.get(title, {})}
            for title, made in stages.items()
        }
        print(json.dumps({"titles": titles, "adapters": adapters, "totals": totals}, default=str))
    else:
        _print(stages, counts, adapters, totals)
    return program.DONE


# --- stages -------------------------------------------------------------------------------------------------


def title_stages(
    runs: Mapping[str, LastRuns], films: Films, adapters: Mapping[str, str], settings: Settings
) -> dict[str, Stages]:
    """How far each title is.

    Args:
        runs: by stage.
        films: title_id -> its row of `titles`.
        adapters: title_id -> the adapter that clustering would take now.
    """
    harvests, mines, clusters = (runs.get(stage, LastRuns({}, {})) for stage in STAGES)
    stages: dict[str, Stages] = {}
    seen = look(film["uri"] for film in films.values() if film.get("uri"))
    for title, last in sorted(harvests.last.items()):
        film, mined, cast = films.get(title, {}), mines.last.get(title), clusters.last.get(title)
        made = {"harvest": _harvest_stage(title, last, film, seen.get(film.get("uri") or ""), settings)}
        there = harvests.counted.get(title, {}).get("status") == "ok"  # a film that fails now may have rows of before
        is_done = made["harvest"].state in ("done", "partial") or (made["harvest"].state == "failed" and there)
        task = run_log.Task(title, {"harvest": _run_of(harvests, title)})
        made["mine"] = _next_stage("mine", is_done, task, mined, settings.mine.hash())
        adapter = adapters.get(title, NO_ADAPTER)
        sources = {"harvest": _run_of(harvests, title), "mine": _run_of(mines, title)}
        task = run_log.Task(title, {**sources, "adapter": adapter})
        made["cluster"] = _next_stage("cluster", made["mine"].state == "done", task, cast, settings.cluster.hash())
        stages[title] = made
    return stages


def _run_of(runs: LastRuns, title: str) -> str:
    row = runs.counted.get(title)
    return str(row["run_id"]) if row else ""


def _harvest_stage(
    title: str, last: Mapping[str, Any], film: Mapping[str, Any], seen: Seen | None, settings: Settings
) -> Stage:
    """Args: seen: the film's file as it is now, if it can be looked at."""
    inputs = json.loads(last["input_versions"])
    if last["job"] == "import":
        return _stage(run_log.why_again("import", run_log.Task(title, inputs), last, None), last)
    if seen is not None:  # a film that is not at hand cannot be compared
        inputs = {"file": stamp_of(film["uri"], seen)}
    wanted = assets.harvest_hash(settings.harvest)
    stage = _stage(run_log.why_again("harvest", run_log.Task(title, inputs), last, wanted), last)
    return Stage("partial", film["warning"]) if stage.state == "done" and film.get("status") == "partial" else stage


def _next_stage(
    job: str, is_source_done: bool, task: run_log.Task, last: Mapping[str, Any] | None, settings_hash: str
) -> Stage:
    if last is None:
        return Stage("missing")
    if not is_source_done:
        return Stage("stale", "made from what is not done")
    return _stage(run_log.why_again(job, task, last, settings_hash), last)


def _stage(why: str | None, last: Mapping[str, Any]) -> Stage:
    if last["status"] == "failed":
        return Stage("failed", str(last["error"]))
    return Stage("done") if why is None else Stage("stale", why)


def _chosen_adapters(lake: Lake, settings: Settings, films: Films) -> dict[str, str]:
    embedders = {title: film["embedder_sha256"] for title, film in films.items() if film["embedder_sha256"]}
    return {title: id_of(found) for title, found in adapters_for(lake, settings.cluster.adapter, embedders).items()}


# --- counts -------------------------------------------------------------------------------------------------


def title_counts(lake: Lake) -> dict[str, dict[str, int]]:
    """title_id -> COUNTS of the rows of its last runs; counted in Spark, two rows a title collected."""
    one, unknown = F.lit(1), F.col("character_id").isNull().cast("int")
    counted = {
        "tracks": (F.col("n_faces"), one, 0, 0),
        "track_labels": (0, 0, unknown, 0),
        "characters": (0, 0, 0, one),
    }
    parts = [
        lake.raw(name).select("title_id", "run_id", *[F.lit(n).alias(c) for c, n in zip(COUNTS, numbers, strict=True)])
        for name, numbers in counted.items()
    ]
    sums = functools.reduce(DataFrame.unionByName, parts).groupBy("title_id", "run_id")
    ended = (of_job.counted for job, of_job in lake.last_runs().items() if job in ("harvest", "cluster"))
    newest = {(title, row["run_id"]) for of_job in ended for title, row in of_job.items()}
    counts: dict[str, dict[str, int]] = {}
    for row in sums.agg(*[F.sum(name).alias(name) for name in COUNTS]).collect():
        if (row["title_id"], row["run_id"]) in newest:
            known = counts.setdefault(row["title_id"], dict.fromkeys(COUNTS, 0))
            known.update({name: known[name] + row[name] for name in COUNTS})
    return counts


def corpus_totals(
    stages: Mapping[str, Stages], films: Films, counts: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Titles by state of each stage, hours of film where known, and the sums of the counts."""
    hours = sum(film["duration_s"] or 0.0 for film in films.values()) / 3600
    states = {stage: Counter(made[stage].state for made in stages.values()) for stage in STAGES}
    sums = {name: sum(of_title[name] for of_title in counts.values()) for name in COUNTS}
    return {"titles": len(stages), "hours": round(hours, 3), **states, **sums}


# --- for people ---------------------------------------------------------------------------------------------


def _print(
    stages: Mapping[str, Stages],
    counts: Mapping[str, Mapping[str, int]],
    adapters: Sequence[Mapping[str, Any]],
    totals: Mapping[str, Any],
) -> None:
    rows = [
        [title, *(str(made[stage]) for stage in STAGES), *(counts.get(title, {}).get(name) for name in COUNTS)]
        for title, made in stages.items()
    ]
    print_table(["title", *STAGES, *COUNTS], rows)
    if adapters:
        print()
        shown = [[a["adapter_id"], a["method"], a["status"], _figures(a["metrics"]), a["reason"]] for a in adapters]
        print_table(["adapter", "method", "status", "figures", "reason"], shown)
    hours = f", {totals['hours']:,.1f} hours of film" if totals["hours"] else ""
    print(
        f"\n{totals['titles']:,} titles{hours}; {totals['faces']:,} faces, {totals['tracks']:,} tracks, "
        f"{totals['characters']:,} characters"
    )


def _figures(metrics: str | None) -> str:
    found = json.loads(metrics or "{}")
    numbers = [(name, value) for name, value in sorted(found.items()) if isinstance(value, int | float)]
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers[:SHOWN_FIGURES])


if __name__ == "__main__":
    program.run(main)
