"""edits: What a person corrected; clustering obeys it. Append-only."""

from __future__ import annotations

from conf.tables import Column, Table

TABLE = Table(
    name="edits",
    written_by="cluster",
    meaning="What a person corrected; clustering obeys it. Append-only.",
    key=("edit_id",),
    columns=(
        Column("edit_id", "STRING", "jobs.runs:begin", "the edit"),
        Column("title_id", "STRING", "jobs.films:title_ids", "the film"),
        Column("kind", "STRING", "jobs.runs:begin", "name, merge, split, assign or reject"),
        Column(
            "anchors", "STRING", "jobs.runs:begin", "frame and box of the tracks meant, JSON: survives a new harvest"
        ),
        Column("payload", "STRING", "jobs.runs:begin", "what to do, JSON"),
        Column("author", "STRING", "jobs.runs:begin", "who"),
        Column("made_at", "TIMESTAMP", "jobs.runs:begin", "when, UTC", True),
    ),
    by_title=False,
)
