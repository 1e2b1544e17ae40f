"""adapted_embeddings: Embeddings of faces by a network that was fine-tuned on their title."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="adapted_embeddings",
    written_by="finetune",
    meaning="Embeddings of faces by the network that was fine-tuned on their title last.",
    key=("title_id", "track_id", "frame", "adapter_id"),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("frame", "BIGINT", "training.finetune.work:answer_faces", "the face's frame, as in faces"),
        Column("adapter_id", "STRING", "jobs.finetune:adapter_id", "the fine-tuned network"),
        Column(
            "embedding",
            "ARRAY<FLOAT>",
            "training.finetune.work:answer_faces",
            "the output around its centre, of unit length",
        ),
        run_id("finetune"),
    ),
)
