"""characters: The people that clustering found in a title."""

from __future__ import annotations

from conf.tables import Column, Table, run_id

TABLE = Table(
    name="characters",
    written_by="cluster",
    meaning="The people that clustering found in a title.",
    key=(
        "title_id",
        "character_id",
    ),
    columns=(
        Column("title_id", "STRING", "jobs.films:title_ids", "the film: from the manifest, else from the file's name"),
        Column(
            "character_id",
            "INT",
            "udfs.kernels.clustering.characters:find_characters",
            "the character, numbered from 0 by faces seen",
        ),
        Column("name", "STRING", "jobs.cluster:character_rows", "given by a person, null until then"),
        Column("n_tracks", "INT", "jobs.cluster:character_rows", "tracks"),
        Column("n_faces", "INT", "jobs.cluster:character_rows", "faces detected"),
        Column(
            "screen_time_s",
            "DOUBLE",
            "jobs.cluster:character_rows",
            "seconds on screen: union of the tracks' intervals",
        ),
        Column("first_s", "DOUBLE", "jobs.cluster:character_rows", "first seen, seconds"),
        Column("last_s", "DOUBLE", "jobs.cluster:character_rows", "last seen, seconds"),
        Column(
            "exemplar_track_id",
            "BIGINT",
            "udfs.kernels.clustering.characters:find_characters",
            "the track that shows the character best",
        ),
        Column("person_id", "STRING", "jobs.cluster:character_rows", "the person across titles, null until linked"),
        run_id("cluster"),
    ),
)
