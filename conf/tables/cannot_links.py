"""cannot_links: Pairs of tracks seen in one frame, so two people."""

from __future__ import annotations

from conf.table import TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="cannot_links",
    written_by="mine",
    meaning="Pairs of tracks seen in one frame, so two people. All of them; the paper's rule chooses only what trains.",
    key=(
        "title_id",
        "track_a",
        "track_b",
    ),
    columns=(
        TITLE_ID,
        Column(
            "track_a", "BIGINT", "udfs.kernels.mine.cannot_links:find_cannot_links", "the smaller track_id of the two"
        ),
        Column(
            "track_b", "BIGINT", "udfs.kernels.mine.cannot_links:find_cannot_links", "the larger track_id of the two"
        ),
        Column(
            "shared_frames",
            "INT",
            "udfs.kernels.mine.cannot_links:find_cannot_links",
            "frames in which both are detected",
        ),
        Column(
            "shared_s",
            "DOUBLE",
            "udfs.kernels.mine.title:mine_title_tables",
            "shared_frames times the detection stride, seconds",
        ),
        Column(
            "first_frame",
            "INT",
            "udfs.kernels.mine.cannot_links:find_cannot_links",
            "first frame in which both are detected",
        ),
        Column("reason", "STRING", "udfs.kernels.mine.title:mine_title_tables", "co_occurrence"),
        Column(
            "doubted",
            "BOOLEAN",
            "udfs.kernels.cluster.smoothing:find_doubted",
            "whether clustering set it aside, since the tracks around both ends are one person",
        ),
        run_id("mine"),
    ),
    also_by=("cluster",),
)
