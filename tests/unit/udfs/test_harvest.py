"""What harvest stages of a film, and how its work is cut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from conf.settings import HarvestSettings
from tests.helpers.numbered_films import FPS, join, write
from udfs import harvest
from udfs.kernels.harvest import video
from udfs.kernels.harvest.assemble import missing_share
from udfs.kernels.harvest.video import MAX_PIXELS
from udfs.staging import FilmFiles, read_index, write_index


def probed(path, staging, **more):
    rows = pd.DataFrame([("film", str(path), "ab")], columns=harvest.TO_PROBE.names)
    (made,) = harvest.probe_films(iter([rows]), str(staging), "run", HarvestSettings(**more), "1")
    return made.iloc[0]


def test_an_index_is_staged_whole(tmp_path):
    films = [write(tmp_path / f"{i}.ts", n=20 + i) for i in range(2)]
    film = video.probe(join(tmp_path / "film.ts", *films), MAX_PIXELS - 1)
    write_index(FilmFiles(tmp_path), film)
    read = read_index(FilmFiles(tmp_path))
    assert film.warning is not None
    for field in dataclasses.fields(video.Film):
        ours, theirs = getattr(film, field.name), getattr(read, field.name)
        if field.name in ("times", "index"):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        else:
            assert ours == theirs


def test_what_is_known_of_a_film(tmp_path):
    row = probed(write(tmp_path / "late.mp4", first=2 * FPS, audio=True), tmp_path)
    assert row.error is None
    assert (row.n_frames, row.rotation, row.mirrored, row.missing, row.warning) == (40, 0, False, 0.0, None)
    assert row.start_s == pytest.approx(2, abs=0.1)


def test_a_film_of_too_large_frames_fails(tmp_path):
    row = probed(write(tmp_path / "film.mp4", size=(96, 64)), tmp_path, max_pixels=4096)
    assert "96 x 64 pixels, more than the 4,096 of harvest.max_pixels" in row.error


def test_what_is_missing_by_packets_and_by_decoding(tmp_path):
    path = write(tmp_path / "film.mkv", n=120)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    row = probed(path, tmp_path)
    assert 0.4 < row.missing < 0.6
    assert missing_share(row.missing, 20, 15) == pytest.approx(1 - (1 - row.missing) * 0.75, abs=1e-6)


@pytest.mark.parametrize(("n_frames", "fps", "n"), [(172_800, 24, 120), (240, 0.0026, 1), (1441, 1, 2), (7200, 60, 2)])
def test_a_film_is_scanned_in_ranges_of_many_frames(n_frames, fps, n):
    ranges = harvest.scan_ranges(n_frames, fps)
    assert len(ranges) == n
    assert [frame for start, end in ranges for frame in (start, end)][1:-1:2] == [start for start, _ in ranges][1:]
    assert (ranges[0][0], ranges[-1][1]) == (0, n_frames)
