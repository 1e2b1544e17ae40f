"""Text for people, and cells for spreadsheets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.text import escape_formula, is_control, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202efdp.exe", "\\u202efdp.exe"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("a\u2028b\x85c\x7f", "a\\u2028b\\x85c\\x7f"),
        ("a\udcffb", "a\\udcffb"),
        *((text, text) for text in ("Zoë 李", "می\u200cخوش", "น้ำฝน", "9.41\u202fAM", "👩\u200d🚀", "[red]:b:", "")),
    ],
)
def test_control_characters_are_made_visible_and_letters_of_any_script_stay(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_nothing_controls_what_is_visible(text):
    assert not any(map(is_control, visible(text)))
    assert visible(visible(text)) == visible(text)
    assert not any(is_control(letter) and letter != "\n" for letter in visible(text, keep="\n"))


@pytest.mark.parametrize(
    "text",
    ["=1", "+x", "-x", "@x", "\tx", "\rx", "\nx", "=1+1", "-1+1", " =x", "\ufeff=x", "\uff1dx", "-", "+1 2", "--1"],
)
def test_no_cell_is_a_formula(text):
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-1.5", "+1", "-.5e-3", "-inf", "a=1", "", "x@y", -1.5, None, "'=1", "1-1"])
def test_numbers_and_other_text_stay_as_they_are(value):
    assert escape_formula(value) == value
