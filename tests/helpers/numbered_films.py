"""Films whose frames spell their numbers, encoded here and read back."""

from __future__ import annotations

from collections.abc import Sequence
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
    container: dict[str, str] | None = None, stamps: Sequence[int] | None = None, number: int = 0, step: int = 1,
) -> Path:  # fmt: skip
    """A numbered film; a key frame every 12 frames, `b_frames` between two others.

    `first` is its first stamp, or `stamps` are all of them, in frames; `number` is spelt by its first frame, and
    `step` more by each next one.
    """
    steady = {"preset": "veryfast", "crf": "16", "sc_threshold": "0", "keyint_min": str(GOP)}
    with av.open(str(path), "w", options=container or {}) as out:
        given_options = {"threads": "1", **(steady if codec == "libx264" else {}), **(options or {})}
        stream = out.add_stream(codec, rate=FPS, options=given_options)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = GOP, b_frames
        sound = out.add_stream("aac", rate=16000) if audio else None
        for i, stamp in enumerate(range(first, first + n) if stamps is None else stamps):
            picture = av.VideoFrame.from_ndarray(numbered(number + step * i, *size), format="bgr24")
            picture.pts, picture.time_base = stamp, Fraction(1, FPS)
            out.mux(stream.encode(picture))
            if sound is not None:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000 // FPS), np.float32), format="fltp", layout="mono")
                tone.rate, tone.pts = 16000, i * (16000 // FPS)
                out.mux(sound.encode(tone))
        out.mux(stream.encode())
        if sound is not None:
            out.mux(sound.encode())
    return path


def all_frames(path: Path) -> dict[int, np.ndarray]:
    film = video.probe(path)
    return {frame.number: frame.image for frame in video.decode_frames(path, film, 0, film.n_frames)}


def plain_decode(path: Path, stream: int = 0) -> list[np.ndarray]:
    """All frames of a file as PyAV gives them by itself, stored the way they are: the judge of castmine's."""
    with av.open(str(path)) as container:
        frames = container.decode(video=stream)
        return [frame.reformat(format="bgr24", interpolation="BICUBIC").to_ndarray() for frame in frames]


def join(path: Path, *films: Path) -> Path:
    """Recordings one behind the other, as `cat` joins them."""
    path.write_bytes(b"".join(film.read_bytes() for film in films))
    return path


VOP = b"\0\0\1\xb6"  # begins a picture of MPEG-4 part 2; the two bits behind it say its type
SHOWN_ON = VOP + bytes([0b01010000, 0b00101111])  # a picture that is not coded, as XviD puts one behind a packed packet


def pack_b_frames(path: Path, film: Path) -> Path:
    """The same MPEG-4 film as XviD and DivX put it into AVI: each B-frame in one packet with the frame before it."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        pictures = [bytes(packet) for packet in source.demux(stream) if packet.size]
        is_b = [picture[picture.index(VOP) + 4] >> 6 == 2 for picture in pictures] + [False]
        packets: list[bytes] = []
        for i, picture in enumerate(pictures):
            if not is_b[i]:
                packets += [picture + pictures[i + 1], SHOWN_ON] if is_b[i + 1] else [picture]
        begin = packets[0].index(VOP)
        packets[0] = packets[0][:begin] + b"\0\0\1\xb2DivX503b1393p\0" + packets[0][begin:]
        for i, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.pts, packet.dts = copy, stream.time_base, i, i
            packet.is_keyframe = i == 0
            out.mux(packet)
    return path
