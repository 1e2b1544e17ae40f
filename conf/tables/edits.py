"""edits: What somebody said about a title's people; append-only."""

from __future__ import annotations

from conf.table import Column, Table

TABLE = Table(
    name="edits",
    written_by="name",
    meaning="What somebody said about a title's people; append-only. Clustering heeds it each time.",
    key=("edit_id",),
    columns=(
        Column("edit_id", "STRING", "jobs.lake.edits:record", "hash of what is said and of the edit that it replaces"),
        Column("title_id", "STRING", "jobs.inputs.titles:name_titles", "the film"),
        Column("kind", "STRING", "jobs.lake.edits:record", "name: a character is somebody"),
        Column(
            "anchors",
            "STRING",
            "jobs.lake.edits:anchors",
            'who is meant: JSON [{"frame": 120, "box": [x, y, w, h]}, ...], one of each of the character\'s best '
            "tracks, pixels; survives a new clustering and a new harvest",
        ),
        Column(
            "payload",
            "STRING",
            "jobs.lake.edits:record",
            'JSON {"name": (empty: none), "source": gallery or user, "confidence": 0 to 1 (gallery), "replaces": the '
            'edit_id that is void now, "film": the content_hash of the film that was named, "embedding": of the '
            'character then, base64 of little-endian float32, "embedder_sha256"}: in another version of the film '
            "who is meant is found by the embedding alone",
        ),
        Column("author", "STRING", "jobs.lake.edits:record", "who: user, or gallery"),
        Column("made_at", "TIMESTAMP", "jobs.lake.edits:record", "when, UTC", True),
    ),
    by_title=False,
)
