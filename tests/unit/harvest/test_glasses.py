"""Glasses: on drawn faces with and without rims, and against a loop over pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.drawn_faces import SKIN, draw_face, put_on_glasses
from udfs.kernels.harvest.glasses import WEIGHTS, measure_glasses
from udfs.kernels.harvest.quality import GLASSES


def gray(face: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)


def measure(*faces: np.ndarray) -> np.ndarray:
    return measure_glasses(np.stack([gray(face) for face in faces]))


def measure_slowly(face: np.ndarray) -> float:
    """Second derivatives smoothed across (1 2 1), their mean size in blocks, over the contrast: pixel by pixel."""
    values = gray(face).astype(float)
    contrast = values[44:100, 30:82].std() + 4
    answer = 0.0
    for block_y in range(4):
        for column in range(6):
            for direction in range(2):
                total = 0.0
                for block_x in (column, 11 - column):
                    for y in range(40 + 8 * block_y, 48 + 8 * block_y):
                        for x in range(8 + 8 * block_x, 16 + 8 * block_x):
                            near = values[y - 1 : y + 2, x - 1 : x + 2]
                            near = near if direction == 0 else near.T
                            total += abs(np.array([1, 2, 1]) @ near @ np.array([1, -2, 1])) / 128
                answer += WEIGHTS[direction, block_y, column] * np.sqrt(total / contrast)
    return float(answer)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("skin", [SKIN, (70, 85, 120), (40, 50, 70), (150, 175, 225)])
def test_rims_make_glasses_of_a_bare_face(skin, seed):
    bare = draw_face(skin, seed=seed)
    colour = (20, 20, 20) if sum(skin) > 200 else (150, 160, 160)
    without, with_rims = measure(bare, put_on_glasses(bare, colour))
    assert without < GLASSES < with_rims


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop_over_pixels(seed):
    noisy = np.random.default_rng(seed).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    for face in (draw_face(seed=seed), put_on_glasses(draw_face(seed=seed)), noisy):
        assert measure(face)[0] == pytest.approx(measure_slowly(face), rel=1e-4, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_a_mirrored_face_measures_the_same(seed, worn):
    face = draw_face(seed=seed)
    face = put_on_glasses(face) if worn else face
    there, mirrored = measure(face, face[:, ::-1])
    assert there == pytest.approx(mirrored, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 1.15), st.booleans())
def test_brightness_changes_little(gain, worn):
    face = put_on_glasses(draw_face()) if worn else draw_face()
    there, scaled = measure(face, np.clip(face * gain, 0, 255).astype(np.uint8))
    assert there == pytest.approx(scaled, rel=0.15, abs=1.5)
    assert (there > GLASSES) == (scaled > GLASSES) == worn


def test_faces_are_measured_one_by_one():
    faces = [draw_face(seed=seed) for seed in range(3)] + [put_on_glasses(draw_face(seed=9))]
    together = measure(*faces)
    assert together.dtype == np.float32
    assert together.tolist() == [measure(face)[0] for face in faces]


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_flat_crop_wears_nothing(level):
    assert measure(np.full((112, 112, 3), level, np.uint8)) == [0]


@pytest.mark.parametrize("noise", [0, 5, 10, 20])
def test_neither_a_grainy_nor_a_blurred_face_wears_glasses(noise):
    faces = [draw_face(skin, noise, seed) for skin in (SKIN, (40, 50, 70)) for seed in range(3)]
    blurred = [cv2.GaussianBlur(face, (0, 0), 3) for face in faces]
    assert (measure(*faces, *blurred) < GLASSES).all()
