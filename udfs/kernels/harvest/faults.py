"""What is missing of a film that can be read all the same, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av

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
        whole_packets: false where it ends inside a packet.
        stream: which of its video streams is taken, from 1, and how many there are.
    """

    container: str
    frames: int
    seconds: float | None
    whole_packets: bool
    stream: tuple[int, int]


class Faults(NamedTuple):
    """What is wrong with a film, null when nothing, and the share of it that is not there, 0 to 1."""

    warning: str | None
    missing: float


def read_stated(container: Any, stream: Any, videos: Sequence[Any], path: str | Path) -> Stated:
    """What an open container says; `videos`: the video streams that could have been taken."""
    name = container.format.name.split(",")[0]
    seconds = container.duration / av.time_base if name in STATES_DURATION and container.duration else None
    size = Path(path).stat().st_size
    whole = name != "mpegts" or any(size % packet == 0 for packet in TS_PACKETS)
    place = 1 + [video.index for video in videos].index(stream.index)
    return Stated(name, int(stream.frames or 0), seconds, whole, (place, len(videos)))


def find_faults(
    stated: Stated,
    n_packets: int,
    n_refused: int,
    end_s: float,
    hole_share: float,
    times: Times,
) -> Faults:
    """Compare what a film says with what is there.

    Args:
        n_packets: of its video. n_refused: those that the decoder refused, as far as that is known by now.
        end_s: the time at which the last packet of any stream ends.
        hole_share: of its bytes, in which no packet could be read.
        times: of its frames.
    """
    cut, missing = _find_cut(stated, n_packets, end_s)
    said = [cut] if cut else []
    if hole_share:
        said.append(f"no packet can be read in {hole_share:.0%} of its bytes: damaged, or several films in one file")
    if n_refused:
        said.append(f"damaged: {n_refused} of its {n_packets} packets do not decode")
    if times.jumps:
        places = ", ".join(f"{times.seconds[frame]:.1f} s" for frame in times.jumps[:NAMED_JUMPS])
        more = f" and {len(times.jumps) - NAMED_JUMPS} more places" if len(times.jumps) > NAMED_JUMPS else ""
        said.append(f"its clock jumps at {places}{more}: times go on from there")
    place, n_videos = stated.stream
    if n_videos > 1:
        said.append(f"{n_videos} video streams: only number {place} was looked at, the one that players take")
    there = (1 - missing) * (1 - hole_share) * (1 - n_refused / max(1, n_packets))
    return Faults("; ".join(said) or None, round(1 - there, 6))


def _find_cut(stated: Stated, n_packets: int, end_s: float) -> tuple[str | None, float]:
    """What is said of a film that is cut off, and the share that is gone.

    AVI counts frames that were dropped on purpose (no packet: the one before is shown on), so there only time tells.
    """
    if stated.container != "avi" and n_packets < 0.98 * stated.frames:
        gone = 1 - n_packets / stated.frames
        return f"cut off: {n_packets} of the {stated.frames} frames its index states are there", gone
    if stated.seconds and end_s < min(0.98 * stated.seconds, stated.seconds - 0.5):
        return (
            f"cut off: {end_s:.1f} of the {stated.seconds:.1f} seconds it states are there",
            1 - end_s / stated.seconds,
        )
    return ("cut off: it ends inside a packet" if not stated.whole_packets else None), 0.0
