"""What is missing of a film that can be read all the same, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av

from udfs.kernels.harvest.packets import Packets
from udfs.kernels.harvest.stamps import Times

STATES_DURATION = ("mov", "matroska", "avi", "flv", "asf", "mxf")  # in the header; elsewhere it is FFmpeg's estimate
TS_PACKETS = (188, 192, 204)  # bytes: a transport stream is whole packets of one of these sizes
NAMED_JUMPS = 3  # more are counted only


class Stated(NamedTuple):
    """What a film says of itself before its packets are read.

    Attributes:
        container: FFmpeg's first name of it.
        frames: 0 where it says nothing.
        seconds: to the end of the longest stream; None where it says nothing.
        whole: false where the file ends inside a packet or a chunk, as far as its container has such.
        stream: which of its video streams is taken, from 1, and how many there are.
    """

    container: str
    frames: int
    seconds: float | None
    whole: bool
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
    whole = _is_whole(name, path)
    frames = int(stream.frames or 0)
    if name == "avi":
        frames = _count_avi_packets(stream, frames, whole)
    return Stated(name, frames, seconds, whole, (place, len(videos)))


def _count_avi_packets(stream: Any, frames: int, whole: bool) -> int:
    """Packets that an AVI states: its header counts frames that were dropped too, its index at the end does not."""
    in_index = len(stream.index_entries)
    if in_index > 1:  # without an index there is one entry, of the first packet
        return in_index
    return 0 if whole else frames


def _is_whole(container: str, path: str | Path) -> bool:
    size = Path(path).stat().st_size
    if container == "mpegts":
        return any(size % packet == 0 for packet in TS_PACKETS)
    if container == "avi":
        return _end_of_chunks(path, size) <= size
    return True


def _end_of_chunks(path: str | Path, size: int) -> int:
    """Where the last chunk of an AVI ends, by what it says; behind the file's end where it is cut off."""
    at = 0
    with open(path, "rb") as file:
        while at + 8 < size:
            file.seek(at + 4)
            length = int.from_bytes(file.read(4), "little")
            at += 8 + (length if length else size)  # 0: it was never finished
    return at


def find_faults(
    stated: Stated,
    packets: Packets,
    n_refused: int,
    times: Times,
) -> Faults:
    """Compare what a film says with what is there.

    Args:
        packets: what was read of it.
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
    if times.jumps:
        places = ", ".join(f"{times.seconds[frame]:.1f} s" for frame in times.jumps[:NAMED_JUMPS])
        more = f" and {len(times.jumps) - NAMED_JUMPS} more places" if len(times.jumps) > NAMED_JUMPS else ""
        said.append(f"its clock jumps at {places}{more}: times go on from there")
    place, n_videos = stated.stream
    if n_videos > 1:
        said.append(f"{n_videos} video streams: only number {place} was looked at, the one that players take")
    if packets.elsewhere:
        said.append(f"another recording in another video stream, of {packets.elsewhere} packets, was not looked at")
    there = (1 - missing) * (1 - packets.hole_share)
    there *= (1 - n_refused / n_packets) * n_packets / (n_packets + packets.elsewhere)
    return Faults("; ".join(said) or None, round(1 - there, 6))


def _find_cut(stated: Stated, n_packets: int, end_s: float) -> tuple[str | None, float]:
    """What is said of a film that is cut off, and the share that is gone."""
    if n_packets < 0.98 * stated.frames:
        gone = 1 - n_packets / stated.frames
        return f"cut off: {n_packets} of the {stated.frames} frames its index states are there", gone
    tells_time = stated.container != "avi" or not stated.whole  # a whole AVI may end with frames that were dropped
    if stated.seconds and tells_time and end_s < min(0.98 * stated.seconds, stated.seconds - 0.5):
        gone = 1 - end_s / stated.seconds
        return f"cut off: {end_s:.1f} of the {stated.seconds:.1f} seconds it states are there", gone
    return (None if stated.whole else "cut off: it ends inside a packet"), 0.0
