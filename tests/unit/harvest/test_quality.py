"""Worth and flags of faces: on measured numbers, and on real crops made worse in one way at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.drawn_faces import cover, draw_face, put_on_glasses
from udfs.kernels.harvest import quality
from udfs.kernels.harvest.networks import align

FRONTAL = np.array([[38, 51], [74, 51], [56, 71], [41, 92], [71, 92]], np.float32)  # eyes, nose, mouth corners
BOX = np.array([6, 6, 100, 100], np.float32)
PICTURE = (112, 112)
BARE = {"glasses": 0.0, "foreign": 0.0, "outside": 0.0}


def looks(**given_values: float) -> quality.Measures:
    """One good face, but for what is given."""
    values = {"size_px": 90.0, "sharpness": 5.0, "light": 120.0, "yaw": 0.0, "score": 0.9, "plausible": 1.0, **BARE}
    return quality.Measures(*(np.array([value], np.float32) for value in (values | given_values).values()))


def together(faces: list[quality.Measures]) -> quality.Measures:
    return quality.Measures(*(np.concatenate(values) for values in zip(*faces, strict=True)))


def worth(**given_values: float) -> float:
    return float(quality.face_quality(looks(**given_values))[0])


@pytest.fixture(scope="module")
def faces(cast, models) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]]:
    """A real face, and the same one blurred, dark, small: crops, boxes, landmarks, scores of one each, its picture."""
    picture = cast.picture(5).image
    (found,) = models.detect([picture])
    crop = align(picture, found.landmarks[:1])
    small = cv2.resize(cv2.resize(crop[0], (14, 14), interpolation=cv2.INTER_AREA), (112, 112))
    rest = found.boxes[:1], found.landmarks[:1], found.scores[:1], picture.shape[:2]
    scale = 20 / found.boxes[0, 2:].min()
    return {
        "good": (crop, *rest),
        "blurred": (cv2.GaussianBlur(crop[0], (0, 0), 4)[None], *rest),
        "dark": ((crop * 0.15).astype(np.uint8), *rest),
        "small": (small[None], rest[0] * scale, rest[1] * scale, *rest[2:]),
    }


@pytest.mark.parametrize("ill", ["blurred", "dark", "small"])
def test_a_crop_made_worse_is_worth_less_and_says_why(faces, ill):
    good, bad = quality.measure_faces(*faces["good"]), quality.measure_faces(*faces[ill])
    assert quality.face_quality(good)[0] > 0.5
    assert quality.face_quality(bad)[0] < 0.8 * quality.face_quality(good)[0]
    flags = quality.track_flags(bad)
    assert ill in flags
    assert quality.track_flags(good) in (["frontal"], [])
    if ill == "small":
        assert "blurred" in flags, "what was enlarged has no detail"
    else:
        assert "small" not in flags


def test_measures_of_a_crop_are_what_they_say(faces):
    crop, boxes, landmarks, scores, picture = faces["good"]
    seen = quality.measure_faces(crop, boxes, landmarks, scores, picture)
    gray = cv2.cvtColor(crop[0], cv2.COLOR_BGR2GRAY)[16:96, 16:96]
    assert seen.light[0] == pytest.approx(gray.mean(), abs=1e-3)
    assert seen.sharpness[0] == pytest.approx(np.log(cv2.Laplacian(gray, cv2.CV_64F).var()), abs=1e-3)
    assert seen.size_px[0] == boxes[0, 2:].min()
    assert seen.score[0] == scores[0]
    assert {values.dtype for values in seen} == {np.dtype(np.float32)}


def test_no_faces_and_flat_crops():
    empty = np.zeros((0, 112, 112, 3), np.uint8), np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0), PICTURE
    seen = quality.measure_faces(*empty)
    assert all(values.shape == (0,) for values in seen)
    assert quality.face_quality(seen).shape == (0,)
    grey = np.full((1, 112, 112, 3), 80, np.uint8)
    flat = quality.measure_faces(grey, BOX[None], FRONTAL[None], np.array([0.9]), PICTURE)
    assert all(np.isfinite(values).all() for values in flat)
    assert quality.track_flags(flat) == ["frontal", "blurred"]


def measured(face: np.ndarray, landmarks: np.ndarray = FRONTAL) -> quality.Measures:
    return quality.measure_faces(face[None], BOX[None], landmarks[None], np.array([0.9]), PICTURE)


def test_glasses_and_what_hides_a_face_are_measured_as_it_turns():
    worn = cover(put_on_glasses(draw_face()), (190, 150, 90), top=66)
    for nose_x, glasses, occluded in ((56, True, True), (68, True, False), (74, False, False)):
        turned = FRONTAL.copy()
        turned[2, 0] = nose_x
        seen = measured(worn, turned)
        assert (seen.glasses[0] > quality.GLASSES) == glasses, "a profile shows no two rims"
        assert seen.occluded.tolist() == [occluded], "what is beside a profile is no part of it"
    assert not measured(draw_face()).occluded[0]
    assert measured(draw_face(), FRONTAL - [50, 0]).occluded[0], "half of it is beyond the picture"


def test_many_faces_are_measured_as_each_alone():
    faces = np.stack([draw_face(seed=1), put_on_glasses(draw_face(seed=2)), cover(draw_face(seed=3), (190, 150, 90))])
    landmarks = FRONTAL + np.array([0, 7, -30])[:, None, None]
    all_at_once = quality.measure_faces(faces, np.tile(BOX, (3, 1)), landmarks, np.array([0.9] * 3), PICTURE)
    alone = together([measured(face, points) for face, points in zip(faces, landmarks, strict=True)])
    for ours, theirs in zip(all_at_once, alone, strict=True):
        assert ours.tolist() == theirs.tolist()


@settings(max_examples=100)
@given(
    name=st.sampled_from(["size_px", "sharpness", "light", "score"]),
    low=st.floats(0, 300),
    more=st.floats(0, 300),
)
def test_worth_grows_with_size_sharpness_light_and_score(name, low, more):
    assert 0 <= worth(**{name: low}) <= worth(**{name: low + more}) <= 1


@settings(max_examples=100)
@given(st.floats(0, 1), st.floats(0, 1))
def test_worth_falls_with_the_turn_of_the_head_either_way(yaw, other):
    least, most = sorted([yaw, other])
    assert worth(yaw=least) >= worth(yaw=most)
    assert worth(yaw=-least) == worth(yaw=least)


def test_one_bad_side_makes_a_face_poor_not_worthless():
    assert worth() == 1
    for name in ("size_px", "light", "score"):
        assert 0.4 < worth(**{name: 0.0}) < 0.7
    assert worth(plausible=0.0) == 0


@pytest.mark.parametrize(
    ("nose_x", "yaw", "flag"),
    [(56, 0.0, "frontal"), (62, 1 / 3, None), (70, 7 / 9, "profile"), (38, -1.0, "profile"), (20, -1.0, "profile")],
)
def test_yaw_is_where_the_nose_lies_between_the_eyes(nose_x, yaw, flag):
    turned = FRONTAL.copy()
    turned[2, 0] = nose_x
    assert quality.measure_yaw(turned[None])[0] == pytest.approx(yaw, abs=1e-6)
    flags = quality.track_flags(looks(yaw=float(quality.measure_yaw(turned[None])[0])))
    assert flags == ([flag] if flag else [])


@settings(max_examples=50)
@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.1, 20), nose=st.floats(30, 85))
def test_yaw_sees_neither_tilt_nor_size(angle, scale, nose):
    face = FRONTAL.copy()
    face[2, 0] = nose
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert quality.measure_yaw((face @ turn.T)[None])[0] == pytest.approx(quality.measure_yaw(face[None])[0], abs=1e-3)


def test_landmarks_of_no_face():
    boxes = np.repeat(BOX[None], 4, axis=0)
    flat, outside, on_a_point = FRONTAL.copy(), FRONTAL.copy(), np.full((5, 2), 50, np.float32)
    flat[:, 1] = 50
    outside[0, 0] = -30
    points = np.stack([FRONTAL, flat, outside, on_a_point])
    assert quality.check_plausible(boxes, points).tolist() == [1, 0, 0, 0]
    assert np.all(np.isfinite(quality.measure_yaw(points)))


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({}, ["frontal"]),
        ({"yaw": 0.6}, ["profile"]),
        ({"sharpness": 2.9}, ["frontal", "blurred"]),
        ({"light": 44.0}, ["frontal", "dark"]),
        ({"size_px": 31.0}, ["frontal", "small"]),
        ({"plausible": 0.0}, ["frontal", "not_a_face"]),
        ({"glasses": quality.GLASSES + 0.1}, ["frontal", "glasses"]),
        ({"foreign": quality.FOREIGN + 0.01}, ["frontal", "occluded"]),
        ({"outside": quality.OUTSIDE + 0.01}, ["frontal", "occluded"]),
        ({"yaw": -0.9, "sharpness": 0.0, "light": 0.0, "size_px": 4.0, "plausible": 0.0},
         ["profile", "blurred", "dark", "small", "not_a_face"]),
    ],
)  # fmt: skip
def test_flags(values, flags):
    assert quality.track_flags(looks(**values)) == flags


def test_a_tracks_flags_are_of_its_median_face():
    three = together([looks(yaw=0.0), looks(yaw=0.1), looks(yaw=0.9, glasses=30.0, foreign=1.0)])
    assert quality.track_flags(three) == ["frontal"]
    two_of_three = [looks(glasses=30.0, outside=0.5), looks(glasses=30.0, foreign=1.0), looks()]
    assert quality.track_flags(together(two_of_three)) == ["frontal", "glasses", "occluded"]


@pytest.mark.parametrize(
    ("one", "labels"),
    [
        ({}, ["frontal"]),
        ({"yaw": -0.4}, []),
        ({"yaw": -0.6}, ["profile"]),
        ({"sharpness": 2.9}, ["frontal", "blurred"]),
        ({"glasses": 30.0}, ["frontal", "glasses"]),
        ({"foreign": 1.0}, ["frontal", "occluded"]),
        ({"outside": 0.2}, ["frontal", "occluded"]),
        ({"light": 44.0}, ["frontal", "dark"]),
        ({"size_px": 4.0, "plausible": 0.0, "score": 0.0}, ["frontal"]),
        ({"yaw": 0.9, "sharpness": 0.0, "glasses": 30.0, "outside": 1.0, "light": 0.0},
         ["profile", "blurred", "glasses", "occluded", "dark"]),
    ],
)  # fmt: skip
def test_one_face_of_a_hundred_gives_its_track_a_label_but_frontal_is_of_all(one, labels):
    hundred = [looks(), looks(**one)] + [looks()] * 98
    assert quality.give_quality_labels(together(hundred)) == labels
    assert quality.track_flags(together(hundred)) == ["frontal"]
    assert quality.give_quality_labels(looks(**one)) == labels


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_labels_against_the_definitions_face_by_face(seed, n):
    rng = np.random.default_rng(seed)
    faces = [
        looks(
            yaw=rng.uniform(-0.7, 0.7), sharpness=rng.uniform(2.7, 6), light=rng.uniform(40, 90),
            glasses=rng.uniform(-5, 11), foreign=rng.uniform(0, 0.27), outside=rng.uniform(0, 0.11),
        )
        for _ in range(n)
    ]  # fmt: skip
    expected = []
    if all(abs(face.yaw[0]) < 0.3 for face in faces):
        expected.append("frontal")
    for label, holds in (
        ("profile", lambda face: abs(face.yaw[0]) > 0.55),
        ("blurred", lambda face: face.sharpness[0] < 3),
        ("glasses", lambda face: face.glasses[0] > 9),
        ("occluded", lambda face: face.foreign[0] > 0.25 or face.outside[0] > 0.1),
        ("dark", lambda face: face.light[0] < 45),
    ):
        if any(holds(face) for face in faces):
            expected.append(label)
    assert quality.give_quality_labels(together(faces)) == expected


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_track_quality_is_the_mean_of_the_better_half(values):
    half = sorted(values, reverse=True)[: -(-len(values) // 2)]
    assert quality.track_quality(np.array(values, np.float32), np.ones(len(values)), None) == pytest.approx(
        sum(half) / len(half), abs=1e-5
    )


def test_a_face_that_the_embedder_does_not_see_is_worth_nothing():
    good = np.array([0.8, 0.6], np.float32)
    for norms, expected in (([20, 30], 0.8), ([15, 10], 0.4), ([10, 15], 0.3), ([3, 10], 0.016)):
        assert quality.track_quality(good, np.array(norms, np.float32), (10.0, 20.0)) == pytest.approx(expected)
