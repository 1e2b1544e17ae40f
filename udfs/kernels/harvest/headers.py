"""What the file of a film says of itself that FFmpeg does not hand on: where it should end, and what it should hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

TS_PACKETS = {188: 0, 192: 4, 204: 0}  # bytes of a packet of a transport stream: the byte of it that is TS_SYNC
TS_SYNC, TS_LOOKED_AT = b"G", 8  # packets at the end that are looked at
AVI_LISTS = (b"RIFF", b"LIST")
AVI_HAS_INDEX = 0x10  # of the flags in its main header: an index stands at the end
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # its File Properties Object (ASF specification, 3.2)
ASF_FIELDS = {"size": 40, "played": 64, "preroll": 80, "flags": 88}  # bytes from the object's name on
ASF_IS_LIVE = 1  # of its flags: size and time were not known yet
OGG_PAGE = b"OggS"  # begins a page (RFC 3533, 6), whose sixth byte has flags
OGG_LAST = 4  # of the flags: the last page of a stream
OGG_LONGEST = 1 << 17  # bytes; no page is longer


class Header(NamedTuple):
    """What a film's file says of itself.

    Attributes:
        end: bytes at which it should end, and where another film begins if it goes on; None where it does not say.
        whole: whether it ends where a packet ends, as far as its container has such.
        seconds: that it should last; None where it does not say, or FFmpeg hands that on.
        indexed: whether its list of packets is there; promised: whether there should be one. AVI only.
    """

    end: int | None = None
    whole: bool = True
    seconds: float | None = None
    indexed: bool = False
    promised: bool = False


def read_header(path: str | Path, container: str) -> Header:
    """What the file says, by FFmpeg's first name of its container."""
    readers = {"mov": _read_mov, "avi": _read_avi, "asf": _read_asf, "mpegts": _read_ts, "ogg": _read_ogg}
    if container not in readers:
        return Header()
    with open(path, "rb") as file:
        return readers[container](file, Path(path).stat().st_size)


def _read_mov(file: BinaryIO, size: int) -> Header:
    """Boxes (ISO/IEC 14496-12, 4.2), up to where a second film begins: readers do not go on there."""
    at, films = 0, 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        films += kind == b"ftyp"
        if films == 2:
            break
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < 8 or not kind.isalnum():  # 0: to the end of the file; else no box
            return Header()
        at += length
    return Header(at, at <= size)


def _read_avi(file: BinaryIO, size: int) -> Header:
    """Chunks (the RIFF form), of which lists hold others."""
    end: int | None = 0
    indexed, promised = False, False
    for kind, at, length in _walk_chunks(file, 0, size):
        indexed |= kind in (b"idx1", b"indx") and at + length <= size
        if kind == b"avih":
            file.seek(at + 12)
            promised = bool(int.from_bytes(file.read(4), "little") & AVI_HAS_INDEX)
        if kind == b"RIFF":
            end = at + length if length else None  # 0: it was never finished
    return Header(end, end is not None and end <= size, None, indexed, promised)


def _walk_chunks(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of the content of chunks; those in lists too, the pictures and sounds of `movi` aside."""
    while at + 12 <= end:
        file.seek(at)
        head = file.read(12)
        kind, length, form = head[:4], int.from_bytes(head[4:8], "little"), head[8:]
        if not kind.strip(b"\0"):
            return
        yield kind, at + 8, length
        if kind in AVI_LISTS and form != b"movi":
            yield from _walk_chunks(file, at + 12, min(end, at + 8 + (length or end)))
        at += 8 + (length + length % 2 if length else end)


def _read_asf(file: BinaryIO, size: int) -> Header:
    """The file's size and play time, which FFmpeg leaves out where the size is not the file's."""
    head = file.read(1 << 16)
    at = head.find(ASF_FILE)
    if not head.startswith(ASF_HEADER) or at < 0 or len(head) < at + 92:
        return Header()
    said = {name: int.from_bytes(head[at + k : at + k + 8], "little") for name, k in ASF_FIELDS.items()}
    if said["flags"] & ASF_IS_LIVE or not said["size"]:
        return Header()
    seconds = said["played"] / 1e7 - said["preroll"] / 1e3
    return Header(said["size"], said["size"] <= size, seconds if seconds > 0 else None)


def _read_ts(file: BinaryIO, size: int) -> Header:
    """Whole packets of one size up to the end; something else may stand before the first one."""

    def ends_with(packet: int, sync: int) -> bool:
        n = min(TS_LOOKED_AT, size // packet)
        file.seek(size - n * packet)
        return file.read()[sync::packet] == n * TS_SYNC

    return Header(whole=any(ends_with(packet, sync) for packet, sync in TS_PACKETS.items()))


def _read_ogg(file: BinaryIO, size: int) -> Header:
    """Its last page says that it is one; a recording that was never ended has none such."""
    file.seek(max(0, size - OGG_LONGEST))
    tail = file.read()
    at = tail.rfind(OGG_PAGE)
    return Header(whole=at < 0 or len(tail) < at + 6 or bool(tail[at + 5] & OGG_LAST))
