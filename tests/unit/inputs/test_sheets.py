"""Comma-separated values as spreadsheets write them: manifests and truth files."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import UsageError
from jobs.inputs.films import find_films
from jobs.inputs.sheets import Line, read_sheet
from jobs.inputs.truth import read_truth

KNOWN = ("title_id", "uri", "display_name")


def read(folder: Path, content: str | bytes):
    file = folder / "list.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_sheet(file, KNOWN)


PLAIN = "title_id,uri\nm1,clip2.mp4\nm2,é.mp4\n"
FOUND = (["title_id", "uri"], [Line(2, ["m1", "clip2.mp4"]), Line(3, ["m2", "é.mp4"])])


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.rstrip(),
        PLAIN + "\n,\n ,,\n\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("4\n", "4,,\n"),
        PLAIN.replace("m1,clip2.mp4", '"m1","clip2.mp4"'),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.replace(",", "\t").encode("utf-16-be"),
        PLAIN.encode("utf-32"),
    ],
)
def test_however_a_spreadsheet_writes_it(tmp_path, content):
    assert read(tmp_path, content) == FOUND


def test_excels_line_about_the_separator_counts(tmp_path):
    sheet = read(tmp_path, "sep=|\r\ntitle_id|uri\r\n\r\nm1|a, b;c.mp4\r\n")
    assert sheet == (["title_id", "uri"], [Line(4, ["m1", "a, b;c.mp4"])])


def test_lines_are_those_of_the_file(tmp_path):
    text = '\n\ntitle_id,uri,display_name\nm1,a.mp4,"two\nlines"\n\n,,\nm2,"b, c.mp4","said ""so"""\nm3\n'
    assert read(tmp_path, text).lines == [
        Line(4, ["m1", "a.mp4", "two\nlines"]),
        Line(8, ["m2", "b, c.mp4", 'said "so"']),
        Line(9, ["m3", "", ""]),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("title_id,uri\nm1,clip, one.mp4\n", "line 2 has 3 cells, the head has 2: quote names with commas"),
        ("title_id,uri,\nm1,clip, one.mp4\n", "line 2 has 3 cells, the head has 2"),
        ('title_id;uri\n"m\n1";a\nm2;a;b;c\n', "line 4 has 4 cells, the head has 2: quote names with semicolons"),
        ("title_id,uri\n" + "a,b,c\n" * 30, "line 11 has 3 cells, the head has 2: quote names with commas; and 20"),
        ('title_id,uri\nm1,"a.mp4\nm2,b.mp4\n', "line 2 has quotes that do not fit"),
        ('title_id,uri\nm0,x\nm1,"Best of" a.mp4\n', "line 3 has quotes that do not fit"),
        ("title_id,uri\nm1,é.mp4\n".encode("latin-1"), "line 2 is not UTF-8: save it as UTF-8 (in a spreadsheet:"),
        (PLAIN.replace("é", "e").encode("utf-16-le"), "UTF-16 that does not say so: save it as UTF-8"),
        (PLAIN.encode("utf-16") + b"\n", "is not UTF-16: save it as UTF-8"),
        ("", "it is empty"),
        ("\n,,\n", "it is empty"),
        ("title_id,uri,uri\na,b,c\n", "two columns are called uri"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_line(tmp_path, content, said):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    assert said in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(content)
    try:
        head, lines = read_sheet(file, KNOWN)
    except UsageError:
        return
    assert all(len(line.cells) == len(head) for line in lines)


def manifest(folder: Path, text: str) -> Path:
    (folder / "clip, one.mp4").write_text("film")
    (folder / "list.csv").write_text(text)
    return folder / "list.csv"


def test_a_manifest_that_shifts_is_refused_and_names_the_line(tmp_path):
    file = manifest(tmp_path, "title_id,uri\nm0,a.mp4\n\nm1,clip, one.mp4\n")
    with pytest.raises(
        UsageError, match=r"list\.csv: cannot be read as a manifest: line 4 has 3 cells, the head has 2"
    ):
        find_films([str(file)])
    file = manifest(tmp_path, "title_id,uri,display_name\nm1,clip, one.mp4\n")
    with pytest.raises(
        UsageError, match=r"list\.csv, line 2: no file clip, but clip, one\.mp4: quote names with commas"
    ):
        find_films([str(file)])
    file = manifest(tmp_path, 'title_id,uri,\n\nm1,"clip, one.mp4",\n,,\nm1,b.mp4,\n')
    with pytest.raises(UsageError, match=r"list\.csv, line 5: title_id m1 stands there twice$"):
        find_films([str(file)])


@pytest.mark.parametrize("uri", ["file://{path}", "file:{path}", "FILE://localhost{path}"])
def test_a_file_uri_is_a_path(tmp_path, uri):
    text = uri.format(path=str(tmp_path / "clip, one.mp4").replace(",", "%2C").replace(" ", "%20"))
    ((film,), _) = find_films([str(manifest(tmp_path, f"title_id,uri\nm1,{text}\n"))])
    assert (film.uri, film.size_bytes, film.display_name) == (str(tmp_path / "clip, one.mp4"), 4, "clip, one")


@pytest.mark.parametrize("uri", ["file://host/a.mp4", "http://b/a.mp4", "file:///a%00b.mp4", "file://a.mp4"])
def test_other_uris_are_not(tmp_path, uri):
    with pytest.raises(UsageError, match=r"line 2: uri .*(not a path|no such store is known|of another machine)"):
        find_films([str(manifest(tmp_path, f"title_id,uri\nm1,{uri}\n"))])


@pytest.mark.parametrize(
    "content",
    [
        "label;track_id;note\r\n\"Bond, James\";7;\r\n1917;8;x\r\n".encode("utf-16"),
        codecs.BOM_UTF8 + b'\nlabel\ttrack_id\n\n"Bond, James"\t7\t\n1917\t8\n',
        b'label,track_id,,\n"Bond, James",7,,\n,,,\n1917,8.0,,\n',
    ],
)  # fmt: skip
def test_truth_files_are_read_the_same_way(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    found = read_truth(tmp_path / "t.csv", ["a"])
    assert found.to_dict("list") == {"title_id": ["a", "a"], "label": ["Bond, James", "1917"], "track_id": [7, 8]}
    assert found.track_id.dtype == "int64"


def test_truth_that_shifts_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("track_id,label\n7,Bond, James\n")
    with pytest.raises(UsageError, match=r"t\.csv: line 2 has 3 cells, the head has 2: quote names with commas"):
        read_truth(tmp_path / "t.csv", ["a"])
    (tmp_path / "gt.txt").write_bytes(codecs.BOM_UTF8 + b"1,5,11,21,30,40,1,1,1\n")
    assert read_truth(tmp_path / "gt.txt", ["a"]).label.tolist() == ["5"]
    (tmp_path / "t.csv").write_text("title_id,track_id,label\n")
    assert read_truth(tmp_path / "t.csv", None).empty


@pytest.mark.parametrize("head", ["Title_ID,URI", "title id|uri", " TITLE_ID ; Uri "])
def test_a_head_may_be_written_in_other_ways(tmp_path, head):
    separator = next(sign for sign in ",;|" if sign in head)
    cells = separator.join(
        ["m1", str(tmp_path / "clip, one.mp4") if separator != "," else f'"{tmp_path / "clip, one.mp4"}"']
    )
    ((film,), _) = find_films([str(manifest(tmp_path, f"{head}\n{cells}\n"))])
    assert (film.title_id, film.size_bytes) == ("m1", 4)


def test_a_title_id_of_a_mac_is_the_composed_one(tmp_path):
    ((film,), _) = find_films([str(manifest(tmp_path, f'title_id,uri\nAme\u0301lie,"{tmp_path / "clip, one.mp4"}"\n'))])
    assert film.title_id == "Am\u00e9lie"
