"""shots: Runs of frames between two cuts."""

from __future__ import annotations

from conf.table import FROM_START, TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="shots",
    written_by="harvest",
    meaning="Runs of frames between two cuts.",
    key=(
        "title_id",
        "shot_id",
    ),
    columns=(
        TITLE_ID,
        Column("shot_id", "INT", "udfs.harvest:shot_rows", "the shot, numbered from 0 in order of time"),
        Column("start_frame", "INT", "udfs.harvest:shot_rows", "first frame"),
        Column("end_frame", "INT", "udfs.harvest:shot_rows", "one after the last frame"),
        Column("start_s", "DOUBLE", "udfs.harvest:shot_rows", f"time of the first frame, {FROM_START}"),
        Column("end_s", "DOUBLE", "udfs.harvest:shot_rows", f"time of the next shot's first frame, {FROM_START}"),
        Column(
            "thread_id",
            "INT",
            "udfs.kernels.harvest.shots:find_threads",
            "shots that return to one camera set-up share it; the first one's shot_id",
        ),
        run_id("harvest"),
    ),
    also_by=("import",),
)
