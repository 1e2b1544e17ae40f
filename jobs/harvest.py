"""harvest: films -> titles, shots, tracks, faces.

Finds the shots of every film, detects and tracks faces inside them, embeds the best ones, and writes the tables, title
by title. Kill it anywhere: the same command goes on from the last finished piece of the last unfinished film.

  castmine harvest FILMS --lake ./lake        FILMS: files, folders, globs, or a manifest (csv, parquet: title_id, uri)
  spark-submit jobs/harvest.py FILMS --lake ./lake --set harvest.device=cuda
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.settings import HarvestSettings
from jobs.cli import command, options, program
from jobs.inputs.films import FilmFile, find_films
from jobs.lake import run_log
from udfs import assets
from udfs import harvest as udfs
from udfs.kernels.harvest import assemble, video

COMMIT_TITLES = 16  # titles in one commit: a Delta commit costs seconds, whatever it holds


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine harvest`."""
    parser = options.parser(__doc__ or "", "harvest")
    parser.add_argument("films", nargs="+", metavar="FILMS", help="files, folders, globs, or a manifest")
    args = parser.parse_args(argv)
    films, left = find_films(args.films)
    with command.opened(args, "harvest", spark, clock, run_id, create=True) as job:
        for line in left:
            job.progress.say(f"  left alone: {line}")
        assets.fetch_pack(job.settings.harvest.models, say=job.progress.say)
        work = _Harvest(job, job.settings.harvest, [f for f in films if not args.titles or f.title_id in args.titles])
        return work.run()


class _Harvest:
    """The steps of one harvest, in the order of `run`. A film is a dict of what is known of it so far."""

    def __init__(self, job: command.Job, settings: HarvestSettings, films: list[FilmFile]):
        self.job, self.settings, self.films = job, settings, films
        self.version = assets.harvest_hash(settings)
        self.run_log = job.begin("harvest", self.version)
        self.staging = str(job.lake.files / "_staging")

    def run(self) -> int:
        wanted = self._to_do()
        films = self._with_new_content(self._probe(wanted)) if wanted else []
        self._scan([film for film in films if not film["error"]])
        self._harvest([film for film in films if not film["error"]])
        for start in range(0, len(films), COMMIT_TITLES):
            self._commit(films[start : start + COMMIT_TITLES])
        done = [film for film in films if not film["error"]]
        summary = {
            "job": "harvest",
            "lake": self.job.lake.root,
            "harvested": [film["title_id"] for film in done],
            "unchanged": len(self.films) - len(films),
            "frames": int(sum(film["n_frames"] for film in done)),
        }
        self.job.progress.say(
            f"harvest: {len(done)} films harvested ({summary['frames']:,} frames), {summary['unchanged']} unchanged, "
            f"{len(films) - len(done)} failed"
        )
        return self.job.finish(self.run_log, summary, f"castmine mine --lake {self.job.args.lake}")

    def _to_do(self) -> list[FilmFile]:
        """Films whose address, size or time, settings or code are new; what is not saves reading the file."""
        tasks = [self._task(film, None) for film in self.films]
        todo = {task.title_id for task in self.run_log.to_do(tasks, self.job.args.force)}
        return [film for film in self.films if film.title_id in todo]

    def _task(self, film: FilmFile, content_hash: str | None) -> run_log.Task:
        return run_log.Task(film.title_id, {"file": film.stamp}, content_hash)

    def _probe(self, films: list[FilmFile]) -> list[dict[str, Any]]:
        rows = pd.DataFrame({"title_id": [f.title_id for f in films], "uri": [f.uri for f in films]})
        rows["content_hash"] = self._known_hashes(films)
        fixed = {"staging": self.staging, "version": f"{self.version} {self.run_log.code_version}"}
        with self.job.progress.step("reading the films' indexes", len(films), "films"):
            probed = self._each(rows, udfs.probe_films, udfs.PROBED.schema, **fixed).toPandas()
        found = {row["title_id"]: row for row in probed.to_dict("records")}
        return [{**found[film.title_id], "file": film, "uri": film.uri} for film in films]

    def _with_new_content(self, films: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Leave out films that were only touched or moved: the same bytes, harvested by the same settings and code."""
        if self.job.args.force:
            return films
        current, last = run_log.harvested(self.job.lake), run_log.latest(self.job.lake, "harvest")
        same = {}
        for film in films:
            row = last.get(film["title_id"])
            if row is None or film["error"] or current.get(film["title_id"]) != row["run_id"]:
                continue
            task = run_log.Task(film["title_id"], json.loads(str(row["input_versions"])), film["content_hash"])
            if run_log.why_again("harvest", task, row, self.version) is None:
                same[film["title_id"]] = film["uri"]
                shutil.rmtree(Path(self.staging, film["film_key"]), ignore_errors=True)
        if same:
            self._move(same)
        return [film for film in films if film["title_id"] not in same]

    def _move(self, addresses: dict[str, str]) -> None:
        """Correct the uri of titles whose film lies elsewhere now."""
        made, lake = table("titles"), self.job.lake
        rows = [row.asDict() for row in lake.rows("titles", list(addresses)).collect()]
        moved = [{**row, "uri": addresses[row["title_id"]]} for row in rows if row["uri"] != addresses[row["title_id"]]]
        if moved:
            values = [tuple(row[name] for name in made.names) for row in moved]
            frame = self.job.spark.createDataFrame(values, made.schema)
            lake.replace(made, frame, [row["title_id"] for row in moved])

    def _known_hashes(self, films: list[FilmFile]) -> list[str | None]:
        last = run_log.latest(self.run_log.lake, "harvest")
        hashes: list[str | None] = []
        for film in films:
            row = last.get(film.title_id)
            same = row is not None and json.loads(str(row["input_versions"])).get("file") == film.stamp
            hashes.append(str(row["content_hash"]) if row and same and row["content_hash"] else None)
        return hashes

    def _scan(self, films: list[dict[str, Any]]) -> None:
        ranges = [
            (film["title_id"], film["uri"], film["film_key"], start, end)
            for film in films
            for start, end in udfs.scan_ranges(int(film["n_frames"]), film["fps"])
        ]
        rows = pd.DataFrame(ranges, columns=["title_id", "uri", "film_key", "start", "end"])
        self._staged("finding shots", rows, "scan", films, udfs.scan_films)

    def _harvest(self, films: list[dict[str, Any]]) -> None:
        films = [film for film in films if not film["error"]]
        if not films:
            return
        keys = pd.DataFrame(films)[["title_id", "uri", "film_key"]]
        fixed = {"staging": self.staging, "settings": self.settings}
        with self.job.progress.step("planning the pieces", len(films), "films"):
            plan = self._each(keys, udfs.plan_films, udfs.PLANNED.schema, **fixed).toPandas()
        pieces = plan.merge(keys, on="title_id").sort_values("seam_end", kind="stable")
        self._staged("detecting and tracking faces", pieces, "piece", films, udfs.harvest_pieces)

    def _staged(
        self,
        name: str,
        rows: pd.DataFrame,
        prefix: str,
        films: list[dict[str, Any]],
        function: Callable[..., Iterator[pd.DataFrame]],
    ) -> None:
        """Run a step whose every row leaves a staged file; films with a failed row fail."""
        if not len(rows):
            return
        lengths = {
            Path(self.staging, row.film_key, f"{prefix}-{row.start:08d}.parquet"): row.end - row.start
            for row in rows.itertuples()
        }

        def frames_staged() -> int:
            return int(sum(frames for file, frames in lengths.items() if file.exists()))

        with self.job.progress.step(name, int(sum(lengths.values())), "frames", frames_staged):
            fixed = {"staging": self.staging, "settings": self.settings}
            ended = self._each(rows, function, udfs.STAGED.schema, **fixed).where("error IS NOT NULL").collect()
        errors = {row["title_id"]: row["error"] for row in sorted(ended, key=lambda row: -row["start"])}
        for film in films:
            film["error"] = errors.get(film["title_id"])

    def _commit(self, films: list[dict[str, Any]]) -> None:
        """Write the rows of these titles, table by table, then their commit mark.

        A film that can no longer be read keeps the rows it had: only the run log says that it failed now.
        """
        good = [film for film in films if not film["error"]]
        kept = self._kept([film for film in films if film["error"]])
        written = [film for film in films if film["title_id"] not in kept]
        titles = [film["title_id"] for film in written]
        keys = pd.DataFrame([(f["title_id"], f["film_key"]) for f in good], columns=["title_id", "film_key"])
        lake, counted = self.job.lake, dict[str, int]()
        with self.job.progress.step("writing the tables", len(films), "films"):
            warnings = self._warnings(good, keys)
            self.run_log.writes(self._task(film["file"], film["content_hash"]) for film in written)
            for name in ("shots", "tracks", "faces"):
                made = table(name)
                fixed = {"staging": self.staging, "settings": self.settings, "name": name}
                rows = self._each(keys, udfs.film_rows, made.schema, run_id=self.run_log.run_id, **fixed)
                lake.replace(made, rows, titles)
            title_frame = self.job.spark.createDataFrame(
                [self._title_row(film, warnings.get(film["title_id"])) for film in written], table("titles").schema
            )
            lake.replace(table("titles"), title_frame, titles)
            faces = lake.raw("faces").where(F.col("title_id").isin(titles)).groupBy("title_id").count()
            counted = {row["title_id"]: row["count"] for row in faces.collect()}
        self.run_log.commit(
            run_log.Done(self._task(f["file"], f["content_hash"]), counted.get(f["title_id"], 0), f["error"])
            for f in films
        )
        for film in good:
            shutil.rmtree(Path(self.staging, film["film_key"]), ignore_errors=True)
            if warning := warnings.get(film["title_id"]):
                self.job.progress.say(f"  warning: {film['title_id']}: {warning}")

    def _kept(self, failed: list[dict[str, Any]]) -> set[str]:
        if not failed:
            return set()
        before = self.job.lake.rows("titles", [film["title_id"] for film in failed]).where("status = 'ok'")
        return {row["title_id"] for row in before.select("title_id").collect()}

    def _warnings(self, films: list[dict[str, Any]], keys: pd.DataFrame) -> dict[str, str | None]:
        if not films:
            return {}
        counts = self._each(keys, udfs.film_counts, udfs.COUNTED.schema, staging=self.staging).collect()
        looked = {row["title_id"]: (row["wanted"], row["decoded"]) for row in counts}
        return {f["title_id"]: assemble.film_warning(f["warning"], *looked[f["title_id"]]) for f in films}

    def _title_row(self, film: dict[str, Any], warning: str | None) -> tuple[Any, ...]:
        return title_row(film, warning, self.settings, self.version, self.run_log)

    def _each(
        self, rows: pd.DataFrame, function: Callable[..., Iterator[pd.DataFrame]], schema: str, **fixed: Any
    ) -> DataFrame:
        """One task a row: `function` over `rows`, in Spark."""
        if not len(rows):
            return self.job.spark.createDataFrame([], schema)
        numbered = rows.reset_index(drop=True).rename_axis("row_number").reset_index().astype(object)
        frame = self.job.spark.createDataFrame(numbered.where(numbered.notna(), None), _types(numbered))
        spread = frame.repartitionByRange(min(len(rows), 10_000), "row_number")
        return spread.mapInPandas(functools.partial(function, **fixed), schema)


def title_row(
    film: dict[str, Any], warning: str | None, settings: HarvestSettings, version: str, run: run_log.Run
) -> tuple[Any, ...]:
    """A film's row of `titles`, in the table's order; a failed film's says why and knows no more than its file."""
    file: FilmFile = film["file"]
    pack, files, failed = assets.pack(settings.models), assets.registry().files, film["error"] is not None
    values = {
        "title_id": file.title_id,
        "uri": file.uri,
        "content_hash": film["content_hash"],
        "size_bytes": file.size_bytes,
        "display_name": file.display_name,
        "status": "failed" if failed else "ok",
        "error": film["error"],
        "settings_hash": version,
        "harvested_at": run.clock(),
        "run_id": run.run_id,
    }
    if not failed:
        values |= {name: film[name] for name in ("duration_s", "fps", "codec")}
        values |= {name: int(film[name]) for name in ("n_frames", "width", "height", "rotation")}
        values |= {
            "detector_sha256": files[pack.detector].sha256,
            "embedder_sha256": files[pack.embedder].sha256,
            "embedding_dim": pack.embedding_dim,
            "detect_stride": video.detect_stride(film["fps"], settings.detect_fps),
            "warning": warning,
        }
    return tuple(values.get(name) for name in table("titles").names)


def _types(rows: pd.DataFrame) -> str:
    whole = {"row_number", "start", "end", "seam_end"}
    return ", ".join(f"{name} {'INT' if name in whole else 'STRING'}" for name in rows.columns)


if __name__ == "__main__":
    program.run(main)
