"""track_labels: Which character each track shows."""

from __future__ import annotations

from conf.table import Column, Table, run_id

TABLE = Table(
    name="track_labels",
    written_by="cluster",
    meaning="Which character each track shows.",
    key=(
        "title_id",
        "track_id",
    ),
    columns=(
        Column(
            "title_id",
            "STRING",
            "jobs.inputs.films:title_ids",
            "the film: from the manifest, else from the file's name",
        ),
        Column(
            "track_id",
            "BIGINT",
            "udfs.kernels.harvest.assemble:number_tracks",
            "the track, numbered from 0 in order of appearance",
        ),
        Column("character_id", "INT", "udfs.kernels.cluster.characters:find_characters", "null: unknown"),
        Column("confidence", "FLOAT", "udfs.kernels.cluster.characters:find_characters", "0 to 1, null where unknown"),
        Column(
            "second_character_id",
            "INT",
            "udfs.kernels.cluster.characters:find_characters",
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
        Column("method", "STRING", "udfs.kernels.cluster.title:cast_tables", "clustering method"),
        Column(
            "adapter_id", "STRING", "jobs.lake.adapters:adapter_for", "adapter of the embeddings, null for raw ones"
        ),
        run_id("cluster"),
    ),
)
