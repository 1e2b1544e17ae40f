"""finetune: films and their tracks -> a face network of each title's own (VideoClusterNet), and its embeddings.

Nothing else needs it. For each title by itself the network that harvested it
is trained on: two crops of one track, then of tracks that match, are to be told to be the same (section 3.4 and 3.5 of
the paper); no label and no other title is looked at. A network that does not serve its title's cannot-links better than
the raw embeddings is kept as `not_better` and not used; castmine cluster takes the others by itself.

  castmine finetune --lake ./lake --titles my_film
  castmine finetune --lake ./lake --set finetune.device=cuda           a title a GPU, the backbone, too
  castmine finetune --lake ./lake --set finetune.launcher=horovod --set finetune.processes=2
  castmine cluster --lake ./lake --titles my_film --method videoclusternet     the paper's clustering, too

The films must lie where they were harvested, unchanged, or their crops must have been kept
(--set finetune.keep_crops=true). On a CPU a title's heads alone are trained, on the backbone as it is: some seconds
a track; the backbone, too, with --set finetune.preset=paper: minutes a track.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.code_versions import CODE_VERSIONS
from conf.errors import FilmError, TooLittleData
from conf.ids import stable_id
from conf.settings import FinetuneSettings
from jobs.cli import command, options, program
from jobs.lake import run_log, staging
from jobs.lake.adapters import FOLDER, TUNED
from jobs.lake.commit import NewRows, commit_titles
from training.finetune.plan import FinetunePlan
from training.finetune.task import count_epochs, tune_title
from udfs import assets
from udfs import finetune as udfs
from udfs import harvest as harvest_udfs
from udfs.staging import FilmFiles

TABLES = ("adapted_embeddings", "adapted_tracks", "crops")
PIECE_FRAMES = 2000  # of a film, whose crops one task cuts
OF_TITLE = ("title_id", "uri", "content_hash", "settings_hash", "embedder_sha256", "run_id")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine finetune`."""
    args = options.parser(__doc__ or "", "finetune").parse_args(argv)
    with command.open_job(args, "finetune", spark, clock, run_id) as job:
        settings = job.settings.finetune
        run = job.begin("finetune", settings.hash())
        sources = run_log.list_sources(job.lake, args.titles)
        tasks = run.take([run_log.Task(title, made) for title, made in sources.items()], args.force, job.progress.say)
        job.progress.say(f"finetune: {len(tasks)} titles to do, {len(sources) - len(tasks)} unchanged")
        counts = FineTuning(job, run, settings, tasks).tune() if tasks else {}
        summary = {"job": "finetune", "titles": [task.title_id for task in tasks], "rows": counts}
        return job.finish(run, summary, f"castmine cluster --lake {args.lake}")


def make_plan(settings: FinetuneSettings) -> FinetunePlan:
    """How a title is fine-tuned: as in the paper, or its heads alone."""
    small = settings.preset == "small" or (settings.preset == "auto" and settings.device == "cpu")
    return FinetunePlan(
        iterations=settings.iterations,
        crop_every_s=settings.crop_every_s,
        crops_per_track=settings.crops_per_track,
        backbone=not small,
        seed=settings.seed,
        device=settings.device,
    )


def adapter_id(title: Mapping[str, Any], settings: FinetuneSettings) -> str:
    """The same film, harvested in the same way, settings and code give the same network, under the same name."""
    versions = CODE_VERSIONS["harvest"], CODE_VERSIONS["finetune"]
    film = title["content_hash"] or title["run_id"]
    return stable_id(TUNED, title["title_id"], film, title["settings_hash"] or "", settings.hash(), *versions)


class FineTuning:
    """One start of the job: titles, and what became of them.

    Attributes:
        failed: title_id -> why. skipped: title_id -> its result, of titles that there is nothing to do for.
        keys: title_id -> where its crops are staged.
    """

    def __init__(
        self, job: command.Job, run: run_log.Run, settings: FinetuneSettings, tasks: Sequence[run_log.Task]
    ) -> None:
        self.job, self.run, self.settings, self.tasks = job, run, settings, tasks
        self.staging, self.plan = staging.folder(job), make_plan(settings)
        rows = job.lake.rows("titles", [task.title_id for task in tasks]).select(*OF_TITLE).collect()
        self.titles = {row["title_id"]: row.asDict() for row in rows}
        self.adapters = {title: adapter_id(row, settings) for title, row in self.titles.items()}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}

    def tune(self) -> dict[str, int]:
        """Do it; rows written by table."""
        self._check_embedders()
        self._stage_crops()
        self._stage_links()
        return self._commit({**self._train(), **self.skipped})

    def _left(self) -> list[str]:
        return [task.title_id for task in self.tasks if task.title_id not in {*self.failed, *self.skipped}]

    def _check_embedders(self) -> None:
        for title, row in self.titles.items():
            if assets.file_of(row["embedder_sha256"]) is None:
                self.failed[title] = (
                    f"its embedder {str(row['embedder_sha256'])[:12]} is none of castmine models: only tracks that "
                    "castmine harvested can be fine-tuned on"
                )

    def _stage_crops(self) -> None:
        """Cut the crops of all embedded faces out of the films, where they are not kept."""
        kept = self._find_kept()
        self.keys |= {title: stable_id("crops", self.adapters[title], self.run.run_id) for title in kept}
        films = [title for title in self._left() if title not in kept]
        if films:
            self._probe(films)
        if films := [title for title in films if title in self.keys]:
            cut = functools.partial(udfs.cut_crops, disk_gb=self.job.settings.harvest.film_disk_gb)
            self._run("cutting crops", self._faces(films), ["title_id", "piece"], cut)
        if kept:
            self._run("reading crops", self._kept_faces(sorted(kept)), ["title_id"], udfs.stage_kept)
        for title in self._left():
            if not FilmFiles.of(self.staging, self.keys[title]).all_crops():
                said = "there is no face with an embedding and landmarks, in a frame that decodes"
                self.skipped[title] = {"status": "skipped", "note": said}

    def _find_kept(self) -> set[str]:
        titles = self._left()
        crops = self.job.lake.rows("crops", titles).select("title_id").distinct().collect()
        return {row["title_id"] for row in crops}

    def _probe(self, films: Sequence[str]) -> None:
        """Stage the index of each film's frames."""
        rows = [(title, self.titles[title]["uri"] or "", self.titles[title]["content_hash"]) for title in films]
        frame = self.job.spark.createDataFrame(rows, harvest_udfs.TO_PROBE.schema)
        probe = functools.partial(
            harvest_udfs.probe_films,
            staging=self.staging,
            run_id=self.run.run_id,
            settings=self.job.settings.harvest,
            version=f"crops {self.run.run_id}",
        )
        with self.job.progress.step("reading the films' indexes", len(films), "films"):
            spread = frame.repartitionByRange(len(films), "title_id")
            found = spread.mapInPandas(probe, harvest_udfs.PROBED.schema).collect()
        for row in found:
            if row["error"]:
                self.failed[row["title_id"]] = f"its film is needed, and {row['error']}"
            else:
                self.keys[row["title_id"]] = row["film_key"]

    def _embedded(self, titles: Sequence[str]) -> DataFrame:
        """title_id, film_key, OF_FACE and landmarks of the embedded faces."""
        least = F.lit(self.job.settings.cluster.min_quality)
        flagged = F.coalesce(F.array_contains("flags", "not_a_face"), F.lit(False))
        track = self.job.lake.rows("tracks", titles).select(
            "title_id", "track_id", (~flagged & (F.coalesce("quality", least) >= least)).alias("of_good_track")
        )
        faces = self.job.lake.rows("faces", titles).where("embedding IS NOT NULL")
        good = F.col("of_good_track") & (F.coalesce("quality", least) >= least)
        keys = self.job.spark.createDataFrame(
            [(title, self.keys[title], self.titles[title]["uri"] or "") for title in titles],
            "title_id STRING, film_key STRING, uri STRING",
        )
        return (
            faces.join(track, ["title_id", "track_id"])
            .withColumn("good", good)
            .withColumn("frame", F.col("frame").cast("bigint"))
            .join(F.broadcast(keys), "title_id")
        )

    def _faces(self, titles: Sequence[str]) -> DataFrame:
        piece = F.floor(F.col("frame") / PIECE_FRAMES).alias("piece")
        names = [name for name in udfs.TO_CUT.names if name != "piece"]
        return self._embedded(titles).where("landmarks IS NOT NULL").select(*names, piece)

    def _kept_faces(self, titles: Sequence[str]) -> DataFrame:
        crops = self.job.lake.rows("crops", titles).select("title_id", "track_id", "frame", "jpeg")
        return self._embedded(titles).join(crops, ["title_id", "track_id", "frame"]).select(*udfs.KEPT.names)

    def _run(self, what: str, faces: DataFrame, key: list[str], function: Callable[..., Any]) -> None:
        work = functools.partial(function, staging=self.staging)
        with self.job.progress.step(what):
            rows = faces.groupBy(*key).applyInPandas(work, udfs.CUT.schema).collect()
        for row in rows:
            if row["error"]:
                self.failed.setdefault(row["title_id"], row["error"])

    def _to_tune(self) -> DataFrame:
        rows = [(title, self.keys[title], self.adapters[title]) for title in self._left()]
        return self.job.spark.createDataFrame(rows, udfs.TO_TUNE.schema)

    def _stage_links(self) -> None:
        titles = self._left()
        if titles:
            links = self.job.lake.rows("cannot_links", titles).select("title_id", "track_a", "track_b")
            both = self._to_tune().groupBy("title_id").cogroup(links.groupBy("title_id"))
            both.applyInPandas(functools.partial(udfs.stage_links, staging=self.staging), udfs.CUT.schema).collect()

    def _train(self) -> dict[str, dict[str, Any]]:
        """title_id -> its result, of those that did not fail."""
        titles, plan = self._left(), self.plan
        if not titles:
            return {}
        epochs = plan.first_epochs + (plan.iterations - 1) * plan.later_epochs
        folders = [FilmFiles.of(self.staging, self.keys[title]).folder for title in titles]

        def count() -> int:
            return sum(map(count_epochs, folders))

        with self.job.progress.step("fine-tuning", epochs * len(titles), "epochs", count):
            found = self._train_in_tasks(titles) if self.settings.launcher == "local" else self._train_here(titles)
        self.failed |= {title: error for title, (_, error) in found.items() if error}
        return {title: result for title, (result, error) in found.items() if not error}

    def _train_in_tasks(self, titles: Sequence[str]) -> dict[str, tuple[dict[str, Any], str | None]]:
        """A Spark task for each title."""
        found: dict[str, tuple[dict[str, Any], str | None]] = {}
        for embedder in sorted({self._file(title) for title in titles}):
            work = functools.partial(
                udfs.fine_tune_titles,
                staging=self.staging,
                run_id=self.run.run_id,
                adapters=self.job.lake.files / FOLDER,
                embedder=embedder,
                device=self.settings.device,
                keep=self.settings.keep_crops,
                tune=functools.partial(tune_title, plan=self.plan),
            )
            mine = [title for title in titles if self._file(title) == embedder]
            rows = self._to_tune().where(F.col("title_id").isin(mine)).repartitionByRange(len(mine), "title_id")
            for row in rows.mapInPandas(work, udfs.TUNED.schema).collect():
                found[row["title_id"]] = json.loads(row["result"] or "{}"), row["error"]
        return found

    def _train_here(self, titles: Sequence[str]) -> dict[str, tuple[dict[str, Any], str | None]]:
        """One title after the other, each by several processes."""
        found: dict[str, tuple[dict[str, Any], str | None]] = {}
        for title in titles:
            files, adapter = FilmFiles.of(self.staging, self.keys[title]), self.adapters[title]
            weights, out_file = assets.fetch(self._file(title)), self.job.lake.files / FOLDER / f"{adapter}.safetensors"
            launcher, processes = self.settings.launcher, self.settings.processes
            try:
                result, answers = tune_title(
                    title, files.folder, weights, out_file, plan=self.plan, launcher=launcher, processes=processes
                )
                kept = files if self.settings.keep_crops else None
                rows = udfs.stage_answers(title, adapter, answers, kept, self.staging, self.run.run_id)
                found[title] = {**result, "rows": rows}, None
            except TooLittleData as error:
                found[title] = {"status": "skipped", "note": str(error)}, None
            except FilmError as error:
                found[title] = {}, str(error)
        return found

    def _file(self, title: str) -> str:
        name = assets.file_of(self.titles[title]["embedder_sha256"])
        assert name is not None  # asked before
        return name

    def _commit(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
        counts = {(title, name): n for title, made in results.items() for name, n in made.get("rows", {}).items()}
        done = [
            run_log.Done(task, sum(n for (title, _), n in counts.items() if title == task.title_id), error)
            for task in self.tasks
            for error in [self.failed.get(task.title_id)]
        ]

        def read(titles: Sequence[str]) -> dict[str, DataFrame]:
            return {name: staging.read_staged(self.job, self.run.run_id, name, titles, counts) for name in TABLES}

        with self.job.lake.locked(self.job.progress.say):
            self._register(results)
            written = commit_titles(self.job, self.run, done, NewRows(TABLES, read, counts), kept=set(self.failed))
        staging.clear(self.job, self.run.run_id)
        for key in self.keys.values():
            FilmFiles.of(self.staging, key).drop()
        titles = {each.task.title_id for each in written}
        return {name: sum(n for (title, of), n in counts.items() if of == name and title in titles) for name in TABLES}

    def _register(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        for title, result in results.items():
            row = self._row(title, result)
            self.job.progress.say(f"  {title}: adapter {row['adapter_id']} is {row['status']}: {result['note']}")
            known = self.job.lake.raw("adapters").where(F.col("adapter_id") == row["adapter_id"])
            if not known.isEmpty():
                continue
            curve = [
                {"adapter_id": row["adapter_id"], "epoch": each["epoch"], "train_loss": each["loss"]}
                for each in result.get("curve", [])
            ]
            for name, rows in (("curves", curve), ("adapters", [row])):
                self.job.lake.append(table(name), rows)

    def _row(self, title: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """The network's row of `adapters`."""
        film, name = self.titles[title], self.adapters[title]
        trained = result["status"] != "skipped"
        return {
            "adapter_id": name,
            "method": TUNED,
            "settings": json.dumps(self.plan.model_dump(mode="json"), sort_keys=True),
            "snapshot_fingerprint": result.get("fingerprint"),
            "source_versions": json.dumps({each: self.job.lake.version(each) for each in ("faces", "cannot_links")}),
            "base_embedder_sha256": film["embedder_sha256"],
            "in_dim": result.get("dim"),
            "out_dim": result.get("dim"),
            "scope": title,
            "split": json.dumps({"by": "cannot-links, of which training knows nothing"}),
            "metrics": json.dumps(result.get("metrics") or {}, sort_keys=True),
            "status": result["status"],
            "reason": None if result["status"] == "ready" else result["note"],
            "uri": f"{FOLDER}/{name}.safetensors" if trained else None,
            "sha256": result.get("sha256"),
            "created_at": self.run.clock(),
        }


if __name__ == "__main__":
    program.run(main)
