"""What is said of an adapter's gain."""

from __future__ import annotations

from jobs.evaluation.adapter_gains import say_gain, show

FIGURES = {
    "v_measure": 0.923, "without_adapter_v_measure": 0.825, "v_gain": 0.098, "v_gain_low": 0.072, "v_gain_high": 0.1261,
    "v_gain_not_above_0": 0.0015, "accuracy": 0.9, "without_adapter_accuracy": 0.81, "adapter_p": 0.0123,
}  # fmt: skip


def test_a_title_in_one_line():
    assert say_gain(FIGURES) == (
        "adapter: V 82.5 % with raw embeddings, 92.3 % adapted, +9.8 points (95 % +7.2 to +12.6; at or below 0 in 0.1 "
        "% of draws); right tracks 81.0 %, 90.0 % (p 0.0123)"
    )
    short = {name: value for name, value in FIGURES.items() if not name.startswith("v_gain_")}
    assert "+9.8 points; right tracks" in say_gain(short)
    assert say_gain({"v_measure": 0.9, "accuracy": 0.9}) is None


def test_a_table_over_titles(capsys):
    row = {
        "property": "quality_label", "value": "profile", "n_tracks": 1200, "n_right_without_adapter": 600,
        "n_right": 900, "n_fixed": 320, "n_broke": 20, "share_right_without_adapter": 0.5, "share_right": 0.75,
        "p_value": 0.00009999,
    }  # fmt: skip
    show([row], 6)
    said = capsys.readouterr().out
    assert "right tracks of 6 titles" in said
    assert said.splitlines()[-1].split() == ["quality", "label", "profile", "1200", "50", "75", "0.0001"]
