"""curves: How the loss of an adapter fell."""

from __future__ import annotations

from conf.table import Column, Table

TABLE = Table(
    name="curves",
    written_by="train",
    also_by=("finetune",),
    meaning="How the loss of an adapter fell, epoch by epoch.",
    key=("adapter_id", "epoch"),
    columns=(
        Column("adapter_id", "STRING", "jobs.train:adapter_id", "the adapter"),
        Column("epoch", "INT", "training.loop:fit_epochs", "epoch, from 0"),
        Column("train_loss", "DOUBLE", "training.loop:fit_epochs", "mean loss of the epoch's steps"),
        Column(
            "dev_loss",
            "DOUBLE",
            "training.loop:fit_epochs",
            "score of the held-out rows after it; the lowest is kept, of whitening the last; null of videoclusternet",
        ),
    ),
    by_title=False,
)
