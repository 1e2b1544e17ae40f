"""Tracks of several titles scored as one set, as BCL's Table 5 has the episodes of a series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from udfs.kernels.evaluate import scoring


def score_pooled(tracks: pd.DataFrame) -> dict[str, float]:
    """`scoring.score` of the tracks of several titles as if they were one.

    A label is one person in all titles of a series. A cluster is a `person_id`, which links the characters of titles
    that castmine takes for one person; a character without one is a cluster of its own.

    Args:
        tracks: series, title_id, person (the label), character_id (null: unknown), person_id (null: none).
    """
    label = tracks.groupby(["series", "person"]).ngroup().to_numpy()
    by_title = tracks.title_id.astype(str) + "/" + tracks.character_id.astype("Int64").astype(str)
    named = tracks.person_id.notna()
    name = np.where(named, "person/" + tracks.person_id.astype(str), "character/" + by_title)
    cluster = np.where(tracks.character_id.isna(), scoring.UNKNOWN, pd.factorize(name)[0])
    return scoring.score(label, cluster.astype(np.int64))
