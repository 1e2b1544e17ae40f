"""Contact sheets: their size, where the faces stand, and that blurring them hides who it is."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from udfs.kernels.harvest.networks import align
from udfs.kernels.report import contact_sheet


def jpeg(colour: tuple[int, int, int], size: int = 112, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).convert(mode).save(out, "JPEG")
    return out.getvalue()


def drawn(
    rows: list[contact_sheet.Row], columns: int = 3, blur: bool = False, title: str = "A film", subtitle: str = ""
) -> np.ndarray:
    content = contact_sheet.draw_sheet(title, subtitle, rows, columns, blur)
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert content == contact_sheet.draw_sheet(title, subtitle, rows, columns, blur), "the same bytes every time"
    return np.array(image.convert("RGB"))


def face_at(image: np.ndarray, row: int, column: int) -> np.ndarray:
    top = contact_sheet.HEADER + row * (contact_sheet.FACE + 2 * contact_sheet.GAP) + contact_sheet.GAP
    left = contact_sheet.LABEL + column * (contact_sheet.FACE + contact_sheet.GAP)
    return image[top : top + contact_sheet.FACE, left : left + contact_sheet.FACE]


def size_of(n_rows: int, columns: int) -> tuple[int, int, int]:
    height = contact_sheet.HEADER + max(n_rows, 1) * (contact_sheet.FACE + 2 * contact_sheet.GAP)
    return height, contact_sheet.LABEL + columns * (contact_sheet.FACE + contact_sheet.GAP) + contact_sheet.GAP, 3


def test_faces_stand_in_their_rows_and_columns():
    red, blue = jpeg((220, 20, 20)), jpeg((20, 20, 220), 40)
    image = drawn(
        [contact_sheet.Row("one", ["2.0 s"], [red, blue]), contact_sheet.Row("two", [], [None, blue, red, red])]
    )
    assert image.shape == size_of(2, 3)
    white = (255, 255, 255)
    expected = [[(220, 20, 20), (20, 20, 220), white], [white, (20, 20, 220), (220, 20, 20)]]
    for row, column in np.ndindex(2, 3):
        assert np.abs(face_at(image, row, column).mean(axis=(0, 1)) - expected[row][column]).max() < 4
    assert (image[:, : contact_sheet.LABEL] < 128).any(), "there is text"


@pytest.mark.parametrize("columns", [1, 10])
def test_a_sheet_without_rows_says_so(columns):
    image = drawn([], columns)
    assert image.shape == size_of(0, columns)
    assert (image[contact_sheet.HEADER :] < 200).any()


def test_a_row_without_pictures_and_a_picture_that_is_none():
    rows = [contact_sheet.Row("nobody", ["no picture"], [])]
    for bad in (b"", b"not a picture", jpeg((9, 9, 9))[:200], b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(50)):
        image = drawn([*rows, contact_sheet.Row("odd", [], [bad, jpeg((220, 20, 20))])])
        assert image.shape == size_of(2, 3)
        assert np.abs(face_at(image, 1, 1).mean(axis=(0, 1)) - (220, 20, 20)).max() < 4
        assert face_at(image, 1, 0).std() < 60


def test_grey_pictures_are_pictures():
    image = drawn([contact_sheet.Row("grey", [], [jpeg((90, 90, 90), mode="L")])])
    assert np.abs(face_at(image, 0, 0).astype(int) - 90).max() < 5


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_any_name_can_be_written(name):
    assert drawn([contact_sheet.Row(name, [], [])], title=name).shape == size_of(1, 3)


@pytest.mark.parametrize("name", ["a\nb\tc", "caf\udce9", "x" * 5000, "映画 فيلم", "<b>&\x00"])
def test_odd_names(name):
    image = drawn([contact_sheet.Row(name, [], [jpeg((220, 20, 20))])], title=name)
    assert np.abs(face_at(image, 0, 0).mean(axis=(0, 1)) - (220, 20, 20)).max() < 4, "the name ends before the faces"


def test_a_blurred_face_cannot_be_known(cast, models):
    """The embedder that tells people apart no longer finds the person, the detector hardly a face."""
    crops = []
    for person in (1, 5, 18, 20, 2, 7):
        picture = cast.picture(person).image
        crops.append(align(picture, models.detect([picture])[0].landmarks[:1])[0])
    pictures = [cv2.imencode(".jpg", crop)[1].tobytes() for crop in crops]
    rows = [contact_sheet.Row("everybody", [], list(pictures))]
    sharp, blurred = drawn(rows, 6), drawn(rows, 6, blur=True)
    embedded = {}
    for name, image in (("sharp", sharp), ("blurred", blurred)):
        faces = np.array([cv2.resize(face_at(image, 0, column), (112, 112))[..., ::-1] for column in range(6)])
        embedded[name] = models.embed(faces).rows
    original = models.embed(np.array(crops)).rows
    assert (np.diag(embedded["sharp"] @ original.T) > 0.9).all()
    assert (np.diag(embedded["blurred"] @ original.T) < 0.35).all()
    for column in range(6):
        a, b = (face_at(image, 0, column).astype(float) for image in (sharp, blurred))
        assert np.abs(a - b).mean() > 8
        assert b[..., 1].std() < a[..., 1].std()
        grey = cv2.cvtColor(face_at(blurred, 0, column), cv2.COLOR_RGB2GRAY)
        assert cv2.Laplacian(grey, cv2.CV_64F).var() < 3, "no detail is left"
