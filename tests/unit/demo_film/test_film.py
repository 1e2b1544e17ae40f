"""The demo film: its truth against a detector that sees only the encoded pixels, and its encoder's odd variants."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.demo_film import camera, film
from jobs.demo_film.screenplay import (
    DISSOLVE_FRAMES,
    FPS,
    HEIGHT,
    PICTURES,
    WIDTH,
    Camera,
    Cast,
    Part,
    Picture,
    Shot,
    whole_screenplay,
)
from udfs import assets
from udfs.kernels.harvest.networks import Faces, open_faces


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> film.Film:
    return film.build(tmp_path_factory.mktemp("films"), small=True)


@pytest.fixture(scope="module")
def detector() -> Faces:
    return open_faces(*assets.fetch_pack("buffalo_sc"), "insightface")


@pytest.fixture(scope="module")
def shots(detector: Faces) -> list[Shot]:
    """The whole film, cast but not rendered."""
    return whole_screenplay(Cast(assets.fetch(PICTURES), detector, film.SEED))


def read_truth(path: Path) -> dict[int, list[tuple[np.ndarray, str]]]:
    boxes: dict[int, list[tuple[np.ndarray, str]]] = {}
    with path.open() as rows:
        for row in csv.DictReader(rows):
            boxes.setdefault(int(row["frame"]), []).append((np.array([float(row[k]) for k in "xywh"]), row["label"]))
    return boxes


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    overlap = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    shared = overlap.clip(0).prod()
    return float(shared / (one[2:].prod() + other[2:].prod() - shared))


def test_detector_finds_the_true_boxes_and_nothing_else(small, detector):
    frames, true = decoded(small.path), read_truth(small.truth)
    assert 11 * FPS < len(frames) < 16 * FPS
    n_true = n_found = n_extra = 0
    for number in range(0, len(frames), 5):
        found = list(detector.detect([frames[number]])[0].boxes)
        for box, _ in true.get(number, []):
            n_true += 1
            best = max(range(len(found)), key=lambda at: iou(box, found[at]), default=None)
            if best is not None and iou(box, found[best]) >= 0.5:
                found.pop(best)
                n_found += 1
        n_extra += len(found)
    assert n_true > 60
    assert n_found >= 0.97 * n_true
    assert n_extra <= 0.02 * n_true


def test_truth_is_a_table_of_boxes_inside_the_frame(small):
    true = read_truth(small.truth)
    assert list(true) == sorted(true)
    assert {label for row in true.values() for _, label in row} == {"person_01", "person_05", "person_18", "person_20"}
    boxes = np.array([box for row in true.values() for box, _ in row])
    assert np.all(boxes[:, :2] >= 0)
    assert np.all(boxes[:, 2:] > 10)
    assert np.all(boxes[:, :2] + boxes[:, 2:] <= np.array([WIDTH, HEIGHT]) + 0.15)  # one decimal each
    assert all(len(row) == len({label for _, label in row}) for row in true.values())


def test_film_is_found_again_and_the_same_everywhere(small, tmp_path):
    said: list[str] = []
    before = small.path.stat().st_mtime_ns
    assert film.build(small.path.parent.parent, small=True, say=said.append) == small
    assert not said
    assert small.path.stat().st_mtime_ns == before
    torn = tmp_path / small.path.parent.name / small.truth.name  # of a build that was killed, or a film taken away
    torn.parent.mkdir()
    torn.write_text("frame,x,y")
    again = film.build(tmp_path, small=True)
    assert again.path.read_bytes() == small.path.read_bytes()
    assert again.truth.read_bytes() == small.truth.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [again.path.parent.name]


def test_another_seed_is_another_film(detector):
    pictures = assets.fetch(PICTURES)
    one, same, other = ([Cast(pictures, detector, seed).picture(p).image for p in (1, 2, 3)] for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


def test_people_never_share_a_picture_and_drawings_are_left_out(detector):
    cast = Cast(assets.fetch(PICTURES), detector, film.SEED)
    shown = [cast.picture(23).image for _ in range(23)]
    assert np.array_equal(shown[0], shown[22]), "22 photographs, then the first again: 388 to 392 are drawings"
    seen = {cast.picture(person).image.tobytes() for person in range(1, 27)}
    assert len(seen) == 26


def test_screenplay_has_what_a_film_has(shots):
    true = list(camera.truth(shots))
    n_frames = sum(1 for _ in camera.frames_of(shots))
    assert 60 < n_frames / FPS < 80
    assert {label for *_, label in true} == {f"person_{number:02}" for number in range(1, 27)}

    people = [tuple(part.picture.person for part in shot.parts) for shot in shots]
    appearances = Counter(itertools.chain.from_iterable(people))
    assert sum(count == 1 for count in appearances.values()) == 6, "extras seen once"
    assert sum(count >= 4 for count in appearances.values()) >= 9, "leads"
    assert {len(row) for row in people} >= {0, 1, 2, 3}
    returns = [a for a, b, c in zip(shots, shots[1:], shots[2:], strict=False) if a.parts and c.parts and b.parts
               and a.parts[0].picture is c.parts[0].picture is not b.parts[0].picture]  # fmt: skip
    assert len(returns) >= 8, "camera set-ups that return after another"
    assert sum(shot.gain < 0.5 for shot in shots) >= 3
    assert sum(shot.blur_px > 0 for shot in shots) >= 3
    assert sum(shot.dissolve for shot in shots) >= 2

    heights = np.array([h for *_, h, _ in true])
    assert heights.min() < 40 < 200 < heights.max()
    in_frame = Counter(number for number, *_ in true)
    assert set(in_frame.values()) >= {1, 2, 3, 4}
    assert len(in_frame) < n_frames, "frames without a face"
    for person, count in appearances.items():
        pictures = {id(part.picture) for shot in shots for part in shot.parts if part.picture.person == person}
        assert len(pictures) >= min(count, 3) - 1, "other photographs in other shots"


def test_frames_of_counts_dissolves_once():
    shots = [
        Shot(1.0, ()),
        Shot(2.0, (), dissolve=True),
        Shot(1.0, ()),
        Shot(1.5, (), dissolve=True),
    ]
    shown = list(camera.frames_of(shots))
    assert len(shown) == sum(shot.n_frames for shot in shots) - 2 * DISSOLVE_FRAMES
    assert all(sum(weight for *_, weight in row) == pytest.approx(1) for row in shown)
    for at, shot in enumerate(shots):  # every frame of every shot, once and in order
        mine = [k for row in shown for which, k, _ in row if which is shot]
        assert mine == list(range(shot.n_frames)), at
    assert list(camera.frames_of([])) == []


def a_part(turn: float, face: float, x: float, y: float, box: tuple[float, float, float, float]) -> Part:
    camera = Camera(x, y, face, turn)
    return Part(Picture(np.zeros((337, 510, 3), np.uint8), np.array(box), 1), camera, camera)


@settings(max_examples=80)
@given(st.floats(-40, 40), st.floats(0.05, 0.9), st.floats(0, 1), st.floats(0.1, 0.9), st.floats(60, 300))
def test_box_of_a_turned_face_is_the_box_of_its_ellipse(turn, face, x, y, left):
    part = a_part(turn, face, x, y, (left, 80.0, 110.0, 150.0))
    transform = camera.move_part(part, Shot(1, (part,)), 5)
    around = np.linspace(0, 2 * np.pi, 3601)
    ellipse = np.stack([left + 55 + 55 * np.cos(around), 155 + 75 * np.sin(around), np.ones_like(around)])
    points = transform @ ellipse
    low, high = points.min(axis=1), points.max(axis=1)
    low_in, high_in = low.clip(0), np.minimum(high, [WIDTH, HEIGHT])
    share = (high_in - low_in).clip(0).prod() / (high - low).prod()
    found = camera.visible_box(part, transform)
    if abs(share - camera.LEAST_VISIBLE) > 0.01:
        assert (found is None) == (share < camera.LEAST_VISIBLE)
    if found is not None:
        assert np.allclose(found, [*low_in, *(high_in - low_in)], atol=0.05)


def test_camera_goes_from_start_to_end():
    part = a_part(0, 0.8, 0.5, 0.5, (200.0, 80.0, 110.0, 150.0))._replace(end=Camera(0.5, 0.5, 0.9, 10))
    shot = Shot(2, (part,))
    heights = [camera.visible_box(part, camera.move_part(part, shot, k)) for k in (0, shot.n_frames - 1)]
    assert heights[0][3] == pytest.approx(0.8 * HEIGHT, abs=1)
    last = camera.move_part(part, shot, shot.n_frames - 1)
    assert np.hypot(*last[:, 0]) == pytest.approx(0.9 * HEIGHT / 150)
    assert np.degrees(np.arctan2(last[1, 0], last[0, 0])) == pytest.approx(10)


@settings(max_examples=60)
@given(st.floats(0.2, 0.8), st.floats(0.3, 0.8), st.floats(20, 380))
def test_no_second_head_is_mirrored_into_the_frame(x, face, left):
    part = a_part(0, face, x, 0.46, (left, 80.0, 110.0, 150.0))
    transform = camera.move_part(part, Shot(1, (part,)), 0)
    scale = transform[0, 0]
    face_x = transform[0] @ (left + 55, 0, 1)
    for beside, edge, frame_edge in ((left, 0, 0), (400 - left, 510, WIDTH)):
        mirrored = abs(frame_edge - transform[0] @ (edge, 0, 1)) / scale
        outside = (transform[0] @ (edge, 0, 1) > 0) if edge == 0 else (transform[0] @ (edge, 0, 1) < WIDTH)
        if outside and 100 < left < 300:
            assert mirrored <= max(beside - 44, 0) / 2 + 3 / scale + 1
    assert 0 < face_x < WIDTH


# --- the encoder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ramp() -> list[np.ndarray]:
    """12 frames that grow brighter."""
    return [np.full((90, 160, 3), 20 + 15 * k, np.uint8) for k in range(12)]


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (90, 160)),
        ({"pix_fmt": "yuv420p10le"}, (90, 160)),
        ({"pix_fmt": "yuv444p"}, (91, 161)),
        ({"rotation": 90}, (90, 160)),
        ({"sample_aspect_ratio": Fraction(4, 3)}, (90, 160)),
        ({"fps": 25}, (90, 160)),
        ({"pts": [k * k * 7 + 40 * k for k in range(12)]}, (90, 160)),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_encoded_frames_come_back(ramp, tmp_path, options, shape, ending):
    frames = [np.resize(image, (*shape, 3)) for image in ramp]
    path = tmp_path / f"film.{ending}"
    film.encode(frames, path, **options)
    with av.open(path) as container:
        stream = container.streams.video[0]
        pictures = list(container.decode(stream))
        assert (stream.height, stream.width) == shape
        assert stream.pix_fmt == options.get("pix_fmt", "yuv420p")
        assert pictures[0].rotation == options.get("rotation", 0)
        assert (stream.sample_aspect_ratio or 1) == options.get("sample_aspect_ratio", 1)
        expected = options.get("pts") or [1000 * k / options.get("fps", FPS) for k in range(12)]
        assert np.allclose([1000 * picture.time for picture in pictures], expected, atol=1)
        brightness = [picture.to_ndarray(format="bgr24").mean() for picture in pictures]
    assert np.allclose(brightness, [image.mean() for image in frames], atol=4)


def test_same_frames_same_bytes(ramp, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        film.encode(ramp, tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
