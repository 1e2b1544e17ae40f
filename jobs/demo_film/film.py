"""The demo's film and its truth: photographs of 26 people under a moving virtual camera, cut like a film.

A shot shows one to four photographs. A camera is where a face's centre lies in the frame, how tall the face is and how
far it is turned; between the first and the last frame of a shot it moves smoothly. Because the camera is known, so is
the box of every face in every frame: the detector is asked once for each photograph, never for the film.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from conf.cache import cache_dir
from jobs.demo_film.camera import render, truth, write_truth
from jobs.demo_film.screenplay import FPS, PICTURES, Cast, short_screenplay, whole_screenplay
from udfs import assets
from udfs.kernels.harvest.networks import open_faces

SEED = 3


class Film(NamedTuple):
    """A film and its truth: a CSV of frame, x, y, w, h, label; frames count from 0, boxes are in pixels."""

    path: Path
    truth: Path


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
    if film.path.is_file() and film.truth.is_file():
        return film
    say(f"building {film.path}: once, less than a minute")
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
        made = Film(Path(scratch) / film.path.name, Path(scratch) / film.truth.name)
        cast = Cast(sources[0], open_faces(sources[1], sources[2], "insightface", min_score=0.3), seed)
        shots = short_screenplay(cast) if small else whole_screenplay(cast)
        encode(render(shots), made.path)
        write_truth(truth(shots), made.truth)
        for file, place in zip(made, film, strict=True):
            os.replace(file, place)  # each whole or not at all, and the same whoever builds it
    return film


def _version(sources: Sequence[Path], small: bool, seed: int) -> str:
    """12 hex digits of all that the film is made of: the modules of this folder, the photographs, the networks."""
    sums = [assets.registry().files[source.name].sha256 for source in sources]
    code = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(f"{code} {sums} {small} {seed}".encode()).hexdigest()[:12]


def encode(
    frames: Iterable[NDArray[np.uint8]],
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
