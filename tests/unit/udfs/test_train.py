"""A title's tracks that may train, as Spark takes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from udfs.train import trainable_tracks

LINKS = pd.DataFrame({name: np.array([], np.int64) for name in ("track_a", "track_b", "shared_frames")})


@pytest.mark.parametrize("n_faces", [1, 100])
def test_partners_are_lists_also_where_no_track_is_long_enough(n_faces):
    """A film of short tracks alone gives no rows, and ends no training."""
    tracks = pd.DataFrame({"title_id": "a", "track_id": [0, 1], "shot_id": 0, "n_faces": n_faces})
    tracks["detections_per_s"] = 10.0
    found = trainable_tracks(("a",), tracks, LINKS, min_track_s=1.0, min_shared_s=0.5, co_occurring=False)
    assert len(found) == (2 if n_faces == 100 else 0)
    assert pa.Array.from_pandas(found.partners, type=pa.list_(pa.int64())).to_pylist() == [[]] * len(found)
