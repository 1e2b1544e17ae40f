"""verdicts: Whether each track whose true person is known is in the right character. Of the newest evaluation."""

from __future__ import annotations

from conf.table import TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="verdicts",
    written_by="evaluate",
    meaning="Whether each track whose true person is known is in the right character. Of the newest evaluation.",
    key=(
        "title_id",
        "track_id",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("person", "STRING", "jobs.evaluation.error_analysis:name_people", "whom the track shows, by the truth"),
        Column(
            "character_id",
            "INT",
            "udfs.kernels.cluster.title:cluster_title",
            "its character when it was evaluated, null: unknown",
        ),
        Column(
            "taken_for",
            "STRING",
            "udfs.kernels.evaluate.errors:judge_tracks",
            "whom most tracks of its character show; another than person: it was taken for somebody else",
        ),
        Column(
            "verdict",
            "STRING",
            "udfs.kernels.evaluate.verdicts:verdicts",
            "right, wrong or unknown, by the best one-to-one assignment of characters to people",
        ),
        Column(
            "split",
            "BOOLEAN",
            "udfs.kernels.evaluate.errors:judge_tracks",
            "most tracks of its person are in another character",
        ),
        Column(
            "distance",
            "FLOAT",
            "udfs.kernels.evaluate.errors:judge_tracks",
            "mean cosine distance to the tracks of its character that show taken_for",
        ),
        Column(
            "own_distance",
            "FLOAT",
            "udfs.kernels.evaluate.errors:judge_tracks",
            "mean cosine distance to the other tracks of its person",
        ),
        Column(
            "without_links",
            "STRING",
            "udfs.kernels.evaluate.errors:without_links",
            "the verdict if clustering had no links, null where that was not tried",
        ),
        Column(
            "without_adapter",
            "STRING",
            "udfs.kernels.evaluate.errors:analyse",
            "the verdict if raw embeddings had been clustered, null where they were, or that was not tried",
        ),
        run_id("evaluate"),
    ),
)
