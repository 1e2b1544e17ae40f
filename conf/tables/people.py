"""people: The same face across titles."""

from __future__ import annotations

from conf.tables import Column, Table

TABLE = Table(
    name="people",
    written_by="cluster",
    meaning="The same face across titles.",
    key=("person_id",),
    columns=(
        Column("person_id", "STRING", "jobs.cluster:character_rows", "the person"),
        Column("display_name", "STRING", "jobs.cluster:character_rows", "name, null until given"),
        Column("n_titles", "INT", "jobs.cluster:character_rows", "titles in which the person appears"),
        Column("screen_time_s", "DOUBLE", "jobs.cluster:character_rows", "seconds on screen in all titles"),
    ),
    by_title=False,
)
