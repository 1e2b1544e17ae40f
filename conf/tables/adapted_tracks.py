"""adapted_tracks: What a network that was fine-tuned on a title says of its tracks."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

_MADE = "udfs.kernels.cluster.videoclusternet:summarise_tracks"

TABLE = Table(
    name="adapted_tracks",
    written_by="finetune",
    meaning="What the network that was fine-tuned on a title last says of its tracks.",
    key=("title_id", "track_id", "adapter_id"),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("adapter_id", "STRING", "jobs.finetune:adapter_id", "the fine-tuned network"),
        Column("n_faces", "INT", "udfs.finetune:summarise_title", "adapted embeddings that it is made of"),
        Column("embedding", "ARRAY<FLOAT>", "udfs.finetune:summarise_title", "their mean, of unit length"),
        Column("unsure", "BOOLEAN", "training.finetune.loop:find_unsure", "the network is unsure of its faces (eq. 4)"),
        Column("said", "ARRAY<FLOAT>", _MADE, "mean of the teacher's answers p to its faces, a distribution"),
        Column("guessed", "ARRAY<FLOAT>", _MADE, "mean of the student's answers ln q"),
        Column("said_of_mean", "ARRAY<FLOAT>", _MADE, "p of the mean of the teacher's outputs"),
        Column("guessed_of_mean", "ARRAY<FLOAT>", _MADE, "ln q of the mean of the student's outputs"),
        Column("threshold", "DOUBLE", _MADE, "mean loss between its own faces, below which tracks match it"),
        run_id("finetune"),
    ),
)
