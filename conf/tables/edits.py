"""edits: What a person corrected; append-only. No command writes it yet."""

from __future__ import annotations

from conf.tables import Column, Table

TABLE = Table(
    name="edits",
    written_by="cluster",
    meaning="What a person corrected; append-only. No command writes it yet.",
    key=("edit_id",),
    columns=(
        Column("edit_id", "STRING", "jobs.lake:Lake.create", "the edit"),
        Column("title_id", "STRING", "jobs.films:title_ids", "the film"),
        Column("kind", "STRING", "jobs.lake:Lake.create", "name, merge, split, assign or reject"),
        Column(
            "anchors",
            "STRING",
            "jobs.lake:Lake.create",
            "frame and box of the tracks meant, JSON: survives a new harvest",
        ),
        Column("payload", "STRING", "jobs.lake:Lake.create", "what to do, JSON"),
        Column("author", "STRING", "jobs.lake:Lake.create", "who"),
        Column("made_at", "TIMESTAMP", "jobs.lake:Lake.create", "when, UTC", True),
    ),
    by_title=False,
)
