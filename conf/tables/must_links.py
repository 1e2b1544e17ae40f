"""must_links: Pairs of tracks taken for one person: like faces at one place in shots of one camera set-up."""

from __future__ import annotations

from conf.table import TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="must_links",
    written_by="mine",
    meaning="Pairs of tracks taken for one person: like faces at one place in shots of one camera set-up.",
    key=(
        "title_id",
        "track_a",
        "track_b",
    ),
    columns=(
        TITLE_ID,
        Column("track_a", "BIGINT", "udfs.kernels.mine.must_links:find_must_links", "the smaller track_id of the two"),
        Column("track_b", "BIGINT", "udfs.kernels.mine.must_links:find_must_links", "the larger track_id of the two"),
        Column("score", "FLOAT", "udfs.kernels.mine.must_links:find_must_links", "cosine of the two tracks"),
        Column("reason", "STRING", "udfs.kernels.mine.title:mine_title_tables", "shot_thread"),
        Column(
            "contradicted",
            "BOOLEAN",
            "udfs.kernels.mine.must_links:find_contradicted",
            "a chain of must-links joins a cannot-link: reported, not obeyed",
        ),
        run_id("mine"),
    ),
)
