"""Films: the packet index, and frames of a range as a viewer sees them.

A film is read twice: `probe` walks its packets without decoding, so that every frame has its number and time before any
piece of work is cut; `decode_frames` then reads one range. Times are presentation stamps, never from a frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from conf.errors import FilmError

# Containers of films. Playlists, concatenations, devices and picture sequences are left out on purpose: they make a
# reader open other files or addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,wtv,ivf,h264,hevc,mpegvideo"
STATES_DURATION = ("mov", "matroska", "avi", "flv", "asf", "mxf")  # in the header; elsewhere it is FFmpeg's estimate
TS_PACKETS = (188, 192, 204)  # bytes: a transport stream is whole packets of one of these sizes
PIXEL_SHAPES = (Fraction(1, 5), Fraction(5))  # outside of it the stated shape is damage, not a lens


@dataclass(frozen=True)
class Film:
    """What a film's packet index says.

    Attributes:
        width, height: displayed pixels.
        rotation: degrees counter-clockwise: 0, 90, 180 or 270.
        pts: (n_frames,) int64, presentation stamps in units of `time_base`, ascending; frame i of castmine is pts[i].
        key_frames: (k,) int32, frames from which decoding can start, ascending.
        warning: what is wrong with the film, where it can be read all the same.
    """

    codec: str
    width: int
    height: int
    rotation: int
    pts: NDArray[np.integer]
    key_frames: NDArray[np.integer]
    time_base: Fraction
    warning: str | None

    @property
    def n_frames(self) -> int:
        return len(self.pts)

    @property
    def times(self) -> NDArray[np.float64]:
        """(n_frames + 1,) float64 seconds from the first frame; the last one is the end of the last frame."""
        return compute_times(self.pts, self.time_base)

    @property
    def duration_s(self) -> float:
        return float(self.times[-1])

    @property
    def fps(self) -> float:
        """Mean frames per second, rounded to 1e-6 so that it reads well; never 0, whatever the stamps say."""
        return max(round(self.n_frames / self.duration_s, 6), 1e-6)


class Frame(NamedTuple):
    """One displayed frame.

    Attributes:
        number: from 0.
        image: (height, width, 3) uint8, BGR.
    """

    number: int
    image: NDArray[np.uint8]


def compute_times(pts: NDArray[np.integer], time_base: Fraction) -> NDArray[np.float64]:
    """Seconds from the first frame of each stamp, and the end of the last frame: it lasts as long as the median one.

    (n,) int64 ascending, n >= 1 -> (n + 1,) float64. A single frame is taken to last 1/25 s.
    """
    ticks = pts.astype(np.float64) - float(pts[0])  # a damaged stamp would overflow the difference of integers
    last = float(np.median(np.diff(ticks))) if len(pts) > 1 else float(Fraction(1, 25) / time_base)
    return np.append(ticks, ticks[-1] + last) * time_base.numerator / time_base.denominator


def detect_stride(fps: float, detect_fps: float) -> int:
    """Every how many frames faces are looked for: the nearest to `detect_fps` times a second, at least 1."""
    return max(1, math.floor(fps / detect_fps + 0.5))


def probe(path: str | Path) -> Film:
    """The packet index of a film's first video stream. Reads packets, decodes one frame.

    Raises:
        FilmError: no such file, empty, no film container, no video stream, or nothing in it can be decoded.
    """
    _must_be_a_file(path)
    with _open_film(path) as container:
        stream = _video_stream(container, path)
        first = _first_frame(container, stream)
        stated = _Stated(int(stream.frames or 0), _stated_s(container))
        time_base = stream.time_base
        rotation = round(first.rotation / 90) % 4 * 90
        width, height = _displayed_size(first.width, first.height, stream.sample_aspect_ratio, rotation)
        codec = stream.codec_context.name
        whole_packets = container.format.name != "mpegts" or _in_whole_packets(path)
    index = _packets(path)
    if len(index.pts) == 0:
        raise FilmError(
            "its frames carry no times (a raw stream): put it into a container, such as ffmpeg -i FILE -c copy NEW.mp4"
        )
    warning = _warning(stated, index, whole_packets)
    return Film(codec, width, height, rotation, index.pts, index.key_frames, time_base, warning)


def decode_frames(
    path: str | Path,
    film: Film,
    start: int,
    end: int,
    step_frames: NDArray[np.integer] | None = None,
    width: int | None = None,
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
    for key in _keys_back_from(film, start):
        with _open_film(path) as container:
            stream = _video_stream(container, path)
            if width is not None:  # frames that are only looked at for cuts need no deblocking: a quarter less work
                stream.codec_context.options = {"skip_loop_filter": "all"}
            packets = _packets_from(container, stream, film, key)
            if packets is None:
                continue
            for decoded in _decode(packets, stream):
                number = _number(film.pts, _stamp(decoded, stream))
                if number is None or number < start or decoded.is_corrupt:
                    continue
                if number > last:
                    return
                start = number + 1  # behind damage a decoder may go back in time
                if number in wanted:
                    yield Frame(number, _display(decoded, size, film.rotation, fast=width is not None))
            return


def _must_be_a_file(path: str | Path) -> None:
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


def _open_film(path: str | Path) -> Any:
    """The container, opened as a local film and nothing else: no address and no playlist, whatever its bytes say."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{Path(path).absolute()}", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise FilmError(f"not a film that can be opened ({_say_error(error)}): {_looks_like(path)}") from error


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
    return "damaged, cut off before its index, or not a film container"


def _video_stream(container: Any, path: str | Path) -> Any:
    # a cover picture is a video stream of one attached frame
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise FilmError("a film without video: no video stream in it")
    if streams[0].codec_context is None:
        raise FilmError("its video codec is not known to this build of FFmpeg")
    streams[0].thread_type = "SLICE"  # frame threads hold frames back at a damaged packet; a Spark task owns one core
    streams[0].codec_context.thread_count = 1
    return streams[0]


def _first_frame(container: Any, stream: Any) -> Any:
    for frame in _decode(_read(container, stream), stream):
        return frame
    raise FilmError("no frame of its video can be decoded")


def _displayed_size(width: int, height: int, pixel_shape: Fraction | None, rotation: int) -> tuple[int, int]:
    """Pixels are made square by widening (never by throwing lines away), then the frame is turned."""
    if pixel_shape and PIXEL_SHAPES[0] <= pixel_shape <= PIXEL_SHAPES[1]:
        width = max(1, round(width * pixel_shape)) if pixel_shape > 1 else width
        height = max(1, round(height / pixel_shape)) if pixel_shape < 1 else height
    return (height, width) if rotation in (90, 270) else (width, height)


class _Stated(NamedTuple):
    """What a film's header says of its length: 0 and None where it says nothing."""

    frames: int
    seconds: float | None


class _Index(NamedTuple):
    """Stamps and key frames in presentation order; packets read, those left out because their stamp was taken, and the
    time at which the last packet of any stream ends."""

    pts: NDArray[np.integer]
    key_frames: NDArray[np.integer]
    n_packets: int
    n_repeated: int
    end_s: float


def _stated_s(container: Any) -> float | None:
    states = container.format.name.split(",")[0] in STATES_DURATION
    return container.duration / av.time_base if states and container.duration else None


def _in_whole_packets(path: str | Path) -> bool:
    size = Path(path).stat().st_size
    return any(size % packet == 0 for packet in TS_PACKETS)


def _packets(path: str | Path) -> _Index:
    """Read all packets of a film, decoding only where their stamps do not say when a frame is shown."""
    stamps: list[int] = []
    keys: list[bool] = []
    n_packets, end_s = 0, 0.0
    with _open_film(path) as container:
        stream = _video_stream(container, path)
        in_decoding_order = _decoding_stamps_only(stream)
        for packet in _demux(container, *container.streams):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                end_s = max(end_s, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            n_packets += 1
            in_decoding_order |= packet.pts is None
            if not packet.is_discard and packet.pts is not None:
                stamps.append(packet.pts)
                keys.append(packet.is_keyframe)
    if in_decoding_order:
        stamps, keys = _stamps_by_decoding(path)
    pts, first = np.unique(np.array(stamps, np.int64), return_index=True)
    is_key = np.array(keys, bool)[first]
    is_key[:1] = True
    return _Index(pts, np.flatnonzero(is_key).astype(np.int32), n_packets, len(stamps) - len(pts), end_s)


def _stamps_by_decoding(path: str | Path) -> tuple[list[int], list[bool]]:
    with _open_film(path) as container:
        stream = _video_stream(container, path)
        seen = [(_stamp(frame, stream), bool(frame.key_frame)) for frame in _decode(_read(container, stream), stream)]
    stamped = [(stamp, key) for stamp, key in seen if stamp is not None]
    return [stamp for stamp, _ in stamped], [key for _, key in stamped]


def _warning(stated: _Stated, index: _Index, whole_packets: bool) -> str | None:
    if index.n_packets < 0.98 * stated.frames:
        return f"cut off: {index.n_packets} of the {stated.frames} frames its index states are there"
    if stated.seconds and index.end_s < min(0.98 * stated.seconds, stated.seconds - 0.5):
        return f"cut off: {index.end_s:.1f} of the {stated.seconds:.1f} seconds it states are there"
    if not whole_packets:
        return "cut off: it ends inside a packet"
    if index.n_repeated:
        return f"{index.n_repeated} frames have the time of another one and were left out"
    return None


def _keys_back_from(film: Film, start: int) -> Iterator[int]:
    """Key frames at or before `start`: the last one, then ever earlier ones in growing steps, and frame 0."""
    at, step = int(np.searchsorted(film.key_frames, start, side="right")) - 1, 1
    while at > 0:
        yield int(film.key_frames[at])
        at, step = at - step, 2 * step
    yield 0


def _packets_from(container: Any, stream: Any, film: Film, key: int) -> Iterator[Any] | None:
    """Packets from key frame `key` or an earlier one on; None where seeking landed behind it.

    Containers without an index (MPEG) seek to any packet near a decoding stamp and then may guess the next frames'
    stamps, so the first key frame that comes must be one of the film's. The very beginning needs no seek, and some
    containers cannot.
    """
    if key == 0:
        return _read(container, stream)
    try:
        container.seek(int(film.pts[key]), stream=stream, backward=True, any_frame=False)
    except av.error.FFmpegError:
        return None
    packets = _read(container, stream)
    for packet in takewhile(lambda packet: packet is not None, packets):
        if packet.is_keyframe:
            number = _number(film.pts, _stamp(packet, stream))
            return chain([packet], packets) if number is not None and number <= key else None
    return None


def _demux(container: Any, *streams: Any) -> Iterator[Any]:
    """Packets of these streams as far as they can be read."""
    try:
        yield from (packet for packet in container.demux(*streams) if packet.size)
    except (av.error.FFmpegError, IndexError):  # IndexError: PyAV at the end of a file in which streams appeared late
        return


def _read(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of one stream as far as they can be read, and None at the end, which flushes the decoder."""
    yield from _demux(container, stream)
    yield None


def _decode(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Frames as they decode; a damaged packet costs its own frames only."""
    for packet in packets:
        try:
            yield from stream.decode(packet)
        except (av.error.FFmpegError, ValueError):
            continue


def _decoding_stamps_only(stream: Any) -> bool:
    """AVI stores no presentation stamps, and FFmpeg guesses those of reordered frames wrong for these codecs."""
    context = stream.codec_context
    return stream.container.format.name == "avi" and context.name in ("h264", "hevc") and context.has_b_frames


def _stamp(shown: Any, stream: Any) -> int | None:
    """The stamp of a frame or packet. A frame leaves the decoder when it is due, so a decoding stamp can serve."""
    return shown.dts if shown.pts is None or _decoding_stamps_only(stream) else shown.pts


def _number(pts: NDArray[np.integer], stamp: int | None) -> int | None:
    if stamp is None:
        return None
    at = int(np.searchsorted(pts, stamp))
    return at if at < len(pts) and pts[at] == stamp else None


def _display(frame: Any, size: tuple[int, int], rotation: int, fast: bool) -> NDArray[np.uint8]:
    width, height = size[::-1] if rotation in (90, 270) else size
    image = frame.reformat(width=width, height=height, format="bgr24", interpolation="AREA" if fast else "BICUBIC")
    turned = np.rot90(image.to_ndarray(), rotation // 90)
    return np.ascontiguousarray(turned)


def _say_error(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
