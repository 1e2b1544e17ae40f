"""The page of errors: names stay text, nothing comes from elsewhere, and what it says is what was found."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.titles import RULES, alike, analysed, cast, title_of
from udfs.kernels.cluster.interface import NO_LINKS
from udfs.kernels.evaluate import errors
from udfs.kernels.report import error_page

VOID = {"meta", "img"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "span", "b", "i", "ul", "li", "img",
    "table", "tr", "th", "td", "dl", "dt", "dd", "svg", "line", "circle", "text", "path",
}  # fmt: skip


class Page(HTMLParser):
    """Elements, text and attributes as a browser would see them; fails where an element is not closed."""

    def __init__(self, content: bytes):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said: list[str] = []
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.said)


def drawn(found: errors.Analysis, name: str = "A film", pictures=None, blur: bool = False) -> Page:
    content = error_page.draw_page(name, found, pictures or {}, blur)
    assert content == error_page.draw_page(name, found, pictures or {}, blur), "the same bytes every time"
    page = Page(content)
    assert set(page.tags) <= ALLOWED
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "href"]
    assert all(value.startswith("data:image/jpeg;base64,") for name, value in page.attributes if name == "src")
    assert "url(" not in content.decode()
    return page


def jpeg(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (112, 112), colour).save(out, "JPEG")
    return out.getvalue()


def errant(ann: str = "ann", bob: str = "bob") -> errors.Analysis:
    """Ann is taken for bob once, and split once; one of bob is unknown."""
    flags = [["frontal"], ["profile"], ["frontal", "dark"], ["frontal"], ["frontal"], ["profile"], ["profile"]]
    tracks = title_of([ann, ann, ann, ann, bob, bob, bob], [0, 0, 1, 2, 1, 1, np.nan], shot_id=[0, 0, 1, 1, 2, 2, 2.0])
    return analysed(tracks.assign(flags=flags))


def test_it_says_what_was_found():
    page = drawn(errant())
    assert "57.1 % of 7 tracks are right" in page.text  # 0, 1; 4, 5
    for said in ("28.6 % are wrong", "14.3 % are unknown", "ann  taken for  bob : 1 track", "profile", "dark"):
        assert said in page.text
    assert "1 of 2 people have one character of their own, 1 are split" in page.text
    assert "The title has no links." in page.text
    assert page.tags.count("circle") == len(errant().reliability) > 0


def test_what_the_links_do_is_a_table():
    person = ["ann", "ann", "ann", "zoe", "bob", "bob"]
    links = replace(NO_LINKS, cannot=np.array([[10, 13], [11, 13], [12, 13]]))
    tracks = cast(title_of(person, [np.nan] * 6), alike(person), links)
    tried = drawn(analysed(tracks, alike(person), links, RULES)).text
    assert "3 cannot-links between tracks whose people are known; 0 of them contradict the truth" in tried
    assert "Clustered without them, 3 of these pairs are put into one character." in tried
    assert "without cannot-links" in tried
    assert "was not tried" in drawn(analysed(tracks, alike(person), links)).text


def test_links_that_clustering_was_told_not_to_obey():
    links = replace(NO_LINKS, cannot=np.array([[10, 12]]))
    tracks = title_of(["ann", "ann", "bob"], [0, 0, 1])
    said = drawn(analysed(tracks, alike(["ann", "ann", "bob"]), links, replace(RULES, links=False))).text
    assert "1 cannot-links between tracks whose people are known" in said
    assert "Clustering was told to obey none of them (--links none)." in said


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>", "&amp;", "</style>"]
)
def test_names_stay_text(name):
    page = drawn(errant(name, f"{name} two"), name)
    assert page.text.count(name) >= 6
    assert name in page.said, "as it was"


@settings(max_examples=20)
@given(st.text(st.characters(), min_size=1, max_size=30))
def test_any_name_can_be_written(name):
    drawn(errant(name, f"{name} two"), name)


def test_pictures_are_inside_and_blurred_when_asked():
    red, noise = jpeg((220, 20, 20)), io.BytesIO()
    pattern = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    Image.fromarray(pattern).save(noise, "JPEG")
    bad = b"<svg onload=alert(1)>"
    pictures = {12: noise.getvalue(), 14: red, 15: bad}
    sharp, blurred = (drawn(errant(), pictures=pictures, blur=blur) for blur in (False, True))
    spread = []
    for page in (sharp, blurred):
        sources = [value for name, value in page.attributes if name == "src"]
        assert len(sources) == 2  # the one that is no picture is a number
        shown = [Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2]))) for s in sources]
        assert np.abs(np.array(shown[1]).mean(axis=(0, 1)) - (220, 20, 20)).max() < 4
        spread.append(np.array(shown[0]).std())
        assert "track 15" in page.text
    assert spread[1] < spread[0] / 3


def test_a_title_without_truth_says_so():
    page = drawn(analysed(title_of([None, None], [0, 1])), "A <b>film")
    assert "the truth knows nobody" in page.text
    assert "A <b>film" in page.said


def test_all_unknown_and_one_person():
    lost = drawn(analysed(title_of(["ann", "bob"], [np.nan, np.nan])))
    assert "100.0 % are unknown" in lost.text
    assert "circle" not in lost.tags
    one = drawn(analysed(title_of(["ann"] * 3, [0, 0, 0])))
    assert "Nobody: every character shows one person." in one.text
    assert "No person has an error." in one.text


def test_bars_stay_inside():
    for found in (errant(), analysed(title_of(["ann", "bob", "cid"], [0, 0, 0]))):
        for name, value in drawn(found).attributes:
            if name == "style":
                left, *width = (float(number) for number in re.findall(r"(\d+\.\d+)%", value))
                assert 0 <= left <= left + sum(width) <= 100.02
