"""cluster: tracks -> characters, track_labels.

Groups each title's tracks into characters under its cannot-links and must-links. The number of characters is found
where it is not given; tracks without enough evidence stay `unknown`. Cannot-links that the tracks around them doubt
(mirrors, screens, photographs) are set aside and marked (cannot_links.doubted). Characters of several titles who look
alike get one person_id (the view `people`). The people of titles that are clustered already stay who they are, so who
is whom may depend on the order in which titles arrive. Names that were given (castmine name) find their characters
again.

  castmine cluster --lake ./lake
  castmine cluster --lake ./lake --characters 12      or 8-15, or 5-
  castmine cluster --lake ./lake --adapter none       raw embeddings; default: the newest ready adapter of this embedder

The methods beside castmine are for comparison: hac_average, hac_complete, hac_ward (Euclidean), k_means,
affinity_propagation, dbscan, hdbscan, finch, videoclusternet (its final matching, by the loss of the network that
castmine finetune trained on the title) and own_thresholds (the same matching by cosine distances, of any embeddings).
All obey the links, and weak tracks are attached afterwards; as a paper's baseline, which knows neither:

  castmine cluster --lake ./lake --method hac_ward --characters 12 --links none --set cluster.min_quality=0
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.errors import UsageError
from conf.ids import stable_id
from conf.settings import ClusterSettings
from jobs.cli import command, options, program
from jobs.lake import edits, run_log, staging
from jobs.lake.adapters import Registered, adapters_for, add_adapted, id_of
from jobs.lake.lake import Lake
from training.adapters import Moved
from udfs import assets
from udfs import cluster as udfs
from udfs.kernels.cluster import people
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import Bounds
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.odds import UNMEASURED, Distances, Spread
from udfs.kernels.rows import stack_rows
from udfs.staging import STAGED_TABLES

TABLES = ("track_labels", "characters")
TRACK = ("title_id", "track_id")
ANSWERS = ("said", "guessed", "said_of_mean", "guessed_of_mean", "threshold", "unsure")  # of adapted_tracks


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine cluster`."""
    parser = options.parser(__doc__ or "", "cluster")
    parser.add_argument(
        "--method",
        choices=list(METHODS),
        help="clustering method (default: castmine); hac_ward, hac_complete and k_means need the number",
    )
    parser.add_argument("--characters", metavar="N|MIN-MAX", help="how many; found where not given")
    parser.add_argument("--adapter", metavar="ID|none", help="adapter id, or none (default: the newest ready one)")
    parser.add_argument(
        "--links", choices=get_args(ClusterSettings.model_fields["links"].annotation), help="obey all links, or none"
    )
    args = parser.parse_args(argv)
    for name in ("method", "characters", "adapter", "links"):
        if getattr(args, name) is not None:
            args.set.append(f"cluster.{name}='{getattr(args, name)}'")
    with command.open_job(args, "cluster", spark, clock, run_id) as job:
        settings = job.settings.cluster
        run = job.begin("cluster", settings.hash())
        mined = run_log.list_sources(job.lake, args.titles)
        embedders = {row["title_id"]: row["embedder_sha256"] for row in job.lake.rows("titles", list(mined)).collect()}
        chosen = adapters_for(job.lake, settings.adapter, embedders)
        wanted = [run_log.Task(title, {**made, "adapter": id_of(chosen[title])}) for title, made in mined.items()]
        tasks = run.take(wanted, args.force, job.progress.say)
        counts = {"track_labels": 0, "characters": 0}
        for sha, adapter in sorted({(embedders[title], chosen[title]) for title in mined}, key=_by_name):
            part = [task for task in tasks if (embedders[task.title_id], chosen[task.title_id]) == (sha, adapter)]
            if part:
                titles = [task.title_id for task in part]
                made = _cluster_titles(job, titles, sha, settings, adapter, run.run_id)
                staged = staging.compute(job, run.run_id, made, titles, TABLES[0], "clustering")
                with job.lake.locked(job.progress.say):  # people and names are those of what is committed last
                    written = _commit(job, run, part, staged, sha, adapter)
                counts = {name: counts[name] + written[name] for name in counts}
        _show_names(job, sorted(mined.keys() - {task.title_id for task in tasks}))
        job.progress.say(
            f"cluster: {len(tasks)} titles clustered, {len(mined) - len(tasks)} unchanged: {counts['track_labels']:,} "
            f"tracks, {counts['characters']:,} characters ({_name_adapters(chosen)}{_name_links(settings)})"
        )
        _say_doubted(job, [task.title_id for task in tasks])
        summary = {"job": "cluster", "titles": [task.title_id for task in tasks], "rows": counts}
        return job.finish(run, summary, f"castmine report --lake {args.lake}")


def _commit(
    job: command.Job,
    run: run_log.Run,
    tasks: Sequence[run_log.Task],
    staged: staging.Counts,
    embedder_sha256: str,
    adapter: Registered | None,
) -> dict[str, int]:
    """Write what is staged, with the people and the names that the lake knows now; rows written by table."""
    _mark_doubted(job, tasks, staged, run)
    titles = [task.title_id for task in tasks]
    people_of = _link_people(job, run.run_id, titles, staged, embedder_sha256, adapter)
    return staging.commit(job, run, tasks, staged, TABLES, lambda _: {"characters": people_of})


def _cluster_titles(
    job: command.Job,
    titles: list[str],
    embedder_sha256: str,
    settings: ClusterSettings,
    adapter: Registered | None,
    run_id: str,
) -> DataFrame:
    """STAGED_TABLES of these titles, whose embeddings are of one embedder; running it stages their tables."""
    function = functools.partial(
        udfs.cluster_tracks,
        staging=staging.folder(job),
        rules=choose_rules(settings, embedder_sha256, adapter),
        run_id=run_id,
        adapt=adapter.map() if adapter else None,
        adapter_id=id_of(adapter),
        read_out=_read_out(settings.method, adapter),
    )
    tracks = job.lake.rows("tracks", titles).select(
        "title_id", "track_id", "start_s", "end_s", "n_faces", "n_embedded", "quality", "flags", "embedding"
    )
    by_answers = METHODS[settings.method].by_answers
    if by_answers and (adapter is None or not adapter.is_tuned):
        raise UsageError(
            f"cluster.method={settings.method} goes by a network that was fine-tuned on the title, and {titles[0]} has "
            "none: run castmine finetune first, or take own_thresholds, which goes by cosine distances"
        )
    tracks = add_adapted(job.lake, tracks, dict.fromkeys(titles, adapter), ANSWERS if by_answers else ())
    if METHODS[settings.method].by_faces and not by_answers:
        by_track = functools.partial(udfs.measure_intra_track, adapt=adapter.map() if adapter else None)
        table_of_faces = "adapted_embeddings" if adapter and adapter.is_tuned else "faces"
        faces = job.lake.rows(table_of_faces, titles).where("embedding IS NOT NULL").select(*TRACK, "embedding")
        spread = faces.groupBy(*TRACK).applyInPandas(by_track, udfs.INTRA_TRACK.schema)
        tracks = tracks.join(spread, list(TRACK), "left")
    grouped = tracks.groupBy("title_id").cogroup(read_links(job.lake, titles).groupBy("title_id"))
    return grouped.applyInPandas(function, STAGED_TABLES.schema)


def choose_rules(settings: ClusterSettings, embedder_sha256: str | None, adapter: Registered | None) -> Rules:
    """How a title is clustered.

    Args:
        embedder_sha256: of the title's embeddings; adapter: what they go through, if anything.
    Raises:
        UsageError: no such method, or it needs another number of characters.
    """
    if settings.method not in METHODS:
        raise UsageError(f"cluster.method: no method {settings.method!r}; there are {', '.join(METHODS)}")
    bounds = Bounds(_choose_threshold(settings.method, adapter), *settings.bounds())
    try:
        METHODS[settings.method].check(settings.method, bounds)
    except ValueError as error:
        raise UsageError(f"cluster.method: {error} (--characters N)") from error
    return Rules(
        method=settings.method,
        bounds=bounds,
        known=expect_distances(embedder_sha256, adapter.moved() if adapter else None),
        min_quality=settings.min_quality,
        attach_margin=settings.attach_margin,
        links=settings.links == "all",
    )


def expect_distances(embedder_sha256: str | None, change: Moved | None) -> Distances:
    """Of the embedder, and as an adapter changed them on its held-out tracks."""
    measured = assets.distances(embedder_sha256)
    known = Distances(Spread(*measured.same), Spread(*measured.different)) if measured else UNMEASURED
    return known.shift_by(change.same, change.different) if change else known


def read_links(lake: Lake, titles: list[str]) -> DataFrame:
    """title_id, track_a, track_b, kind (cannot or must): the links that clustering obeys."""
    cannot = lake.rows("cannot_links", titles).withColumn("kind", F.lit("cannot"))
    must = lake.rows("must_links", titles).where("NOT contradicted").withColumn("kind", F.lit("must"))
    columns = ("title_id", "track_a", "track_b", "kind")
    return cannot.select(*columns).unionByName(must.select(*columns))


def _list_known_people(job: command.Job, embedder_sha256: str) -> pd.DataFrame:
    """The characters of one embedder's titles that have a person, also of titles that are about to be clustered anew.

    Of all titles, whichever are asked for.
    """
    titles = job.lake.rows("titles").where(F.col("embedder_sha256") == embedder_sha256).select("title_id")
    rows = job.lake.rows("characters").join(F.broadcast(titles), "title_id", "left_semi")
    rows = rows.where("person_id IS NOT NULL AND embedding IS NOT NULL")
    return rows.select("title_id", "person_id", "embedding").toPandas()


def _link_people(
    job: command.Job,
    run_id: str,
    titles: list[str],
    staged: staging.Counts,
    embedder_sha256: str,
    adapter: Registered | None,
) -> DataFrame:
    """title_id, character_id, person_id and name of the staged characters: a known person or a new one."""
    known = _list_known_people(job, embedder_sha256)
    columns = ("title_id", "character_id", "exemplar_track_id", "embedding")
    new = staging.read_staged(job, run_id, "characters", titles, staged).select(*columns).toPandas()
    new = new.sort_values(["title_id", "character_id"], ignore_index=True)
    keys = list(zip(new.title_id, new.character_id.astype(int), strict=True))
    own = [stable_id(*row) for row in zip(new.title_id, new.exemplar_track_id.astype(int), strict=True)]
    person, named = np.zeros(0, str), dict[tuple[str, int], str]()
    if keys:
        with job.progress.step("linking people across titles", len(keys), "characters"):
            person = people.link(
                people.Characters(
                    known.title_id.to_numpy(str), _map_embeddings(known, adapter), known.person_id.to_numpy(str)
                ),
                people.Characters(new.title_id.to_numpy(str), _map_embeddings(new, adapter), np.array(own)),
            )
        named = _names(job, run_id, titles, staged)
    rows = [(*key, of_key, named.get(key)) for key, of_key in zip(keys, person.tolist(), strict=True)]
    return job.spark.createDataFrame(rows, "title_id STRING, character_id INT, person_id STRING, name STRING")


def _mark_doubted(job: command.Job, tasks: Sequence[run_log.Task], staged: staging.Counts, run: run_log.Run) -> None:
    """Say in cannot_links what these titles' staged judgement of them is, where they are those that were judged."""
    mined, pair = job.lake.counted("mine"), ["title_id", "track_a", "track_b"]
    tasks = [task for task in tasks if mined.get(task.title_id) == task.inputs["mine"]]
    titles = [task.title_id for task in tasks]
    judged = staging.read_staged(job, run.run_id, "cannot_links", titles, staged).select(*pair, "doubted")
    before = F.coalesce("doubted", F.lit(False)).alias("before")
    links = job.lake.rows("cannot_links", titles).select(*pair, "run_id", before)
    changed = links.join(judged, pair).where("doubted <> before").select(*pair, "run_id", "doubted").persist()
    if not changed.isEmpty():
        run.writes(tasks)  # whoever kills it now leaves marks that do not fit the labels: both are made again
        with job.progress.step("marking cannot-links"):
            job.lake.update(table("cannot_links"), changed, titles)
    changed.unpersist()


def _say_doubted(job: command.Job, titles: list[str]) -> None:
    n = job.lake.rows("cannot_links", titles).where("doubted").count() if titles else 0
    if n:
        job.progress.say(
            f"cluster: {n:,} cannot-links are doubted and were set aside (a mirror, a screen, a photograph?): "
            f'castmine sql --lake {job.args.lake} "select * from cannot_links where doubted"'
        )


def _names(job: command.Job, run_id: str, titles: list[str], staged: staging.Counts) -> dict[tuple[str, int], str]:
    """The names of staged characters: what the edits of these titles say about them now."""
    made = {name: staging.read_staged(job, run_id, name, titles, staged) for name in TABLES}
    found = edits.read_names(job.lake, titles, made["track_labels"], made["characters"])
    edits.say(job.progress, found)
    return edits.name_characters(found)


def _show_names(job: command.Job, titles: list[str]) -> None:
    """Bring the names of unchanged titles up to date: a command that gave some may have been killed before."""
    if not titles:
        return
    with job.lake.locked(job.progress.say):
        rows, labels = job.lake.rows("characters", titles), job.lake.rows("track_labels", titles)
        if found := edits.read_names(job.lake, titles, labels, rows):
            there = rows.where(F.col("title_id").isin(sorted(found))).drop("embedding").toPandas()
            edits.put_to_use(job.lake, there, found)


def _map_embeddings(characters: pd.DataFrame, adapter: Registered | None) -> NDArray[np.float32]:
    rows, adapt = stack_rows(characters.embedding), adapter.map() if adapter else None
    return adapt(rows) if adapt and len(rows) else rows


def _read_out(method: str, adapter: Registered | None) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """What maps embeddings to an adapter's outputs as they are, where adapter and method are made for that."""
    if adapter is None or adapter.is_tuned or not METHODS[method].any_length:
        return None
    if adapter.load().card.read_out != "euclidean":
        return None
    return adapter.map(unit=False)


def _choose_threshold(method: str, adapter: Registered | None) -> float | None:
    """The adapter's threshold, a squared distance, as the half of it at which its linkage stops (BCL, section 3.3)."""
    if method != "hac_complete" or adapter is None or adapter.is_tuned:
        return None
    threshold = adapter.load().card.threshold
    return None if threshold is None else threshold / 2


def _by_name(made_for: tuple[str, Registered | None]) -> tuple[str, str]:
    return made_for[0], id_of(made_for[1])


def _name_links(settings: ClusterSettings) -> str:
    return ", no links" if settings.links == "none" else ""


def _name_adapters(chosen: dict[str, Registered | None]) -> str:
    names = sorted({f"adapter {a.adapter_id}" if a else "raw embeddings" for a in chosen.values()})
    return ", ".join(names) or "no titles"


if __name__ == "__main__":
    program.run(main)
