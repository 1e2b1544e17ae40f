"""harvest: films -> titles, shots, tracks, faces.

Finds the shots of every film, detects and tracks faces inside them, embeds the best ones, and writes the tables, title
by title. Kill it anywhere: the same command goes on from the last finished piece of the last unfinished film.

Which title a film is: the same bytes are the same title, wherever they lie and whatever they are called (moved, or a
copy, which is left alone); other bytes in the same place are a new version of that title, which keeps the names of the
people it still shows; anything else is a new title, called after its file, with letters of its content behind the name
where another title has it. A manifest says title_ids itself. A film that failed is not tried again before its bytes,
the settings or castmine change, or with --force.

  castmine harvest FILMS --lake ./lake        FILMS: files, folders, globs, or a manifest (csv, parquet: title_id, uri)
  spark-submit jobs/harvest.py FILMS --lake ./lake --set harvest.device=cuda
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from conf.catalog import table
from conf.errors import UsageError
from conf.places import look
from conf.settings import HarvestSettings
from conf.table import Table
from jobs.cli import command, options, program
from jobs.inputs.films import FilmFile, find_films
from jobs.inputs.title_rows import Film, title_row
from jobs.inputs.titles import find_contents, list_known, name_titles
from jobs.lake import run_log, staging
from jobs.lake.commit import NewRows, commit_titles
from jobs.lake.last_runs import LastRuns, read_inputs
from udfs import assets
from udfs import harvest as udfs
from udfs.staging import FilmFiles, count_staged

STAGED = ("shots", "tracks", "faces")  # tables, beside titles
PROBED_AT_ONCE = 16  # films, or as many as there are cores
PIECES_PER_CORE = 8  # of one wave, at least: few enough for a first result within minutes
TASKS = 10_000  # of one step, at most
LISTED = 5  # titles in a message
LEFT_LISTED = 20  # files that are left alone


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine harvest`."""
    parser = options.parser(__doc__ or "", "harvest")
    parser.add_argument(
        "films", nargs="+", type=options.filled, metavar="FILMS", help="files, folders, globs, or a manifest"
    )
    args = parser.parse_args(argv)
    files, left = find_films(args.films)
    with command.open_job(args, "harvest", spark, clock, run_id, create=True) as job:
        _say_left(job, left)
        assets.fetch_pack(job.settings.harvest.models, say=job.progress.say)
        return _Harvest(job, job.settings.harvest, files).run()


class _Harvest:
    """The steps of one harvest, in the order of `run`.

    Films are harvested in waves: as few as keep every core at work, so that the first titles are there long before the
    last film is looked at.

    Attributes:
        files: the films that were asked for.
        films, hashes, failed: by title_id: those that could be read; the content of each that was read, whatever came
            of it; why one failed: it is left out of the steps that follow.
    """

    def __init__(self, job: command.Job, settings: HarvestSettings, files: list[FilmFile]):
        self.job, self.settings, self.files = job, settings, files
        self.version = assets.harvest_hash(settings)
        self.run_log = job.begin("harvest", self.version)
        self.staging = str(job.lake.files / "_staging")
        self.films: dict[str, Film] = {}
        self.hashes: dict[str, str | None] = {}
        self.failed: dict[str, str] = {}
        self.done: list[Film] = []
        self.named: set[str] = set()
        self.unchanged = 0

    def run(self) -> int:
        for files in self._batches():
            due = self._take(files)
            probed = self._probe(due)
            films = self._with_new_content(probed)
            self.unchanged += len(probed) - len(films)
            self._commit([file for file in due if file.title_id in self.failed], {})
            for wave in self._waves(films):
                self._say_wave(wave)
                self._scan(wave)
                self._detect(self._whole(wave))
                self._commit([film.file for film in wave], self._assemble(self._whole(wave)))
                self.done += self._whole(wave)
        summary = {
            "job": "harvest",
            "lake": self.job.lake.root,
            "harvested": [film.title_id for film in self.done],
            "unchanged": self.unchanged,
            "frames": sum(film.n_frames for film in self.done),
        }
        if unknown := sorted({*(self.job.args.titles or ())} - self.named):
            raise UsageError(f"--titles {' '.join(unknown)}: no such film; there are: {_list(sorted(self.named))}")
        self.job.progress.say(
            f"harvest: {len(self.done)} films harvested ({summary['frames']:,} frames), {self.unchanged} unchanged, "
            f"{len(self.failed)} failed"
        )
        return self.job.finish(self.run_log, summary, f"castmine mine --lake {self.job.args.lake}")

    def _whole(self, films: Sequence[Film]) -> list[Film]:
        return [film for film in films if film.title_id not in self.failed]

    def _batches(self) -> list[list[FilmFile]]:
        """The files in parts that are named, claimed and read one after the other, so that the first titles come soon.

        All at once where a film of the lake is not where it was: its bytes may be anywhere among them.
        """
        n = max(PROBED_AT_ONCE, self.job.spark.sparkContext.defaultParallelism)
        known = {title.uri: title for title in list_known(self.job.lake) if title.uri and title.content_hash}
        seen = look(known)
        if not all(title.is_as_seen(seen.get(uri)) for uri, title in known.items()):
            n = max(1, len(self.files))
        return [self.files[start : start + n] for start in range(0, len(self.files), n)]

    def _take(self, files: list[FilmFile]) -> list[FilmFile]:
        """Films whose address, size or time, settings or code are new, with their titles, claimed.

        A film that failed, and whose bytes are the same, would fail again: it is named, and left alone.
        """
        contents: dict[str, str | None] = {**find_contents(files, list_known(self.job.lake))}
        contents |= self._read_contents([file for file in files if file.uri not in contents])
        with self.job.lake.locked(self.job.progress.say):  # who is given a new name keeps it
            named = name_titles(files, contents, list_known(self.job.lake))
            self.named |= {file.title_id for file in named.files}
            asked = self.job.args.titles
            files = [file for file in named.files if not asked or file.title_id in asked]
            tasks = [_task(file, None) for file in files]
            due = {task.title_id for task in self.run_log.take(tasks, self.job.args.force, self.job.progress.say)}
        _say_left(self.job, named.left)
        for line in named.said:
            self.job.progress.say(f"  {line}")
        self.hashes |= {file.title_id: contents.get(file.uri) for file in files}
        self.unchanged += len(files) - len(due)
        last = run_log.latest(self.job.lake, "harvest")
        for file in files:
            if file.title_id not in due and last[file.title_id]["status"] == "failed":
                why = f"{last[file.title_id]['error']} (--force tries it again)"
                self.job.progress.say(f"  failed before, and has not changed: {file.title_id}: {why}")
        return [file for file in files if file.title_id in due]

    def _read_contents(self, files: list[FilmFile]) -> dict[str, str | None]:
        """uri -> sha256 of the bytes, read by the workers; None of a file that cannot be read."""
        if not files:
            return {}
        rows = [(file.uri, n) for n, file in enumerate(files)]
        with self.job.progress.step("reading the films' content", len(files), "films"):
            read = self._each(rows, udfs.TO_HASH, udfs.hash_files, udfs.HASHED, settings=self.settings).collect()
        return {row["uri"]: row["content_hash"] for row in read}

    def _waves(self, films: Sequence[Film]) -> Iterator[list[Film]]:
        """The films in their order, as few together as have PIECES_PER_CORE pieces for every core."""
        wanted = PIECES_PER_CORE * self.job.spark.sparkContext.defaultParallelism
        wave, pieces = list[Film](), 0.0
        for film in films:
            wave.append(film)
            pieces += max(1.0, film.of_index["duration_s"] / self.settings.piece_s)
            if pieces >= wanted:
                yield wave
                wave, pieces = [], 0.0
        if wave:
            yield wave

    def _say_wave(self, wave: Sequence[Film]) -> None:
        if len(wave) == len(self.files):
            return
        first = self.unchanged + len(self.done) + len(self.failed) + 1
        which = f"film {first}" if len(wave) == 1 else f"films {first} to {first + len(wave) - 1}"
        self.job.progress.say(f"{which} of {len(self.files)}: {_list([film.title_id for film in wave])}")

    def _probe(self, files: list[FilmFile]) -> list[Film]:
        """Stage the packet index of each film."""
        if not files:
            return []
        rows = [(file.title_id, file.uri, self.hashes.get(file.title_id)) for file in files]
        fixed = {"settings": self.settings, "version": f"{self.version} {self.run_log.code_version}"}
        with self.job.progress.step("reading the films' indexes", len(files), "films"):
            probed = self._each(rows, udfs.TO_PROBE, udfs.probe_films, udfs.PROBED, **fixed).collect()
        found = {row["title_id"]: row.asDict() for row in probed}
        self.failed |= {title: row["error"] for title, row in found.items() if row["error"]}
        films = [
            Film(file, row["film_key"], row["content_hash"], {name: row[name] for name in udfs.OF_FILM})
            for file in files
            if not (row := found[file.title_id])["error"]
        ]
        self.films |= {film.title_id: film for film in films}
        return films

    def _with_new_content(self, films: list[Film]) -> list[Film]:
        """Leave out films that were only touched or moved: the same bytes, harvested by the same settings and code."""
        if self.job.args.force or not films:
            return films
        runs = self.job.lake.last_runs().get("harvest", LastRuns({}, {}))
        same: dict[str, Film] = {}
        for film in films:
            row = runs.counted.get(film.title_id)
            if row is None or row["job"] != "harvest" or row["status"] != "ok":
                continue
            task = run_log.Task(film.title_id, read_inputs(row), film.content_hash)
            if run_log.why_again("harvest", task, row, self.version) is None:
                same[film.title_id] = film
                FilmFiles.of(self.staging, film.key).drop()
        if same:
            with self.job.lake.locked(self.job.progress.say):
                self._move({title: film.file.uri for title, film in same.items()})
                self.run_log.note_unchanged(_task(film.file, film.content_hash) for film in same.values())
        return [film for film in films if film.title_id not in same]

    def _move(self, addresses: dict[str, str]) -> None:
        """Correct the uri of titles whose film lies elsewhere now."""
        there = self.job.lake.rows("titles", list(addresses)).select("title_id", "run_id", "uri").collect()
        moved = [(title, run, addresses[title]) for title, run, uri in there if uri != addresses[title]]
        if moved:
            frame = self.job.spark.createDataFrame(moved, "title_id STRING, run_id STRING, uri STRING")
            self.job.lake.update(table("titles"), frame, [title for title, *_ in moved])

    def _scan(self, films: Sequence[Film]) -> None:
        work = [
            (film, start, end) for film in films for start, end in udfs.scan_ranges(film.n_frames, film.of_index["fps"])
        ]
        rows = [(film.title_id, film.file.uri, film.key, start, end) for film, start, end in work]
        frames = {FilmFiles.of(self.staging, film.key).scan(start): end - start for film, start, end in work}
        self._run_staged("finding shots", rows, udfs.TO_SCAN, udfs.scan_films, frames)

    def _detect(self, films: Sequence[Film]) -> None:
        if not films:
            return
        keys = [(film.title_id, film.key) for film in films]
        with self.job.progress.step("planning the pieces", len(films), "films"):
            settings = {"settings": self.settings}
            planned = self._each(keys, udfs.TO_PLAN, udfs.plan_films, udfs.PLANNED, **settings).collect()
        self.failed |= {row["title_id"]: row["error"] for row in planned if row["error"]}
        planned = [row for row in planned if not row["error"]]
        known, place = {film.title_id: film for film in films}, {key: n for n, key in enumerate(dict(keys))}
        pieces = sorted(planned, key=lambda row: (place[row["title_id"]], row["start"]))
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
        with self.job.progress.step(name, sum(frames.values()), "frames", count_staged(frames)):
            made = self._each(rows, takes, function, udfs.STAGED, settings=self.settings)
            ended = made.where("error IS NOT NULL").collect()
        self.failed |= {row["title_id"]: row["error"] for row in sorted(ended, key=lambda row: -row["start"])}

    def _assemble(self, films: Sequence[Film]) -> dict[str, dict[str, Any]]:
        """Stage the tables of these films; their rows of ASSEMBLED by title_id, of those that did not fail now."""
        if not films:
            return {}
        keys = [(film.title_id, film.key) for film in films]
        with self.job.progress.step("putting tracks together", len(films), "films"):
            rows = self._each(keys, udfs.TO_PLAN, udfs.assemble_films, udfs.ASSEMBLED, settings=self.settings).collect()
        self.failed |= {row["title_id"]: row["error"] for row in rows if row["error"]}
        return {row["title_id"]: row.asDict() for row in rows if not row["error"]}

    def _commit(self, files: Sequence[FilmFile], assembled: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the rows of these titles, table by table, and their commit mark.

        A film that can no longer be read keeps the rows it had: only the run log says that it failed now.
        """
        if not files:
            return
        kept = self._find_kept([file.title_id for file in files if file.title_id in self.failed])
        counts = {(title, name): row[name] for title, row in assembled.items() for name in STAGED}
        counts |= {(file.title_id, "titles"): 1 for file in files}
        rows = {file.title_id: self._title_row(file, assembled.get(file.title_id)) for file in files}

        def read(titles: Sequence[str]) -> dict[str, DataFrame]:
            run_id = self.run_log.run_id
            frames = {name: staging.read_staged(self.job, run_id, name, titles, counts) for name in STAGED}
            of_titles = [tuple(rows[title].get(name) for name in table("titles").names) for title in titles]
            return {**frames, "titles": self.job.spark.createDataFrame(of_titles, table("titles").schema)}

        done = [self._done(file, counts.get((file.title_id, "faces"), 0), rows[file.title_id]) for file in files]
        commit_titles(self.job, self.run_log, done, NewRows((*STAGED, "titles"), read, counts), kept)
        staging.clear(self.job, self.run_log.run_id)
        for title in assembled:
            FilmFiles.of(self.staging, self.films[title].key).drop()
            if (warning := rows[title]["warning"]) and rows[title]["status"] == "ok":
                self.job.progress.say(f"  warning: {title}: {warning}")

    def _done(self, file: FilmFile, n_faces: int, row: Mapping[str, Any]) -> run_log.Done:
        """How a film ended. Where it failed for good, with its content: other bytes may not."""
        error, content = self.failed.get(file.title_id), self.hashes.get(file.title_id)
        is_for_good = error is None or not error.startswith(udfs.UNEXPECTED)
        partial = None
        if row["status"] == "partial":
            partial = f"{100 * row['missing']:.0f} % of the film is missing: {row['warning']}"
        return run_log.Done(_task(file, content if is_for_good else None), n_faces, error, partial)

    def _find_kept(self, failed: Sequence[str]) -> set[str]:
        """Of the films that failed, those whose rows of an earlier harvest stay."""
        runs = self.job.lake.last_runs().get("harvest", LastRuns({}, {}))
        return {title for title in failed if runs.counted.get(title, {}).get("status") == "ok"}

    def _title_row(self, file: FilmFile, looked: Mapping[str, Any] | None) -> dict[str, Any]:
        content, error = self.hashes.get(file.title_id), self.failed.get(file.title_id)
        made = title_row(file, self.films.get(file.title_id), content, error, looked, self.settings)
        run = {"harvested_at": self.run_log.clock(), "run_id": self.run_log.run_id}
        return {**made, **run, "settings_hash": self.version}

    def _each(
        self,
        rows: Sequence[tuple[Any, ...]],
        takes: Table,
        function: Callable[..., Iterator[Any]],
        makes: Table,
        **fixed: Any,
    ) -> DataFrame:
        """One task a row of `takes`: `function` over `rows`, in Spark."""
        numbered = [(number, *row) for number, row in enumerate(rows)]
        frame = self.job.spark.createDataFrame(numbered, f"row_number INT, {takes.schema}")
        spread = frame.repartitionByRange(min(len(rows), TASKS), "row_number")
        work = functools.partial(function, staging=self.staging, run_id=self.run_log.run_id, **fixed)
        return spread.mapInPandas(work, makes.schema)


def _list(titles: Sequence[str]) -> str:
    return ", ".join(titles[:LISTED]) + (", ..." if len(titles) > LISTED else "")


def _say_left(job: command.Job, left: Sequence[str]) -> None:
    for line in left[:LEFT_LISTED]:
        job.progress.say(f"  left alone: {line}")
    if len(left) > LEFT_LISTED:
        job.progress.say(f"  left alone: {len(left) - LEFT_LISTED:,} files more")


def _task(file: FilmFile, content_hash: str | None) -> run_log.Task:
    return run_log.Task(file.title_id, {"file": file.stamp}, content_hash)


if __name__ == "__main__":
    program.run(main)
