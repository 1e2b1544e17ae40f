"""people: The same face across titles. No command writes it yet."""

from __future__ import annotations

from conf.tables import Column, Table

TABLE = Table(
    name="people",
    written_by="cluster",
    meaning="The same face across titles. No command writes it yet.",
    key=("person_id",),
    columns=(
        Column("person_id", "STRING", "jobs.lake:Lake.create", "the person"),
        Column("display_name", "STRING", "jobs.lake:Lake.create", "name, null until given"),
        Column("n_titles", "INT", "jobs.lake:Lake.create", "titles in which the person appears"),
        Column("screen_time_s", "DOUBLE", "jobs.lake:Lake.create", "seconds on screen in all titles"),
    ),
    by_title=False,
)
