"""metrics: Scores against a truth file."""

from __future__ import annotations

from conf.table import TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="metrics",
    written_by="evaluate",
    meaning="Scores against a truth file.",
    key=("run_id", "title_id", "protocol", "method", "adapter_id", "metric"),
    columns=(
        TITLE_ID,
        Column(
            "protocol",
            "STRING",
            "udfs.evaluate:score_title",
            "the benchmark whose rules it was scored by (conf/protocols), else what the truth labels: tracks or boxes",
        ),
        Column(
            "method",
            "STRING",
            "udfs.kernels.cluster.title:cluster_title",
            "clustering method, with `, no links` behind it where it obeyed none (cluster.links)",
        ),
        Column("adapter_id", "STRING", "jobs.lake.adapters:id_of", "adapter of the embeddings, `none` for raw ones"),
        Column(
            "metric",
            "STRING",
            "udfs.evaluate:score_title",
            "name of the figure; known_: over tracks with a character",
        ),
        Column("value", "DOUBLE", "udfs.evaluate:score_title", "0 to 1, or a count"),
        run_id("evaluate"),
    ),
)
