"""hard_negatives: Algorithm 1: per track the tracklet of another person that is nearest to its anchor."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="hard_negatives",
    written_by="mine",
    meaning="Algorithm 1: per track the tracklet of another person that is nearest to its anchor.",
    key=(
        "title_id",
        "track_id",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column(
            "negative_track_id",
            "BIGINT",
            "udfs.kernels.mine.tracklets:mine_title",
            "track of the nearest tracklet among its cannot-linked tracks",
        ),
        Column("negative_rank", "INT", "udfs.kernels.mine.tracklets:mine_title", "rank of that tracklet"),
        Column("embedding", "ARRAY<FLOAT>", "udfs.kernels.mine.tracklets:mine_title", "that tracklet's embedding"),
        Column(
            "distance",
            "FLOAT",
            "udfs.kernels.mine.tracklets:mine_title",
            "Euclidean distance of unit vectors to the anchor, 0 to 2",
        ),
        run_id("mine"),
    ),
)
