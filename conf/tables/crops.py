"""crops: Aligned faces, kept where finetune.keep_crops says so."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="crops",
    written_by="finetune",
    meaning="Aligned faces, one for each embedding, kept where finetune.keep_crops says so.",
    key=("title_id", "track_id", "frame"),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("frame", "BIGINT", "udfs.finetune:cut_crops", "the film's frame that it was cut from"),
        Column("jpeg", "BINARY", "udfs.finetune:_cut", "112 x 112 pixels"),
        run_id("finetune"),
    ),
)
