"""The demo's film and its truth: photographs of 26 people under a moving virtual camera, cut like a film.

A shot shows one to four photographs. A camera is where a face's centre lies in the frame, how tall the face is and how
far it is turned; between the first and the last frame of a shot it moves smoothly. Because the camera is known, so is
the box of every face in every frame: the detector is asked once for each photograph, never for the film.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from conf.cache import cache_dir
from udfs import assets
from udfs.kernels.harvest.networks import Faces, open_faces

WIDTH, HEIGHT, FPS = 640, 360, 24
SEED = 3
DISSOLVE_FRAMES = 12
LEAST_VISIBLE = 0.5  # share of a face's box that must be in the picture to count as true
PICTURES = "faces_images.zip"
# person_01 is on pictures 1 to 21, and so on; 388 to 392 are drawings of other faces
FIRST_PICTURE = (1, 22, 42, 47, 69, 90, 113, 133, 138, 159, 164, 169, 174, 194, 215, 240, 262, 267, 286, 306, 326, 346,
                 366, 393, 398, 418, 436)  # fmt: skip
DRAWINGS = range(388, 393)


class Film(NamedTuple):
    """A film and its truth: a CSV of frame, x, y, w, h, label; frames count from 0, boxes are in pixels."""

    path: Path
    truth: Path


class Camera(NamedTuple):
    """Centre of the face (shares of the frame), least height of the face (share of the frame's), turn in degrees."""

    x: float
    y: float
    face: float
    turn: float = 0.0


class Picture(NamedTuple):
    """One photograph: its one face's box (x, y, w, h) in its own pixels, and whose it is."""

    image: np.ndarray
    box: np.ndarray
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
    backdrop: np.ndarray | None = None
    gain: float = 1.0
    noise: float = 0.0
    blur_px: float = 0.0
    dissolve: bool = False

    @property
    def n_frames(self) -> int:
        return round(self.seconds * FPS)


def build(
    folder: Path | None = None, *, small: bool = False, seed: int = SEED, say: Callable[[str], None] = print
) -> Film:
    """The film in H.264 (640 x 360, 24 frames a second) and its truth; built once, then found again in `folder`.

    About 75 seconds with 26 people, or about 12 seconds with four where `small`. The same `seed` and version give the
    same frames and the same truth. `folder` is the cache's `films` where None.

    Raises:
        ModelError: photographs or detector cannot be had.
    """
    folder = folder or cache_dir() / "films"
    sources = [assets.fetch(name, say=say) for name in (PICTURES, *assets.pack("buffalo_sc").files)]
    name = "castmine_demo_small" if small else "castmine_demo"
    home = folder / f"{name}-{_version(sources, small, seed)}"
    film = Film(home / f"{name}.mp4", home / f"{name}.truth.csv")
    if home.is_dir():
        return film
    say(f"building {film.path}: once, less than a minute")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        cast = Cast(sources[0], open_faces(sources[1], sources[2], "insightface", min_score=0.3), seed)
        shots = short_screenplay(cast) if small else screenplay(cast)
        encode(render(shots), made / film.path.name)
        write_truth(truth(shots), made / film.truth.name)
        try:
            os.replace(made, home)  # whole or not at all
        except OSError:
            if not home.is_dir():  # else another process has just built the same
                raise
    return film


def _version(sources: Sequence[Path], small: bool, seed: int) -> str:
    """12 hex digits of all that the film is made of: this module, the photographs, the networks."""
    sums = [assets.registry().files[source.name].sha256 for source in sources]
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return hashlib.sha256(f"{code} {sums} {small} {seed}".encode()).hexdigest()[:12]


# --- casting --------------------------------------------------------------------------------------------------------


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


# --- the screenplay -------------------------------------------------------------------------------------------------

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


def screenplay(cast: Cast) -> list[Shot]:
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


def background(picture: Picture) -> np.ndarray:
    """(HEIGHT, WIDTH, 3): the part of the photograph left or right of the person, whichever is wider."""
    x, _, w, _ = picture.box
    wide = picture.image.shape[1]
    left, right = max(x - 0.45 * w, 8), min(x + 1.45 * w, wide - 8)
    strip = picture.image[:, : int(left)] if left > wide - right else picture.image[:, int(right) :]
    high = strip.shape[1] * HEIGHT // WIDTH
    return cv2.resize(strip[: max(high, 1)], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def unsharp(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 14)


# --- the camera -----------------------------------------------------------------------------------------------------


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


def render(shots: Sequence[Shot]) -> Iterator[np.ndarray]:
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
                    if (box := visible_box(part, moved(part, shot, k))) is not None:
                        yield number, *box, f"person_{part.picture.person:02}"


def write_truth(rows: Iterable[tuple[int, float, float, float, float, str]], path: Path) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["frame", "x", "y", "w", "h", "label"])
        writer.writerows((number, *(f"{value:.1f}" for value in box), label) for number, *box, label in rows)


def moved(part: Part, shot: Shot, k: int) -> np.ndarray:
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
        x = np.clip(x, *_reach(part, scale))
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


def _reach(part: Part, scale: float) -> tuple[float, float]:
    """Least and greatest x of the face (shares of the frame) at which no more than half of what lies beside the head is
    mirrored, so that no second head appears; their mean twice where that cannot be."""
    left, _, wide, _ = part.picture.box
    width = part.picture.image.shape[1]
    face_x = left + wide / 2
    before, after = face_x + max(left - 0.4 * wide, 0) / 2, width - face_x + max(width - left - 1.4 * wide, 0) / 2
    least, greatest = part.right - after * scale / WIDTH, part.left + before * scale / WIDTH
    return (least, greatest) if least <= greatest else ((least + greatest) / 2,) * 2


def visible_box(part: Part, transform: np.ndarray) -> tuple[float, float, float, float] | None:
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


def frame(shot: Shot, k: int) -> np.ndarray:
    """Frame `k` of a shot, (HEIGHT, WIDTH, 3) BGR uint8."""
    image = None if shot.backdrop is None else _drifting(shot.backdrop, k)
    for part in shot.parts:
        transform = moved(part, shot, k)
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


def _drifting(backdrop: np.ndarray, k: int) -> np.ndarray:
    """The backdrop under a camera that comes slowly nearer."""
    zoom = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, 1 + 0.0015 * k)
    return cv2.warpAffine(backdrop, zoom, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)


def _over(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.rint(below + (above.astype(np.float32) - below) * opacity).astype(np.uint8)


def _opacity(part: Part, transform: np.ndarray) -> np.ndarray:
    """How much a part hides what is before it, 0 to 1, to be broadcast over (HEIGHT, WIDTH, 3) float32."""
    columns, rows = np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)[:, None]
    if not part.screen:  # a soft seam at the left: the parts come from left to right
        return np.clip((columns - part.left * WIDTH) / 24 + 0.5, 0, 1)[None, :, None]
    left, top, wide, high = part.picture.box
    corners = np.array([[left - 0.7 * wide, top - 0.5 * high, 1], [left + 1.7 * wide, top + 1.45 * high, 1]])
    (x0, y0), (x1, y1) = corners @ transform.T  # a screen is never turned
    across, down = (np.minimum(at - low, high - at) for at, low, high in ((columns, x0, x1), (rows, y0, y1)))
    return np.clip(np.minimum(across, down), 0, 1)[..., None].astype(np.float32)


# --- the encoder ----------------------------------------------------------------------------------------------------


def encode(
    frames: Iterable[np.ndarray],
    path: Path,
    *,
    fps: int = FPS,
    pix_fmt: str = "yuv420p",
    sample_aspect_ratio: Fraction | None = None,
    rotation: int = 0,
    pts: Sequence[int] | None = None,
) -> None:
    """Writes BGR uint8 frames of one shape as H.264, the same bytes every time; the path's ending chooses the format.

    A key frame comes at least every two seconds. `rotation` is written beside the pixels: degrees counter-clockwise by
    which a player turns them. `pts` are the frames' times in milliseconds, rising, for a variable frame rate. Odd sizes
    need a `pix_fmt` without chroma subsampling, such as yuv444p.
    """
    tick = Fraction(1, fps) if pts is None else Fraction(1, 1000)
    with av.open(path, "w") as container:
        stream: av.VideoStream | None = None
        for number, image in enumerate(frames):
            if stream is None:
                options = {"crf": "20", "preset": "veryfast", "threads": "1", "g": str(2 * fps)}
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], pix_fmt
                stream.codec_context.time_base = tick
                if sample_aspect_ratio is not None:
                    stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
                if rotation:
                    stream.set_display_rotation(rotation)
            picture = av.VideoFrame.from_ndarray(image, format="bgr24")
            picture.pts, picture.time_base = number if pts is None else pts[number], tick
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())
