"""Stretches of a film's file in which no packet can be read: damage, or another film behind it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

LINEAR = ("matroska", "mpegts", "mpeg", "flv", "asf")  # containers whose packets lie one behind the other
FROM_BYTE_0 = ("mpegts", "mpeg")  # those with nothing before the first packet
NOTHING_BEHIND = ("mpegts", "mpeg", "flv")  # and behind the last one
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
        """A packet of so many bytes; one without a place lies behind the stream's packet before it."""
        if place is not None:
            self._last[stream] = len(self._start)
            self._start.append(place)
            self._end.append(place + int(OVERHEAD * size))
        elif stream in self._last:
            self._end[self._last[stream]] += int(OVERHEAD * size)

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
    if container == "mov":
        return size - _find_end_of_mov(path, size)
    if container not in LINEAR or not packets.end:
        return 0
    first = 0 if container in FROM_BYTE_0 else None
    whole = container in NOTHING_BEHIND or (container == "matroska" and _begins_matroska(path, packets.end))
    holes = packets.holes(first, size if whole else None, max(HOLE[0], HOLE[1] * size))
    return sum(end - start for start, end in holes if container != "mpegts" or not _is_padding(path, start, end))


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


def _find_end_of_mov(path: str | Path, size: int) -> int:
    """Bytes of a file of boxes (ISO/IEC 14496-12, 4.2) up to where a second film begins; readers do not go on there."""
    at, films = 0, 0
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            films += kind == b"ftyp"
            if films == 2:
                return at
            length = int.from_bytes(head[8:16], "big") if length == 1 else length
            if length < 8:  # 0: to the end of the file
                break
            at += length
    return size
