"""Films: their frames, numbered and timed, and the frames of a range as a viewer sees them.

A film is read twice: `probe` walks its packets, so that every frame has its number and time before any piece of work is
cut; `decode_frames` then reads one range. Which frame a picture is, its packet says (`packets`), never a stamp: the
frames are those of a plain decode of the whole file, in its order. Times are presentation stamps, never from a frame
rate (`stamps`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from conf.errors import FilmError
from conf.settings import HarvestSettings
from udfs.kernels.harvest.container import (
    Shape,
    choose_video,
    decode,
    display,
    list_sizes,
    list_videos,
    must_be_a_file,
    must_fit,
    open_film,
    read_shape,
)
from udfs.kernels.harvest.faults import Stated, find_faults, read_stated
from udfs.kernels.harvest.packets import (
    SAMPLE,
    Decoded,
    Finder,
    FrameIndex,
    Packets,
    decode_from_start,
    index_frames,
    may_have_false_keys,
    order_by_stamps,
    stamps_to_show,
    walk_packets,
)
from udfs.kernels.harvest.stamps import Times, mean_rate, spread_stamps

MAX_PIXELS = HarvestSettings().max_pixels
ONLY_FROM_START = ("ogg",)  # of joined recordings, later ones are other streams to who begins there
WARM_UP = 16  # frames; packets that hold two frames, or the end of another recording, reach no further
HELD_S = (10.0, 3600.0)  # longest time for which a frame is held: where recordings are cut and joined, and elsewhere


@dataclass(frozen=True)
class Film:
    """What a film's packets say.

    Attributes:
        codec: FFmpeg's name of the video codec.
        shape: how its frames are shown.
        times: (n_frames + 1,) float64 seconds from the first frame, ascending; the last one ends the last frame.
        index: what finds each frame again.
        warm_up: frames that are decoded before a range is right, beyond what key frames promise.
        start_s: time of the first frame on a player's clock, which begins with the file's first stream.
        max_pixels: larger coded frames are damage.
        missing: share of the film that is not there, 0 to 1, as far as the file says.
        warning: what is wrong with the film, where it can be read all the same.
    """

    codec: str
    shape: Shape
    times: NDArray[np.float64]
    index: FrameIndex
    warm_up: int = 0
    start_s: float = 0.0
    max_pixels: int = MAX_PIXELS
    missing: float = 0.0
    warning: str | None = None

    @property
    def width(self) -> int:
        return self.shape.width

    @property
    def height(self) -> int:
        return self.shape.height

    @property
    def rotation(self) -> int:
        return self.shape.rotation

    @property
    def mirrored(self) -> bool:
        return self.shape.mirrored

    @property
    def n_frames(self) -> int:
        return len(self.index.packet)

    @property
    def key_frames(self) -> NDArray[np.int32]:
        """Frames from which decoding can start, if the file is right; ascending, 0 among them."""
        return np.flatnonzero(self.index.key).astype(np.int32)

    @property
    def duration_s(self) -> float:
        return float(self.times[-1])

    @property
    def fps(self) -> float:
        """Frames per second, but for what was held long; see `mean_rate`."""
        return mean_rate(self.times)


class Frame(NamedTuple):
    """One displayed frame.

    Attributes:
        number: from 0.
        image: (height, width, 3) uint8, BGR.
    """

    number: int
    image: NDArray[np.uint8]


def detect_stride(fps: float, detect_fps: float) -> int:
    """Every how many frames faces are looked for: the nearest to `detect_fps` times a second, at least 1."""
    return max(1, math.floor(fps / detect_fps + 0.5))


def probe(path: str | Path, max_pixels: int = MAX_PIXELS) -> Film:
    """The frames of the video stream that a player takes.

    Reads all packets, and decodes SAMPLE frames; all of the film where its stamps do not tell which frames there are.

    Args:
        max_pixels: of a frame, stored or displayed.
    Raises:
        FilmError: no such file, empty, no film container, no video stream, frames too large, or nothing in it can be
            decoded.
    """
    must_be_a_file(path)
    header = _read_header(path, max_pixels)
    sample = decode_from_start(path, max_pixels, SAMPLE)
    if sample.first is None:
        raise FilmError("no frame of its video can be decoded: damaged, or encrypted")
    packets = walk_packets(path, max_pixels)
    if all(stamp is None for stamp in (*packets.pts, *packets.dts)):
        raise FilmError(
            "its frames carry no times (a raw stream): put it into a container, such as ffmpeg -i FILE -c copy NEW.mp4"
        )
    shape = read_shape(sample.first, header.pixel_shape)
    must_fit(shape.width, shape.height, max_pixels)
    numbered = _number_frames(path, header, packets, sample, max_pixels)
    found = find_faults(header.stated, packets, numbered.order, numbered.n_refused, numbered.times)
    return Film(
        header.codec,
        shape,
        numbered.times.seconds,
        index_frames(packets, numbered.order, numbered.starts),
        warm_up=WARM_UP if numbered.by_decoding else 0,
        start_s=max(0.0, round(numbered.times.origin_s - header.origin_s, 6)),
        max_pixels=max_pixels,
        missing=found.missing,
        warning=found.warning,
    )


class _Numbered(NamedTuple):
    """The frames of a film: ordinals of their packets in the order in which they are shown, and when that is.

    `starts`: those at which decoding can start, None where the packets tell.
    """

    order: list[int]
    times: Times
    by_decoding: bool = False
    n_refused: int = 0
    starts: set[int] | None = None


def _number_frames(path: str | Path, header: _Header, packets: Packets, sample: Decoded, max_pixels: int) -> _Numbered:
    doubts_keys = may_have_false_keys(packets, sample, header.codec)
    order = None if doubts_keys or any(packets.torn) else order_by_stamps(packets, sample)
    if order is not None:
        times = _time_frames(header, packets, order)
        if not times.jumps:  # around a jump of the clock, stamps do not tell the order of frames
            return _Numbered(order, times)
    whole = decode_from_start(path, max_pixels)
    starts = whole.starts if doubts_keys else None
    if header.stated.container in ONLY_FROM_START:
        starts = set()
    return _Numbered(whole.order, _time_frames(header, packets, whole.order), True, whole.n_refused, starts)


def _time_frames(header: _Header, packets: Packets, order: list[int]) -> Times:
    stamps = stamps_to_show(packets, order, stores_pts=header.stated.container != "avi")
    return spread_stamps(stamps, header.time_base, header.held_s, packets.heard)


class _Header(NamedTuple):
    """What an open container says of the video: `origin_s` is a player's zero, `held_s` the longest held frame."""

    codec: str
    time_base: Fraction
    pixel_shape: Fraction | None
    stated: Stated
    origin_s: float
    held_s: float


def _read_header(path: str | Path, max_pixels: int) -> _Header:
    with open_film(path, max_pixels) as container:
        stream = choose_video(container, max_pixels)
        shape = stream.sample_aspect_ratio
        for width, height in list_sizes(path, stream, shape):
            must_fit(width, height, max_pixels)
        stated = read_stated(container, stream, list_videos(container), path)
        joined = bool(container.format.flags & av.format.Flags.ts_discont.value)
        origin_s = (container.start_time or 0) / av.time_base
        return _Header(stream.codec_context.name, stream.time_base, shape, stated, origin_s, HELD_S[0 if joined else 1])


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
    last, fast = max(wanted), width is not None
    scale = 1.0 if width is None else min(1.0, width / film.width)
    shape = film.shape._replace(width=max(2, round(film.width * scale)), height=max(2, round(film.height * scale)))
    for key in _keys_back_from(film, start):
        frames = _decode_from(path, film, key, fast)
        first = _reach(frames, start, film.warm_up > 0) if key > 0 else next(frames, None)
        for number, decoded in chain([first], frames) if first else ():
            if number > last:
                return
            if number in wanted:
                yield Frame(number, display(decoded, shape, fast))
        if first:
            return


def _reach(frames: Iterator[tuple[int, Any]], start: int, whole: bool) -> tuple[int, Any] | None:
    """The first of some frames that is not before frame `start`; None where decoding did not begin early enough.

    That shows where the first frame of all comes too late: pictures are refreshed bit by bit, or it is damaged. Or,
    where frames must come `whole`, one is left out on the way: the decoder lacks what it was told at the beginning.
    """
    before: int | None = None
    for number, decoded in frames:
        if (number > start) if before is None else (whole and number > before + 1):
            return None
        if number >= start:
            return number, decoded
        before = number
    return None


def _decode_from(path: str | Path, film: Film, key: int, fast: bool) -> Iterator[tuple[int, Any]]:
    """Whole frames and their numbers, ascending, from key frame `key` on; none where its packet is not found again.

    A frame's number is told by its packet. Where one packet becomes several frames, these are numbered in order.
    """
    newest = -1
    with open_film(path, film.max_pixels) as container:
        stream = choose_video(container, film.max_pixels, fast)
        finder = Finder(film.index)
        for decoded, ordinal in decode(stream, finder.read_from(container, stream, key)):
            number = finder.find_number(ordinal, newest)
            if (
                decoded.is_corrupt and number == key > 0
            ):  # what follows is made of it; from an earlier one it may be whole
                return
            if number > newest and not decoded.is_corrupt:
                newest = number
                yield number, decoded


def _keys_back_from(film: Film, start: int) -> Iterator[int]:
    """Key frames at or before `start`: the last one, then ever earlier ones in growing steps, and frame 0."""
    keys = film.key_frames
    at, step = int(np.searchsorted(keys, start - film.warm_up, side="right")) - 1, 1
    while at > 0:
        yield int(keys[at])
        at, step = at - step, 2 * step
    yield 0
