"""Pictures and truth out of shots: where everybody is in each frame, and how it looks."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.demo_film.screenplay import DISSOLVE_FRAMES, FPS, HEIGHT, WIDTH, Part, Shot

LEAST_VISIBLE = 0.5  # share of a face's box that must be in the picture to count as true


def frames_of(shots: Sequence[Shot]) -> Iterator[list[tuple[Shot, int, float]]]:
    """For each frame of the film: the shots in it, each with the frame within the shot and its weight.

    There are two while one dissolves into the next, else one.
    """
    for shot, following in itertools.zip_longest(shots, shots[1:]):
        begin = DISSOLVE_FRAMES if shot.dissolve else 0
        overlap = DISSOLVE_FRAMES if following is not None and following.dissolve else 0
        for k in range(begin, shot.n_frames - overlap):
            yield [(shot, k, 1.0)]
        if following is not None:
            for k in range(overlap):
                weight = (k + 1) / (overlap + 1)
                yield [(shot, shot.n_frames - overlap + k, 1 - weight), (following, k, weight)]


def render(shots: Sequence[Shot]) -> Iterator[NDArray[np.uint8]]:
    """The film's frames, (HEIGHT, WIDTH, 3) BGR uint8."""
    for shown in frames_of(shots):
        image = frame(*shown[0][:2])
        if len(shown) == 2:
            image = cv2.addWeighted(image, shown[0][2], frame(*shown[1][:2]), shown[1][2], 0)
        yield image


def truth(shots: Sequence[Shot]) -> Iterator[tuple[int, float, float, float, float, str]]:
    """frame, x, y, w, h, label of each face that is at least half in the picture."""
    for number, shown in enumerate(frames_of(shots)):
        for shot, k, weight in shown:
            if weight >= 0.5:
                for part in shot.parts:
                    if (box := visible_box(part, move_part(part, shot, k))) is not None:
                        yield number, *box, f"person_{part.picture.person:02}"


def write_truth(rows: Iterable[tuple[int, float, float, float, float, str]], path: Path) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["frame", "x", "y", "w", "h", "label"])
        writer.writerows((number, *(f"{value:.1f}" for value in box), label) for number, *box, label in rows)


def move_part(part: Part, shot: Shot, k: int) -> NDArray[np.float64]:
    """(2, 3) float64: from the photograph's pixels to the frame's, in frame `k` of the shot."""
    u = k / max(shot.n_frames - 1, 1)
    u = u * u * (3 - 2 * u)  # slow at both ends
    a, b = np.array(part.start), np.array(part.end)
    x, y, face, turn = a + u * (b - a)
    left, top, wide, high = part.picture.box
    face_x, face_y = left + wide / 2, top + high / 2
    scale = face * HEIGHT / high
    if not part.screen:
        scale = max(scale, _least_scale(part))
        x = np.clip(x, *_bound_x(part, scale))
    sway = 0.003 * math.sin(2 * math.pi * (0.4 * k / FPS + 0.37 * part.picture.person))  # a camera held by hand
    x, y = (x + sway) * WIDTH, (y + sway / 2) * HEIGHT
    cos, sin = scale * math.cos(math.radians(turn)), scale * math.sin(math.radians(turn))
    return np.array([[cos, -sin, x - cos * face_x + sin * face_y], [sin, cos, y - sin * face_x - cos * face_y]])


def _least_scale(part: Part) -> float:
    """The scale at which the photograph reaches the bottom of the frame, and all but a fifth of its columns.

    What is missing at the sides and the top is mirrored; a mirrored chest would show.
    """
    high, wide = part.picture.image.shape[:2]
    below = high - part.picture.box[1] - part.picture.box[3] / 2
    lowest = max((1 - min(camera.y for camera in (part.start, part.end))) * HEIGHT / below, 0)
    return max(lowest * 1.02, 0.8 * (part.right - part.left) * WIDTH / wide)


def _bound_x(part: Part, scale: float) -> tuple[float, float]:
    """Least and greatest x of the face (shares of the frame) at which no more than half of what lies beside the head is
    mirrored, so that no second head appears; their mean twice where that cannot be."""
    left, _, wide, _ = part.picture.box
    width = part.picture.image.shape[1]
    face_x = left + wide / 2
    before, after = face_x + max(left - 0.4 * wide, 0) / 2, width - face_x + max(width - left - 1.4 * wide, 0) / 2
    least, greatest = part.right - after * scale / WIDTH, part.left + before * scale / WIDTH
    return (least, greatest) if least <= greatest else ((least + greatest) / 2,) * 2


def visible_box(part: Part, transform: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """The face's box in the frame (x, y, w, h), cut at the edges of its columns; None where most of it is outside.

    A face is taken for an ellipse, whose box turns with it.
    """
    left, top, wide, high = part.picture.box
    x, y = transform @ (left + wide / 2, top + high / 2, 1)
    half_w, half_h = np.linalg.norm(transform[:, :2] * (wide / 2, high / 2), axis=1)
    x0, x1 = max(x - half_w, part.left * WIDTH), min(x + half_w, part.right * WIDTH)
    y0, y1 = max(y - half_h, 0.0), min(y + half_h, float(HEIGHT))
    if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < LEAST_VISIBLE * 4 * half_w * half_h:
        return None
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def frame(shot: Shot, k: int) -> NDArray[np.uint8]:
    """Frame `k` of a shot, (HEIGHT, WIDTH, 3) BGR uint8."""
    image = None if shot.backdrop is None else _drifting(shot.backdrop, k)
    for part in shot.parts:
        transform = move_part(part, shot, k)
        layer = cv2.warpAffine(part.picture.image, transform, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
        image = layer if image is None else _over(image, layer, _opacity(part, transform))
    if image is None:
        raise ValueError("a shot needs a part or a backdrop")
    if shot.blur_px:
        image = cv2.GaussianBlur(image, (0, 0), shot.blur_px)
    if shot.gain != 1 or shot.noise:
        grain = np.random.default_rng(k).normal(0, shot.noise, (HEIGHT, WIDTH, 1))
        image = np.clip(image * shot.gain + grain, 0, 255).astype(np.uint8)
    return image


def _drifting(backdrop: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """The backdrop under a camera that comes slowly nearer."""
    zoom = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, 1 + 0.0015 * k)
    return cv2.warpAffine(backdrop, zoom, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)


def _over(below: NDArray[np.uint8], above: NDArray[np.uint8], opacity: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(below + (above.astype(np.float32) - below) * opacity).astype(np.uint8)


def _opacity(part: Part, transform: NDArray[np.float64]) -> NDArray[np.floating]:
    """How much a part hides what is before it, 0 to 1, to be broadcast over (HEIGHT, WIDTH, 3) float32."""
    columns, rows = np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)[:, None]
    if not part.screen:  # a soft seam at the left: the parts come from left to right
        return np.clip((columns - part.left * WIDTH) / 24 + 0.5, 0, 1)[None, :, None]
    left, top, wide, high = part.picture.box
    corners = np.array([[left - 0.7 * wide, top - 0.5 * high, 1], [left + 1.7 * wide, top + 1.45 * high, 1]])
    (x0, y0), (x1, y1) = corners @ transform.T  # a screen is never turned
    across, down = (np.minimum(at - low, high - at) for at, low, high in ((columns, x0, x1), (rows, y0, y1)))
    return np.clip(np.minimum(across, down), 0, 1)[..., None].astype(np.float32)
