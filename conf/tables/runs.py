"""runs: What was done to which title. Append-only; an `ok` row commits the rows that carry its run_id."""

from __future__ import annotations

from conf.table import Column, Table

TABLE = Table(
    name="runs",
    written_by="",
    meaning="What was done to which title. Append-only; an `ok` row commits the rows that carry its run_id.",
    key=(
        "run_id",
        "title_id",
        "status",
    ),
    columns=(
        Column("run_id", "STRING", "jobs.lake.run_log:begin", "the run", True),
        Column("title_id", "STRING", "jobs.inputs.titles:name_titles", "the film, '' for a whole corpus"),
        Column("job", "STRING", "jobs.lake.run_log:begin", "harvest, mine, train, cluster ..."),
        Column(
            "status",
            "STRING",
            "jobs.lake.run_log:Run._log",
            "writing (its rows are being replaced), then ok or failed; unchanged: its film was found as it was",
        ),
        Column(
            "number",
            "BIGINT",
            "jobs.lake.run_log:Run._log",
            "place in the log: of two rows of a title the one with the larger number was written later, whatever the "
            "clocks said",
            True,
        ),
        Column("error", "STRING", "jobs.lake.run_log:Run._log", "why it failed, null when it did not"),
        Column("started_at", "TIMESTAMP", "jobs.lake.run_log:begin", "UTC", True),
        Column("ended_at", "TIMESTAMP", "jobs.lake.run_log:Run._log", "UTC", True),
        Column(
            "content_hash",
            "STRING",
            "conf.files:content_hash",
            "of the film (harvest); of a failed one null where other bytes may not be the cure: it is tried again",
        ),
        Column("settings_hash", "STRING", "conf.settings:Section.hash", "of the job's settings"),
        Column("code_version", "INT", "jobs.lake.run_log:begin", "number that a job raises when its results change"),
        Column(
            "input_versions", "STRING", "jobs.lake.run_log:Run._log", "runs whose rows were read, by job, JSON", True
        ),
        Column("rows", "BIGINT", "jobs.lake.run_log:Run._log", "rows written for the title"),
        Column("seconds", "DOUBLE", "jobs.lake.run_log:Run._log", "wall time since the run began", True),
    ),
    by_title=False,
)
