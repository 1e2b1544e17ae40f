"""Which films an argument means, and the ids they get."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from conf.errors import UsageError
from conf.files import content_hash
from jobs.inputs import films, titles
from tests.helpers import stores


def put(path: Path, content: str = "film") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def found(*given_arguments: object) -> dict[str, str]:
    """title_id -> uri, in a lake that knows none."""
    made = films.find_films([str(argument) for argument in given_arguments])[0]
    contents = {film.uri: content_hash(film.uri) for film in made if os.path.exists(film.uri)}
    return {film.title_id: film.uri for film in titles.name_titles(made, contents, []).files}


def short(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def test_a_file_is_taken_whatever_its_ending(tmp_path):
    path = put(tmp_path / "My Film (1999).xyz")
    (film,), left = films.find_films([str(path)])
    assert (film.title_id, film.uri, film.display_name) == ("", str(path), "My Film (1999)")
    assert film.size_bytes == 4
    assert str(path.stat().st_mtime_ns) in film.stamp
    assert left == []


def test_what_lies_beside_films_is_left_alone(tmp_path):
    """As `films/*` names it, spelled out by the shell or not: a poster must not take the film's title."""
    paths = [put(tmp_path / f"movie.{ending}", ending) for ending in ("mp4", "jpg", "nfo", "en.srt", "JPG")]
    for given in (map(str, paths), [str(tmp_path / "*")]):
        made, left = films.find_films(list(given))
        assert [film.uri for film in made] == [str(tmp_path / "movie.mp4")]
        assert sorted(left) == sorted(f"{path}: no film's ending" for path in paths[1:])
    with pytest.raises(UsageError, match=r"no film in .*\n  left alone: .*movie.jpg: no film's ending"):
        films.find_films([str(paths[1])])


def test_pipes_and_devices_are_not_read(tmp_path):
    """Reading a pipe that nobody writes to never ends."""
    put(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "b.mp4")
    made, left = films.find_films([str(tmp_path), "/dev/zero"])
    assert [film.uri for film in made] == [str(tmp_path / "a.mp4")]
    assert left == [f"{place}: a pipe or a device, not a file" for place in ("/dev/zero", tmp_path / "b.mp4")][::-1]


def test_a_lake_among_the_films_is_not_searched(tmp_path):
    put(tmp_path / "a.mp4"), put(tmp_path / "lake" / "reports" / "b.mp4"), put(tmp_path / "lake/runs/_delta_log/0.json")
    made, left = films.find_films([str(tmp_path)])
    assert ([film.uri for film in made], left) == ([str(tmp_path / "a.mp4")], [f"{tmp_path / 'lake'}: a castmine lake"])


def test_a_name_longer_than_any_file_has(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        films.find_films(["a" * 300])


def test_a_folder_is_searched_for_films(tmp_path):
    for name in ("b.mp4", "a.MKV", "deep/er/c.mov", "notes.txt", ".hidden.mp4", ".trash/d.mp4"):
        put(tmp_path / name, name)
    assert list(found(tmp_path)) == ["a", "b", "c"]
    _, left = films.find_films([str(tmp_path)])
    assert left == [f"{tmp_path / 'notes.txt'}: no film's ending"]


def test_globs_and_names_that_look_like_globs(tmp_path):
    put(tmp_path / "x" / "a.mp4", "a"), put(tmp_path / "x" / "b.avi", "b"), put(tmp_path / "film [1].mp4", "c")
    assert list(found(tmp_path / "x" / "*.mp4")) == ["a"]
    assert list(found(tmp_path / "**" / "*.avi")) == ["b"]
    assert list(found(tmp_path / "*")) == ["a", "b", "film_1"], "folders that match are searched"
    assert list(found(tmp_path / "film [1].mp4")) == ["film_1"]


def test_a_film_named_twice_is_one_film(tmp_path, monkeypatch):
    path = put(tmp_path / "x" / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert found(path, tmp_path, "x/../x/a.mp4", "x/*.mp4", "./x") == {"a": str(path)}


def test_a_folder_that_is_a_link_is_searched_once(tmp_path):
    first, second = put(tmp_path / "films" / "first.mp4", "1"), put(tmp_path / "disk2" / "second.mp4", "2")
    (tmp_path / "films" / "more").symlink_to("../disk2", target_is_directory=True)
    (tmp_path / "films" / "again").symlink_to("../disk2", target_is_directory=True)
    (tmp_path / "films" / "loop").symlink_to(".", target_is_directory=True)
    made, left = films.find_films([str(tmp_path / "films")])
    assert [os.path.realpath(film.uri) for film in made] == [str(second), str(first)]
    assert [line.partition(": ")[2] for line in left] == ["a link to a folder that is searched already"] * 2


def test_a_file_uri_is_a_path(tmp_path):
    path = put(tmp_path / "my film.mp4")
    for given_so in (path.as_uri(), f"file:{path}", f"file://localhost{path}"):
        assert list(found(given_so)) == ["my_film"]
    assert list(found(tmp_path.as_uri())) == ["my_film"]


def test_a_name_that_is_no_unicode_is_left(tmp_path):
    put(tmp_path / "good.mp4")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_text("film")
    (film,), left = films.find_films([str(tmp_path)])
    assert film.display_name == "good"
    assert len(left) == 1
    assert "rename" in left[0]
    left[0].encode()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        *((name, "no such file") for name in ("nothing.mp4", "no/folder", "*.mp4")),
        ("http://host/film.mp4", "http://: no such store is known; give a path, or s3://"),
    ],
)
def test_nothing_there(tmp_path, monkeypatch, argument, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        films.find_films([argument])


def test_a_folder_without_films_says_what_it_looked_for(tmp_path):
    put(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match=r"\.mp4"):
        films.find_films([str(tmp_path)])


def test_all_problems_are_told_at_once(tmp_path):
    bad = put(tmp_path / "bad.csv", "title_id\nx\n")
    with pytest.raises(UsageError) as told:
        films.find_films(["gone.mp4", "s3://b/f.mp4", str(bad)])
    assert all(part in str(told.value) for part in ("gone.mp4", "s3://b/f.mp4", "it has: title_id"))


# --- manifests -------------------------------------------------------------------------------------------------------


def manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    frame = pd.DataFrame(rows)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_gives_ids_and_names(tmp_path, ending):
    put(tmp_path / "films" / "a.mp4", "a"), put(tmp_path / "b.mp4", "b")
    rows = [
        {"title_id": "007", "uri": "films/a.mp4", "display_name": "Dr. A", "year": 1962},
        {"title_id": "NA", "uri": str(tmp_path / "b.mp4"), "display_name": None, "year": None},
    ]
    path = manifest(tmp_path / f"films.{ending}", rows)
    second, first = sorted(films.find_films([str(path)])[0], key=lambda film: film.title_id, reverse=True)
    assert (first.title_id, first.uri, first.display_name) == ("007", str(tmp_path / "films" / "a.mp4"), "Dr. A")
    assert (second.title_id, second.uri, second.display_name) == ("NA", str(tmp_path / "b.mp4"), "b")


def test_a_manifest_and_its_folder_name_the_same_films(tmp_path):
    a, b = put(tmp_path / "a.mp4", "a"), put(tmp_path / "b.mp4", "b")
    path = manifest(tmp_path / "list.csv", [{"title_id": "alpha", "uri": "a.mp4"}])
    for order in ((path, tmp_path), (tmp_path, path)):
        assert found(*order) == {"alpha": str(a), "b": str(b)}


def test_a_manifests_id_is_never_changed(tmp_path):
    a, named_so = put(tmp_path / "x.mp4", "a"), put(tmp_path / "alpha.mp4", "other")
    path = manifest(tmp_path / "list.csv", [{"title_id": "alpha", "uri": "x.mp4"}])
    assert found(path, named_so) == {"alpha": str(a), f"alpha-{short('other')}": str(named_so)}


def test_a_film_of_a_manifest_may_be_missing(tmp_path):
    put(tmp_path / "there.mp4", "a")
    rows = [{"title_id": "gone", "uri": "gone.mp4"}, {"title_id": "here", "uri": "there.mp4"}]
    (gone, here), _ = films.find_films([str(manifest(tmp_path / "list.csv", rows))])
    assert [(film.title_id, film.size_bytes) for film in (gone, here)] == [("gone", 0), ("here", 1)]


def test_a_manifest_of_which_nothing_is_there_is_no_use(tmp_path):
    """A store that is not mounted, paths of another machine: not a failed title for each."""
    path = manifest(tmp_path / "list.csv", [{"title_id": "a", "uri": "C:\\Videos\\a.mp4"}])
    with pytest.raises(UsageError, match="none of its 1 files is there, such as"):
        films.find_films([str(path)])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"title_id": "a", "uri": "a.mp4"}, {"title_id": "a", "uri": "b.mp4"}], "line 3: title_id a stands"),
        ([{"title_id": "a/b", "uri": "a.mp4"}], "line 2: title_id 'a/b'"),
        ([{"title_id": "My Film", "uri": "a.mp4"}], "My_Film would do"),
        ([{"title_id": "", "uri": "a.mp4"}], "line 2: no title_id"),
        ([{"title_id": "..", "uri": "a.mp4"}], "line 2"),
        ([{"title_id": "x" * 101, "uri": "a.mp4"}], "at most 100"),
        ([{"title_id": "a", "uri": ""}], "line 2: no uri"),
        ([{"title_id": "a", "uri": "http://b/a.mp4"}], "http://: no such store is known"),
        ([{"title_id": "a", "uri": "a.mp4"}, {"title_id": "b", "uri": "x/../a.mp4"}], "has a title_id already: a"),
        ([{"name": "a"}], "needs the columns title_id and uri; it has: "),
    ],
)  # fmt: skip
def test_wrong_manifests(tmp_path, rows, said):
    path = manifest(tmp_path / "list.csv", rows)
    with pytest.raises(UsageError) as told:
        films.find_films([str(path)])
    assert said in str(told.value)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_that_is_none(tmp_path, ending):
    path = tmp_path / f"list.{ending}"
    path.write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(UsageError, match="manifest"):
        films.find_films([str(path)])


def test_two_manifests_may_not_share_an_id(tmp_path):
    one = manifest(tmp_path / "1.csv", [{"title_id": "a", "uri": "a.mp4"}])
    two = manifest(tmp_path / "2.csv", [{"title_id": "a", "uri": "b.mp4"}])
    with pytest.raises(UsageError, match="twice"):
        films.find_films([str(one), str(two)])


def addresses(*arguments: str) -> list[str]:
    return [file.uri for file in films.find_films(arguments)[0]]


def test_films_in_a_store(bucket):
    a, b, c = (stores.put(f"{bucket}/in/{name}", b"12") for name in ("a.mp4", "more/b c.MKV", "more/c.mp4"))
    for name in ("in/notes.txt", "in/.hidden/x.mp4", "in/.y.mp4", "else.mp4"):
        stores.put(f"{bucket}/{name}", b"")
    for name in ("runs/_delta_log/00000000000000000000.json", "_staging/z.mp4"):
        stores.put(f"{bucket}/in/lake/{name}", b"")
    files, left = films.find_films([f"{bucket}/in"])
    assert [file.uri for file in files] == [a, b, c]
    assert [(file.display_name, file.size_bytes) for file in files] == [("a", 2), ("b c", 2), ("c", 2)]
    assert all(file.stamp == films.stamp_of(file.uri) and file.stamp.startswith(f"{file.uri} 2 1") for file in files)
    assert sorted(left) == [f"{bucket}/in/lake: a castmine lake", f"{bucket}/in/notes.txt: no film's ending"]
    assert addresses(f"{bucket}/in/") == [a, b, c]
    assert addresses(f"{bucket}/in/more/*.mp4") == addresses(c.replace("s3:", "s3a:"), c) == [c]
    assert addresses(f"{bucket}/in/**/b*") == [b]
    assert addresses(a, b) == [a, b]


def test_manifests_name_films_in_stores(bucket, tmp_path):
    stored, here = stores.put(f"{bucket}/in/a.mp4", b"12"), put(tmp_path / "here.mp4")
    rows = [{"title_id": "a", "uri": stored}, {"title_id": "b", "uri": "here.mp4"}]
    files, _ = films.find_films([str(manifest(tmp_path / "list.csv", rows))])
    assert {file.title_id: file.uri for file in files} == {"a": stored, "b": str(here)}
    listed = stores.put(f"{bucket}/in/list.csv", f"title_id,uri\nc,a.mp4\nd,{here}\n".encode())
    files, _ = films.find_films([listed])
    assert {file.title_id: file.uri for file in files} == {"c": stored, "d": str(here)}
    pd.DataFrame([{"title_id": "e", "uri": "a.mp4"}]).to_parquet(tmp_path / "list.parquet")
    listed = stores.put(f"{bucket}/in/list.parquet", (tmp_path / "list.parquet").read_bytes())
    files, _ = films.find_films([listed])
    assert {file.title_id: file.uri for file in files} == {"e": stored}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{}/nothing", "{}/nothing: no such object, nothing below it, and nothing matches it"),
        ("{}/*.mp4", r"{}/\*.mp4: no such object"),
        ("{}-2/a.mp4", "{}-2/a.mp4: no such bucket"),
        ("{}/notes.txt", "no film in {}/notes.txt"),
        ("gopher://a/b.mp4", "gopher://: no such store is known"),
    ],
)
def test_nothing_there_in_a_store(bucket, address, said):
    stores.put(f"{bucket}/notes.txt", b"")
    with pytest.raises(UsageError, match=said.format(bucket)):
        films.find_films([address.format(bucket)])
