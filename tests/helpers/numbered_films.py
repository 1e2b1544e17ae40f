"""Films whose frames spell their numbers, encoded here and read back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from udfs.kernels.harvest import video

WIDTH, HEIGHT, FPS, GOP = 64, 48, 24, 12


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A moving picture whose upper quarter spells `number` in eight black and white bars."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([(3 * x + 5 * number) % 256, (4 * y + 9 * number) % 256, 40 * ((x // 8 + y // 8) % 2)], axis=-1)
    bits = (number >> (x[: height // 4] * 8 // width)) & 1
    image[: height // 4] = 255 * bits[..., None]
    return image.astype(np.uint8)


def read_number(image: np.ndarray) -> int:
    bars = image[image.shape[0] // 8].mean(axis=-1).reshape(8, -1).mean(axis=1)
    return int(((bars > 127) << np.arange(8)).sum())


def write(
    path: Path, codec: str = "libx264", n: int = 40, *, b_frames: int = 2, pix_fmt: str = "yuv420p", first: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT), options: dict[str, str] | None = None, audio: bool = False,
    container: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """A numbered film; a key frame every 12 frames, `b_frames` between two others. `first` is its first stamp."""
    steady = {"preset": "veryfast", "crf": "16", "sc_threshold": "0", "keyint_min": str(GOP)}
    with av.open(str(path), "w", options=container or {}) as out:
        given_options = {"threads": "1", **(steady if codec == "libx264" else {}), **(options or {})}
        stream = out.add_stream(codec, rate=FPS, options=given_options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = GOP, b_frames
        sound = out.add_stream("aac", rate=16000) if audio else None
        for number in range(n):
            picture = av.VideoFrame.from_ndarray(numbered(number, *size), format="bgr24")
            picture.pts, picture.time_base = first + number, Fraction(1, FPS)
            out.mux(stream.encode(picture))
            if sound is not None:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000 // FPS), np.float32), format="fltp", layout="mono")
                tone.rate, tone.pts = 16000, number * (16000 // FPS)
                out.mux(sound.encode(tone))
        out.mux(stream.encode())
        if sound is not None:
            out.mux(sound.encode())
    return path


def all_frames(path: Path) -> dict[int, np.ndarray]:
    film = video.probe(path)
    return {frame.number: frame.image for frame in video.decode_frames(path, film, 0, film.n_frames)}
