"""A folder with good and bad films: the good ones are done, the bad ones are rows that say why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from jobs import harvest
from jobs.demo_film import film
from tests.helpers import lakes
from tests.helpers.commands import castmine
from tests.helpers.numbered_films import write

BAD = {  # title -> what its reason must say
    "address": "playlist",
    "empty": "empty",
    "encrypted": "frames looked at decodes: damaged, or encrypted",
    "gone": "dangling link",
    "sound": "without video",
    "words": "text file",
}
GOOD = ["good", "nobody", "truncated"]


@pytest.fixture(scope="module")
def folder(clip: Path, nobody: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films that can be read, one of them only in part, and six that cannot."""
    made = tmp_path_factory.mktemp("corpus")
    shutil.copy(clip, made / "good.mp4")
    shutil.copy(nobody, made / "nobody.mp4")
    film.encode(_noise(96), made / "truncated.mkv")
    whole = (made / "truncated.mkv").read_bytes()
    (made / "truncated.mkv").write_bytes(whole[: len(whole) // 2])
    (made / "empty.mp4").touch()
    (made / "words.mp4").write_text("no film, but a few words\n" * 20)
    (made / "address.mp4").write_text("#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n")
    _sound(made / "sound.mp4")
    locked = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "07" * 16, "encryption_kid": "70" * 16}
    locked |= {"fflags": "+bitexact"}  # the same bytes each time: no random start of the cipher
    write(made / "encrypted.mp4", n=129, size=(160, 120), container=locked)
    (made / "gone.mp4").symlink_to(made / "moved away.mp4")
    (made / "notes.txt").write_text("not looked at")
    return made


@pytest.fixture(scope="module")
def harvested(spark, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder's lake, and how `castmine harvest` ended."""
    lake = tmp_path_factory.mktemp("lakes") / "corpus"
    return lake, castmine("harvest", folder, "--lake", lake, "--quiet")


def test_good_films_are_done_and_bad_ones_say_why(harvested):
    lake, code = harvested
    assert code == 3
    titles = {row["title_id"]: row for row in lakes.rows(lake, "titles").to_pylist()}
    assert sorted(titles) == sorted([*BAD, *GOOD])
    assert {title: row["status"] for title, row in titles.items()} == {
        **dict.fromkeys(BAD, "failed"),
        **dict.fromkeys(GOOD, "ok"),
        "truncated": "partial",
    }
    for title, reason in BAD.items():
        assert reason in titles[title]["error"]
    runs = [row for row in lakes.rows(lake, "runs").to_pylist() if row["status"] != "writing"]
    errors = {row["title_id"]: row["error"] for row in runs}
    assert errors == {title: row["error"] for title, row in titles.items()}


def test_a_truncated_film_is_done_as_far_as_it_goes_and_is_partial(harvested, folder: Path, tmp_path, capfd):
    lake, _ = harvested
    (row,) = lakes.rows(lake, "titles", ["truncated"]).to_pylist()
    assert 10 < row["n_frames"] < 96
    assert "cut off" in row["warning"]
    assert 0.3 < row["missing"] < 0.7
    capfd.readouterr()
    words = ["harvest", folder / "truncated.mkv", "--lake", tmp_path / "lake", "--json"]
    assert castmine(*words) == 3
    said = capfd.readouterr()
    assert f"partial: truncated: {100 * row['missing']:.0f} % of the film is missing: cut off" in said.err
    assert list(json.loads(said.out)["partial"]) == ["truncated"]
    assert castmine(*words) == 0, "the next night it is no news"
    assert castmine("status", "--lake", tmp_path / "lake") == 0
    assert "partial: cut off" in capfd.readouterr().out


def test_again_tries_what_may_have_changed_and_names_the_rest(harvested, folder: Path, capfd):
    """What lies in a file that has not changed fails as before; where a link leads may have changed."""
    lake, _ = harvested
    before, good = lakes.rows(lake, "runs").num_rows, _marks(lake, GOOD)
    capfd.readouterr()
    assert castmine("harvest", folder, "--lake", lake, "--json") == 3
    said = capfd.readouterr()
    summary = json.loads(said.out)
    assert (summary["harvested"], summary["unchanged"]) == ([], len(GOOD) + len(BAD) - 1)
    assert sorted(summary["failed"]) == ["gone"]
    for title, reason in BAD.items():
        how = "failed: gone: " if title == "gone" else f"failed before, and has not changed: {title}: "
        assert any(how in line and reason in line for line in said.err.splitlines()), said.err
    assert "notes.txt: no film's ending" in said.err
    assert _marks(lake, GOOD) == good
    assert lakes.rows(lake, "runs").num_rows == before + 2  # of the link: writing, failed
    assert lakes.repeated_keys(lake) == []


def test_a_mended_film_is_done(harvested, folder: Path, clip: Path):
    lake, _ = harvested
    (folder / "moved away.mp4").write_bytes(clip.read_bytes() + b"\0\0\0\x08free")  # the clip, and not a copy of it
    assert castmine("harvest", folder / "gone.mp4", "--lake", lake, "--quiet") == 0
    (row,) = lakes.rows(lake, "titles", ["gone"]).to_pylist()
    assert (row["status"], row["error"]) == ("ok", None)
    assert lakes.rows(lake, "faces", ["gone"]).num_rows == lakes.rows(lake, "faces", ["good"]).num_rows
    # no film that is still bad makes a nightly run fail again
    assert castmine("harvest", folder, "--lake", lake, "--quiet") == 0


def test_a_film_that_kills_its_workers_or_meets_a_fault_is_a_row_and_the_others_go_on(
    spark, clip, nobody, tmp_path, monkeypatch, capsys
):
    """In waves of one film: what is committed is there while later films are still looked at."""
    folder, lake = tmp_path / "films", tmp_path / "lake"
    folder.mkdir()
    for number, name in enumerate(("deadly", "faulty", "fine")):
        (folder / f"{name}.mp4").write_bytes(nobody.read_bytes() + b"\0\0\0\x08free" * number)
    monkeypatch.setattr(harvest, "PIECES_PER_CORE", 0)
    monkeypatch.setattr(harvest.udfs, "harvest_pieces", _dangerous())
    assert castmine("harvest", folder, "--lake", lake) == 3
    rows = {row["title_id"]: row for row in lakes.rows(lake, "titles").to_pylist()}
    assert {title: row["status"] for title, row in rows.items()} == {
        "deadly": "failed",
        "faulty": "failed",
        "fine": "ok",
    }
    assert rows["deadly"]["error"].startswith("unexpected: 2 workers ended over it (out of memory?): piece")
    assert rows["faulty"]["error"] == "unexpected: ZeroDivisionError: a decoder's fault"
    assert rows["fine"]["n_frames"] == 48
    said = capsys.readouterr().err
    assert "film 2 of 3: faulty" in said
    assert not list((lake / "_staging").glob("*/at_work/*"))
    # neither is taken for the film's fault for good: another night, another castmine
    monkeypatch.undo()
    assert castmine("harvest", folder, "--lake", lake) == 0
    assert {row["status"] for row in lakes.rows(lake, "titles").to_pylist()} == {"ok"}


def _dangerous():
    """The UDF in workers in which the decoder kills the process over `deadly`, and fails over `faulty`."""

    def dangerous(batches, **settings):  # nested, so that it travels as code
        import os
        import signal

        from udfs import harvest as udfs

        decode = udfs.video.decode_frames

        def frames(path, *words, **more):
            if "deadly" in path:
                os.kill(os.getpid(), signal.SIGKILL)
            if "faulty" in path:
                raise ZeroDivisionError("a decoder's fault")
            return decode(path, *words, **more)

        udfs.video.decode_frames = frames
        try:
            yield from udfs.harvest_pieces(batches, **settings)
        finally:
            udfs.video.decode_frames = decode

    return dangerous


def _marks(lake: Path, titles: list[str]) -> list[str]:
    return [row["run_id"] for row in lakes.rows(lake, "titles", titles).to_pylist()]


def _noise(n: int):
    source = np.random.default_rng(0)
    return (source.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(n))


def _sound(path: Path) -> None:
    """A second of a film's sound and no picture."""
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for start in range(0, 44100, 1024):
            tone = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
