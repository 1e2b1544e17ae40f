"""Film files as FFmpeg reads them: opened as local films and nothing else, one video stream, its packets and frames."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from conf.errors import FilmError

# Containers of films. Playlists, concatenations, devices and picture sequences are left out on purpose: they make a
# reader open other files or addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,wtv,ivf,dv,h264,hevc,mpegvideo"
PIXEL_SHAPES = (Fraction(1, 5), Fraction(5))  # outside of it the stated shape is damage, not a lens
PICTURES = (b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"BM")
RESYNCS = 1 << 16  # stretches of damage without a packet between them, of 64 KiB each
NO_FILM = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails  # covers, previews of chapters


class Shape(NamedTuple):
    """How a player shows the stored pictures.

    Attributes:
        width, height: displayed pixels, made square and turned.
        rotation: degrees counter-clockwise: 0, 90, 180 or 270.
        mirrored: whether left and right change places before the turn.
    """

    width: int
    height: int
    rotation: int
    mirrored: bool


def must_be_a_file(path: str | Path) -> None:
    """Raises FilmError where there is no file with something in it."""
    file = Path(path)
    try:
        if file.is_symlink() and not file.exists():
            raise FilmError(f"a dangling link: {file.name} points to nothing")
        if file.is_dir():
            raise FilmError("a folder, not a file")
        if not file.is_file():
            raise FilmError("no such file")
        if file.stat().st_size == 0:
            raise FilmError("the file is empty (0 bytes)")
    except OSError as error:
        raise FilmError(f"the file cannot be read: {_say_error(error)}") from error


def open_film(path: str | Path, max_pixels: int) -> Any:
    """The container, opened as a local film and nothing else: no address and no playlist, whatever its bytes say.

    Args:
        max_pixels: of a coded frame; no larger one is decoded to find out what the film is.
    Raises:
        FilmError: it cannot be opened as one.
    """
    return _open(path, _decoder_options(max_pixels))


def _open(path: str | Path, more: dict[str, str]) -> Any:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", **more}
    try:
        return av.open(f"file:{Path(path).absolute()}", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise FilmError(f"not a film that can be opened ({_say_error(error)}): {_looks_like(path)}") from error


def _decoder_options(max_pixels: int) -> dict[str, str]:
    """A bound for what a decoder allocates: decoders pad frames, and small ones by more than their size."""
    return {"max_pixels": str(2 * max_pixels + (1 << 16))}


def list_videos(container: Any) -> list[Any]:
    """The video streams that are films; a cover picture is a video stream of one attached frame."""
    return [stream for stream in container.streams.video if not stream.disposition & NO_FILM]


def choose_video(container: Any, max_pixels: int, fast: bool = False) -> Any:
    """The video stream that a player takes by itself: the first one marked as default, else the first one.

    Args:
        max_pixels: of a coded frame; larger ones are damage to the decoder, whatever the header says.
        fast: leave out deblocking: a quarter less work where pictures are only counted, or looked at for cuts.
    Raises:
        FilmError: there is none, or no decoder for it.
    """
    streams = list_videos(container)
    if not streams:
        raise FilmError("a film without video: no video stream in it")
    marked = [stream for stream in streams if stream.disposition & av.stream.Disposition.default]
    stream = (marked or streams)[0]
    if stream.codec_context is None:
        raise FilmError("its video codec is not known to this build of FFmpeg")
    stream.thread_type = "SLICE"  # frame threads hold frames back at a damaged packet; a Spark task owns one core
    stream.codec_context.thread_count = 1
    stream.codec_context.options = _decoder_options(max_pixels) | ({"skip_loop_filter": "all"} if fast else {})
    return stream


def list_sizes(path: str | Path, stream: Any, pixel_shape: Fraction | None) -> list[tuple[int, int]]:
    """Width and height of a film's frames by its header: as they are stored, and with square pixels."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if not width * height:  # larger than what was allowed to be decoded: without a decoder the header's word is kept
        with _open(path, {"codec_whitelist": "none"}) as container:
            said = container.streams[stream.index].codec_context
            width, height = (said.width, said.height) if said is not None else (width, height)
    return [(width, height), _square(width, height, pixel_shape)]


def must_fit(width: int, height: int, max_pixels: int) -> None:
    """Raises FilmError where frames of this size have too many pixels."""
    if width * height > max_pixels:
        raise FilmError(
            f"its frames have {width} x {height} pixels, more than the {max_pixels:,} of harvest.max_pixels: "
            f"raise that, if the film is sound and the memory is there"
        )


def demux(container: Any, *streams: Any) -> Iterator[Any]:
    """Packets of these streams as far as they can be read. Empty ones, which show a frame on, are left out."""
    tries = RESYNCS
    while tries:
        try:
            for packet in container.demux(*streams):
                if packet.size:
                    yield packet
                    tries = RESYNCS
            return
        except av.error.BlockingIOError:  # a stretch of damage was passed over; there may be more behind it
            tries -= 1
        except (av.error.FFmpegError, IndexError):  # IndexError: PyAV where a file ends in which streams appeared late
            return


def decode(
    stream: Any, packets: Iterable[tuple[Any, int]], damaged: list[int] | None = None
) -> Iterator[tuple[Any, int]]:
    """Frames as they decode, each with the number that came with its packet; damage costs its own frames only.

    The number travels through the decoder as the packet's stamp: no decoder reads stamps, all hand them on, and numbers
    cannot be missing, repeated or guessed as a film's own stamps can.

    Args:
        damaged: gets the numbers of the packets that the decoder refused.
    """
    for packet, number in chain(packets, [(None, -1)]):  # without a packet the decoder hands out what it holds back
        if packet is not None:
            packet.pts, packet.dts = number, None
        try:
            for frame in stream.decode(packet):
                yield frame, -1 if frame.pts is None else frame.pts
        except (av.error.FFmpegError, ValueError):
            if damaged is not None and packet is not None:
                damaged.append(number)


def read_shape(first: Any, pixel_shape: Fraction | None) -> Shape:
    """How a player shows a film whose first decoded frame is `first`, with pixels of this width to height."""
    rotation, mirrored = _orientation(first)
    width, height = _square(first.width, first.height, pixel_shape)
    return Shape(*((height, width) if rotation in (90, 270) else (width, height)), rotation, mirrored)


def _square(width: int, height: int, pixel_shape: Fraction | None) -> tuple[int, int]:
    """Pixels are made square by widening, never by throwing lines away."""
    if pixel_shape and PIXEL_SHAPES[0] <= pixel_shape <= PIXEL_SHAPES[1]:
        width = max(1, round(width * pixel_shape)) if pixel_shape > 1 else width
        height = max(1, round(height / pixel_shape)) if pixel_shape < 1 else height
    return width, height


def _orientation(frame: Any) -> tuple[int, bool]:
    """Rotation and mirroring of a frame's display matrix (ISO/IEC 14496-12, 6.2.2; its y points down).

    It takes (x, y) to (a x + c y, b x + d y). Its determinant tells a mirror image from a turn.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None or side_data.buffer_size < 36:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side_data)[:36])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(c - b, a + d)) / 90) % 4 * 90, mirrored


def display(frame: Any, shape: Shape, fast: bool) -> NDArray[np.uint8]:
    """A decoded frame as a player shows it: (shape.height, shape.width, 3) uint8, BGR."""
    turned = shape.rotation in (90, 270)
    width, height = (shape.height, shape.width) if turned else (shape.width, shape.height)
    image = frame.reformat(width=width, height=height, format="bgr24", interpolation="AREA" if fast else "BICUBIC")
    stored = image.to_ndarray()
    upright = np.rot90(stored[:, ::-1] if shape.mirrored else stored, shape.rotation // 90)
    return np.ascontiguousarray(upright)


def _looks_like(path: str | Path) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        return f"it cannot be read: {_say_error(error)}"
    if head.lstrip().startswith(b"#EXTM3U"):
        return "it is a playlist; give the films it names"
    if b"\0" not in head and head.isascii():
        return "it is a text file"
    if head.startswith(PICTURES) or head[8:12] == b"WEBP":
        return "it is a picture"
    return "damaged, cut off before its index, or a container that castmine does not read (ffmpeg -i FILE NEW.mp4)"


def _say_error(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
