"""Films that are cut off or damaged, and files that are no films."""

from __future__ import annotations

import os
import re
import shutil
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.errors import FilmError
from tests.helpers.numbered_films import FPS, GOP, HEIGHT, WIDTH, numbered, read_number, write
from udfs.kernels.harvest import video
from udfs.kernels.harvest.assemble import missing_share

# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "share"), [("faststart", 0.5), ("mkv", 0.5), ("mkv", 0.8), ("ts", 0.5), ("flv", 0.5)]
)
def test_a_film_cut_off_is_done_as_far_as_it_goes(tmp_path, ending, share):
    fast = ending == "faststart"
    path = write(
        tmp_path / f"film.{'mp4' if fast else ending}", n=120, container={"movflags": "faststart"} if fast else {}
    )
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size) + 50])
    film = video.probe(path)
    assert 120 * share * 0.6 < film.n_frames < 119
    assert film.warning is not None
    assert film.warning.startswith("cut off")
    got = list(video.decode_frames(path, film, 0, film.n_frames))
    assert [read_number(frame.image) for frame in got][:-2] == [frame.number for frame in got][:-2]
    assert len(got) >= film.n_frames - 2


def test_an_mp4_without_its_index_is_no_film(tmp_path):
    path = write(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(FilmError, match="cut off before its index"):
        video.probe(path)


def test_a_damaged_packet_costs_its_own_group_of_frames(tmp_path):
    path = write(tmp_path / "film.mkv", n=60)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = np.random.default_rng(1).bytes(60)
    path.write_bytes(data)
    film = video.probe(path)
    got = [frame.number for frame in video.decode_frames(path, film, 0, film.n_frames)]
    assert got == sorted(set(got))
    assert film.n_frames >= 60 - 2 * GOP  # packets in the damage are gone, others do not decode
    assert len(got) >= film.n_frames - 2 * GOP
    assert {0, film.n_frames - 1} <= set(got)
    assert film.duration_s == pytest.approx(60 / FPS, abs=0.05)


@pytest.mark.parametrize(
    ("ending", "codec", "said"),
    [
        ("mkv", "mpeg2video", "no packet can be read in"),
        ("ts", "mpeg2video", "no packet can be read in"),
        ("mpg", "mpeg2video", "no packet can be read in"),
        ("asf", "mpeg4", "no packet can be read in"),
        ("flv", "flv", "no packet can be read in"),
        ("avi", "mpeg4", "cut off"),
        ("mp4", "mpeg4", None),  # its index is at the end: the frames are there, and do not decode
    ],
)
def test_a_hole_in_the_middle_is_missed(tmp_path, ending, codec, said):
    """30 % of the bytes are zeros, as a disk gives them that lost a stretch."""
    path = write(tmp_path / f"film.{ending}", codec, 120, size=(160, 120), options={"b": "3M"}, b_frames=0)
    whole = video.probe(path)
    assert (whole.missing, whole.warning) == (0, None)
    content = bytearray(path.read_bytes())
    start, end = (int(share * len(content)) for share in (0.4, 0.7))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    film = video.probe(path)
    decoded = sum(1 for _ in video.decode_frames(path, film, 0, film.n_frames, width=32))
    assert 0.2 < missing_share(film.missing, film.n_frames, decoded) < 0.5
    assert (film.warning or "").startswith(said or "")


def test_padding_is_no_hole(tmp_path):
    """A transport stream of a constant rate, most of it null packets, with a frame that is held for 3 s."""
    stamps = [i + (3 * FPS if i >= 30 else 0) for i in range(60)]
    film = video.probe(write(tmp_path / "film.ts", stamps=stamps, b_frames=0, container={"muxrate": "3000000"}))
    assert (tmp_path / "film.ts").stat().st_size > 1_000_000
    assert (film.missing, film.warning) == (0, None)


@pytest.fixture(scope="module")
def whole_films(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    kinds = {"mp4": "libx264", "mkv": "libx264", "ts": "libx264", "avi": "mpeg4", "mpg": "mpeg2video", "flv": "libx264"}
    return {e: write(folder / f"film.{e}", c, 30, audio=e in ("mp4", "ts")).read_bytes() for e, c in kinds.items()}


@settings(max_examples=150)
@given(
    ending=st.sampled_from(["mp4", "mkv", "ts", "avi", "mpg", "flv"]),
    keep=st.floats(0.01, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=30),
    near_start=st.booleans(),
)
def test_damage_of_any_kind_is_the_films_own_fault(whole_films, tmp_path_factory, ending, keep, flips, near_start):
    data = bytearray(whole_films[ending])
    del data[max(1, int(keep * len(data))) :]
    for place, bit in flips:
        data[int(place * (min(len(data), 2000) if near_start else len(data)))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / f"damaged.{ending}"
    path.write_bytes(data)
    try:
        film = video.probe(path)
    except FilmError:
        return
    assert film.fps > 0
    assert np.all(np.diff(film.times) > 0)
    assert film.key_frames[0] == 0
    try:
        got = [frame.number for frame in video.decode_frames(path, film, 0, film.n_frames, width=32)]
    except FilmError:
        return
    assert got == sorted(set(got))
    assert set(got) <= set(range(film.n_frames))


@settings(max_examples=60)
@given(data=st.binary(min_size=1, max_size=600), ending=st.sampled_from(["mp4", "mkv", "ts", "avi", "m3u8", "txt", ""]))
def test_garbage_is_no_film(tmp_path_factory, data, ending):
    path = tmp_path_factory.getbasetemp() / f"garbage.{ending}"
    path.write_bytes(data)
    with pytest.raises(FilmError):
        video.probe(path)


# --- what is no film, and what must not be opened -------------------------------------------------------------------


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(FilmError, match="empty"):
        video.probe(tmp_path / "empty.mp4")


def test_no_file_a_folder_and_a_dangling_link(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    for name, reason in [
        ("none.mp4", "no such file"),
        ("folder.mp4", "folder"),
        ("link.mp4", "dangling"),
        ("loop.mp4", "dangling"),
        ("x" * 300 + ".mp4", "cannot be read"),
    ]:
        with pytest.raises(FilmError, match=reason):
            video.probe(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(FilmError, match="no such file"):
        video.probe(tmp_path / "pipe.mp4")


def opens(path: Path, options: dict[str, str]) -> bool:
    try:
        with av.open(str(path), options=options) as container:
            return any(True for _ in container.decode(video=0))
    except av.error.FFmpegError:
        return False


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{film}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{film}'\n",
}


@pytest.mark.parametrize(("kind", "name"), [("hls", "list.m3u8"), ("concat", "list.mp4")])
def test_a_list_that_points_to_a_film_is_not_followed(tmp_path, kind, name):
    film = write(tmp_path / "real.ts")
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(film=film.name))
    lenient = {
        "allowed_extensions": "ALL",
        "extension_picky": "0",
        "protocol_whitelist": "file,crypto,data",
        "safe": "0",
    }
    assert opens(path, lenient), "without castmine's rules FFmpeg follows it, so the test can fail"
    renamed = shutil.copy(path, tmp_path / "renamed.mp4")
    for given_path in (path, renamed):
        with pytest.raises(FilmError, match="playlist" if kind == "hls" else "text file"):
            video.probe(given_path)


def test_a_session_description_is_not_followed(tmp_path):
    path = tmp_path / "session.mp4"
    said = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 5004 RTP/AVP 96"]
    path.write_text("\n".join([*said, "a=rtpmap:96 H264/90000", ""]))
    with pytest.raises(FilmError, match="text file"):
        video.probe(path)


def test_a_numbered_picture_sequence_is_not_opened(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"shot{number}.png"), numbered(number))
    (tmp_path / "shot%d.png").write_bytes((tmp_path / "shot0.png").read_bytes())
    with pytest.raises(FilmError):
        video.probe(tmp_path / "shot%d.png")


@pytest.mark.parametrize(
    "name", ["http:film.mp4", "concat:a.mp4|b.mp4", "file:film.mp4", "-i.mp4", "fünf 50% #1?.mp4", "a\nb.mp4"]
)
def test_a_name_is_only_ever_a_files_name(tmp_path, monkeypatch, name):
    film = write(tmp_path / "film.mp4", n=5)
    shutil.copy(film, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert video.probe(tmp_path / name).n_frames == 5
    assert video.probe(name).n_frames == 5


def test_a_name_that_is_no_unicode(tmp_path):
    film = write(tmp_path / "film.mp4", n=5)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    shutil.copy(film, odd)
    assert video.probe(odd).n_frames == 5


def test_sound_alone_is_a_film_without_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=16000)
        for number in range(20):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            tone.rate, tone.pts = 16000, number * 1024
            out.mux(sound.encode(tone))
        out.mux(sound.encode())
    with pytest.raises(FilmError, match="without video"):
        video.probe(tmp_path / "sound.mp4")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(16000))
    with pytest.raises(FilmError):
        video.probe(tmp_path / "sound.wav")


@pytest.mark.parametrize("ending", ["mp4", "mp3"])
def test_a_cover_picture_is_no_video(tmp_path, ending):
    path = tmp_path / f"song.{ending}"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac" if ending == "mp4" else "libmp3lame", rate=16000)
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(numbered(99), format="bgr24").reformat(format="yuvj420p")
        pictures = [*cover.encode(picture), *cover.encode()]
        for number in range(20):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            tone.rate, tone.pts = 16000, number * 1152
            packets = sound.encode(tone)
            out.mux(packets)
        out.mux(sound.encode())
        out.mux(pictures)
    with pytest.raises(FilmError, match="without video" if ending == "mp4" else "not a film|without video"):
        video.probe(path)


def test_a_raw_stream_carries_no_times(tmp_path):
    path = write(tmp_path / "film.h264")
    with pytest.raises(FilmError, match="no times"):
        video.probe(path)


def test_an_unknown_codec(tmp_path):
    path = write(tmp_path / "film.mp4", n=5)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(FilmError, match="codec"):
        video.probe(path)


# --- what a file says of itself --------------------------------------------------------------------------------------


def missed(path: Path) -> tuple[float, str]:
    film = video.probe(path)
    return film.missing, film.warning or ""


def test_an_avi_that_lost_its_end_and_with_it_its_index(tmp_path):
    """As a download that was broken off leaves it: the second half is zeros, or is not there."""
    for codec in ("mpeg4", "libx264"):
        whole = write(tmp_path / f"{codec}.avi", codec, 60, b_frames=0, size=(320, 240)).read_bytes()
        assert missed(tmp_path / f"{codec}.avi") == (0, "")
        for name, content in {
            "zeros": whole[: len(whole) // 2].ljust(len(whole), b"\0"),
            "cut": whole[: len(whole) // 2],
        }.items():
            (tmp_path / f"{name}.avi").write_bytes(content)
            missing, warning = missed(tmp_path / f"{name}.avi")
            assert 0.3 < missing < 0.8
            assert warning.startswith("cut off: ")


def test_an_asf_says_how_long_it_should_be(tmp_path):
    whole = write(tmp_path / "a.wmv", "wmv2", 80, size=(160, 120), b_frames=0).read_bytes()
    assert missed(tmp_path / "a.wmv") == (0, "")
    (tmp_path / "cut.wmv").write_bytes(whole[: len(whole) * 6 // 10])
    missing, warning = missed(tmp_path / "cut.wmv")
    assert 0.3 < missing < 0.5
    assert re.fullmatch(r"cut off: [\d.]+ of the 3.[34] seconds it states are there", warning)
    (tmp_path / "joined.wmv").write_bytes(whole + whole)
    missing, warning = missed(tmp_path / "joined.wmv")
    assert 0.4 < missing < 0.6
    assert "several films in one file" in warning


def test_a_fragment_that_is_cut_off(tmp_path):
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    whole = write(tmp_path / "a.mp4", n=60, size=(320, 240), container=fragments).read_bytes()
    assert missed(tmp_path / "a.mp4") == (0, "")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 93 // 100])
    missing, warning = missed(tmp_path / "cut.mp4")
    assert missing > 0
    assert warning.startswith("cut off: ")


def test_an_edit_list_takes_nothing_away(tmp_path):
    """The film shows its middle third: frames before and behind are not missing."""
    path = write(tmp_path / "film.mp4", n=90, b_frames=0)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 8  # past version, flags; then the count, and duration, time and rate of the one edit
    assert data[place : place + 4] == (1).to_bytes(4, "big")
    movie = data.index(b"mvhd") + 16
    per_s = int.from_bytes(data[movie : movie + 4], "big")
    media = data.index(b"mdhd") + 16
    ticks = int.from_bytes(data[media : media + 4], "big")
    data[place + 4 : place + 8] = (30 * per_s // FPS).to_bytes(4, "big")
    data[place + 8 : place + 12] = (30 * ticks // FPS).to_bytes(4, "big")
    path.write_bytes(data)
    film = video.probe(path)
    assert 30 <= film.n_frames <= 33
    assert (film.missing, film.warning) == (0, None)


def test_pictures_of_another_codec_that_the_decoder_swallows(tmp_path):
    first = write(tmp_path / "a.ts", "mpeg2video", 60).read_bytes()
    second = write(tmp_path / "b.ts", "libx264", 60).read_bytes()
    (tmp_path / "joined.ts").write_bytes(first + second)
    missing, warning = missed(tmp_path / "joined.ts")
    assert 0.4 < missing < 0.6
    assert re.match(r"damaged: \d+ of its \d+ packets do not decode", warning)


def test_frames_that_a_broadcast_lost_are_missed(tmp_path):
    path = write(tmp_path / "film.ts", n=120, size=(160, 120), b_frames=0)
    whole = path.read_bytes()
    n = len(whole) // 188
    path.write_bytes(whole[: n * 4 // 10 * 188] + whole[n * 6 // 10 * 188 :])
    film = video.probe(path)
    decoded = sum(1 for _ in video.decode_frames(path, film, 0, film.n_frames, width=32))
    assert film.n_frames - decoded <= 1  # a torn one
    assert 0.1 < film.missing < 0.3
    assert re.match(r"packets were lost at [\d.]+ s: [\d.]+ s of pictures are missing", film.warning or "")


def test_what_stands_before_a_transport_stream_is_no_cut(tmp_path):
    path = write(tmp_path / "film.ts", n=120, size=(320, 240))
    path.write_bytes(b"x" * 3333 + path.read_bytes())
    assert missed(path) == (0, "")


@pytest.mark.parametrize(("name", "head", "said"), [
    ("a.gif", b"GIF89a" + bytes(200), "it is a picture"),
    ("a.mp4", bytes(range(256)), "a container that castmine does not read"),
])  # fmt: skip
def test_what_is_no_film_is_called_what_it_is(tmp_path, name, head, said):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(FilmError, match=said):
        video.probe(tmp_path / name)
