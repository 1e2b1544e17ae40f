"""How much a face can be trusted: size, sharpness, pose, light and detector score, all between 0 and 1.

And what can be said of how it looks, by the same measures and those of `glasses` and `occlusion`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from udfs.kernels.harvest.glasses import measure_glasses
from udfs.kernels.harvest.occlusion import measure_foreign, measure_outside

# Each pair is (worth nothing, worth everything); between them the worth grows in a straight line. They are round
# numbers of the 112-pixel aligned crop, chosen by eye on the demo film's blurred, dark and small scenes.
SIZE_PX = (16.0, 80.0)  # smaller side of the box in the film
SHARPNESS = (1.5, 5.0)  # log of the Laplacian's variance
LIGHT = (20.0, 70.0)  # mean grey level
SCORE = (0.3, 0.75)

LEAST = 0.02  # one bad side makes a face poor, two make it worthless

PROFILE_YAW, FRONTAL_YAW = 0.55, 0.3
AWAY_YAW = 0.8  # beyond it a crop shows no two rims
SMALL_PX, BLURRED, DARK = 32.0, 3.0, 45.0
GLASSES, FOREIGN, OUTSIDE = 9.0, 0.25, 0.1  # hardly a bare face has more (tests/bench/RESULTS.md)


class Measures(NamedTuple):
    """What is measured of each face: (n,) float32 each.

    Attributes:
        size_px: smaller side of its box.
        sharpness: log variance of the Laplacian of the aligned crop.
        light: mean grey level of the crop, 0 to 255.
        yaw: -1 (full left) to 1 (full right), 0 frontal; from landmarks.
        score: the detector's.
        plausible: 1 where the landmarks could be a face's, else 0.
        glasses: how surely it wears them (`measure_glasses`); 0 where it looks away.
        foreign: how far a large patch's colour is from the face's own (`measure_foreign`); 0 in profile.
        outside: share of it beyond the picture (`measure_outside`).
    """

    size_px: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    light: NDArray[np.float32]
    yaw: NDArray[np.float32]
    score: NDArray[np.float32]
    plausible: NDArray[np.float32]
    glasses: NDArray[np.float32]
    foreign: NDArray[np.float32]
    outside: NDArray[np.float32]

    @property
    def occluded(self) -> NDArray[np.bool_]:
        """(n,) whether a part of it is hidden, as far as can be seen."""
        return (self.foreign > FOREIGN) | (self.outside > OUTSIDE)


def measure_faces(
    crops: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    landmarks: NDArray[np.floating],
    scores: NDArray[np.floating],
    picture: tuple[int, int],
) -> Measures:
    """Measure n faces.

    Args:
        crops: (n, 112, 112, 3) uint8 BGR, aligned. boxes: (n, 4) x y w h pixels. landmarks: (n, 5, 2) pixels:
            eyes, nose, mouth corners, image left first. scores: (n,) 0 to 1. picture: its height and width.
    """
    if not len(crops):
        return Measures(*(np.zeros(0, np.float32) for _ in Measures._fields))
    column = np.ascontiguousarray(crops).reshape(-1, *crops.shape[2:])  # one call for all, one below the other
    grays = cv2.cvtColor(column, cv2.COLOR_BGR2GRAY).reshape(crops.shape[:3])
    inner = [gray[16:96, 16:96] for gray in grays]  # the face without its surround
    edges = [cv2.Laplacian(image, cv2.CV_16S) for image in inner]  # whole numbers, and quicker than of floats
    variance = [cv2.norm(edge) ** 2 / edge.size - cv2.mean(edge)[0] ** 2 for edge in edges]
    yaw = measure_yaw(landmarks)
    turned = np.abs(yaw)
    return Measures(
        np.minimum(boxes[:, 2], boxes[:, 3]).astype(np.float32),
        np.log(np.maximum(np.array(variance, np.float32), 1e-3)),
        np.array([cv2.mean(image)[0] for image in inner], np.float32),
        yaw,
        scores.astype(np.float32),
        check_plausible(boxes, landmarks),
        _measure_where(turned <= AWAY_YAW, measure_glasses, grays),
        _measure_where(turned <= PROFILE_YAW, measure_foreign, crops),  # beside a profile the crop shows what is there
        measure_outside(landmarks, picture),
    )


def _measure_where(
    meant: NDArray[np.bool_], measure: Callable[[NDArray[np.uint8]], NDArray[np.float32]], pictures: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """(n,) float32: the measure of the pictures that are meant, 0 of the others."""
    if meant.all():
        return measure(pictures)
    values = np.zeros(len(meant), np.float32)
    if meant.any():
        values[meant] = measure(pictures[meant])
    return values


def measure_yaw(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 5, 2) -> (n,) float32 in [-1, 1]: how far the nose lies from the middle of the eyes along their line."""
    left, right, nose = landmarks[:, 0], landmarks[:, 1], landmarks[:, 2]
    line = (right - left).astype(np.float64)
    width2 = np.maximum((line**2).sum(axis=1), 1e-6)
    along = ((nose - left) * line).sum(axis=1) / width2  # 0 at the left eye, 1 at the right one
    return (2 * along - 1).clip(-1, 1).astype(np.float32)


def check_plausible(boxes: NDArray[np.floating], landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n,) float32: 1 where eyes stand above mouth, apart, and all points lie in or near the box, else 0."""
    corner, size = boxes[:, None, :2], boxes[:, None, 2:]
    away = (landmarks - corner) / np.maximum(size, 1e-6)  # 0 to 1 inside the box
    near = ((away > -0.2) & (away < 1.2)).all(axis=(1, 2))
    drop = landmarks[:, 3:].mean(axis=1) - landmarks[:, :2].mean(axis=1)  # from the eyes to the mouth
    tall = (drop**2).sum(axis=1) > (0.15 * boxes[:, 3]) ** 2
    return (near & tall).astype(np.float32)


def face_quality(measures: Measures) -> NDArray[np.float32]:
    """(n,) float32 in [0, 1]: the geometric mean of the five worths, so that one bad side weighs"""
    worths = np.stack(
        [
            _scale(measures.size_px, SIZE_PX),
            _scale(measures.sharpness, SHARPNESS),
            _scale(measures.light, LIGHT),
            1 - 0.7 * np.abs(measures.yaw),
            _scale(measures.score, SCORE),
        ]
    )
    return (np.prod(worths, axis=0) ** (1 / len(worths)) * measures.plausible).astype(np.float32)


def track_quality(
    quality: NDArray[np.floating], norm: NDArray[np.floating], norms: tuple[float, float] | None
) -> float:
    """How well a track's face can be known, 0 to 1: the mean of the better half of its embedded faces.

    A face counts by its quality times what the embedder saw of it. The length of an embedding before it was made one
    tells both a face that cannot be known from one that can, and how near its person it lies, better than size, light
    and the rest (tests/bench/RESULTS.md). The better half: a good look at a face is enough.

    Args:
        quality: (n,) `face_quality`, n >= 1. norm: (n,) `faces.Embedded.norm`.
        norms: lengths worth nothing and everything in this embedder; None where nobody has measured them.
    """
    worths = quality if norms is None else quality * _scale(norm, norms)
    ranked = np.sort(worths)[::-1]
    return float(ranked[: (len(ranked) + 1) // 2].mean())


def track_flags(measures: Measures) -> list[str]:
    """What can be said of a track, by the median of its faces, in the order of this list. n >= 1.

    frontal / profile by yaw, blurred by sharpness, dark by light, small by size, not_a_face where most landmarks
    cannot be a face's, glasses and occluded where most faces seem so.
    """
    yaw_median = float(np.median(np.abs(measures.yaw)))
    flags = {
        "frontal": yaw_median < FRONTAL_YAW,
        "profile": yaw_median > PROFILE_YAW,
        "blurred": float(np.median(measures.sharpness)) < BLURRED,
        "dark": float(np.median(measures.light)) < DARK,
        "small": float(np.median(measures.size_px)) < SMALL_PX,
        "not_a_face": float(measures.plausible.mean()) < 0.5,
        "glasses": float(np.median(measures.glasses)) > GLASSES,
        "occluded": float(measures.occluded.mean()) > 0.5,
    }
    return [flag for flag, holds in flags.items() if holds]


def give_quality_labels(measures: Measures) -> list[str]:
    """The labels of a track by the definitions of MvCorr (Somandepalli et al. 2021, section III-A).

    frontal: all faces look at the camera; profile, blurred, glasses, occluded, dark: at least one face is so. Unlike
    labels that people give they are not robust: one false measure in a long track gives one. n >= 1.
    """
    yaw = np.abs(measures.yaw)
    labels = {
        "frontal": (yaw < FRONTAL_YAW).all(),
        "profile": (yaw > PROFILE_YAW).any(),
        "blurred": (measures.sharpness < BLURRED).any(),
        "glasses": (measures.glasses > GLASSES).any(),
        "occluded": measures.occluded.any(),
        "dark": (measures.light < DARK).any(),
    }
    return [label for label, holds in labels.items() if holds]


def _scale(values: NDArray[np.floating], span: tuple[float, float]) -> NDArray[np.floating]:
    nothing, everything = span
    return np.clip((values - nothing) / (everything - nothing), LEAST, 1)
