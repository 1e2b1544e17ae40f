"""What the demo film shows: people out of photographs, their moves, the shots in order."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from udfs.kernels.harvest.networks import Faces

WIDTH, HEIGHT, FPS = 640, 360, 24
DISSOLVE_FRAMES = 12
PICTURES = "faces_images.zip"
FIRST_PICTURE = (1, 22, 42, 47, 69, 90, 113, 133, 138, 159, 164, 169, 174, 194, 215, 240, 262, 267, 286, 306, 326, 346,
                 366, 393, 398, 418, 436)  # fmt: skip
DRAWINGS = range(388, 393)


class Camera(NamedTuple):
    """Centre of the face (shares of the frame), least height of the face (share of the frame's), turn in degrees."""

    x: float
    y: float
    face: float
    turn: float = 0.0


class Picture(NamedTuple):
    """One photograph: its one face's box (x, y, w, h) in its own pixels, and whose it is."""

    image: NDArray[np.uint8]
    box: NDArray[np.floating]
    person: int


class Part(NamedTuple):
    """A photograph in a shot, in the columns `left` to `right` of the frame (shares), or as a `screen` before
    the shot's backdrop that shows head and shoulders."""

    picture: Picture
    start: Camera
    end: Camera
    left: float = 0.0
    right: float = 1.0
    screen: bool = False


class Shot(NamedTuple):
    """What is filmed, for how long and in what light; `dissolve` melts it into the shot before it."""

    seconds: float
    parts: tuple[Part, ...]
    backdrop: NDArray[np.uint8] | None = None
    gain: float = 1.0
    noise: float = 0.0
    blur_px: float = 0.0
    dissolve: bool = False

    @property
    def n_frames(self) -> int:
        return round(self.seconds * FPS)


class Cast:
    """Hands out photographs: of each person one after the other, in an order that `seed` decides."""

    def __init__(self, pictures: Path, faces: Faces, seed: int) -> None:
        self._archive, self._faces = zipfile.ZipFile(pictures), faces
        self._usable = {person: self._pictures_of(person, seed) for person in range(1, len(FIRST_PICTURE))}

    def _pictures_of(self, person: int, seed: int) -> Iterator[Picture]:
        """Photographs that show one whole face, again from the first one when all have been shown."""
        numbers = [n for n in range(FIRST_PICTURE[person - 1], FIRST_PICTURE[person]) if n not in DRAWINGS]
        order = np.random.default_rng([seed, person]).permutation(numbers)
        while True:
            for number in order:
                if (picture := self._read(number, person)) is not None:
                    yield picture

    def _read(self, number: int, person: int) -> Picture | None:
        content = self._archive.read(f"faces_images/image_{number:04}.jpg")
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        (found,) = self._faces.detect([image])
        if len(found.boxes) != 1:
            return None  # somebody in the background would be a face without a name
        x, y, w, h = found.boxes[0]
        whole = x >= 0 and y >= 0 and x + w <= image.shape[1] and y + h <= image.shape[0]
        return Picture(image, found.boxes[0].astype(float), person) if whole else None

    def picture(self, person: int) -> Picture:
        """The person's next photograph."""
        return next(self._usable[person])


MEDIUM, CLOSE = Camera(0.5, 0.46, 0.46), Camera(0.5, 0.5, 0.72)


MOVES = {
    "still": (MEDIUM, MEDIUM),
    "in": (MEDIUM, CLOSE),
    "out": (CLOSE, MEDIUM),
    "close": (CLOSE, Camera(0.48, 0.5, 0.78)),
    "pan": (Camera(0.36, 0.47, 0.5), Camera(0.64, 0.47, 0.5)),
    "pan back": (Camera(0.62, 0.47, 0.52), Camera(0.4, 0.47, 0.52)),
    "turn": (Camera(0.5, 0.47, 0.5, -14), Camera(0.5, 0.47, 0.55, 14)),
    "tilt": (Camera(0.5, 0.62, 0.5, 6), Camera(0.5, 0.42, 0.5, 0)),
}


def whole_screenplay(cast: Cast) -> list[Shot]:
    """The film: 26 people in about 75 seconds, ten of them leads, six extras seen once (3, 10, 12, 16, 17 and 24)."""
    return [
        empty(cast, 3, 1.2),
        alone(cast, 1, "in", 1.8),
        *dialogue(cast, 1, 5, turns=3, seconds=1.3),
        together(cast, [1, 5], 1.8),
        alone(cast, 2, "pan", 1.6),
        alone(cast, 3, "still", 1.1),
        together(cast, [2, 8, 11], 1.8),
        *dialogue(cast, 2, 7, turns=2, seconds=1.3),
        alone(cast, 14, "turn", 1.6),
        alone(cast, 18, "close", 1.6, dissolve=True),
        together(cast, [14, 18], 1.8),
        screens(cast, [20, 21, 4, 8], 1.8),
        alone(cast, 21, "out", 1.4),
        *dialogue(cast, 20, 21, turns=2, seconds=1.3),
        alone(cast, 12, "pan back", 1.1),
        alone(cast, 23, "in", 1.6, gain=0.22, noise=5),
        alone(cast, 25, "still", 1.2, gain=0.2, noise=5),
        together(cast, [23, 25], 1.5, gain=0.3, noise=4),
        alone(cast, 23, "pan", 1.4),
        alone(cast, 6, "still", 1.2),
        together(cast, [6, 9, 13], 1.8),
        alone(cast, 9, "tilt", 1.2),
        alone(cast, 13, "close", 1.2, blur_px=4.0),
        empty(cast, 16, 1.0),
        alone(cast, 16, "pan", 1.5, dissolve=True),
        together(cast, [15, 19], 1.7),
        alone(cast, 15, "turn", 1.3),
        alone(cast, 19, "in", 1.3, blur_px=2.5),
        screens(cast, [5, 7, 25, 14, 11, 23], 1.8),
        alone(cast, 10, "out", 1.1),
        *dialogue(cast, 25, 14, turns=2, seconds=1.3),
        together(cast, [22, 26], 1.7),
        alone(cast, 22, "tilt", 1.2),
        alone(cast, 26, "pan back", 1.2, gain=0.15, noise=4),
        alone(cast, 24, "still", 1.1),
        alone(cast, 4, "pan", 1.2),
        alone(cast, 17, "turn", 1.1),
        together(cast, [1, 20, 7], 1.8),
        alone(cast, 5, "close", 1.4, blur_px=3.0),
        alone(cast, 18, "pan", 1.5),
        alone(cast, 7, "turn", 1.6, dissolve=True),
        together(cast, [2, 21, 18], 1.8),
    ]


def short_screenplay(cast: Cast) -> list[Shot]:
    """A few scenes with four people, one of each kind, in about 12 seconds."""
    return [
        alone(cast, 1, "in", 1.5),
        *dialogue(cast, 1, 5, turns=2, seconds=1.2),
        together(cast, [1, 5], 1.5),
        empty(cast, 3, 1.0),
        alone(cast, 18, "turn", 1.2),
        screens(cast, [20, 18, 5], 1.5),
        alone(cast, 20, "pan", 1.2, gain=0.25, noise=5),
    ]


def alone(
    cast: Cast, person: int, move: str, seconds: float, *, gain: float = 1.0, noise: float = 0.0, blur_px: float = 0.0,
    dissolve: bool = False,
) -> Shot:  # fmt: skip
    """One person, one camera move."""
    part = Part(cast.picture(person), *MOVES[move])
    return Shot(seconds, (part,), gain=gain, noise=noise, blur_px=blur_px, dissolve=dissolve)


def dialogue(cast: Cast, one: int, other: int, turns: int, seconds: float = 1.4) -> Iterator[Shot]:
    """Shot and reverse shot: each of two camera set-ups returns `turns` times, a little nearer every time."""
    here, there = cast.picture(one), cast.picture(other)
    for turn in range(turns):
        for picture, x, longer in ((here, 0.42, 0.0), (there, 0.58, -0.2)):
            start = Camera(x, 0.46, 0.5 + 0.02 * turn)
            yield Shot(seconds + longer, (Part(picture, start, start._replace(face=start.face + 0.02)),))


def together(cast: Cast, people: Sequence[int], seconds: float, *, gain: float = 1.0, noise: float = 0.0) -> Shot:
    """Two or three people side by side in one frame."""
    wide = 1 / len(people)
    parts = []
    for place, person in enumerate(people):
        camera = Camera((place + 0.5) * wide, 0.47, 0.4)
        nearer = Camera(camera.x + 0.015, 0.46, 0.44, turn=3 - 3 * place)
        parts.append(Part(cast.picture(person), camera, nearer, place * wide, (place + 1) * wide))
    return Shot(seconds, tuple(parts), gain=gain, noise=noise)


def screens(cast: Cast, people: Sequence[int], seconds: float) -> Shot:
    """Small faces: a wall of screens in a dark room."""
    parts = []
    for place, person in enumerate(people):
        x, y = (place + 0.5) / len(people), 0.3 + 0.3 * (place % 2)
        start = Camera(x - 0.01, y, 0.1 + 0.02 * (place % 3))
        parts.append(Part(cast.picture(person), start, Camera(x + 0.01, y, start.face + 0.015), screen=True))
    return Shot(seconds, tuple(parts), backdrop=(unsharp(background(cast.picture(people[0]))) * 0.35).astype(np.uint8))


def empty(cast: Cast, person: int, seconds: float) -> Shot:
    """A place with nobody in it: the larger side of a photograph, beside the face."""
    return Shot(seconds, (), backdrop=background(cast.picture(person)))


def background(picture: Picture) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3): the part of the photograph left or right of the person, whichever is wider."""
    x, _, w, _ = picture.box
    wide = picture.image.shape[1]
    left, right = max(x - 0.45 * w, 8), min(x + 1.45 * w, wide - 8)
    strip = picture.image[:, : int(left)] if left > wide - right else picture.image[:, int(right) :]
    high = strip.shape[1] * HEIGHT // WIDTH
    return cv2.resize(strip[: max(high, 1)], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def unsharp(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(image, (0, 0), 14)
