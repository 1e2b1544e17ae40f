"""Films of every odd kind, encoded here and decoded for real."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from conf.errors import FilmError
from jobs.demo_film.film import encode
from tests.helpers.numbered_films import FPS, HEIGHT, WIDTH, all_frames, join, numbered, read_number, write
from udfs.kernels.harvest import video

CORNERS = {"red": (0, 0, 255), "blue": (255, 0, 0), "green": (0, 255, 0), "white": (255, 255, 255)}


# --- every container: the numbers are right, and any range is a slice of the whole ------------------------------------

KINDS = [
    ("mp4", "libx264", {}),
    ("mov", "libx264", {"x264-params": "open-gop=1"}),
    ("mkv", "libx264", {"x264-params": "open-gop=1:bframes=3:b-pyramid=1"}),
    ("ts", "libx264", {}),
    ("ts", "libx265", {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:bframes=3"}),
    ("mp4", "libx265", {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1:bframes=3"}),
    ("flv", "libx264", {}),
    ("avi", "mpeg4", {}),
    ("avi", "libx264", {}),
    ("mpg", "mpeg2video", {"b": "3M"}),
    ("mpg", "mpeg1video", {"b": "3M"}),
    ("m2v", "mpeg2video", {}),
    ("mxf", "mpeg2video", {}),
    ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    ("asf", "mpeg4", {}),
]


@pytest.mark.parametrize(("ending", "codec", "options"), KINDS, ids=[f"{e}-{c}" for e, c, _ in KINDS])
def test_any_range_is_a_slice_of_the_whole(tmp_path, ending, codec, options):
    path = write(tmp_path / f"film.{ending}", codec, options=options)
    film = video.probe(path)
    whole = all_frames(path)
    assert list(whole) == list(range(film.n_frames)) == list(range(40))
    assert [read_number(image) for image in whole.values()] == list(whole)
    assert film.warning is None
    assert film.fps == pytest.approx(FPS, rel=1e-3)
    assert np.allclose(film.times, np.arange(film.n_frames + 1) / FPS, atol=1.1e-3)  # stamps of whole milliseconds
    for start in range(film.n_frames):
        part = list(video.decode_frames(path, film, start, min(start + 5, film.n_frames)))
        assert [frame.number for frame in part] == list(range(start, min(start + 5, film.n_frames)))
        assert all(np.array_equal(frame.image, whole[frame.number]) for frame in part)


def test_chosen_frames_only(tmp_path):
    path = write(tmp_path / "film.mp4")
    film, whole = video.probe(path), all_frames(path)
    chosen = np.array([3, 4, 17, 30], np.int32)
    part = list(video.decode_frames(path, film, 2, 35, chosen))
    assert [frame.number for frame in part] == chosen.tolist()
    assert all(np.array_equal(frame.image, whole[frame.number]) for frame in part)
    assert list(video.decode_frames(path, film, 0, 40, np.zeros(0, np.int32))) == []
    assert list(video.decode_frames(path, film, 7, 7)) == []


def test_narrow_frames_keep_their_shape_and_never_grow(tmp_path):
    path = write(tmp_path / "film.mp4")
    film = video.probe(path)
    (narrow,) = video.decode_frames(path, film, 3, 4, width=32)
    (same,) = video.decode_frames(path, film, 3, 4, width=500)
    assert narrow.image.shape == (24, 32, 3)
    assert same.image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(narrow.image.astype(int) - cv2.resize(same.image, (32, 24), interpolation=cv2.INTER_AREA)).mean() < 4


def test_ranges_of_narrow_frames_are_slices_too(tmp_path):
    path = write(tmp_path / "film.mkv")
    film = video.probe(path)
    whole = [frame.image for frame in video.decode_frames(path, film, 0, 40, width=32)]
    for start in (1, 11, 12, 13, 29):
        part = [frame.image for frame in video.decode_frames(path, film, start, 40, width=32)]
        assert np.array_equal(part, whole[start:])


# --- as a viewer sees it --------------------------------------------------------------------------------------------


def corners(image: np.ndarray) -> list[str]:
    """The colours at top left, top right, bottom right, bottom left."""
    h, w = image.shape[:2]
    seen = (image[y, x].astype(int) for y, x in ((h // 4, w // 4), (h // 4, 3 * w // 4), (3 * h // 4, 3 * w // 4),
                                                (3 * h // 4, w // 4)))  # fmt: skip
    return [min(CORNERS, key=lambda name: np.abs(at - CORNERS[name]).sum()) for at in seen]


def four_colours(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Red, blue, white and green, clockwise from the top left."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = CORNERS["red"], CORNERS["blue"]
    image[height // 2 :, width // 2 :], image[height // 2 :, : width // 2] = CORNERS["white"], CORNERS["green"]
    return image


@pytest.mark.parametrize(
    ("rotation", "seen"),
    [
        (0, ["red", "blue", "white", "green"]),
        (90, ["blue", "white", "green", "red"]),  # counter-clockwise: what was right is now on top
        (180, ["white", "green", "red", "blue"]),
        (270, ["green", "red", "blue", "white"]),
    ],
)
def test_rotated(tmp_path, rotation, seen):
    path = tmp_path / "turned.mp4"
    encode([four_colours()] * 3, path, rotation=rotation)
    film = video.probe(path)
    (frame,) = video.decode_frames(path, film, 1, 2)
    upright = rotation in (0, 180)
    assert film.rotation == rotation
    assert (film.width, film.height) == ((WIDTH, HEIGHT) if upright else (HEIGHT, WIDTH))
    assert frame.image.shape == (film.height, film.width, 3)
    assert frame.image.flags.c_contiguous
    assert corners(frame.image) == seen
    (narrow,) = video.decode_frames(path, film, 1, 2, width=24)
    assert narrow.image.shape == ((18, 24, 3) if upright else (32, 24, 3))
    assert corners(narrow.image) == seen


SEEN = ["red", "blue", "white", "green"]  # as they are stored, clockwise from the top left


@pytest.mark.parametrize(
    ("matrix", "rotation", "mirrored"),
    [
        ((1, 0, 0, 1), 0, False),
        ((0, -1, 1, 0), 90, False),
        ((-1, 0, 0, -1), 180, False),
        ((0, 1, -1, 0), 270, False),
        ((-1, 0, 0, 1), 0, True),  # left and right
        ((0, 1, 1, 0), 90, True),  # along the falling diagonal
        ((1, 0, 0, -1), 180, True),  # top and bottom
        ((0, -1, -1, 0), 270, True),
    ],
)
def test_the_display_matrix_in_all_its_eight_ways(tmp_path, matrix, rotation, mirrored):
    """(a, b, c, d) shows the stored (x, y), y downwards, at (a x + c y, b x + d y) (ISO/IEC 14496-12, 6.2.2)."""
    path = tmp_path / "film.mp4"
    encode([four_colours()] * 3, path)
    set_display_matrix(path, matrix)
    film = video.probe(path)
    assert (film.rotation, film.mirrored) == (rotation, mirrored)
    (frame,) = video.decode_frames(path, film, 1, 2)
    assert frame.image.shape == (film.height, film.width, 3)
    places = [(-1, -1), (1, -1), (1, 1), (-1, 1)]  # of the corners, clockwise from the top left
    a, b, c, d = matrix
    shown = {(a * x + c * y, b * x + d * y): colour for (x, y), colour in zip(places, SEEN, strict=True)}
    assert corners(frame.image) == [shown[place] for place in places]


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write (a, b, c, d) into the header of an MP4's track."""
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0: flags, times and ids, reserved, layer and volume
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("shape", "rotation", "size"),
    [
        (Fraction(4, 3), 0, (85, HEIGHT)),
        (Fraction(1, 2), 0, (WIDTH, 2 * HEIGHT)),
        (Fraction(4, 3), 90, (HEIGHT, 85)),
        (Fraction(255, 1), 0, (WIDTH, HEIGHT)),  # damage, not a lens
    ],
)
def test_anamorphic_frames_are_shown_with_square_pixels(tmp_path, shape, rotation, size):
    path = tmp_path / "wide.mp4"
    encode([four_colours()] * 3, path, sample_aspect_ratio=shape, rotation=rotation)
    film = video.probe(path)
    assert (film.width, film.height) == size
    (frame,) = video.decode_frames(path, film, 0, 1)
    assert frame.image.shape == (size[1], size[0], 3)
    assert sorted(corners(frame.image)) == sorted(CORNERS)


def test_times_come_from_the_stamps(tmp_path):
    path, pts = tmp_path / "uneven.mkv", [0, 40, 100, 107, 500, 501, 2000, 2040]
    encode([numbered(number) for number in range(8)], path, pts=pts)
    film = video.probe(path)
    assert film.n_frames == 8
    assert np.allclose(film.times, [*np.array(pts) / 1000, 2.080], atol=1e-9)  # the last lasts as long as the median
    assert film.fps == pytest.approx(6 / 0.188)  # 40, 60, 7, 1, 40, 40 ms: what is held long says nothing
    for number in range(8):
        (frame,) = video.decode_frames(path, film, number, number + 1)
        assert (frame.number, read_number(frame.image)) == (number, number)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_the_first_stamp_need_not_be_0(tmp_path, ending):
    film = video.probe(write(tmp_path / f"late.{ending}", first=240))
    assert film.index.stamp[0] > 0
    assert np.allclose(film.times, np.arange(41) / FPS, atol=1.1e-3)
    assert film.warning is None


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending"),
    [("libx264", "yuv444p", "mp4"), ("ffv1", "yuv420p", "mkv"), ("mpeg4", "yuv420p", "mp4")],
)
def test_odd_sizes(tmp_path, codec, pix_fmt, ending):
    path = write(tmp_path / f"odd.{ending}", codec, 5, pix_fmt=pix_fmt, size=(72 + 1, 49), b_frames=0)
    film = video.probe(path)
    assert (film.width, film.height) == (73, 49)
    assert [frame.image.shape for frame in video.decode_frames(path, film, 0, 5)] == [(49, 73, 3)] * 5


def test_ten_bit_films_have_their_colours(tmp_path):
    path = tmp_path / "deep.mkv"
    encode([four_colours()] * 3, path, pix_fmt="yuv420p10le")
    (frame,) = video.decode_frames(path, video.probe(path), 0, 1)
    assert frame.image.dtype == np.uint8
    assert corners(frame.image) == ["red", "blue", "white", "green"]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_frames_may_have_so_many_pixels(tmp_path, ending):
    path = write(tmp_path / f"film.{ending}", n=5, size=(96, 64))
    assert video.probe(path, 96 * 64).n_frames == 5
    with pytest.raises(FilmError, match=r"96 x 64 pixels, more than the 6,143 of harvest\.max_pixels"):
        video.probe(path, 96 * 64 - 1)


def test_a_picture_that_would_be_decoded_to_know_it_is_measured_first(tmp_path):
    """The header of such a film says its size, and FFmpeg decodes one to learn the rest."""
    path = write(tmp_path / "film.mov", "png", 2, size=(96, 64), pix_fmt="rgb24", b_frames=0)
    with pytest.raises(FilmError, match="96 x 64 pixels, more than the 5,000"):
        video.probe(path, 5000)


def test_pixels_count_as_they_are_displayed(tmp_path):
    path = tmp_path / "wide.mp4"
    encode([four_colours()] * 3, path, sample_aspect_ratio=Fraction(4))
    with pytest.raises(FilmError, match="256 x 48 pixels"):
        video.probe(path, WIDTH * HEIGHT)


def test_frames_that_grow_too_large_are_damage(tmp_path):
    """Whatever the film was when it was looked at first."""
    a, b = write(tmp_path / "a.ts", n=60), write(tmp_path / "b.ts", n=20, size=(640, 480))
    path = join(tmp_path / "film.ts", a, b)
    assert video.probe(path).n_frames == 80
    film = video.probe(path, 100 * 100)
    assert film.n_frames == 60
    assert film.missing == pytest.approx(0.25)
    assert film.warning is not None
    assert "20 of its 80 packets do not decode" in film.warning
    assert len(list(video.decode_frames(path, film, 0, 60))) == 60


def test_one_frame(tmp_path):
    path = tmp_path / "one.mp4"
    encode([four_colours()], path)
    film = video.probe(path)
    assert film.n_frames == 1
    assert film.duration_s == pytest.approx(1 / 25)
    assert film.fps == 25
    assert film.key_frames.tolist() == [0]


def test_sound_changes_nothing_of_the_picture(tmp_path):
    silent, loud = write(tmp_path / "silent.mp4"), write(tmp_path / "loud.mp4", audio=True)
    a, b = video.probe(silent), video.probe(loud)
    assert np.array_equal(a.times, b.times)
    assert b.warning is None
    ours, theirs = all_frames(silent), all_frames(loud)
    assert all(np.array_equal(ours[number], theirs[number]) for number in ours)


def test_a_film_cut_without_encoding_starts_where_its_edit_list_says(tmp_path):
    """Such a cut keeps the frames from the last key frame on and tells players to leave them out."""
    path, cut = write(tmp_path / "film.mp4", n=60, b_frames=0), tmp_path / "cut.mp4"
    with av.open(str(path)) as source, av.open(str(cut), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        begin = next(p.pts for i, p in enumerate(source.demux(stream)) if i == 18)
        source.seek(0)
        for packet in source.demux(stream):
            if packet.size and packet.pts >= begin - 6 * packet.duration:  # from key frame 12; shown from 18
                packet.pts, packet.dts, packet.stream = packet.pts - begin, packet.dts - begin, copy
                out.mux(packet)
    film = video.probe(cut)
    assert film.n_frames == 42
    assert film.start_s == 0
    assert film.warning is None
    assert [read_number(frame.image) for frame in video.decode_frames(cut, film, 0, 42)] == list(range(18, 60))
    assert [read_number(frame.image) for frame in video.decode_frames(cut, film, 10, 14)] == [28, 29, 30, 31]


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "wanted", "stride"),
    [
        (24, 12, 2),
        (25, 12, 2),
        (30, 12, 3),
        (23.976, 12, 2),
        (60, 12, 5),
        (10, 12, 1),
        (24, 120, 1),
        (1e-6, 12, 1),
        (18, 12, 2),
    ],
)
def test_detect_stride_is_the_nearest(fps, wanted, stride):
    assert video.detect_stride(fps, wanted) == stride
