"""adapters: Trained maps of one embedder's embeddings, with what they came from."""

from __future__ import annotations

from conf.table import Column, Table

TABLE = Table(
    name="adapters",
    written_by="train",
    meaning="Trained maps of one embedder's embeddings, with what they came from.",
    key=("adapter_id",),
    columns=(
        Column("adapter_id", "STRING", "jobs.train:adapter_id", "hash of snapshot, settings and code"),
        Column("method", "STRING", "conf.settings:TrainSettings", "how it was found: see castmine train --help"),
        Column("settings", "STRING", "jobs.train:register", "settings it was trained with, JSON"),
        Column("snapshot_fingerprint", "STRING", "jobs.lake.snapshots:fingerprint", "hash of the training rows"),
        Column(
            "source_versions", "STRING", "jobs.train:source_versions", "Delta versions of the tables read, JSON", True
        ),
        Column(
            "base_embedder_sha256",
            "STRING",
            "jobs.lake.snapshots:select",
            "sha256 of the embedder whose embeddings it takes",
        ),
        Column("in_dim", "INT", "jobs.train:register", "numbers in an embedding before"),
        Column("out_dim", "INT", "jobs.train:register", "numbers in an embedding after"),
        Column("scope", "STRING", "jobs.train:register", "corpus, or the one title it was trained on"),
        Column("split", "STRING", "jobs.train:register", "what was held out: titles or shots, JSON"),
        Column("metrics", "STRING", "training.loop:train", "train and held-out metrics, JSON"),
        Column("labels_from", "STRING", "jobs.train:_read_labels", "whose labels it learned from, null when nobody's"),
        Column(
            "status",
            "STRING",
            "jobs.train:register",
            "ready, not_better (than the raw embedding on held-out pairs) or skipped",
        ),
        Column("reason", "STRING", "jobs.train:register", "why it is not ready, null when it is"),
        Column("uri", "STRING", "jobs.train:register", "safetensors file, relative to the lake's files"),
        Column("sha256", "STRING", "jobs.train:register", "sha256 of that file, which names its source versions", True),
        Column("parent", "STRING", "jobs.train:register", "adapter it was trained on top of, null when none"),
        Column("created_at", "TIMESTAMP", "jobs.train:register", "when it was registered, UTC", True),
    ),
    by_title=False,
)
