"""Files that are whole or not there, whoever else writes them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from pathlib import Path

import pytest

from conf import files
from conf.cache import cache_dir
from conf.errors import FilmError, LakeError
from conf.files import content_hash, title_file, write_whole
from conf.ids import safe_name


def test_what_fails_leaves_what_was_there(tmp_path):
    file = tmp_path / "new folder" / "film.csv"
    with write_whole(file) as part:
        part.write_text("old\n")

    def fail() -> None:
        with write_whole(file) as part:
            part.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in file.parent.iterdir()] == ["film.csv"]
    assert file.read_text() == "old\n"


def test_what_cannot_be_renamed_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"), write_whole(tmp_path / "a") as part:
        part.write_text("new\n")
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_one_file_do_not_write_into_each_other(tmp_path):
    """Each holds its file open until both have begun: with one temporary name they would mix, or one would be gone."""
    both, contents, failed = threading.Barrier(2), ("a" * 100_000, "b" * 100_000), []

    def write(content):
        try:
            with write_whole(tmp_path / "file") as part, part.open("w") as out:
                both.wait()
                out.write(content[:50_000])
                both.wait()
                out.write(content[50_000:])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (tmp_path / "file").read_text() in contents
    assert len(list(tmp_path.iterdir())) == 1


def test_a_long_name_can_be_written(tmp_path):
    with write_whole(tmp_path / ("x" * 250)) as part:
        part.write_text("whole")
    assert (tmp_path / ("x" * 250)).read_text() == "whole"


def test_content_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"castmine")
    assert content_hash(tmp_path / "a") == hashlib.sha256(b"castmine").hexdigest()
    with pytest.raises(FilmError, match="cannot be read"):
        content_hash(tmp_path / "none")


@pytest.mark.parametrize(
    "title", ["../../x", "/tmp/x", "..", ".", "", ".x", "a/b", "a\\b", "a\0b", "a\nb", "\x1b[2J", "a\udcffb", "é" * 121]
)
def test_a_title_that_would_leave_its_folder_names_no_file(tmp_path, title):
    with pytest.raises(LakeError, match="cannot name a file") as caught:
        title_file(tmp_path, title, ".png")
    assert ascii(title) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("title", ["a", "Heat (1995)", "S01..02", "東京物語", "a" * 100, "-x"])
def test_other_titles_name_files(tmp_path, title):
    assert title_file(tmp_path, title, ".png") == tmp_path / f"{title}.png"


def test_a_user_without_a_home_has_a_cache(monkeypatch):
    """As a container's user who stands in no list of users."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    for name in ("CASTMINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_dir() == Path(tempfile.gettempdir(), f"castmine-{os.getuid()}")
    monkeypatch.setenv("CASTMINE_CACHE", "/data/cache")
    assert cache_dir() == Path("/data/cache")


@pytest.mark.parametrize(("given", "name"), [
    ("A \u2764\ufe0f B", "A_B"), ("1\ufe0f\u20e3 film", "1_film"), ("\u3164", "film"), ("a\u034fb", "ab"),
])  # fmt: skip
def test_nothing_unseen_is_in_a_title_id(given, name):
    assert safe_name(given) == name
