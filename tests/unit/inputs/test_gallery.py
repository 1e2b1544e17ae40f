"""A gallery's folders and files: whose photographs they are, and what is left alone."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from conf.errors import ModelError, UsageError
from jobs.inputs.gallery import find, pack_of, person_name
from udfs import assets

ZOE = unicodedata.normalize("NFD", "Zoë 李")  # as some file systems keep it


def made(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_a_folder_is_a_person_and_its_pictures_are_photographs(tmp_path):
    files = (
        f"{ZOE}/b.PNG",
        f"{ZOE}/a.jpg",
        "Ann/1.webp",
        "Ann/notes.txt",
        "Ann/.hidden.jpg",
        "loose.jpg",
        ".git/x.jpg",
    )
    found, left = find(made(tmp_path, *files))
    assert [(photo.person, photo.path.name) for photo in found] == [
        ("Ann", "1.webp"),
        ("Zoë 李", "a.jpg"),
        ("Zoë 李", "b.PNG"),
    ]
    assert all(photo.path.is_file() for photo in found)
    assert [line.partition(": ")[2] for line in left] == ["no picture's ending", "not in a person's folder"]


def test_names_that_are_no_unicode_are_left_alone(tmp_path):
    made(tmp_path, "Ann/1.jpg")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/Ann/\xfe.jpg")).touch()
    found, left = find(tmp_path)
    assert [photo.path.name for photo in found] == ["1.jpg"]
    assert [line.rpartition("; ")[2] for line in left] == ["rename the file", "rename the folder"]
    assert "".join(left).isascii()


NAMES = [
    "می\u200cخوش",
    "क्\u200dष",
    "น้ำฝน",
    'O\'Neil, "Jo" <é>',
    "=cmd",
    "a\u202fb",
    "a\u3000b",
    "\u200fשרה",
    "e\u0323\u0301",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_people_in_any_script(tmp_path, name):
    found, left = find(made(tmp_path, f"{name}/Screenshot 2024-05-01 at 9.41.07\u202fAM.png"))
    assert ([photo.person for photo in found], left) == ([person_name(name)], [])


@pytest.mark.parametrize(
    "name", ["a\u202eb", "\u2066ab\u2069", "a\x1bb", "a\nb", "a\u2028b", "\u200d", "\u0301", "a\x7f"]
)
def test_what_reorders_or_breaks_a_line_and_what_nobody_sees_is_no_name(tmp_path, name):
    found, left = find(made(tmp_path, "Ann/1.jpg", f"{name}/1.jpg"))
    assert [photo.person for photo in found] == ["Ann"]
    assert left == [f"{str(tmp_path / name)!a}: not a name; rename the folder"]


def test_endings_of_pictures(tmp_path):
    found, left = find(made(tmp_path, *(f"Ann/1.{e}" for e in ("JFIF", "avif", "gif", "mpo", "heic", "HEIF", "mp4"))))
    assert [photo.path.suffix for photo in found] == [".JFIF", ".avif", ".gif", ".mpo"]
    assert [line.partition(": ")[2] for line in left] == [
        "HEIC, which castmine does not read; export it as JPEG",
        "HEIC, which castmine does not read; export it as JPEG",
        "no picture's ending",
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "one folder a person"),
        (("a.jpg",), "one folder a person"),
        (("Ann/readme.md",), "one folder a person"),
        ((f"{ZOE}/1.jpg", "Zoë 李/1.jpg"), "are one name"),
    ],
)
def test_what_is_no_gallery(tmp_path, files, said):
    with pytest.raises(UsageError, match=said):
        find(made(tmp_path, *files))
    with pytest.raises(UsageError, match="no such folder"):
        find(tmp_path / "nowhere")


def test_a_name_is_composed_and_without_blanks_around(tmp_path):
    assert person_name(f"  {ZOE}\n") == "Zoë 李"


@pytest.mark.parametrize("name", assets.packs())
def test_face_models_are_known_by_the_sum_of_their_embedder(name):
    assert pack_of(assets.registry().files[assets.pack(name).embedder].sha256) == name
    with pytest.raises(ModelError, match="not castmine's"):
        pack_of("ab" * 32)
