"""Reference photographs, looked at by the real networks."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from udfs import assets
from udfs.kernels.harvest.networks import align
from udfs.kernels.name.photographs import find_face

RULES = {"min_score": 0.5, "min_face_px": 16.0}


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A face of about a third of the picture's height."""
    return read(1)


def read(number: int) -> np.ndarray:
    with zipfile.ZipFile(assets.fetch("faces_images.zip")) as archive:
        content = archive.read(f"faces_images/image_{number:04}.jpg")
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def encoded(image: np.ndarray, ending: str = ".png") -> bytes:
    return cv2.imencode(ending, image)[1].tobytes()


def face_of(image: np.ndarray, models) -> np.ndarray:
    (found,) = models.detect([image])
    return models.embed(align(image, found.landmarks[[found.boxes[:, 2:].prod(axis=1).argmax()]])).rows[0]


def test_the_face_is_embedded_as_in_a_film(photograph, models):
    seen = find_face(encoded(photograph), models, **RULES)
    assert seen.problem is None
    assert seen.embedding @ face_of(photograph, models) > 0.95


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".bmp", ".tiff"])
def test_kinds_of_files(photograph, models, ending):
    plain = find_face(encoded(photograph), models, **RULES).embedding
    assert find_face(encoded(photograph, ending), models, **RULES).embedding @ plain > 0.95


def test_a_camera_held_sideways(photograph, models, tmp_path):
    file = tmp_path / "sideways.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(np.ascontiguousarray(np.rot90(photograph)[..., ::-1])).save(file, exif=exif, quality=95)
    plain = find_face(encoded(photograph), models, **RULES).embedding
    assert find_face(file.read_bytes(), models, **RULES).embedding @ plain > 0.95


def test_a_large_photograph_is_the_same_person(photograph, models):
    large = cv2.resize(photograph, None, fx=10, fy=10, interpolation=cv2.INTER_CUBIC)
    plain = find_face(encoded(photograph), models, **RULES).embedding
    assert find_face(encoded(large, ".jpg"), models, **RULES).embedding @ plain > 0.95


def test_a_crop_of_nothing_but_the_face(photograph, models):
    (found,) = models.detect([photograph])
    x, y, w, h = found.boxes[0].astype(int)
    seen = find_face(encoded(photograph[y : y + h, x : x + w]), models, **RULES)
    assert seen.embedding @ face_of(photograph, models) > 0.7


def test_somebody_in_the_background_does_not_count_and_somebody_beside_does(photograph, models):
    other = read(113)
    alone = find_face(encoded(photograph), models, **RULES).embedding
    small = cv2.resize(other, None, fx=0.5, fy=0.5)
    behind = np.hstack(
        [photograph, np.vstack([small, np.zeros((len(photograph) - len(small), *small.shape[1:]), np.uint8)])]
    )
    assert find_face(encoded(behind), models, **RULES).embedding @ alone > 0.9
    beside = np.hstack([photograph, cv2.resize(other, photograph.shape[1::-1])])
    assert "several faces" in find_face(encoded(beside), models, **RULES).problem


@pytest.mark.parametrize("content", [b"", b"no picture", encoded(np.zeros((8, 8, 3), np.uint8))[:40]])
def test_what_is_no_picture(models, content):
    assert find_face(content, models, **RULES) == (None, "cannot be read as a picture")


def test_a_file_that_is_cut_off(photograph, models):
    seen = find_face(encoded(photograph, ".jpg")[:5000], models, **RULES)
    assert seen.problem.startswith("cannot be read as a picture, being cut off or damaged: ")


def test_a_picture_of_nobody(models):
    assert find_face(encoded(np.full((200, 300, 3), 90, np.uint8)), models, **RULES) == (None, "no face in it")


def test_a_face_that_is_too_small(photograph, models):
    rules = {**RULES, "min_face_px": 2000.0}
    assert find_face(encoded(photograph), models, **rules).problem == "no face in it"
