"""error_rates: How often tracks of one kind go wrong: by pose, size, length and more. Of the newest evaluation."""

from __future__ import annotations

from conf.table import TITLE_ID, Column, Table, run_id

MAKER = "udfs.kernels.evaluate.groups:by_group"

TABLE = Table(
    name="error_rates",
    written_by="evaluate",
    meaning="How often tracks of one kind go wrong: by pose, size, length and more. Of the newest evaluation.",
    key=(
        "title_id",
        "property",
        "value",
    ),
    columns=(
        TITLE_ID,
        Column(
            "property",
            "STRING",
            MAKER,
            "what the tracks have in common: pose, flag (frontal and profile aside), quality_label (of "
            "tracks.quality_labels), face_px, quality, seconds, person_tracks (tracks of their person), links, status, "
            "shot (those with most errors)",
        ),
        Column("value", "STRING", MAKER, "its value, such as profile or 32 to 64"),
        Column("place", "INT", MAKER, "place of the value among those of its property, from 0"),
        Column("n_tracks", "BIGINT", MAKER, "tracks whose true person is known"),
        Column("n_wrong", "BIGINT", MAKER, "of these, in a wrong character"),
        Column("n_impure", "BIGINT", MAKER, "of these, taken for somebody else"),
        Column("n_unknown", "BIGINT", MAKER, "of these, in no character"),
        Column("share_wrong", "DOUBLE", MAKER, "n_wrong / n_tracks"),
        Column("share_unknown", "DOUBLE", MAKER, "n_unknown / n_tracks"),
        Column("wrong_low", "DOUBLE", MAKER, "lower end of share_wrong's 95 % interval"),
        Column("wrong_high", "DOUBLE", MAKER, "upper end of share_wrong's 95 % interval"),
        Column(
            "rest_wrong",
            "DOUBLE",
            MAKER,
            "share_wrong of the title's other tracks of which the property is known, null where there are none",
        ),
        Column("mean_confidence", "DOUBLE", MAKER, "of those with a character, null where none has one"),
        Column("n_right", "BIGINT", MAKER, "of these tracks, in the right character"),
        Column(
            "n_right_without_adapter",
            "BIGINT",
            MAKER,
            "the same had raw embeddings been clustered by the same rules; this and what follows is null where that "
            "was not tried, or raw embeddings were clustered",
        ),
        Column("n_fixed", "BIGINT", MAKER, "tracks that are right only because of the adapter"),
        Column("n_broke", "BIGINT", MAKER, "tracks that are not right only because of the adapter"),
        Column(
            "p_value",
            "DOUBLE",
            MAKER,
            "how likely chance alone makes as large a difference: permutation test of n_fixed and n_broke, two-sided",
        ),
        run_id("evaluate"),
    ),
)
