"""The packets of a film, and which of them become which frame.

A packet is told from others by its mark: a hash of where it lies, how long it is and how it begins. Reading a film from
its beginning and reading on from anywhere give packets of the same marks, whatever its stamps say.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from udfs.kernels.harvest.container import choose_video, decode, demux, list_videos, open_film
from udfs.kernels.harvest.holes import Stretches, find_holes

SAMPLE = 48  # frames that are decoded to see whether packets become frames one by one; more than encoders hold back
REORDERED = 32  # frames; no codec shows a frame so far from where its packet lies
SLIP = 64  # packets that may be read otherwise from elsewhere, behind damage
MARKED = 512  # bytes of a packet that its mark is made of
BY_PLACE = ("mpegts", "mpeg", "mpegvideo", "h264", "hevc")  # containers that have no index
LEAD = 1 << 18  # bytes before a packet at which reading begins, so that a parser is in step when it gets there
KEYS_IN_A_ROW = 12  # packets; where others are between, no encoder makes so many
FINDS_STARTS = ("h264", "hevc")
LONGEST_RUN = 48  # packets that come to nothing, or of one stream and none of another that is played beside it


@dataclass
class Packets:
    """What a film's packets say, in the order of the file. A packet's ordinal is its place among those of the video.

    Attributes:
        pts, dts: presentation and decoding stamps, None where there is none.
        place: bytes from the start of the file, at or before the packet; -1 where that is not known.
        torn: that bytes of it were lost on the way, as far as the container counts them.
        hidden: read to decode others, and not shown (an edit list says so).
        end_s: the time at which the last packet of any stream ends.
        heard: seconds of the film's clock in which other streams have packets.
        hole_share: of the file's bytes, those of stretches in which no packet could be read.
        elsewhere: packets of other video streams in stretches where this one has none: another recording.
    """

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    place: array[int] = field(default_factory=lambda: array("q"))
    mark: array[int] = field(default_factory=lambda: array("q"))
    key: list[bool] = field(default_factory=list)
    torn: list[bool] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    end_s: float = 0.0
    heard: set[int] = field(default_factory=set)
    hole_share: float = 0.0
    elsewhere: int = 0

    def __len__(self) -> int:
        return len(self.mark)


class FrameIndex(NamedTuple):
    """The frames of a film in the order in which they are shown, and what finds them again.

    Attributes:
        packet: (n,) int32 ordinal of the packet that each frame was decoded from.
        mark: (n,) int64 that packet's mark.
        place: (n,) int64 bytes from the start of the file, at or before that packet; -1 where that is not known.
        stamp: (n,) int64 that packet's stamp as the file has it, by which a container with an index is searched.
        key: (n,) bool, whether that packet says that decoding can start there.
    """

    packet: NDArray[np.integer]
    mark: NDArray[np.integer]
    place: NDArray[np.integer]
    stamp: NDArray[np.integer]
    key: NDArray[np.bool_]


def mark_packet(packet: Any) -> int:
    """63 bits that tell a packet from the film's others."""
    begins = bytes(memoryview(packet)[:MARKED])
    said = f"{packet.pos} {packet.size} ".encode() + begins
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "big") >> 1


def walk_packets(path: str | Path, max_pixels: int) -> Packets:
    """Read all packets of a film, as far as they can be read, without decoding."""
    found, taken, of_others = Packets(), Stretches(), 0
    with open_film(path, max_pixels) as container:
        stream = choose_video(container, max_pixels)
        others = {video.index for video in list_videos(container)} - {stream.index}
        for packet in demux(container, *container.streams):
            taken.add(packet.stream_index, packet.pos, packet.size)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.time_base:
                found.end_s = max(found.end_s, float((stamp + (packet.duration or 0)) * packet.time_base))
            of_others += packet.stream_index in others
            if packet.stream_index == stream.index:
                found.elsewhere += of_others if of_others > LONGEST_RUN else 0
                of_others = 0
                _add_packet(found, packet)
            elif stamp is not None and packet.time_base:
                found.heard.add(math.floor(stamp * packet.time_base))
        name = container.format.name.split(",")[0]
    found.elsewhere += of_others if of_others > LONGEST_RUN else 0
    found.hole_share = find_holes(path, name, taken) / Path(path).stat().st_size
    return found


def _add_packet(found: Packets, packet: Any) -> None:
    before = found.place[-1] if found.place else -1
    found.pts.append(packet.pts)
    found.dts.append(packet.dts)
    found.place.append(before if packet.pos is None else packet.pos)
    found.mark.append(mark_packet(packet))
    found.key.append(bool(packet.is_keyframe))
    found.torn.append(bool(packet.is_corrupt))
    found.hidden.append(bool(packet.is_discard))


def number_packets(container: Any, stream: Any) -> Iterator[tuple[Any, int]]:
    """The packets of the video with their ordinals, read from the beginning."""
    return ((packet, ordinal) for ordinal, packet in enumerate(demux(container, stream)))


class Decoded(NamedTuple):
    """What decoding from the beginning gave.

    Attributes:
        first: the first frame, None where there is none.
        order: ordinals of the packets that frames were decoded from, in the order of the frames.
        starts: the ordinals of those that the decoder calls key frames.
        n_refused: packets that the decoder refused once it had begun to give frames, or swallowed: LONGEST_RUN of them
            one after the other gave none. Fewer are of its own: hidden frames, second fields.
    """

    first: Any | None
    order: list[int]
    starts: set[int]
    n_refused: int


def decode_from_start(path: str | Path, max_pixels: int, n_frames: int | None = None) -> Decoded:
    """Decode the first frames of a film, or all of them where None, and keep the first one."""
    first, order, starts, refused, read = None, list[int](), set[int](), list[int](), [0]
    with open_film(path, max_pixels) as container:
        stream = choose_video(container, max_pixels, fast=True)
        packets = _note_last(number_packets(container, stream), read)
        for frame, ordinal in islice(decode(stream, packets, refused), n_frames):
            first = frame if first is None else first
            if ordinal >= 0:
                order.append(ordinal)
            if frame.key_frame:
                starts.add(ordinal)
    gave = sorted({*order, *refused, *read})
    begun = min(order, default=0)
    swallowed = sum(b - a - 1 for a, b in pairwise(gave) if b - a > LONGEST_RUN)
    return Decoded(first, order, starts, sum(ordinal > begun for ordinal in refused) + swallowed)


def _note_last(packets: Iterator[tuple[Any, int]], last: list[int]) -> Iterator[tuple[Any, int]]:
    for packet, ordinal in packets:
        last[0] = ordinal + 1
        yield packet, ordinal


def may_have_false_keys(packets: Packets, sample: Decoded, codec: str) -> bool:
    """Whether packets are said to be key frames that the decoder does not call so, or some look like it.

    A film without a list of key frames has all packets marked so; of joined films one may have none, so many marked
    packets in a row are doubted. Decoders that find out by themselves where their pictures are whole (FINDS_STARTS)
    begin at other frames too.
    """
    if codec in FINDS_STARTS or not sample.starts:
        return False
    if any(packets.key[ordinal] for ordinal in sample.order if ordinal not in sample.starts):
        return True
    others = np.flatnonzero(~np.array(packets.key, bool))
    return bool(len(others)) and int(np.diff([-1, *others, len(packets)]).max()) > KEYS_IN_A_ROW


def order_by_stamps(packets: Packets, sample: Decoded) -> list[int] | None:
    """Ordinals of the packets of all frames as they are shown, by their stamps; None where stamps do not tell.

    Stamps tell where every packet has one of its own, decoding stamps ascend, no frame is shown far from where its
    packet lies, and the first SAMPLE frames that decode are those that the stamps say, damage aside. What is shown
    before the first of these cannot be decoded: a recording that begins between two key frames.
    """
    shown = [i for i, hidden in enumerate(packets.hidden) if not hidden]
    stamps = [stamp for i in shown if (stamp := packets.pts[i]) is not None]
    decoding = [stamp for stamp in packets.dts if stamp is not None]
    if not sample.order or len(set(stamps)) < len(shown) or any(b < a for a, b in pairwise(decoding)):
        return None
    ranks = np.argsort(np.array(stamps, np.int64), kind="stable")
    if np.abs(ranks - np.arange(len(ranks))).max() > REORDERED:
        return None
    order = [shown[rank] for rank in ranks]
    if sample.order[0] not in order:
        return None
    order = order[order.index(sample.order[0]) :]
    return order if _agrees(order, sample) else None


def _agrees(order: list[int], sample: Decoded) -> bool:
    n = len(sample.order) if len(sample.order) == SAMPLE else len(order)
    if sample.n_refused == 0:
        return order[:n] == sample.order
    rest = iter(order)
    return all(ordinal in rest for ordinal in sample.order)  # the same order, some left out


def index_frames(packets: Packets, order: list[int], starts: set[int] | None = None) -> FrameIndex:
    """The index of frames that are shown in this order of their packets' ordinals.

    Args:
        starts: the ordinals at which decoding can start; where the packets say so themselves if None.
    """
    at = np.array(order, np.int32)
    stamps = [next((s for s in (packets.pts[i], packets.dts[i]) if s is not None), 0) for i in order]
    key = np.array(packets.key, bool)[at] if starts is None else np.isin(at, list(starts))
    key[:1] = True
    return FrameIndex(
        at, np.array(packets.mark, np.int64)[at], np.array(packets.place, np.int64)[at], np.array(stamps, np.int64), key
    )


def stamps_to_show(packets: Packets, order: list[int], stores_pts: bool) -> list[int | None]:
    """A stamp for each frame, in the order in which they are shown.

    A frame's own presentation stamp; but decoding stamps, handed out in the order of the file, where the container has
    no others (AVI: `stores_pts` is false) or the presentation stamps contradict the order of the frames more often.
    """
    own = [packets.pts[i] for i in order]
    handed = [packets.dts[i] for i in sorted(order)]
    if stores_pts and _count_faults(own) <= _count_faults(handed):
        return own
    return handed


def _count_faults(stamps: list[int | None]) -> int:
    """How many stamps are missing, or no later than the one before."""
    known = [stamp for stamp in stamps if stamp is not None]
    return len(stamps) - len(known) + sum(b <= a for a, b in pairwise(known))


class Finder:
    """Finds the packets of an index again, wherever a film is read from, and the frames of a packet."""

    def __init__(self, index: FrameIndex):
        self._index = index
        by_mark = np.lexsort((index.packet, index.mark))
        self._marks, self._ordinals = index.mark[by_mark], index.packet[by_mark]
        self._numbers = np.argsort(index.packet, kind="stable")
        self._packets = index.packet[self._numbers]

    def read_from(self, container: Any, stream: Any, key: int) -> Iterator[tuple[Any, int]]:
        """Packets from that of key frame `key` on, with their ordinals; -1 for those that have no frame.

        None at all where seeking landed behind it. The very beginning needs no seek, and some containers cannot.
        """
        packets, ordinal, wanted = demux(container, stream), -1, int(self._index.packet[key])
        if key > 0:
            if not self._seek(container, stream, key):
                return
            for packet in packets:
                ordinal = self._find_only(mark_packet(packet)) if packet.is_keyframe else -1
                if ordinal >= wanted:
                    break
            if ordinal != wanted:
                return
            yield packet, ordinal
        expected = ordinal
        for packet in packets:
            expected += 1
            found = self._find_near(mark_packet(packet), expected)
            if found > ordinal:
                ordinal = expected = found
                yield packet, found
            else:
                yield packet, -1

    def find_number(self, ordinal: int, behind: int) -> int:
        """The first frame of this packet with a number above `behind`; -1 where there is none."""
        low, high = np.searchsorted(self._packets, [ordinal, ordinal + 1])
        return next((int(number) for number in self._numbers[low:high] if number > behind), -1)

    def _seek(self, container: Any, stream: Any, key: int) -> bool:
        """Containers without an index are searched by place: their stamps may begin anew, or be guessed."""
        place, by_place = int(self._index.place[key]), container.format.name in BY_PLACE
        try:
            if by_place:
                container.seek(max(0, place - LEAD), unsupported_byte_offset=True)
            else:
                container.seek(int(self._index.stamp[key]), stream=stream, backward=True, any_frame=False)
        except (av.error.FFmpegError, OverflowError):
            return False
        return place >= 0 or not by_place

    def _find_only(self, mark: int) -> int:
        """The ordinal of the packet with this mark; -1 where none has it, or several."""
        low, high = np.searchsorted(self._marks, [mark, mark + 1])
        return int(self._ordinals[low]) if low < high and self._ordinals[low] == self._ordinals[high - 1] else -1

    def _find_near(self, mark: int, expected: int) -> int:
        """The ordinal nearest to `expected` of a packet with this mark; -1 where none is within SLIP of it.

        Packets may be alike: those of still pictures, and all of a recording that is there twice.
        """
        low, high = np.searchsorted(self._marks, [mark, mark + 1])
        at = low + np.searchsorted(self._ordinals[low:high], expected)
        near = [int(ordinal) for ordinal in self._ordinals[max(low, at - 1) : min(high, at + 1)]]
        found = min(near, key=lambda ordinal: abs(ordinal - expected), default=-1)
        return found if near and abs(found - expected) <= SLIP else -1
