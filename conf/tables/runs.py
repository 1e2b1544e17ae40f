"""runs: What was done to which title. Append-only; an `ok` row commits the rows that carry its run_id."""

from __future__ import annotations

from conf.tables import Column, Table

TABLE = Table(
    name="runs",
    written_by="all jobs",
    meaning="What was done to which title. Append-only; an `ok` row commits the rows that carry its run_id.",
    key=(
        "run_id",
        "title_id",
        "status",
    ),
    columns=(
        Column("run_id", "STRING", "jobs.runs:begin", "the run", True),
        Column("title_id", "STRING", "jobs.films:title_ids", "the film, '' for a whole corpus"),
        Column("job", "STRING", "jobs.runs:begin", "harvest, mine, train, cluster ..."),
        Column("status", "STRING", "jobs.runs:Run.commit", "writing (its rows are being replaced), then ok or failed"),
        Column("error", "STRING", "jobs.runs:Run.commit", "why it failed, null when it did not"),
        Column("started_at", "TIMESTAMP", "jobs.runs:begin", "UTC", True),
        Column("ended_at", "TIMESTAMP", "jobs.runs:Run.commit", "UTC", True),
        Column("content_hash", "STRING", "udfs.kernels.video:content_hash", "of the film (harvest)"),
        Column("settings_hash", "STRING", "conf.settings:Section.hash", "of the job's settings"),
        Column("code_version", "INT", "jobs.runs:begin", "number that a job raises when its results change"),
        Column("input_versions", "STRING", "jobs.runs:Run.commit", "runs whose rows were read, by job, JSON", True),
        Column("rows", "BIGINT", "jobs.runs:Run.commit", "rows written for the title"),
        Column("seconds", "DOUBLE", "jobs.runs:Run.commit", "wall time since the run began", True),
    ),
    by_title=False,
)
