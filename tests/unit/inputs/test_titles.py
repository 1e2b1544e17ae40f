"""Which title a film is: the same film, another version of it, or another film, whatever comes together or apart."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.ids import BYTES, LETTERS, safe_name
from jobs.inputs import films, titles
from jobs.inputs.titles import Known


class Corpus:
    """A folder of files, and what a lake knows of those that were given so far."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known: dict[str, Known] = {}

    def put(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def give(self, *paths: Path, title_id: str = "") -> titles.Named:
        """One command over these files; the lake knows afterwards what it has named."""
        found = [replace(films.find_films([str(path)])[0][0], title_id=title_id) for path in paths]
        contents = {file.uri: sha256(Path(file.uri).read_text()) for file in found}
        named = titles.name_titles(found, contents, list(self.known.values()))
        for file in named.files:
            self.known[file.title_id] = Known(file.title_id, file.uri, contents[file.uri], file.stamp)
        return named


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def ids(named: titles.Named) -> dict[str, str]:
    """Address below the corpus -> title_id."""
    return {"/".join(Path(file.uri).parts[-2:]): file.title_id for file in named.files}


def test_a_new_film_is_called_after_its_file(corpus):
    assert [file.title_id for file in corpus.give(corpus.put("My Film (1999).mkv", "x")).files] == ["My_Film_1999"]


def test_the_same_command_again_names_the_same_titles(corpus):
    files = [corpus.put(f"{season}/01.mkv", season) for season in ("s1", "s2")]
    first = corpus.give(*files)
    again = corpus.give(*reversed(files))
    assert ids(first) == ids(again) == {"s1/01.mkv": "01", "s2/01.mkv": f"01-{sha256('s2')[:8]}"}
    assert (again.said, again.left) == ([], [])


@pytest.mark.parametrize("order", list(permutations(["s1", "s2", "s3"])))
def test_films_of_one_name_in_several_commands_each_keep_their_title(corpus, order):
    files = {season: corpus.put(f"{season}/01.mkv", season) for season in order}
    given_ids = {season: corpus.give(files[season]).files[0].title_id for season in order}
    first, *later = order
    assert given_ids == {first: "01", **{season: f"01-{sha256(season)[:8]}" for season in later}}
    together = corpus.give(*files.values())
    assert ids(together) == {f"{season}/01.mkv": given_ids[season] for season in order}
    assert (together.said, together.left) == ([], [])


def test_a_title_does_not_pass_to_the_film_that_is_left(corpus):
    one, two = corpus.put("s1/episode.mp4", "one"), corpus.put("s2/episode.mp4", "two")
    corpus.give(one)
    corpus.give(one, two)
    one.unlink()
    assert corpus.give(two).files[0].title_id == f"episode-{sha256('two')[:8]}"


@pytest.mark.parametrize("name", ["old/film.mp4", "new/other.mkv"])
def test_a_film_that_lies_elsewhere_now_is_the_same_title(corpus, name):
    before = corpus.put("old/first.mp4", "x")
    corpus.give(before)
    moved = corpus.folder / name
    moved.parent.mkdir(exist_ok=True)
    before.rename(moved)
    named = corpus.give(moved)
    assert [file.title_id for file in named.files] == ["first"]
    assert named.said == [f"first: moved from {before} to {moved}"]
    assert corpus.give(moved).said == []


def test_a_copy_is_left_alone_whether_it_comes_with_its_film_or_later(corpus):
    film, copy = corpus.put("a.mp4", "x"), corpus.put("b/c.mp4", "x")
    together = Corpus(corpus.folder).give(film, copy)
    assert [file.title_id for file in together.files] == ["a"]
    corpus.give(film)
    later = corpus.give(copy)
    assert later.files == []
    assert together.left == later.left == [f"{copy}: a copy of {film}, which is the title a"]


def test_a_copy_follows_when_its_film_is_gone(corpus):
    film, copy = corpus.put("a.mp4", "x"), corpus.put("b/c.mp4", "x")
    corpus.give(film)
    film.unlink()
    assert [file.title_id for file in corpus.give(copy).files] == ["a"]


def test_other_bytes_in_the_same_place_are_a_new_version(corpus):
    film = corpus.put("a.mp4", "first cut")
    corpus.give(film)
    film.write_text("another cut")
    named = corpus.give(film)
    assert [file.title_id for file in named.files] == ["a"]
    assert named.said == [f"a: a new version: {film} holds other bytes than before"]


def test_a_film_that_was_only_touched_is_not_talked_of(corpus):
    film = corpus.put("a.mp4", "x")
    corpus.give(film)
    os.utime(film, (1, 1))
    named = corpus.give(film)
    assert ([file.title_id for file in named.files], named.said) == (["a"], [])


def test_two_films_that_change_places_keep_their_titles(corpus):
    a, b = corpus.put("a.mp4", "one"), corpus.put("b.mp4", "another")
    corpus.give(a, b)
    aside = corpus.folder / "aside"
    a.rename(aside), b.rename(a), aside.rename(b)
    named = corpus.give(a, b)
    assert {file.title_id: file.uri for file in named.files} == {"a": str(b), "b": str(a)}
    assert named.said == [f"a: moved from {a} to {b}", f"b: moved from {b} to {a}"]


def test_a_new_film_in_the_place_of_one_that_moved_is_a_title_of_its_own(corpus):
    a = corpus.put("a.mp4", "one")
    corpus.give(a)
    moved = corpus.folder / "archive.mp4"
    a.rename(moved)
    a.write_text("two")
    assert {file.uri: file.title_id for file in corpus.give(a, moved).files} == {
        str(moved): "a",
        str(a): f"a-{sha256('two')[:8]}",
    }


def test_a_file_that_cannot_be_read_keeps_the_title_of_its_place(corpus):
    film = corpus.put("a.mp4", "x")
    corpus.give(film)
    (found,), _ = films.find_films([str(film)])
    named = titles.name_titles([found], {}, list(corpus.known.values()))
    assert ([file.title_id for file in named.files], named.said) == (["a"], [])


def test_two_files_that_cannot_be_read_are_two_titles(corpus):
    found = [films.find_films([str(corpus.put(f"{folder}/a.mp4", "x"))])[0][0] for folder in "12"]
    first, second = titles.name_titles(found, {}, []).files
    assert (first.title_id, len(second.title_id)) == ("a", len("a-") + 8)


def test_a_manifest_says_the_title_whatever_is_known(corpus):
    film = corpus.put("a.mp4", "x")
    corpus.give(film)
    named = corpus.give(film, title_id="mine")
    assert [file.title_id for file in named.files] == ["mine"]
    assert named.said == ["mine: the same bytes as the title a; both are kept, and count twice"]
    other = corpus.put("b.mp4", "y")
    named = corpus.give(other, title_id="mine")
    assert named.said == [f"mine: a new version: {other} holds other bytes than before, in {film}"]
    third = corpus.put("c/mine.mp4", "z")
    assert corpus.give(third).files[0].title_id == f"mine-{sha256('z')[:8]}"


def test_a_copy_stays_one_where_the_first_file_was_only_touched(corpus):
    film = corpus.put("a.mp4", "x")
    corpus.give(film)
    os.utime(film, (1, 1))
    copy = corpus.put("b.mp4", "x")
    named = corpus.give(copy)
    assert (named.files, named.left) == ([], [f"{copy}: a copy of {film}, which is the title a"])
    film.write_text("y")
    assert {file.uri: file.title_id for file in corpus.give(film, copy).files} == {
        str(copy): "a",
        str(film): f"a-{sha256('y')[:8]}",
    }


def test_what_is_as_it_was_need_not_be_read(corpus):
    a, b = corpus.put("a.mp4", "one"), corpus.put("b.mp4", "two")
    corpus.give(a, b)
    b.write_text("changed")
    found = films.find_films([str(corpus.folder)])[0]
    assert titles.find_contents(found, list(corpus.known.values())) == {str(a): sha256("one")}


names = st.sampled_from(["01.mkv", "a/01.mkv", "b/01.mkv", "b/02.mkv", "c/film.mp4"])
steps = st.lists(st.dictionaries(names, st.sampled_from("xyz"), min_size=1), min_size=1, max_size=5)


@given(steps)
def test_whatever_is_moved_copied_and_changed_every_title_is_one_film(tmp_path_factory, steps):
    """After each command: ids are unique, no content has two titles, and unchanged files keep theirs."""
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    before: dict[str, str] = {}
    for step in steps:
        shutil.rmtree(corpus.folder)
        paths = [corpus.put(name, content) for name, content in step.items()]
        named = corpus.give(*paths)
        contents = [sha256(Path(file.uri).read_text()) for file in named.files]
        assert len({file.title_id for file in named.files}) == len(named.files)
        assert sorted(contents) == sorted({sha256(content) for content in step.values()}), "each content once"
        assert len(named.left) == len(step) - len(named.files)
        for file, content in zip(named.files, contents, strict=True):
            if content in before:
                assert file.title_id == before[content]
        before |= {content: file.title_id for file, content in zip(named.files, contents, strict=True)}
        replaced = {title for title in before.values() if corpus.known[title].content_hash not in before}
        assert not replaced
        before = {content: title for content, title in before.items() if corpus.known[title].content_hash == content}


# --- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My Film (1999)", "My_Film_1999"),
        ("東京物語", "東京物語"),
        ("L'été \u2013 50% #1?", "L_été_50_1"),
        ("Ame\u0301lie", "Amélie"),
        ("โหมโรง", "โหมโรง"),
        ("शोले", "शोले"),
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc_\u0631\u0636\u0627"),
        ("../../etc/passwd", "etc_passwd"),
        ("...", "film"),
        ("\u0301", "film"),
        ("", "film"),
        ("-dash", "dash"),
        ("a\nb\x00c", "a_b_c"),
    ],
)
def test_names_are_readable_in_any_script(text, name):
    assert safe_name(text) == name


@given(st.text())
def test_a_safe_name_is_short_stays_itself_and_leaves_no_folder(text):
    name = safe_name(text)
    assert 0 < len(name) <= LETTERS
    assert len(name.encode()) <= BYTES
    assert safe_name(name) == name
    assert Path("folder", name).parent == Path("folder")
    assert name.isprintable()


def test_long_names_that_begin_alike_are_two_titles_of_at_most_100_letters(corpus):
    long = (
        "[Group] A Very Long Title of a Series That Goes On and On Until Nobody Remembers How It Began, Season One - "
    )
    named = corpus.give(*(corpus.put(f"{long}{n:02}.mkv", str(n)) for n in range(3)))
    made = [file.title_id for file in named.files]
    assert len(set(made)) == 3
    assert max(map(len, made)) <= LETTERS
    assert all(title == safe_name(title) for title in made)
    assert all(len(f"{title}.parquet".encode()) < 255 for title in made)
