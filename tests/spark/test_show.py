"""castmine show: the settings, tables and views there are. No Spark in here."""

from __future__ import annotations

import json

import pytest

from conf.catalog import all_tables
from conf.errors import UsageError
from conf.settings import Section, Settings
from conf.views import VIEWS
from jobs import show


def shown(capsys, *words):
    assert show.main(list(words)) == 0
    return capsys.readouterr().out


def test_every_setting_with_its_default_and_what_it_may_be(capsys):
    found = json.loads(shown(capsys, "settings", "--json"))
    for job, section in Settings():
        if isinstance(section, Section):
            defaults = {name: said["default"] for name, said in found[job]["settings"].items()}
            assert defaults == section.model_dump(mode="json")
            assert all(said["meaning"] and said["allowed"] for said in found[job]["settings"].values())
    harvest = found["harvest"]["settings"]
    assert harvest["device"]["allowed"] == "cpu | cuda"
    assert harvest["min_score"]["allowed"] == "float, > 0, < 1"
    assert "speed only" in harvest["batch"]["meaning"]
    assert found["cluster"]["settings"]["characters"]["value"] is None


def test_settings_in_force(capsys, tmp_path):
    conf = tmp_path / "my.yml"
    conf.write_text("mine:\n  tracklets: 4\n")
    words = ("settings", "mine", "--conf", str(conf), "--set", "mine.duplicate_iou=0.7", "--set", "spark.ui.port=1")
    text = shown(capsys, *words)
    assert "cluster." not in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("mine.")][:2] == ["4", "0.7"]
    assert "spark.ui.port" in shown(capsys, "settings", "spark", *words[2:])


def test_every_column_of_every_table_with_its_maker(capsys):
    text = shown(capsys, "tables")
    for made in all_tables():
        assert f"{made.name}: {made.meaning}" in text
        for column in made.columns:
            assert column.meaning in text
            assert column.made_by in text
    assert shown(capsys, "tables", "shots").count("\n") < text.count("\n") / 5


def test_every_view(capsys):
    text = shown(capsys, "views")
    assert [line[3:] for line in text.splitlines() if line.startswith("-- ")] == list(VIEWS)
    assert "FROM characters" in shown(capsys, "views", "screen_time")


@pytest.mark.parametrize("what", ["settings", "tables", "views"])
def test_an_unknown_name_is_told_with_the_known_ones(what):
    with pytest.raises(UsageError, match=f"show {what}: no nope; there are: ") as caught:
        show.main([what, "nope"])
    assert caught.value.exit_code == 2
