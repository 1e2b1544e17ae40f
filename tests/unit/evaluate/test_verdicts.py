"""A track's verdict by the best one-to-one assignment of characters to people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from udfs.kernels.evaluate.verdicts import characters_of, verdicts


def test_right_wrong_and_unknown():
    person = np.array(["ann", "ann", "ann", "bob", "bob", "cid"])
    character = np.array([0, 0, 1, 1, 1, -1])
    assert verdicts(person, character).tolist() == ["right", "right", "wrong", "right", "right", "unknown"]
    assert verdicts(pd.Series(person), character).tolist() == verdicts(person, character).tolist()
    assert verdicts(person[:0], character[:0]).tolist() == []


def test_a_track_without_a_character_has_none():
    tracks = pd.DataFrame({"character_id": pd.array([3, None, 0], dtype="Int32")})
    assert characters_of(tracks).tolist() == [3, -1, 0]
