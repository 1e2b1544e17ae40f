"""Tables, bars and numbers of a page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.report.page_parts import lay_stretch, lay_table, say_percent, say_share, say_tracks


def test_numbers_stand_right_and_text_left():
    made = lay_table(["who", "n", "share", ""], [["ann", 1200, "50.0 %", ""], ["3rd", 7, "", "x"]])
    assert made["columns"] == [("who", ""), ("n", "n"), ("share", "n"), ("", "")]
    assert made["rows"] == [["ann", "1,200", "50.0 %", ""], ["3rd", "7", "", "x"]]


@given(st.floats(-1, 2), st.floats(0, 3))
def test_a_part_of_a_bar_stays_inside(start, length):
    made = lay_stretch("wrong", start, length)
    left, width = float(made["start"]), float(made["length"])
    assert made["kind"] == "wrong"
    assert 0 <= left <= left + width <= 100.01


def test_numbers_in_words():
    assert (say_percent(1, 8), say_share(0.125)) == ("12.5 %", "12.5 %")
    assert (say_tracks(1), say_tracks(1200)) == ("1 track", "1,200 tracks")
