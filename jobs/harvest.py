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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.settings import HarvestSettings
from conf.table import Table
from jobs.cli import command, options, program
from jobs.inputs.films import FilmFile, find_films
from jobs.lake import run_log
from udfs import assets
from udfs import harvest as udfs
from udfs.kernels.harvest import assemble, video
from udfs.staging import FilmFiles

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
    with command.open_job(args, "harvest", spark, clock, run_id, create=True) as job:
        for line in left:
            job.progress.say(f"  left alone: {line}")
        assets.fetch_pack(job.settings.harvest.models, say=job.progress.say)
        wanted = [film for film in films if not args.titles or film.title_id in args.titles]
        return _Harvest(job, job.settings.harvest, wanted).run()


@dataclass(frozen=True)
class Film:
    """A film in work.

    Attributes:
        file: where it lies.
        key: the name of its staged files.
        of_index: what its packet index says: OF_FILM of `udfs.harvest`.
    """

    file: FilmFile
    key: str
    content_hash: str
    of_index: Mapping[str, Any]

    @property
    def title_id(self) -> str:
        return self.file.title_id

    @property
    def n_frames(self) -> int:
        return int(self.of_index["n_frames"])


class _Harvest:
    """The steps of one harvest, in the order of `run`.

    Attributes:
        files: the films that were asked for.
        failed: why a film failed, by title_id; such a film is left out of the steps that follow.
    """

    def __init__(self, job: command.Job, settings: HarvestSettings, files: list[FilmFile]):
        self.job, self.settings, self.files = job, settings, files
        self.version = assets.harvest_hash(settings)
        self.run_log = job.begin("harvest", self.version)
        self.staging = str(job.lake.files / "_staging")
        self.failed: dict[str, str] = {}

    def run(self) -> int:
        due = self._due()
        probed = self._probe(due) if due else []
        films = self._with_new_content(probed)
        self._scan(films)
        self._harvest(self._whole(films))
        unchanged = {film.title_id for film in probed} - {film.title_id for film in films}
        taken = [file for file in due if file.title_id not in unchanged]
        for start in range(0, len(taken), COMMIT_TITLES):
            self._commit(taken[start : start + COMMIT_TITLES], {film.title_id: film for film in films})
        done = self._whole(films)
        summary = {
            "job": "harvest",
            "lake": self.job.lake.root,
            "harvested": [film.title_id for film in done],
            "unchanged": len(self.files) - len(taken),
            "frames": sum(film.n_frames for film in done),
        }
        self.job.progress.say(
            f"harvest: {len(done)} films harvested ({summary['frames']:,} frames), {summary['unchanged']} unchanged, "
            f"{len(taken) - len(done)} failed"
        )
        return self.job.finish(self.run_log, summary, f"castmine mine --lake {self.job.args.lake}")

    def _whole(self, films: Sequence[Film]) -> list[Film]:
        return [film for film in films if film.title_id not in self.failed]

    def _due(self) -> list[FilmFile]:
        """Films whose address, size or time, settings or code are new; what is not saves reading the file."""
        tasks = [_task(file, None) for file in self.files]
        due = {task.title_id for task in self.run_log.to_do(tasks, self.job.args.force)}
        return [file for file in self.files if file.title_id in due]

    def _probe(self, files: list[FilmFile]) -> list[Film]:
        """Stage the packet index of each film."""
        known = self._known_hashes(files)
        rows = [(file.title_id, file.uri, known.get(file.title_id)) for file in files]
        version = f"{self.version} {self.run_log.code_version}"
        with self.job.progress.step("reading the films' indexes", len(files), "films"):
            probed = self._each(rows, udfs.TO_PROBE, udfs.probe_films, udfs.PROBED, version=version).collect()
        found = {row["title_id"]: row.asDict() for row in probed}
        self.failed |= {title: row["error"] for title, row in found.items() if row["error"]}
        return [
            Film(file, row["film_key"], row["content_hash"], {name: row[name] for name in udfs.OF_FILM})
            for file in files
            if not (row := found[file.title_id])["error"]
        ]

    def _known_hashes(self, files: list[FilmFile]) -> dict[str, str]:
        """title_id -> content_hash of the films whose file is that of their last harvest."""
        last = run_log.latest(self.job.lake, "harvest")
        rows = {file.title_id: row for file in files if (row := last.get(file.title_id)) and row["content_hash"]}
        stamps = {title: json.loads(str(row["input_versions"])).get("file") for title, row in rows.items()}
        same = (file.title_id for file in files if stamps.get(file.title_id) == file.stamp)
        return {title: str(rows[title]["content_hash"]) for title in same}

    def _with_new_content(self, films: list[Film]) -> list[Film]:
        """Leave out films that were only touched or moved: the same bytes, harvested by the same settings and code."""
        if self.job.args.force or not films:
            return films
        current, last = run_log.list_harvested(self.job.lake), run_log.latest(self.job.lake, "harvest")
        same = {}
        for film in films:
            row = last.get(film.title_id)
            if row is None or current.get(film.title_id) != row["run_id"]:
                continue
            task = run_log.Task(film.title_id, json.loads(str(row["input_versions"])), film.content_hash)
            if run_log.why_again("harvest", task, row, self.version) is None:
                same[film.title_id] = film.file.uri
                shutil.rmtree(Path(self.staging, film.key), ignore_errors=True)
        if same:
            self._move(same)
        return [film for film in films if film.title_id not in same]

    def _move(self, addresses: dict[str, str]) -> None:
        """Correct the uri of titles whose film lies elsewhere now."""
        made, lake = table("titles"), self.job.lake
        rows = [row.asDict() for row in lake.rows("titles", list(addresses)).collect()]
        moved = [{**row, "uri": addresses[row["title_id"]]} for row in rows if row["uri"] != addresses[row["title_id"]]]
        if moved:
            values = [tuple(row[name] for name in made.names) for row in moved]
            frame = self.job.spark.createDataFrame(values, made.schema)
            lake.replace(made, frame, [row["title_id"] for row in moved])

    def _scan(self, films: list[Film]) -> None:
        work = [
            (film, start, end) for film in films for start, end in udfs.scan_ranges(film.n_frames, film.of_index["fps"])
        ]
        rows = [(film.title_id, film.file.uri, film.key, start, end) for film, start, end in work]
        frames = {FilmFiles.of(self.staging, film.key).scan(start): end - start for film, start, end in work}
        self._run_staged("finding shots", rows, udfs.TO_SCAN, udfs.scan_films, frames)

    def _harvest(self, films: list[Film]) -> None:
        if not films:
            return
        keys = [(film.title_id, film.key) for film in films]
        with self.job.progress.step("planning the pieces", len(films), "films"):
            settings = {"settings": self.settings}
            planned = self._each(keys, udfs.TO_PLAN, udfs.plan_films, udfs.PLANNED, **settings).collect()
        known, place = {film.title_id: film for film in films}, {key: n for n, key in enumerate(dict(keys))}
        pieces = sorted(planned, key=lambda row: (row["overlap_end"], place[row["title_id"]], row["start"]))
        rows = [
            (row["title_id"], film.file.uri, film.key, row["start"], row["end"], row["overlap_end"])
            for row in pieces
            for film in [known[row["title_id"]]]
        ]
        frames = {FilmFiles.of(self.staging, key).piece(start): end - start for _, _, key, start, end, _ in rows}
        self._run_staged("detecting and tracking faces", rows, udfs.TO_HARVEST, udfs.harvest_pieces, frames)

    def _run_staged(
        self,
        name: str,
        rows: list[tuple[Any, ...]],
        takes: Table,
        function: Callable[..., Iterator[Any]],
        frames: Mapping[Path, int],
    ) -> None:
        """Run a step whose every row leaves a staged file, of so many frames; films with a failed row fail."""
        if not rows:
            return

        def frames_staged() -> int:
            return sum(n for file, n in frames.items() if file.exists())

        with self.job.progress.step(name, sum(frames.values()), "frames", frames_staged):
            made = self._each(rows, takes, function, udfs.STAGED, settings=self.settings)
            ended = made.where("error IS NOT NULL").collect()
        self.failed |= {row["title_id"]: row["error"] for row in sorted(ended, key=lambda row: -row["start"])}

    def _commit(self, files: list[FilmFile], films: Mapping[str, Film]) -> None:
        """Write the rows of these titles, table by table, then their commit mark.

        A film that can no longer be read keeps the rows it had: only the run log says that it failed now.
        """
        good = self._whole([films[file.title_id] for file in files if file.title_id in films])
        kept = self._find_kept([file.title_id for file in files if file.title_id in self.failed])
        written = [file for file in files if file.title_id not in kept]
        titles = [file.title_id for file in written]
        tasks = {f.title_id: _task(f, films[f.title_id].content_hash if f.title_id in films else None) for f in files}
        keys = [(film.title_id, film.key) for film in good]
        lake, counted = self.job.lake, dict[str, int]()
        with self.job.progress.step("writing the tables", len(files), "films"):
            warnings = self._warnings(good)
            self.run_log.writes(tasks[title] for title in titles)
            for name in ("shots", "tracks", "faces"):
                made, fixed = table(name), {"name": name, "run_id": self.run_log.run_id, "settings": self.settings}
                lake.replace(made, self._each(keys, udfs.TO_PLAN, udfs.film_rows, made, **fixed), titles)
            rows = [self._title_row(file, films.get(file.title_id), warnings.get(file.title_id)) for file in written]
            lake.replace(table("titles"), self.job.spark.createDataFrame(rows, table("titles").schema), titles)
            faces = lake.raw("faces").where(F.col("title_id").isin(titles)).groupBy("title_id").count()
            counted = {row["title_id"]: row["count"] for row in faces.collect()}
        self.run_log.commit(
            run_log.Done(tasks[file.title_id], counted.get(file.title_id, 0), self.failed.get(file.title_id))
            for file in files
        )
        for film in good:
            shutil.rmtree(Path(self.staging, film.key), ignore_errors=True)
            if warning := warnings.get(film.title_id):
                self.job.progress.say(f"  warning: {film.title_id}: {warning}")

    def _find_kept(self, failed: list[str]) -> set[str]:
        """Of the films that failed, those whose rows of an earlier harvest stay."""
        if not failed:
            return set()
        before = self.job.lake.rows("titles", failed).where("status = 'ok'")
        return {row["title_id"] for row in before.select("title_id").collect()}

    def _warnings(self, films: list[Film]) -> dict[str, str | None]:
        if not films:
            return {}
        keys = [(film.title_id, film.key) for film in films]
        counts = self._each(keys, udfs.TO_PLAN, udfs.film_counts, udfs.COUNTED).collect()
        looked = {row["title_id"]: (row["wanted"], row["decoded"]) for row in counts}
        return {f.title_id: assemble.film_warning(f.of_index["warning"], *looked[f.title_id]) for f in films}

    def _title_row(self, file: FilmFile, film: Film | None, warning: str | None) -> tuple[Any, ...]:
        made = title_row(file, film, self.failed.get(file.title_id), warning, self.settings)
        made |= {"settings_hash": self.version, "harvested_at": self.run_log.clock(), "run_id": self.run_log.run_id}
        return tuple(made.get(name) for name in table("titles").names)

    def _each(
        self,
        rows: Sequence[tuple[Any, ...]],
        takes: Table,
        function: Callable[..., Iterator[Any]],
        makes: Table,
        **fixed: Any,
    ) -> DataFrame:
        """One task a row of `takes`: `function` over `rows`, in Spark."""
        if not rows:
            return self.job.spark.createDataFrame([], makes.schema)
        numbered = [(number, *row) for number, row in enumerate(rows)]
        frame = self.job.spark.createDataFrame(numbered, f"row_number INT, {takes.schema}")
        spread = frame.repartitionByRange(min(len(rows), 10_000), "row_number")
        return spread.mapInPandas(functools.partial(function, staging=self.staging, **fixed), makes.schema)


def _task(file: FilmFile, content_hash: str | None) -> run_log.Task:
    return run_log.Task(file.title_id, {"file": file.stamp}, content_hash)


def title_row(
    file: FilmFile, film: Film | None, error: str | None, warning: str | None, settings: HarvestSettings
) -> dict[str, Any]:
    """A film's row of `titles` as far as the film decides it; a failed film's says why and no more than its file."""
    pack, files = assets.pack(settings.models), assets.registry().files
    row = {
        "title_id": file.title_id,
        "uri": file.uri,
        "content_hash": film.content_hash if film else None,
        "size_bytes": file.size_bytes,
        "display_name": file.display_name,
        "status": "ok" if error is None else "failed",
        "error": error,
    }
    if film is not None and error is None:
        row |= {
            **film.of_index,
            "detector_sha256": files[pack.detector].sha256,
            "embedder_sha256": files[pack.embedder].sha256,
            "embedding_dim": pack.embedding_dim,
            "detect_stride": video.detect_stride(film.of_index["fps"], settings.detect_fps),
            "warning": warning,
        }
    return row


if __name__ == "__main__":
    program.run(main)
