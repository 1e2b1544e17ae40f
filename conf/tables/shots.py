"""shots: Runs of frames between two cuts."""

from __future__ import annotations

from conf.table import Column, Table, run_id

TABLE = Table(
    name="shots",
    written_by="harvest",
    meaning="Runs of frames between two cuts.",
    key=(
        "title_id",
        "shot_id",
    ),
    columns=(
        Column(
            "title_id",
            "STRING",
            "jobs.inputs.films:title_ids",
            "the film: from the manifest, else from the file's name",
        ),
        Column("shot_id", "INT", "udfs.kernels.harvest.shots:join_shots", "the shot, numbered from 0 in order of time"),
        Column("start_frame", "INT", "udfs.kernels.harvest.shots:join_shots", "first frame"),
        Column("end_frame", "INT", "udfs.kernels.harvest.shots:join_shots", "one after the last frame"),
        Column("start_s", "DOUBLE", "udfs.kernels.harvest.shots:join_shots", "time of the first frame, seconds"),
        Column(
            "end_s", "DOUBLE", "udfs.kernels.harvest.shots:join_shots", "time of the next shot's first frame, seconds"
        ),
        Column(
            "thread_id",
            "INT",
            "udfs.kernels.harvest.shots:threads",
            "shots that return to one camera set-up share it; the first one's shot_id",
        ),
        run_id("harvest"),
    ),
)
