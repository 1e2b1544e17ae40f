"""Aligned faces drawn with a few shapes: skin, hair, brows, eyes, nose, mouth, and what may lie over them."""

from __future__ import annotations

import cv2
import numpy as np

SKIN, HAIR, EYES, LIPS = (120, 150, 200), (30, 40, 60), (40, 45, 55), (90, 85, 160)  # B G R
LEFT_EYE, RIGHT_EYE = (38, 52), (74, 52)


def draw_face(skin: tuple[float, ...] = SKIN, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """(112, 112, 3) uint8 BGR."""
    face = np.full((112, 112, 3), (70, 90, 80), np.uint8)
    cv2.ellipse(face, (56, 58), (44, 58), 0, 0, 360, HAIR, -1)
    cv2.ellipse(face, (56, 66), (36, 50), 0, 0, 360, skin, -1)
    for x, y in (LEFT_EYE, RIGHT_EYE):
        cv2.ellipse(face, (x, y), (6, 3), 0, 0, 360, EYES, -1)
        cv2.ellipse(face, (x, y - 9), (9, 3), 0, 180, 360, HAIR, 2)
    cv2.ellipse(face, (56, 72), (6, 3), 0, 0, 180, tuple(0.7 * channel for channel in skin), 1)
    cv2.ellipse(face, (56, 92), (13, 4), 0, 0, 360, LIPS, -1)
    grain = np.random.default_rng(seed).normal(0, noise, face.shape)
    return np.clip(cv2.GaussianBlur(face, (0, 0), 1.0) + grain, 0, 255).astype(np.uint8)


def put_on_glasses(face: np.ndarray, colour: tuple[int, int, int] = (25, 25, 25)) -> np.ndarray:
    """Round rims, a bridge over the nose, and the arms."""
    worn = face.copy()
    for (x, y), outside in ((LEFT_EYE, 8), (RIGHT_EYE, 104)):
        cv2.ellipse(worn, (x, y + 2), (14, 13), 0, 0, 360, colour, 2, cv2.LINE_AA)
        cv2.line(worn, (x - 14 if outside < x else x + 14, y - 2), (outside, y - 4), colour, 2, cv2.LINE_AA)
    cv2.line(worn, (52, 52), (60, 52), colour, 2, cv2.LINE_AA)
    return worn


def cover(face: np.ndarray, colour: tuple[float, ...], top: int = 60, bottom: int = 112) -> np.ndarray:
    """Something of one colour before it, from side to side."""
    hidden = face.copy()
    hidden[top:bottom, 20:92] = np.array(colour).astype(np.uint8)
    return hidden


def show_grey(face: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
