"""Whether a part of a face is hidden: cut off by the picture's edge, or behind something of another colour.

What has the colour of skin, first of all a hand, is not found: it cannot be told from a face without a trained network.
Nor is anything in black and white, in coloured light, or beside a face in profile; of those things nothing is said. Of
faces that people call hidden a quarter is found in films and none in photographs, where hands hide them; what is found
is hardly ever wrong in films (tests/bench/RESULTS.md).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FACE = slice(40, 104), slice(32, 80)  # rows and columns of the crop: brows to chin
BLOCKS = 6, 8  # columns and rows of 8 pixels
SHADOW, GLARE = 60.0, 250.0  # sum of a block's channels at which its colour counts half; a channel that is full
SKIN = np.array([0.45, 0.0, 1.13]), np.array([1.4, np.inf, 2.0])  # B G R over G: least, most in nearly white light


def _span_face() -> NDArray[np.float64]:
    """(64, 5): points of a face as weights of its landmarks; 8 along the eyes and beyond, 8 from brows to chin."""
    spread = np.meshgrid(np.linspace(-0.65, 0.65, 8), np.linspace(-0.25, 1.3, 8))
    along, down = (part.reshape(-1, 1) for part in spread)
    eye, mouth = (1 - down) / 2, down / 2
    return np.hstack([eye - along, eye + along, np.zeros_like(along), mouth, mouth])


POINTS = _span_face()


def measure_outside(landmarks: NDArray[np.floating], picture: tuple[int, int]) -> NDArray[np.float32]:
    """(n,) float32, 0 to 1: the share of each face, from the brows to the chin, that lies beyond the picture.

    Args:
        landmarks: (n, 5, 2) pixels, eyes, nose, mouth corners; a detector guesses those that it does not see.
        picture: its height and width. The face is as wide as its eyes make it: in profile it is narrow.
    """
    middle = np.array([picture[1] - 1, picture[0] - 1]) / 2
    inside = np.abs(POINTS @ landmarks - middle) <= middle
    return 1 - (inside[..., 0] & inside[..., 1]).mean(axis=1, dtype=np.float32)


def measure_foreign(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 112, 112, 3) BGR aligned crops -> (n,) float32: how far a large patch's colour is from the face's own.

    A patch is 4 x 4 blocks of 8 pixels, as far away as the nearest of them; of all patches the farthest counts. The
    distance is that of the channels' shares, in thirds; it counts less in shadow, and not where light has burnt out the
    picture. The face's own colour is that of the reddest third of its blocks; where it is not skin in nearly white
    light, 0. So a grey film, or one tinted in one colour, has nothing foreign. The same for a mirrored crop. n >= 1.
    """
    n = len(crops)
    means = np.array([cv2.resize(crop[FACE], BLOCKS, interpolation=cv2.INTER_AREA) for crop in crops]).reshape(n, -1, 3)
    light = means.sum(axis=-1, dtype=np.float32)
    colour = means / np.maximum(light, 1)[..., None]
    redness = colour[..., 2] - colour[..., 0]
    own = redness >= np.sort(redness, axis=1)[:, [2 * redness.shape[1] // 3]]
    skin = (own[:, None] @ colour) / own.sum(axis=1)[:, None, None]
    away = colour - skin
    weight = 3 * light / (light + SHADOW) * (means.max(axis=-1) < GLARE)
    distance = (weight * np.sqrt((away * away).sum(axis=-1))).reshape(n, -1, BLOCKS[0])
    patches = _least_of_four(_least_of_four(distance).swapaxes(1, 2))
    ratio = skin[:, 0] / np.maximum(skin[:, 0, 1:2], 1e-6)
    is_skin = ((ratio > SKIN[0]) & (ratio < SKIN[1])).all(axis=1)
    return (patches.max(axis=(1, 2)) * is_skin).astype(np.float32)


def _least_of_four(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n, a, b) -> (n, a - 3, b): the least of four values, one after the other along the second axis."""
    pairs = np.minimum(values[:, :-1], values[:, 1:])
    return np.minimum(pairs[:, :-2], pairs[:, 2:])
