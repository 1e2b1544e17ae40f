"""What hides a face: the picture's edge, by geometry; another colour, on drawn faces and never in grey ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.drawn_faces import SKIN, cover, draw_face, show_grey
from udfs.kernels.harvest.occlusion import measure_foreign, measure_outside
from udfs.kernels.harvest.quality import FOREIGN

FACE = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]], np.float32)  # eyes, nose, mouth corners
WHITE, BLUE, GREEN, BLACK = (235, 235, 235), (190, 150, 90), (90, 140, 60), (25, 25, 25)


def foreign(*faces: np.ndarray) -> list[float]:
    return measure_foreign(np.stack(faces)).tolist()


# --- beyond the picture ----------------------------------------------------------------------------------------------


def outside_slowly(face: np.ndarray, picture: tuple[int, int]) -> float:
    eyes, mouth = face[:2].mean(axis=0), face[3:].mean(axis=0)
    out = 0
    for down in np.linspace(-0.25, 1.3, 8):
        for along in np.linspace(-0.65, 0.65, 8):
            x, y = eyes + along * (face[1] - face[0]) + down * (mouth - eyes)
            out += not (0 <= x <= picture[1] - 1 and 0 <= y <= picture[0] - 1)
    return out / 64


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_outside_against_a_loop_over_points(seed):
    rng = np.random.default_rng(seed)
    picture = tuple(int(side) for side in rng.integers(60, 200, 2))
    faces = (FACE * rng.uniform(0.2, 2) + rng.normal(0, 40, (5, 1, 2)) + rng.normal(0, 3, (5, 5, 2))).astype(np.float32)
    found = measure_outside(faces, picture)
    assert found.dtype == np.float32
    assert found == pytest.approx([outside_slowly(face, picture) for face in faces], abs=1 / 32)


def test_a_face_wholly_in_the_picture_half_in_it_and_beyond_it():
    moved = FACE + np.array([(0, 0), (-56, 0), (0, 500)])[:, None]
    assert measure_outside(moved, (112, 112)).tolist() == [0, 0.5, 1]


def test_a_mirrored_picture_has_as_much_beyond_it():
    faces = FACE + np.arange(-60, 60, 9)[:, None, None] * np.array([1, 0.4])
    mirrored = faces.copy()
    mirrored[:, :, 0] = 149 - mirrored[:, [1, 0, 2, 4, 3], 0]
    mirrored[:, :, 1] = faces[:, [1, 0, 2, 4, 3], 1]
    assert np.allclose(measure_outside(faces, (120, 150)), measure_outside(mirrored, (120, 150)), atol=1e-6)


def test_no_faces():
    assert measure_outside(np.zeros((0, 5, 2), np.float32), (100, 100)).shape == (0,)


# --- of another colour -----------------------------------------------------------------------------------------------


def foreign_slowly(face: np.ndarray) -> float:
    """Block by block, as the docstring says it."""
    blocks = [[face[40 + 8 * j : 48 + 8 * j, 32 + 8 * i : 40 + 8 * i] for i in range(6)] for j in range(8)]
    means = np.array([[np.rint(block.mean(axis=(0, 1))) for block in row] for row in blocks])
    light = means.sum(axis=2)
    shares = means / np.maximum(light, 1)[..., None]
    redness = shares[..., 2] - shares[..., 0]
    skin = shares[redness >= np.sort(redness.ravel())[32]].mean(axis=0)
    if not (0.45 < skin[0] / skin[1] < 1.4 and 1.13 < skin[2] / skin[1] < 2):
        return 0.0
    distance = 3 * np.linalg.norm(shares - skin, axis=2) * light / (light + 60)
    distance[means.max(axis=2) >= 250] = 0
    return float(max(distance[j : j + 4, i : i + 4].min() for j in range(5) for i in range(3)))


@pytest.mark.parametrize("seed", range(5))
def test_foreign_against_a_loop_over_blocks(seed):
    rng = np.random.default_rng(seed)
    faces = [draw_face(seed=seed, noise=20)]
    faces += [cover(faces[0], tuple(rng.integers(0, 256, 3)), *sorted(rng.integers(30, 112, 2))) for _ in range(10)]
    assert foreign(*faces) == pytest.approx([foreign_slowly(face) for face in faces], abs=0.02)


@pytest.mark.parametrize("colour", [WHITE, BLUE, GREEN, BLACK])
@pytest.mark.parametrize("skin", [SKIN, (90, 110, 150), (150, 175, 225)])
def test_what_covers_mouth_and_nose_is_foreign(skin, colour):
    bare = draw_face(skin)
    without, masked = foreign(bare, cover(bare, colour, top=60))
    assert without < FOREIGN / 2
    assert masked > without
    assert masked > FOREIGN or colour in (WHITE, BLACK)  # grey things and pale skin are near each other


def test_what_has_the_colour_of_the_face_is_not_found():
    """As hands have: this is what the measure cannot do."""
    assert foreign(cover(draw_face(), SKIN))[0] < FOREIGN


def test_small_things_do_not_hide_a_face():
    face = draw_face()
    face[70:94, 44:68] = BLUE
    assert foreign(face)[0] < FOREIGN


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.floats(0.15, 1)] * 3), st.sampled_from([None, WHITE, BLUE, BLACK]))
def test_nothing_is_foreign_in_a_film_without_colour_or_of_one(seed, tint, colour):
    """Black and white, sepia, cyan: whatever stands before a face there, its colour says nothing."""
    face = draw_face(seed=seed, noise=12)
    grey = show_grey(face if colour is None else cover(face, colour))
    tinted = np.rint(grey * np.array(tint) * 0.9).astype(np.uint8)
    plain, in_one_colour = foreign(grey, tinted)
    assert plain == 0
    assert in_one_colour < FOREIGN


@pytest.mark.parametrize("part", [np.s_[60:], np.s_[:, :50], np.s_[:, 62:], np.s_[30:76]])
def test_neither_shadow_nor_glare_hides_a_face(part):
    dark, burnt = draw_face(), draw_face()
    dark[part] = dark[part] * 0.06
    burnt[part] = np.clip(burnt[part] * 4.0, 0, 255)
    assert max(foreign(dark, burnt)) < FOREIGN


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 1.1), st.sampled_from([None, BLUE, GREEN]))
def test_brightness_and_a_mirror_change_little(gain, colour):
    face = draw_face() if colour is None else cover(draw_face(), colour)
    there, scaled, mirrored = foreign(face, np.clip(face * gain, 0, 255).astype(np.uint8), face[:, ::-1])
    assert there == pytest.approx(mirrored, abs=1e-5)
    assert there == pytest.approx(scaled, rel=0.2, abs=0.02)
    assert (there > FOREIGN) == (scaled > FOREIGN) == (colour is not None)


@pytest.mark.parametrize("level", [0, 120, 255])
def test_a_flat_crop_hides_nothing(level):
    assert foreign(np.full((112, 112, 3), level, np.uint8)) == [0]


def test_faces_are_measured_one_by_one():
    faces = [draw_face(seed=1), cover(draw_face(seed=2), BLUE), show_grey(draw_face(seed=3))]
    together = measure_foreign(np.stack(faces))
    assert together.dtype == np.float32
    assert together.tolist() == [foreign(face)[0] for face in faces]
