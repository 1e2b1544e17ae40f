"""Crops as JPEG are crops as pixels, whichever rows are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.staged_crops import drawn_people
from training.finetune.crops import Crops, JpegPixels
from udfs.finetune import encode_crop

PLAIN = drawn_people(2, 3, 2)


@pytest.fixture
def jpegs() -> Crops:
    return PLAIN._replace(pixels=JpegPixels([encode_crop(pixels[:, :, ::-1]) for pixels in PLAIN.pixels[:]]))


@pytest.mark.parametrize("rows", [slice(None), slice(1, 4), np.array([5, 0, 5]), np.zeros(0, int)])
def test_rows_are_decoded_when_they_are_asked_for(jpegs, rows):
    assert len(jpegs.pixels) == 6
    found = jpegs.pixels[rows]
    assert found.shape == PLAIN.pixels[rows].shape
    assert not found.size or np.abs(found.astype(int) - PLAIN.pixels[rows]).mean() < 3


def test_some_of_them(jpegs):
    rows = np.array([1, 4])
    for crops in (jpegs, PLAIN):
        found = crops.among(rows)
        assert found.track.tolist() == [0, 2]
        assert found.n_tracks == 3
        np.testing.assert_array_equal(found.pixels[:], crops.pixels[rows])
        np.testing.assert_array_equal(crops.mirrored(rows).pixels[:], crops.pixels[rows][:, :, ::-1])
    assert isinstance(jpegs.among(rows).pixels, JpegPixels), "still encoded"
