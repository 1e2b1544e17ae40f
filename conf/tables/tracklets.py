"""tracklets: Algorithm 1: mutually unlike groups of faces of one track."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="tracklets",
    written_by="mine",
    meaning="Algorithm 1: mutually unlike groups of faces of one track.",
    key=(
        "title_id",
        "track_id",
        "rank",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("rank", "INT", "udfs.kernels.mine.tracklets:mine_title", "0 for the anchor, then in mining order"),
        Column(
            "role",
            "STRING",
            "udfs.kernels.mine.tracklets:mine_title",
            "anchor, hard_positive, or face (tracks too short to segment)",
        ),
        Column("frames", "ARRAY<INT>", "udfs.kernels.mine.tracklets:mine_title", "frames of its faces, ascending"),
        Column("embedding", "ARRAY<FLOAT>", "udfs.kernels.mine.tracklets:mine_title", "unit mean of its faces"),
        Column(
            "distance",
            "FLOAT",
            "udfs.kernels.mine.tracklets:mine_title",
            "Euclidean distance of unit vectors to the anchor, 0 to 2",
        ),
        run_id("mine"),
    ),
)
