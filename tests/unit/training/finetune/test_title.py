"""Staged crops come back in order, whichever file they lay in, and what is gone is told."""

from __future__ import annotations

import numpy as np
import pytest

from conf.errors import LakeError
from tests.helpers.staged_crops import drawn_people, stage_crops
from training.finetune.title import read_title

CROPS, IDS = drawn_people(2, 3, 5), np.array([4, 7, 30])
RAW = np.eye(15, 8, dtype=np.float32)


def test_by_track_and_frame(tmp_path):
    stage_crops(tmp_path, CROPS, RAW, [(0, 2)], IDS)
    found = read_title(tmp_path)
    assert found.track_ids.tolist() == [4, 7, 30]
    assert found.crops.track.tolist() == CROPS.track.tolist()
    assert found.frame.tolist() == [0, 6, 12, 18, 24] * 3
    np.testing.assert_array_equal(found.raw, RAW)
    assert found.cannot.tolist() == [[0, 2]]
    assert np.abs(found.crops.pixels[:].astype(int) - CROPS.pixels).mean() < 3  # of JPEG; red is still first
    assert found.good.all()
    assert found.time_s[1] == 0.25


def test_links_of_tracks_without_crops_are_left_out(tmp_path):
    stage_crops(tmp_path, CROPS._replace(n_tracks=4), RAW, [(0, 3), (1, 2)], np.array([4, 7, 30, 31]))
    assert read_title(tmp_path).cannot.tolist() == [[1, 2]]


def test_what_is_gone_or_damaged_is_told(tmp_path):
    with pytest.raises(LakeError, match="run the same command again"):
        read_title(tmp_path)
    stage_crops(tmp_path, CROPS, RAW, [], IDS)
    (tmp_path / "crops-00000001.parquet").write_bytes(b"no parquet")
    with pytest.raises(LakeError, match="gone or damaged"):
        read_title(tmp_path)
