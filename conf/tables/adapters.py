"""adapters: Trained maps of one embedder's embeddings, with what they came from."""

from __future__ import annotations

from conf.table import Column, Table

TABLE = Table(
    name="adapters",
    written_by="train",
    also_by=("finetune",),
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
            "jobs.lake.snapshots:write_selection",
            "sha256 of the embedder whose embeddings it takes",
        ),
        Column("in_dim", "INT", "training.loop:make_card", "numbers in an embedding before"),
        Column("out_dim", "INT", "training.loop:make_card", "numbers in an embedding after"),
        Column("scope", "STRING", "jobs.train:register", "corpus, or the one title it was trained on"),
        Column("split", "STRING", "jobs.train:register", "what was held out: people, titles or shots, JSON"),
        Column("metrics", "STRING", "training.judge:judge", "train and held-out metrics, JSON"),
        Column(
            "labels_from",
            "STRING",
            "jobs.lake.snapshots:write_selection",
            "whose labels it learned from, null when nobody's",
        ),
        Column(
            "status",
            "STRING",
            "jobs.train:train_adapter",
            "ready, not_better (than the raw embedding on held-out pairs: training.judge:decide_status), not_chosen "
            "(another network has the lower held-out loss) or skipped",
        ),
        Column("reason", "STRING", "jobs.train:train_adapter", "why it is not ready, null when it is"),
        Column("parent", "STRING", "jobs.train:register", "adapter whose weights it started from, null for none"),
        Column("uri", "STRING", "jobs.train:train_adapter", "safetensors file, relative to the lake's files"),
        Column(
            "sha256",
            "STRING",
            "training.adapters:Adapter.sha256",
            "sha256 of that file, which names its source versions",
            True,
        ),
        Column("created_at", "TIMESTAMP", "jobs.train:register", "when it was registered, UTC", True),
    ),
    by_title=False,
)
