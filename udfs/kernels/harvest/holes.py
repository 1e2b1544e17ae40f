"""Stretches of a film's file in which no packet can be read: damage, or another film behind it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from udfs.kernels.harvest.headers import read_header

LINEAR = ("matroska", "mpegts", "mpeg", "flv", "asf", "ogg", "nut", "ivf")  # their packets lie one behind the other
FROM_BYTE_0 = ("mpegts", "mpeg")  # those with nothing before the first packet
NOTHING_BEHIND = ("mpegts", "mpeg", "flv", "ogg", "nut", "ivf")  # and behind the last one
ENDS = ("mov", "asf")  # whose readers stop where the film says that it ends
NULL_PACKET = (b"G\x1f\xff", 188)  # begins a packet that fills up a transport stream of constant rate; its bytes
EBML = b"\x1aE\xdf\xa3"  # begins a Matroska file
BLOCK = 1 << 24  # bytes read at once
HOLE = (1 << 14, 0.02)  # bytes, and share of the file, without a packet: no padding is so long
OVERHEAD = 1.1  # bytes of a transport stream for one of a packet, headers of its own packets included


class Stretches:
    """Where the packets of a file lie."""

    def __init__(self) -> None:
        self._start, self._end = array("q"), array("q")
        self._last: dict[int, int] = {}

    def add(self, stream: int, place: int | None, size: int) -> None:
        """A packet of so many bytes; one without a place, or with that of the one before (both are of one page),
        lies behind that."""
        before = self._last.get(stream)
        if before is not None and place in (None, self._start[before]):
            self._end[before] += int(OVERHEAD * size)
        elif place is not None:
            self._last[stream] = len(self._start)
            self._start.append(place)
            self._end.append(place + int(OVERHEAD * size))

    def holes(self, first: int | None, last: int | None, least: float) -> list[tuple[int, int]]:
        """[start, end) of the stretches of more than `least` bytes in which no packet lies.

        Args:
            first: where packets should begin, `last`: where they should end; None: where they do.
        """
        start, end = np.array(self._start, np.int64), np.array(self._end, np.int64)
        order = np.argsort(start, kind="stable")
        start, reach = start[order], np.maximum.accumulate(end[order])
        ends = np.append([] if first is None else [first], reach)
        starts = np.append(start if first is not None else start[1:], [] if last is None else [last])
        return [(int(a), int(b)) for a, b in zip(ends, starts, strict=False) if b - a > least]

    @property
    def end(self) -> int:
        """Where the last one ends."""
        return max(self._end, default=0)


def find_holes(path: str | Path, container: str, packets: Stretches) -> int:
    """Bytes of a file in which no packet could be read although they should hold some."""
    size = Path(path).stat().st_size
    end = read_header(path, container).end if container in ENDS else None
    behind = 0 if end is None else max(0, size - end)
    if container not in LINEAR or not packets.end:
        return behind
    first = 0 if container in FROM_BYTE_0 else None
    whole = container in NOTHING_BEHIND or (container == "matroska" and _begins_matroska(path, packets.end))
    holes = packets.holes(first, size if whole else None, max(HOLE[0], HOLE[1] * size))
    return behind + sum(b - a for a, b in holes if container != "mpegts" or not _is_padding(path, a, b))


def _is_padding(path: str | Path, start: int, end: int) -> bool:
    """Whether at least half of a stretch of a transport stream is packets that say nothing."""
    begins, size = NULL_PACKET
    with open(path, "rb") as file:
        return 2 * size * sum(block.count(begins) for block in _read(file, start, end)) >= end - start


def _read(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, BLOCK):
        file.seek(at)
        yield file.read(min(BLOCK, end - at))


def _begins_matroska(path: str | Path, place: int) -> bool:
    """Whether another film begins behind this one; a film's own end has lists of its key frames, fonts and such."""
    with open(path, "rb") as file:
        return any(EBML in block for block in _read(file, place, Path(path).stat().st_size))
