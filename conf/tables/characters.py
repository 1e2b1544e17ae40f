"""characters: The people that clustering found in a title."""

from __future__ import annotations

from conf.table import FROM_START, TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="characters",
    written_by="cluster",
    meaning="The people that clustering found in a title.",
    key=(
        "title_id",
        "character_id",
    ),
    columns=(
        TITLE_ID,
        Column(
            "character_id",
            "INT",
            "udfs.kernels.cluster.title:list_characters",
            "the character, numbered from 0 by faces seen",
        ),
        Column(
            "name",
            "STRING",
            "jobs.lake.edits:name_characters",
            "what the edits say: a person's word or a photograph's, or null",
        ),
        Column("n_tracks", "INT", "udfs.kernels.cluster.title:list_characters", "tracks"),
        Column("n_faces", "INT", "udfs.kernels.cluster.title:list_characters", "faces detected"),
        Column(
            "screen_time_s",
            "DOUBLE",
            "udfs.kernels.cluster.title:list_characters",
            "seconds on screen: union of the tracks' intervals",
        ),
        Column("first_s", "DOUBLE", "udfs.kernels.cluster.title:list_characters", f"first seen, {FROM_START}"),
        Column("last_s", "DOUBLE", "udfs.kernels.cluster.title:list_characters", f"last seen, {FROM_START}"),
        Column(
            "exemplar_track_id",
            "BIGINT",
            "udfs.kernels.cluster.title:list_characters",
            "the track that shows the character best",
        ),
        Column("person_id", "STRING", "udfs.kernels.cluster.people:link", "the person: the same face across titles"),
        Column(
            "embedding",
            "ARRAY<FLOAT>",
            "udfs.kernels.cluster.title:list_characters",
            "unit mean of its tracks' embeddings, as they were harvested; null where none has one",
        ),
        run_id("cluster"),
    ),
    also_by=("name",),
)
