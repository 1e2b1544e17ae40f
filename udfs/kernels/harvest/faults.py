"""What is missing of a film that can be read all the same, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from udfs.kernels.harvest.headers import Header, read_header
from udfs.kernels.harvest.packets import Packets
from udfs.kernels.harvest.stamps import Times

STATES_DURATION = ("mov", "matroska", "avi", "flv", "asf", "mxf")  # in the header; elsewhere it is FFmpeg's estimate
SMALL = 0.02  # share of a film; less is the rounding of what it states
LONG_STEP = 2.5  # median steps; a longer one beside a torn packet lacks frames
BESIDE = 8  # packets; frames are shown so far from where their packets lie
NAMED_PLACES = 3  # more are counted only


class Stated(NamedTuple):
    """What a film says of itself before its packets are read.

    Attributes:
        container: FFmpeg's first name of it.
        frames: 0 where it says nothing.
        seconds: to the end of the longest stream; None where it says nothing.
        header: what its file says beside that.
        size: bytes of its file.
        stream: which of its video streams is taken, from 1, and how many there are.
    """

    container: str
    frames: int
    seconds: float | None
    header: Header
    size: int
    stream: tuple[int, int]


class Faults(NamedTuple):
    """What is wrong with a film, null when nothing, and the share of it that is not there, 0 to 1."""

    warning: str | None
    missing: float


def read_stated(container: Any, stream: Any, videos: Sequence[Any], path: str | Path) -> Stated:
    """What an open container says; `videos`: the video streams that could have been taken."""
    name = container.format.name.split(",")[0]
    seconds = container.duration / av.time_base if name in STATES_DURATION and container.duration else None
    place = 1 + [video.index for video in videos].index(stream.index)
    header = read_header(path, name)
    frames = _count_stated(name, stream, header)
    return Stated(name, frames, seconds or header.seconds, header, Path(path).stat().st_size, (place, len(videos)))


def _count_stated(container: str, stream: Any, header: Header) -> int:
    """Packets that a film states; 0 where it does not.

    Its index is believed first: an edit list leaves out packets that the sample tables of a MOV count, and the header
    of an AVI counts frames that were dropped. An AVI that has no index, and should, lost it with its end. Elsewhere
    FFmpeg's number is made of seconds.
    """
    if container == "mov":
        return min(int(stream.frames), len(stream.index_entries))
    if container == "avi" and header.indexed and header.whole:
        return len(stream.index_entries)
    if container == "avi" and (header.promised or not header.whole):
        return int(stream.frames)
    return 0


def find_faults(
    stated: Stated,
    packets: Packets,
    order: Sequence[int],
    n_refused: int,
    times: Times,
) -> Faults:
    """Compare what a film says with what is there.

    Args:
        packets: what was read of it.
        order: ordinals of those that its frames are made of, as they are shown.
        n_refused: packets of its video that the decoder refused, as far as that is known by now.
        times: of its frames.
    """
    n_packets = len(packets)
    cut, missing = _find_cut(stated, n_packets, packets.end_s)
    said = [cut] if cut else []
    if packets.hole_share:
        share = f"{packets.hole_share:.0%} of its bytes"
        said.append(f"no packet can be read in {share}: damaged, or several films in one file")
    if n_refused:
        said.append(f"damaged: {n_refused} of its {n_packets} packets do not decode")
    torn, lost_s = _find_torn(packets, order, times.seconds)
    if torn:
        said.append(f"packets were lost at {_say_places(times, torn)}: {lost_s:.1f} s of pictures are missing")
    if times.jumps:
        said.append(f"its clock jumps at {_say_places(times, times.jumps)}: times go on from there")
    place, n_videos = stated.stream
    if n_videos > 1:
        said.append(f"{n_videos} video streams: only number {place} was looked at, the one that players take")
    if packets.elsewhere:
        said.append(f"another recording in another video stream, of {packets.elsewhere} packets, was not looked at")
    there = (1 - missing) * (1 - packets.hole_share)
    there *= (1 - n_refused / n_packets) * n_packets / (n_packets + packets.elsewhere)
    there *= 1 - lost_s / float(times.seconds[-1])
    return Faults("; ".join(said) or None, round(1 - there, 6))


def _find_torn(packets: Packets, order: Sequence[int], seconds: NDArray[np.float64]) -> tuple[list[int], float]:
    """Frames before which some are missing, as packets were lost on the way, and how many seconds that is."""
    steps = np.diff(seconds)
    usual = float(np.median(steps))
    at, torn = np.array(order, np.int64), np.flatnonzero(packets.torn)
    long = [
        frame for frame in np.flatnonzero(steps[:-1] > LONG_STEP * usual) if (abs(torn - at[frame]) <= BESIDE).any()
    ]
    return [int(frame) + 1 for frame in long], float((steps[long] - usual).sum())


def _say_places(times: Times, frames: Sequence[int]) -> str:
    places = ", ".join(f"{times.seconds[frame]:.1f} s" for frame in frames[:NAMED_PLACES])
    return places + (f" and {len(frames) - NAMED_PLACES} more places" if len(frames) > NAMED_PLACES else "")


def _find_cut(stated: Stated, n_packets: int, end_s: float) -> tuple[str | None, float]:
    """What is said of a film that is cut off, and the share that is gone."""
    header = stated.header
    if n_packets < (1 - SMALL) * stated.frames:
        gone = 1 - n_packets / stated.frames
        return f"cut off: {n_packets} of the {stated.frames} frames it states are there", gone
    tells_time = stated.container != "avi" or not header.whole  # a whole AVI may end with frames that were dropped
    if stated.seconds and tells_time and end_s < min((1 - SMALL) * stated.seconds, stated.seconds - 0.5):
        gone = 1 - end_s / stated.seconds
        return f"cut off: {end_s:.1f} of the {stated.seconds:.1f} seconds it states are there", gone
    if header.end is not None and stated.size < (1 - SMALL) * header.end:
        gone = 1 - stated.size / header.end
        return f"cut off: {stated.size:,} of the {header.end:,} bytes it states are there", gone
    return (None if header.whole else "cut off: it ends inside a packet"), 0.0
