"""track_labels: Which character each track shows."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="track_labels",
    written_by="cluster",
    meaning="Which character each track shows.",
    key=(
        "title_id",
        "track_id",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("character_id", "INT", "udfs.kernels.cluster.title:cluster_title", "null: unknown"),
        Column("confidence", "FLOAT", "udfs.kernels.cluster.characters:find_characters", "0 to 1, null where unknown"),
        Column(
            "second_character_id",
            "INT",
            "udfs.kernels.cluster.title:cluster_title",
            "next best character, null when there is none",
        ),
        Column(
            "margin",
            "FLOAT",
            "udfs.kernels.cluster.characters:find_characters",
            "lead over the second in mean cosine distance",
        ),
        Column(
            "status",
            "STRING",
            "udfs.kernels.cluster.characters:find_characters",
            "core, uncertain, unknown or rejected",
        ),
        Column(
            "reason",
            "STRING",
            "udfs.kernels.cluster.characters:find_characters",
            "why it has no character: not_a_face, no_embedding, poor or noise; null where it has one",
        ),
        Column(
            "method",
            "STRING",
            "udfs.kernels.cluster.title:cluster_title",
            "clustering method, with `, no links` behind it where it obeyed none (cluster.links)",
        ),
        Column("adapter_id", "STRING", "jobs.lake.adapters:id_of", "adapter of the embeddings, `none` for raw ones"),
        run_id("cluster"),
    ),
)
