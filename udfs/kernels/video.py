"""Films: the packet index, and frames of a range as a viewer sees them.

A film is read twice: `probe` walks its packets without decoding, so that every frame has its number and time before any
piece of work is cut; `frames` then decodes one range. Times come from presentation stamps, never from a frame rate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from conf.errors import FilmError

# Containers of films. Playlists, concatenations, devices and picture sequences are left out on purpose: they make a
# reader open other files or addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,wtv,ivf,h264,hevc,mpegvideo"


@dataclass(frozen=True)
class Film:
    """What a film's packet index says.

    pts: (n_frames,) int64, presentation stamps in units of `time_base`, ascending; frame i of castmine is pts[i].
    key_frames: (k,) int32, frames from which decoding can start, ascending.
    width, height: displayed pixels. rotation: degrees counter-clockwise: 0, 90, 180 or 270.
    """

    codec: str
    width: int
    height: int
    rotation: int
    pts: np.ndarray
    key_frames: np.ndarray
    time_base: Fraction
    warning: str | None

    @property
    def n_frames(self) -> int:
        return len(self.pts)

    @property
    def times(self) -> np.ndarray:
        """(n_frames + 1,) float64 seconds from the first frame; the last one is the end of the last frame."""
        return frame_times(self.pts, self.time_base)

    @property
    def duration_s(self) -> float:
        return float(self.times[-1])

    @property
    def fps(self) -> float:
        """Mean frames per second, rounded to 1e-6 so that it reads well."""
        return round(self.n_frames / self.duration_s, 6)


class Frame(NamedTuple):
    """One displayed frame. image: (height, width, 3) uint8, BGR."""

    number: int
    image: np.ndarray


def frame_times(pts: np.ndarray, time_base: Fraction) -> np.ndarray:
    """Seconds from the first frame of each stamp, and the end of the last frame: it lasts as long as the median one.

    (n,) int64 ascending, n >= 1 -> (n + 1,) float64. A single frame is taken to last 1/25 s.
    """
    ticks = (pts - pts[0]).astype(np.float64)
    last = float(np.median(np.diff(pts))) if len(pts) > 1 else float(Fraction(1, 25) / time_base)
    return np.append(ticks, ticks[-1] + last) * time_base.numerator / time_base.denominator


def detect_stride(fps: float, detect_fps: float) -> int:
    """Every how many frames faces are looked for: the nearest to `detect_fps` times a second, at least 1."""
    return max(1, math.floor(fps / detect_fps + 0.5))


def content_hash(path: str | Path) -> str:
    """sha256 of a file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe(path: str | Path) -> Film:
    """The packet index of a film's first video stream. Reads packets, decodes one frame.

    Raises:
        FilmError: no such file, empty, no film container, no video stream, or nothing in it can be decoded.
    """
    _must_be_a_file(path)
    with _opened(path) as container:
        stream = _video_stream(container, path)
        first = _first_frame(container, stream, path)
        stated_s = float(container.duration / av.time_base) if container.duration else None
        stated_frames = int(stream.frames or 0)
        time_base = stream.time_base
        rotation = round(first.rotation / 90) % 4 * 90
        width, height = _displayed_size(first.width, first.height, stream.sample_aspect_ratio, rotation)
        codec = stream.codec_context.name
    pts, is_key, damaged = _packets(path)
    if len(pts) == 0:
        raise FilmError("the video stream holds no frame")
    film = Film(codec, width, height, rotation, pts, np.flatnonzero(is_key).astype(np.int32), time_base, None)
    return _with_warning(film, stated_frames, stated_s, damaged)


def frames(
    path: str | Path, film: Film, start: int, end: int, step_frames: np.ndarray | None = None, width: int | None = None
) -> Iterator[Frame]:
    """Decode the frames [start, end) of a film, in order, as a viewer sees them.

    Args:
        step_frames: frame numbers wanted, ascending; all of the range where None. Others are decoded, not converted.
        width: scale to this displayed width (for looking at cuts); full size where None.
    Yields:
        The frames that decode; damaged ones are left out, so a caller counts what it got.
    """
    wanted = set(range(start, end) if step_frames is None else step_frames.tolist())
    if not wanted:
        return
    last = max(wanted)
    scale = 1.0 if width is None else min(1.0, width / film.width)
    size = (max(2, round(film.width * scale)), max(2, round(film.height * scale)))
    with _opened(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "SLICE"  # frame threads hold frames back at a damaged packet; a Spark task owns one core
        stream.codec_context.thread_count = 1
        if width is not None:  # a frame that is only looked at for cuts needs no deblocking: a quarter less decoding
            stream.codec_context.options = {"skip_loop_filter": "all"}
        _seek(container, stream, film, start)
        for decoded in _decoded(container, stream):
            number = _number(film.pts, decoded)
            if number is None or number < start:
                continue
            if number > last:
                return
            if number in wanted:
                wanted.discard(number)
                yield Frame(number, _displayed(decoded, size, film.rotation, fast=width is not None))


def _must_be_a_file(path: str | Path) -> None:
    file = Path(path)
    if file.is_symlink() and not file.exists():
        raise FilmError(f"a dangling link: {file.name} points to nothing")
    if not file.is_file():
        raise FilmError("no such file")
    if file.stat().st_size == 0:
        raise FilmError("the file is empty (0 bytes)")


def _opened(path: str | Path) -> Any:
    """The container, opened as a local film and nothing else: no address and no playlist, whatever its bytes say."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{Path(path).absolute()}", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise FilmError(f"not a film that can be opened ({_said(error)}): {_looks_like(path)}") from error


def _looks_like(path: str | Path) -> str:
    with open(path, "rb") as file:
        head = file.read(512)
    if head.lstrip().startswith(b"#EXTM3U"):
        return "it is a playlist; give the films it names"
    if b"\0" not in head and head.isascii():
        return "it is a text file"
    return "damaged, cut off before its index, or not a film container"


def _video_stream(container: Any, path: str | Path) -> Any:
    # a cover picture is a video stream of one attached frame
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise FilmError("a film without video: no video stream in it")
    if streams[0].codec_context is None:
        raise FilmError("its video codec is not known to this build of FFmpeg")
    return streams[0]


def _first_frame(container: Any, stream: Any, path: str | Path) -> Any:
    for frame in _decoded(container, stream):
        return frame
    raise FilmError("no frame of its video can be decoded")


def _displayed_size(width: int, height: int, pixel_shape: Fraction | None, rotation: int) -> tuple[int, int]:
    """Pixels are made square by widening (never by throwing lines away), then the frame is turned."""
    if pixel_shape and pixel_shape > 0:
        width = max(1, round(width * pixel_shape)) if pixel_shape > 1 else width
        height = max(1, round(height / pixel_shape)) if pixel_shape < 1 else height
    return (height, width) if rotation in (90, 270) else (width, height)


def _packets(path: str | Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Stamps and key flags of all packets in presentation order, and whether reading stopped at damage."""
    stamps: list[int] = []
    keys: list[bool] = []
    damaged = unstamped = False
    with _opened(path) as container:
        stream = _video_stream(container, path)
        try:
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    unstamped = True
                    break
                stamps.append(packet.pts)
                keys.append(packet.is_keyframe)
                damaged |= packet.is_corrupt
        except av.error.FFmpegError:
            damaged = True
    if unstamped:  # old AVI and raw streams carry no presentation stamps in their packets: decode once to learn them
        stamps, keys = _stamps_by_decoding(path)
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    pts, first = np.unique(np.array(stamps, np.int64)[order], return_index=True)
    is_key = np.array(keys, bool)[order][first]
    if len(is_key):
        is_key[0] = True
    return pts, is_key, damaged


def _stamps_by_decoding(path: str | Path) -> tuple[list[int], list[bool]]:
    with _opened(path) as container:
        stream = _video_stream(container, path)
        seen = [(_stamp(frame), bool(frame.key_frame)) for frame in _decoded(container, stream)]
    stamped = [(stamp, key) for stamp, key in seen if stamp is not None]
    return [stamp for stamp, _ in stamped], [key for _, key in stamped]


def _with_warning(film: Film, stated_frames: int, stated_s: float | None, damaged: bool) -> Film:
    missing = None
    if stated_frames and film.n_frames < 0.98 * stated_frames:
        missing = f"cut off: {film.n_frames} of the {stated_frames} frames its index states are there"
    elif stated_s and stated_s > 2 and film.duration_s < 0.9 * stated_s and damaged:
        missing = f"cut off: {film.duration_s:.0f} of the {stated_s:.0f} seconds it states are there"
    return film if missing is None else Film(**{**film.__dict__, "warning": missing})


def _seek(container: Any, stream: Any, film: Film, start: int) -> None:
    """Go to the last key frame at or before `start`; the very beginning needs no seek, and some containers cannot."""
    key = int(film.key_frames[np.searchsorted(film.key_frames, start, side="right") - 1])
    if key > 0:
        container.seek(int(film.pts[key]), stream=stream, backward=True, any_frame=False)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames as they decode; a damaged packet costs its own frames only."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            raise FilmError(f"its video cannot be decoded: {_said(error)}") from error


def _stamp(frame: Any) -> int | None:
    return frame.pts if frame.pts is not None else frame.dts


def _number(pts: np.ndarray, frame: Any) -> int | None:
    stamp = _stamp(frame)
    if stamp is None or frame.is_corrupt:
        return None
    at = int(np.searchsorted(pts, stamp))
    return at if at < len(pts) and pts[at] == stamp else None


def _displayed(frame: Any, size: tuple[int, int], rotation: int, fast: bool) -> np.ndarray:
    width, height = size[::-1] if rotation in (90, 270) else size
    image = frame.reformat(width=width, height=height, format="bgr24", interpolation="AREA" if fast else "BICUBIC")
    turned = np.rot90(image.to_ndarray(), rotation // 90)
    return np.ascontiguousarray(turned)


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
