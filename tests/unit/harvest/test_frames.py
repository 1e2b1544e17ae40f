"""Which frames a film has, and which picture each number is: the judge is a plain decode of the whole file."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.numbered_films import FPS, GOP, all_frames, join, pack_b_frames, plain_decode, read_number, write
from udfs.kernels.harvest import video

HOUR = 3600 * FPS


def check_against_plain_decode(path: Path, stream: int = 0, starts: range | None = None) -> video.Film:
    """Every frame has its number, and any range holds the very pictures."""
    film, plain = video.probe(path), plain_decode(path, stream)
    assert film.n_frames == len(plain)
    assert len(film.times) == len(plain) + 1
    assert np.all(np.diff(film.times) > 0)
    for start in starts or range(0, film.n_frames, 5):
        end = min(start + 7, film.n_frames)
        part = list(video.decode_frames(path, film, start, end))
        assert [frame.number for frame in part] == list(range(start, end))
        assert all(np.array_equal(frame.image, plain[frame.number]) for frame in part)
    return film


# --- recordings one behind the other ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "codec", "options"),
    [
        ("ts", "libx264", {}),
        ("m2ts", "libx264", {}),
        ("ts", "mpeg2video", {"b": "3M"}),
        ("ts", "libx265", {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:bframes=3"}),
        ("mpg", "mpeg2video", {"b": "3M"}),
        ("vob", "mpeg2video", {"b": "3M"}),
        ("mpg", "mpeg1video", {"b": "3M"}),
    ],
)
def test_joined_recordings_go_on(tmp_path, ending, codec, options):
    a = write(tmp_path / f"a.{ending}", codec, 40, options=options)
    b = write(tmp_path / f"b.{ending}", codec, 25, options=options, number=100)
    path = join(tmp_path / f"joined.{ending}", a, b, a)
    film = check_against_plain_decode(path)
    assert film.n_frames == 105
    assert np.allclose(film.times, np.arange(106) / FPS, atol=1.1e-3)
    assert film.fps == pytest.approx(FPS, rel=2e-3)
    assert film.warning == "its clock jumps at 1.7 s, 2.7 s: times go on from there"
    got = [read_number(frame.image) for frame in video.decode_frames(path, film, 38, 44)]
    assert got == [38, 39, 100, 101, 102, 103]


@pytest.mark.parametrize("ending", ["mpg", "ts"])
def test_a_recording_that_is_there_twice_and_begins_between_key_frames(tmp_path, ending):
    """Its first packets have no frames, and are those of later frames again."""
    whole = write(tmp_path / f"film.{ending}", "mpeg2video", 90, size=(320, 240)).read_bytes()
    path = tmp_path / f"twice.{ending}"
    path.write_bytes(whole[len(whole) // 5 // 188 * 188 :] + whole)
    film = check_against_plain_decode(path, starts=range(0, 150, 9))
    assert film.n_frames > 150


@pytest.mark.parametrize("second", [20, 60.5, 95])
def test_joined_recordings_whose_stamps_overlap(tmp_path, second):
    """The second one's stamps lie between those of the first one, or are the same."""
    a = write(tmp_path / "a.ts", n=100, b_frames=0)
    b = write(tmp_path / "b.ts", n=40, b_frames=0, first=int(second), number=100)
    film = check_against_plain_decode(join(tmp_path / "joined.ts", a, b), starts=range(0, 140, 11))
    assert np.allclose(film.times, np.arange(141) / FPS, atol=1e-3)


def test_many_short_recordings(tmp_path):
    parts = [write(tmp_path / f"{i}.ts", n=9, number=9 * i, b_frames=0) for i in range(8)]
    film = check_against_plain_decode(join(tmp_path / "joined.ts", *parts))
    assert film.n_frames == 72
    assert film.warning is not None
    assert film.warning.startswith("its clock jumps at 0.4 s, 0.8 s, 1.1 s and 4 more places")


def test_recordings_of_different_sizes(tmp_path):
    a, b = write(tmp_path / "a.ts", n=30), write(tmp_path / "b.ts", n=30, size=(96, 72), number=100)
    path = join(tmp_path / "joined.ts", a, b)
    film = video.probe(path)
    got = list(video.decode_frames(path, film, 0, film.n_frames))
    assert [read_number(frame.image) for frame in got] == [*range(30), *range(100, 130)]
    assert {frame.image.shape for frame in got} == {(48, 64, 3)}


def test_an_mp4_that_ends_with_another_one_misses_it(tmp_path):
    """No reader goes on behind the first one, so that much of the file is missing."""
    a, b = write(tmp_path / "a.mp4", n=60), write(tmp_path / "b.mp4", n=60)
    film = video.probe(join(tmp_path / "joined.mp4", a, b))
    assert film.n_frames == 60
    assert film.missing == pytest.approx(0.5, abs=0.01)
    assert film.warning == "no packet can be read in 50% of its bytes: damaged, or several films in one file"


@pytest.mark.parametrize("program", [{}, {"mpegts_pmt_start_pid": "5000", "mpegts_service_id": "7"}])
@pytest.mark.parametrize("again", [False, True])
def test_a_recording_in_another_stream_is_missed(tmp_path, program, again):
    """Its packets have another number than those of the first recording, so that a player does not show it."""
    a = write(tmp_path / "a.ts", n=90, size=(320, 240))
    b = write(tmp_path / "b.ts", n=90, size=(320, 240), number=100, container={"mpegts_start_pid": "500", **program})
    path = join(tmp_path / "film.ts", a, b, *([a] if again else []))
    film = video.probe(path)
    got = [read_number(frame.image) for frame in video.decode_frames(path, film, 80, 100)]
    assert got == ([*range(80, 90), *range(10)] if again else [*range(80, 90)])
    assert film.n_frames == (180 if again else 90)
    assert film.missing == pytest.approx(1 / 3 if again else 1 / 2, abs=0.05)


# --- packets that are not frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["avi", "mp4"])
@pytest.mark.parametrize("b_frames", [1, 2])
def test_packed_b_frames(tmp_path, ending, b_frames):
    film = write(tmp_path / "film.avi", "mpeg4", 60, b_frames=1 if ending == "avi" else b_frames)
    path = pack_b_frames(tmp_path / f"packed.{ending}", film)
    check_against_plain_decode(path, starts=range(0, 58))


@pytest.mark.parametrize(
    ("ending", "codec"), [("mpg", "mpeg2video"), ("asf", "mpeg4"), ("mkv", "mjpeg"), ("ts", "libx264")]
)
def test_packets_that_are_all_alike(tmp_path, ending, codec):
    """A still picture: packets of the same bytes, and where several lie in one chunk, of the same place."""
    form = {"pix_fmt": "yuvj420p", "b_frames": 0} if codec == "mjpeg" else {}
    film = check_against_plain_decode(write(tmp_path / f"film.{ending}", codec, 90, step=0, **form))
    assert (film.n_frames, film.warning) == (90, None)


def test_frames_that_are_decoded_and_never_shown(tmp_path):
    """VP8's golden frames from the future are packets of their own."""
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5", "b": "200k"}
    path = write(tmp_path / "film.webm", "libvpx", 60, options=options)
    film = check_against_plain_decode(path)
    assert film.n_frames == 60
    assert film.warning is None


@pytest.mark.parametrize(("codec", "b_frames"), [("mpeg4", 0), ("mpeg4", 2), ("libx264", 2)])
def test_dropped_frames_of_avi_are_no_loss(tmp_path, codec, b_frames):
    """Their packets are empty: the frame before is shown on."""
    stamps = [*range(30), *range(60, 120)]
    film = check_against_plain_decode(write(tmp_path / "film.avi", codec, b_frames=b_frames, stamps=stamps))
    assert film.n_frames == 90
    assert film.warning is None
    assert film.missing == 0
    if b_frames == 0:
        assert np.allclose(film.times, np.array([*stamps, 120]) / FPS)


def test_frames_dropped_at_the_end_of_avi_are_no_loss(tmp_path):
    """The header counts 40 frames, of which the last ten have empty packets."""
    path = write(tmp_path / "film.avi", "mpeg4", 30, b_frames=0)
    content = path.read_bytes()
    for counted in (b"avih", b"strh"):  # at 16 and 32 bytes behind their names and lengths
        at = content.index(counted) + 8 + (16 if counted == b"avih" else 32)
        content = content[:at] + (40).to_bytes(4, "little") + content[at + 4 :]
    path.write_bytes(content)
    film = check_against_plain_decode(path)
    assert (film.n_frames, film.missing, film.warning) == (30, 0, None)


def test_avi_that_is_cut_off(tmp_path):
    path = write(tmp_path / "film.avi", "mpeg4", 120, b_frames=0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    film = video.probe(path)
    assert film.warning is not None
    assert film.warning.startswith("cut off")
    assert film.missing == pytest.approx(1 - film.n_frames / 120)


# --- where decoding can start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_intra_refresh(tmp_path, ending):
    """No key frame but the first; what is marked as one needs a second until its picture is whole."""
    options = {"x264-params": "intra-refresh=1:keyint=24", "preset": "veryfast", "crf": "16"}
    path = write(tmp_path / f"film.{ending}", n=120, options=options)
    film = check_against_plain_decode(path, starts=range(0, 118, 3))
    for key in film.key_frames.tolist():
        assert next(video.decode_frames(path, film, key, key + 1)).number == key


@pytest.mark.parametrize(
    ("ending", "codec", "options"),
    [
        ("ts", "mpeg2video", {"b": "3M", "flags": "+ildct+ilme"}),
        ("ts", "libx264", {"x264-params": "open-gop=1:bframes=3:b-pyramid=1"}),
        ("mkv", "libx265", {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:bframes=3"}),
        ("mov", "mjpeg", {}),
        ("nut", "libx264", {}),
    ],
)
def test_any_start_in_longer_films(tmp_path, ending, codec, options):
    form = {"pix_fmt": "yuvj420p", "b_frames": 0} if codec == "mjpeg" else {}
    path = write(tmp_path / f"film.{ending}", codec, 90, options=options, **form)
    check_against_plain_decode(path, starts=range(0, 88, 2))


@pytest.mark.parametrize(("ending", "codec"), [("ts", "libx264"), ("mpg", "mpeg2video")])
def test_a_recording_that_begins_between_two_key_frames(tmp_path, ending, codec):
    path = write(tmp_path / f"film.{ending}", codec, 90, size=(320, 240))
    path.write_bytes(path.read_bytes()[path.stat().st_size // 5 // 188 * 188 :])
    film = check_against_plain_decode(path)
    assert 50 < film.n_frames < 90
    assert film.missing == 0


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("avi", "mpeg4"), ("flv", "libx264"),
     ("mpg", "mpeg2video")],
)  # fmt: skip
def test_a_start_is_found_without_decoding_what_lies_before(tmp_path, monkeypatch, ending, codec):
    path = write(tmp_path / f"film.{ending}", codec, 120)
    film, read = video.probe(path), []
    monkeypatch.setattr(video, "decode", _counting(video.decode, read))
    assert [frame.number for frame in video.decode_frames(path, film, 110, 112)] == [110, 111]
    assert len(read) <= GOP + 4


def _counting(decode, read):
    def counted(stream, packets):
        for frame in decode(stream, packets):
            read.append(frame)
            yield frame

    return counted


# --- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "jump"), [("mp4", 26 * HOUR), ("mkv", 26 * HOUR), ("flv", 2 * HOUR), ("ts", 26 * HOUR), ("ts", 20 * FPS)]
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_clock_that_jumps_is_no_held_frame(tmp_path, ending, jump, b_frames):
    stamps = [i + (jump if i >= 50 else 0) for i in range(120)]
    film = check_against_plain_decode(write(tmp_path / f"film.{ending}", b_frames=b_frames, stamps=stamps))
    assert film.n_frames == 120
    assert film.fps == pytest.approx(FPS, rel=2e-3)
    assert film.duration_s == pytest.approx(120 / FPS, abs=0.01)
    assert film.warning is not None
    assert re.fullmatch(r"its clock jumps at 2\.[0-3] s: times go on from there", film.warning)


@pytest.mark.parametrize(("ending", "held"), [("mp4", 3), ("mkv", 30), ("ts", 3), ("mp4", 600)])
def test_a_frame_that_is_held_keeps_its_time(tmp_path, ending, held):
    stamps = [i + (held * FPS if i >= 50 else 0) for i in range(120)]
    film = video.probe(write(tmp_path / f"film.{ending}", stamps=stamps, b_frames=0))
    assert film.duration_s == pytest.approx(120 / FPS + held, abs=0.01)
    assert film.fps == pytest.approx(FPS, rel=2e-3)
    assert film.warning is None


def test_stamps_that_wrap(tmp_path):
    """The clock of a transport stream counts to 2^33 / 90,000 s."""
    path = write(tmp_path / "film.ts", stamps=[2**33 * FPS // 90000 - 20 + i for i in range(60)], b_frames=0)
    film = check_against_plain_decode(path)
    assert film.warning is None
    assert np.allclose(film.times, np.arange(61) / FPS, atol=1e-3)


def test_stamps_that_are_repeated_cost_no_frame(tmp_path):
    """Every second stamp is that of the frame before it."""
    source, path = write(tmp_path / "source.mkv", n=60, b_frames=0), tmp_path / "film.mkv"
    with av.open(str(source)) as film, av.open(str(path), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream)
        stamp = 0
        for i, packet in enumerate(packet for packet in film.demux(stream) if packet.size):
            stamp = stamp if i % 2 else packet.pts
            packet.pts, packet.dts, packet.stream = stamp, stamp, copy
            out.mux(packet)
    film = check_against_plain_decode(path)
    assert film.n_frames == 60
    assert film.duration_s == pytest.approx(60 / FPS, abs=2 / FPS)
    assert all(0.4 / FPS < b - a < 2.1 / FPS for a, b in pairwise(film.times))


# --- which stream, and when ------------------------------------------------------------------------------------------


def two_streams(path: Path, default: int | None) -> Path:
    with av.open(str(path), "w") as out:
        sources = [write(path.with_name(f"{i}.mkv"), n=30, number=100 * i) for i in range(2)]
        opened = [av.open(str(source)) for source in sources]
        copies = [out.add_stream_from_template(film.streams.video[0]) for film in opened]
        for i, copy in enumerate(copies):
            copy.disposition = av.stream.Disposition.default if i == default else av.stream.Disposition(0)
        for film, copy in zip(opened, copies, strict=True):
            for packet in film.demux(film.streams.video[0]):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
            film.close()
    return path


@pytest.mark.parametrize(("default", "taken"), [(None, 0), (0, 0), (1, 1)])
def test_the_default_stream_is_taken(tmp_path, default, taken):
    path = two_streams(tmp_path / "film.mkv", default)
    film = check_against_plain_decode(path, stream=taken)
    assert read_number(next(video.decode_frames(path, film, 7, 8)).image) == 100 * taken + 7
    assert film.warning == f"2 video streams: only number {taken + 1} was looked at, the one that players take"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_the_first_frame_on_a_players_clock(tmp_path, ending):
    """Players count from the start of the stream that starts first: here the sound."""
    late = video.probe(write(tmp_path / f"late.{ending}", first=2 * FPS, audio=True))
    alone = video.probe(write(tmp_path / f"alone.{ending}", first=2 * FPS))
    together = video.probe(write(tmp_path / f"together.{ending}", audio=True))
    assert late.start_s == pytest.approx(2, abs=0.1)
    assert (alone.start_s, together.start_s) == pytest.approx((0, 0), abs=0.1)
    assert np.allclose(late.times, together.times, atol=1.1e-3)


# --- key frames that are none ----------------------------------------------------------------------------------------


def without_index(path: Path) -> Path:
    """As an AVI that was cut off, or an MP4 without its list of key frames: every packet passes for one."""
    data = path.read_bytes()
    if path.suffix == ".avi":
        path.write_bytes(data[: data.index(b"idx1")])
    else:
        path.write_bytes(data.replace(b"stss", b"free"))
    return path


@pytest.mark.parametrize(("ending", "codec"), [("avi", "mpeg4"), ("avi", "msmpeg4"), ("mp4", "mpeg4")])
def test_key_frames_are_those_of_the_decoder(tmp_path, ending, codec):
    film = check_against_plain_decode(without_index(write(tmp_path / f"film.{ending}", codec, 60, b_frames=0)))
    assert film.key_frames.tolist() == list(range(0, 60, GOP))


def test_only_the_second_of_two_joined_films_has_no_index(tmp_path):
    a, b = (write(tmp_path / f"{name}.avi", "mpeg4", 60, b_frames=0, number=n) for name, n in (("a", 0), ("b", 100)))
    path = join(tmp_path / "joined.avi", a, b)
    film = check_against_plain_decode(path)
    assert set(range(60, film.n_frames, GOP)) <= set(film.key_frames.tolist())


def test_a_damaged_key_frame_is_not_begun_at(tmp_path):
    """What follows it is made of it; a decoder that comes from before fills its place as a player does."""
    path = write(tmp_path / "film.mp4", n=60, b_frames=0, size=(160, 120))
    film = video.probe(path)
    start, end = (int(film.index.place[number]) for number in (2 * GOP, 2 * GOP + 1))
    data = bytearray(path.read_bytes())
    data[start + (end - start) // 3 : end - 8] = bytes(end - 8 - start - (end - start) // 3)
    path.write_bytes(data)
    film, whole = video.probe(path), all_frames(path)
    assert set(whole) == set(range(60)) - {2 * GOP}
    for start in range(2 * GOP + 1, 3 * GOP, 3):
        (frame,) = video.decode_frames(path, film, start, start + 1)
        assert np.abs(frame.image.astype(int) - whole[start]).mean() < 10, "what fills the place may differ a little"
