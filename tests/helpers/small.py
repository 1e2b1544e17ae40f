"""Small tables, written as finished and unfinished runs leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from pyspark.sql import DataFrame

from conf.catalog import table
from jobs.lake import run_log
from jobs.lake.lake import Lake

SHA256 = "ab" * 32
Rows = Sequence[Mapping[str, Any]]
_minutes = count()


def clock() -> datetime:
    """A minute later at each call."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(_minutes))


def frame(lake: Lake, name: str, rows: Rows) -> DataFrame:
    """Rows of a table; what a row does not say is null."""
    made = table(name)
    return lake.spark.createDataFrame([tuple(row.get(column) for column in made.names) for row in rows], made.schema)


def written(lake: Lake, titles: Sequence[str], run_id: str, tables: Mapping[str, Rows]) -> None:
    """Replace some titles' rows, the same for each, in some tables, and commit nothing."""
    for name, rows in tables.items():
        whole = [{**row, "title_id": title, "run_id": run_id} for title in titles for row in rows]
        lake.replace(table(name), frame(lake, name, whole), titles)


def finished(
    lake: Lake,
    job: str,
    title: str,
    tables: Mapping[str, Rows],
    *,
    inputs: Mapping[str, str] | None = None,
    error: str | None = None,
) -> str:
    """What a run of `job` leaves: the title's rows in `tables`, and its commit mark. Returns its run_id."""
    run, task = run_log.begin(lake, job, "settings", clock), run_log.Task(title, inputs or {})
    run.writes([task])
    written(lake, [title], run.run_id, tables)
    run.commit([run_log.Done(task, sum(map(len, tables.values())), error)])
    return run.run_id


def cast(
    lake: Lake, titles: Sequence[str], tracks: Sequence[tuple[int, float, float, int | None]], /, **more: Rows
) -> None:
    """Titles that are harvested, mined and clustered, all with these tracks: track_id, start_s, end_s, character_id.

    `more` gives rows of further tables, and of `titles` and `characters` in the place of the plain ones. The runs of
    a title are called after job and title, such as mine-a.
    """
    made = {
        "titles": [{"status": "ok", "embedder_sha256": SHA256, "embedding_dim": 2, "duration_s": 100.0}],
        "characters": [{"character_id": c} for c in sorted({c for *_, c in tracks if c is not None})],
        "tracks": [{"track_id": t, "start_s": start, "end_s": end, "n_faces": 1} for t, start, end, _ in tracks],
        "track_labels": [
            {"track_id": t, "character_id": c, "confidence": 0.5, "status": "unknown" if c is None else "core"}
            for t, *_, c in tracks
        ],
        **more,
    }
    for name, rows in made.items():
        job = table(name).written_by
        whole = [{**row, "title_id": title, "run_id": f"{job}-{title}"} for title in titles for row in rows]
        lake.replace(table(name), frame(lake, name, whole), titles)
    lake.append(table("runs"), [mark for title in titles for mark in _marks(title)])


def _marks(title: str) -> list[dict[str, Any]]:
    inputs = {
        "harvest": {},
        "mine": {"harvest": f"harvest-{title}"},
        "cluster": {"harvest": f"harvest-{title}", "mine": f"mine-{title}"},
    }
    now = clock()
    common = {"title_id": title, "status": "ok", "started_at": now, "ended_at": now, "code_version": 1}
    return [
        {**common, "run_id": f"{job}-{title}", "job": job, "input_versions": json.dumps(made_from)}
        for job, made_from in inputs.items()
    ]


def collected(rows: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of rows, sorted."""
    return sorted(map(tuple, rows.select(*columns).collect()), key=str)
