"""export: who is on screen, when, as csv, json or RTTM: one file a title.

  castmine export --lake ./lake --format csv --out appearances/
  castmine export --lake ./lake --format rttm --out rttm/       what tools for speaker diarisation score

An appearance of a character is the union of its tracks' intervals, merged where no more than --gap seconds lie between.
For RTTM nothing is merged over a gap, so that time off screen does not count. Times are those of a player's clock, as
subtitles and speech have them: seconds from the start of the file's first stream, be it picture or sound, which is
titles.start_s later than the tables, where the film's first frame is 0. With --tracks (csv, json) a row is a
track, just as it is. Tracks without a character are left out, or with --unknown exported each alone. Text that a
spreadsheet would take for a formula gets a ' in front (csv); names lose their blanks (RTTM).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from conf import views
from conf.errors import UsageError
from conf.files import title_file, write_whole
from conf.places import locate, make_folder
from jobs.cli import command, options, program
from jobs.cli.results import csv_line
from jobs.lake import run_log

Rows = list[dict[str, Any]]
COLUMNS = ("title_id", "character_id", "name", "start_s", "end_s", "n_tracks", "confidence", "first_track_id")
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")  # what ends a field or a line, or is no text
TRACK_COLUMNS = ("title_id", "character_id", "name", "track_id", "start_s", "end_s", "n_faces", "confidence", "status")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine export`."""
    parser = options.parser(__doc__ or "", "export", titles=False)
    parser.add_argument("--format", choices=sorted(FORMATS), required=True, help="what the files are")
    parser.add_argument(
        "--out", metavar="DIR", type=options.filled, required=True, help="folder for the files, <title_id>.<format>"
    )
    parser.add_argument("--titles", nargs="+", metavar="ID", help="these titles only (default: all clustered ones)")
    merged = f"longest gap inside an appearance, seconds (default: {views.GAP_S:g}; rttm: 0)"
    parser.add_argument("--gap", type=float, metavar="S", help=merged)
    parser.add_argument("--tracks", action="store_true", help="csv, json: a row a track, nothing merged")
    parser.add_argument("--unknown", action="store_true", help="also tracks without a character, each alone")
    args = parser.parse_args(argv)
    gap = (0.0 if args.format == "rttm" else views.GAP_S) if args.gap is None else args.gap
    if args.tracks and (args.format == "rttm" or args.gap is not None):
        raise UsageError("--tracks: goes with csv and json, and not with --gap")
    if not (math.isfinite(gap) and gap >= 0):
        raise UsageError(f"--gap {gap}: seconds, 0 or more")
    with command.open_job(args, "export", spark, clock, run_id, writes=False) as job:
        titles = list(run_log.list_clustered(job.lake, args.titles))
        files = {title: title_file(args.out, title, f".{args.format}") for title in titles}
        folder, columns = _folder(args.out), TRACK_COLUMNS if args.tracks else COLUMNS
        found = _rows(job, _tracks(args.unknown) if args.tracks else views.appearances(gap, args.unknown), titles)
        written, starts = {}, _starts(job, titles)
        for title, in_tables in _by_title(titles, found):
            rows = [on_players_clock(row, starts.get(title, 0.0)) for row in in_tables]
            with write_whole(files[title]) as part:
                part.write_text(FORMATS[args.format](rows, columns), encoding="utf-8", newline="")
            written[str(files[title])] = len(rows)
        what, n_rows = "tracks" if args.tracks else "appearances", sum(written.values())
        job.progress.say(f"export: {len(written):,} titles, {n_rows:,} {what} in {folder}")
        return job.finish(None, {"job": "export", "files": list(written), "rows": n_rows})


# --- rows ---------------------------------------------------------------------------------------------------


def _rows(job: command.Job, text: str, titles: list[str]) -> DataFrame:
    reading = job.lake.apart()
    reading.register_views(text)
    found = reading.spark.sql(text)
    return found.where(found.title_id.isin(titles))


def _starts(job: command.Job, titles: list[str]) -> dict[str, float]:
    """title_id -> when a player shows its first frame, seconds, where that is known."""
    rows = job.lake.rows("titles", titles).select("title_id", "start_s").where("start_s IS NOT NULL").collect()
    return {row["title_id"]: row["start_s"] for row in rows}


def on_players_clock(row: dict[str, Any], start_s: float) -> dict[str, Any]:
    """A row whose times count from a player's zero, where the first frame is shown at `start_s` seconds."""
    if not start_s:
        return row
    return row | {name: round(row[name] + start_s, 6) for name in ("start_s", "end_s")}


def _tracks(unknown: bool) -> str:
    shown = "l.status <> 'rejected'" if unknown else "l.character_id IS NOT NULL"
    return f"""
        SELECT t.title_id, l.character_id, c.name, t.track_id, t.start_s, t.end_s, t.n_faces, l.confidence, l.status
        FROM tracks t JOIN track_labels l USING (title_id, track_id)
          LEFT JOIN characters c ON c.title_id = t.title_id AND c.character_id = l.character_id
        WHERE {shown}"""


def _by_title(titles: list[str], found: DataFrame) -> Iterator[tuple[str, Rows]]:
    """Each title with its rows in order of time; titles where nobody appears too. One title at a time is held."""
    track = "track_id" if "track_id" in found.columns else "first_track_id"
    ordered = found.orderBy("title_id", "start_s", "end_s", track)
    left = iter(sorted(titles))
    for title, rows in groupby(ordered.toLocalIterator(), key=lambda row: row["title_id"]):
        for name in left:
            if name == title:
                break
            yield name, []
        yield title, [row.asDict() for row in rows]
    for name in left:
        yield name, []


# --- files --------------------------------------------------------------------------------------------------


def as_csv(rows: Rows, columns: Sequence[str]) -> str:
    """Comma-separated values with a line of names; no cell is a formula to a spreadsheet."""
    lines = [csv_line(columns), *(csv_line([row[name] for name in columns]) for row in rows)]
    return "\n".join([*lines, ""])


def as_json(rows: Rows, columns: Sequence[str]) -> str:
    """A list of objects, one a line."""
    lines = [json.dumps({name: row[name] for name in columns}, ensure_ascii=False) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


def as_rttm(rows: Rows, columns: Sequence[str]) -> str:
    """RTTM: a SPEAKER line per appearance, milliseconds; ends are rounded, so that touching intervals stay so."""
    labels = rttm_labels(rows)
    lines = []
    for row, label in zip(rows, labels, strict=True):
        start, end = round(1000 * row["start_s"]), round(1000 * row["end_s"])
        if end > start:
            times = f"{start / 1000:.3f} {(end - start) / 1000:.3f}"
            lines.append(f"SPEAKER {_rttm_field(row['title_id'])} 1 {times} <NA> <NA> {label} <NA> <NA>\n")
    return "".join(lines)


def rttm_labels(rows: Rows) -> list[str]:
    """Each row's label: the name without blanks, else the character's number; one label is one character."""
    characters = {row["character_id"]: row["name"] for row in rows if row["character_id"] is not None}
    label = {number: _rttm_field(name or "") for number, name in characters.items()}
    times = Counter(label.values())
    unique = {n: text if text and times[text] == 1 else f"{text or 'character'}_{n}" for n, text in label.items()}
    if len(set(unique.values())) < len(unique):  # somebody is called like another one's number
        unique = {n: f"character_{n}" for n in label}
    return [
        unique[row["character_id"]] if row["character_id"] is not None else f"unknown_{row['first_track_id']}"
        for row in rows
    ]


def _rttm_field(name: str) -> str:
    """A name or a title_id as one field, its letters and marks as they are; "" where it would say nothing."""
    field = "_".join(filter(None, BREAKS.split(name)))
    return "" if field == "<NA>" else field


FORMATS: dict[str, Callable[[Rows, Sequence[str]], str]] = {"csv": as_csv, "json": as_json, "rttm": as_rttm}


def _folder(out: str) -> Path:
    folder = locate(out)
    try:
        make_folder(folder)
    except OSError as error:
        raise UsageError(f"--out {out}: no folder can be made there: {error.strerror}") from error
    return folder


if __name__ == "__main__":
    program.run(main)
