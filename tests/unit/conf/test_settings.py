"""Settings from defaults, a file and --set: what wins, what is wrong (all of it at once), and what a hash sees."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conf.errors import UsageError
from conf.settings import ClusterSettings, HarvestSettings, Section, Settings, TrainSettings, load

PRESETS = sorted(file.name for file in (resources.files("conf") / "presets").iterdir() if file.name.endswith(".yml"))
SECTIONS = {name: getattr(Settings(), name) for name in Settings.model_fields if name != "spark"}
FIELDS = [(section, field) for section, made in SECTIONS.items() for field in type(made).model_fields]


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yml"
    path.write_text(text)
    return path


def wrong(conf_file: Path | None = None, *assignments: str) -> str:
    with pytest.raises(UsageError) as told:
        load(conf_file, assignments)
    assert told.value.exit_code == 2
    return str(told.value)


def test_nothing_said_is_the_defaults():
    assert load() == Settings()
    assert load(None, ["harvest.batch=8"]) == Settings()


def test_set_wins_over_the_file_and_the_file_over_its_preset(tmp_path):
    path = write(tmp_path, "preset: paper\nharvest: {detect_fps: 6, batch: 3}\n")
    preset = yaml.safe_load((resources.files("conf") / "presets" / "paper.yml").read_text())
    made = load(path, ["harvest.batch=4", "train.seed=1"])
    assert made.train.preset == preset["train"]["preset"] == "paper"
    assert made.harvest.embed_every_s == preset["harvest"]["embed_every_s"] != Settings().harvest.embed_every_s
    assert made.harvest.detect_fps == 6 != preset["harvest"]["detect_fps"]
    assert made.harvest.batch == 4
    assert made.train.seed == 1
    assert made.mine == Settings().mine


def test_the_last_set_wins():
    assert load(None, ["harvest.batch=2", "harvest.batch=5"]).harvest.batch == 5


@pytest.mark.parametrize("name", [file.removesuffix(".yml") for file in PRESETS])
def test_every_preset_is_valid(tmp_path, name):
    made = load(write(tmp_path, f"preset: {name}\n"))
    assert made != Settings()


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(write(tmp_path, "")) == Settings()
    assert load(write(tmp_path, "# only a comment\n")) == Settings()


def test_a_section_with_nothing_under_it_changes_nothing(tmp_path):
    assert load(write(tmp_path, "harvest:\n  # detect_fps: 24\ncluster:\n  min_quality: 0.5\n")) == load(
        None, ["cluster.min_quality=0.5"]
    )


def test_values_are_read_as_yaml():
    made = load(None, ["report.blur=true", "cluster.characters=8-15", "harvest.device='cuda'", "train.held_out=0.5"])
    assert (made.report.blur, made.cluster.characters, made.harvest.device, made.train.held_out) == (
        True,
        "8-15",
        "cuda",
        0.5,
    )
    assert load(None, ["cluster.characters=null"]).cluster.characters is None


def test_spark_entries_are_text_whatever_they_look_like(tmp_path):
    made = load(
        write(tmp_path, "spark: {spark.a: '1'}\n"), ["spark.spark.sql.shuffle.partitions=8", "spark.x.y=true=1"]
    )
    assert made.spark == {"spark.a": "1", "spark.sql.shuffle.partitions": "8", "x.y": "true=1"}


# --- everything that is wrong, at once -------------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    path = write(tmp_path, "harvest: {min_score: 2, foo: 1}\nbar: {}\ntrain: {method: magic}\n")
    said = wrong(path, "harvest.batch=0", "mine.nope=1", "nonsense", "kitchen.sink=1")
    keys = [
        "harvest.min_score",
        "harvest.foo",
        "bar",
        "train.method",
        "harvest.batch",
        "mine.nope",
        "nonsense",
        "kitchen",
    ]
    assert all(key in said for key in keys)
    assert f"{len(keys)} wrong" in said
    assert str(path) in said
    assert "castmine show settings" in said


@pytest.mark.parametrize("assignment", ["harvest", "harvest=3", "batch=3", "=3", "", "harvest.batch"])
def test_a_set_that_is_none(assignment):
    assert "job.key=value" in wrong(None, assignment)


@pytest.mark.parametrize(
    ("assignments", "key"),
    [
        (["harvest.min_score=0.4", "harvest.low_score=0.5"], "harvest.low_score"),
        (["harvest.piece_s=100", "harvest.max_piece_s=50"], "harvest.max_piece_s"),
        (["cluster.characters=9-3"], "cluster.characters"),
        (["train.processes=2"], "train.processes"),
    ],
)
def test_settings_that_contradict_each_other(assignments, key):
    said = wrong(None, *assignments)
    assert f"  {key}: " in said
    assert "1 wrong" in said


@pytest.mark.parametrize(
    "assignment",
    [
        "harvest.detect_fps=0", "harvest.detect_size=650", "harvest.device=gpu", "harvest.piece_s=soon",
        "harvest.min_score=1", "harvest.detect_fps=.nan", "mine.tracklets=1", "cluster.characters=many",
        "train.held_out=0.95", "report.blur=maybe",
    ],
)  # fmt: skip
def test_values_out_of_bounds(assignment):
    assert f"  {assignment.partition('=')[0]}: " in wrong(None, assignment)


def test_what_a_setting_may_be_is_said():
    assert "mine.nope: no such setting; there are: tracklets, duplicate_iou" in wrong(None, "mine.nope=1")
    for value in ("0", "x", "-3", "1.5", "5-0"):
        said = wrong(None, f"cluster.characters={value!r}")
        assert f"cluster.characters: '{value}' is none of: N for exactly N, MIN-MAX" in said


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot be read" in wrong(tmp_path / "none.yml")
    assert "cannot be read" in wrong(tmp_path)
    assert "cannot be read" in wrong(write(tmp_path, "harvest: [unclosed\n"))
    assert "found a list" in wrong(write(tmp_path, "- harvest\n"))
    assert "found a str" in wrong(write(tmp_path, "harvest\n"))


def test_a_yaml_file_makes_no_objects(tmp_path):
    assert "cannot be read" in wrong(write(tmp_path, "harvest: !!python/object/apply:os.getcwd []\n"))


def test_an_unknown_preset_names_those_there_are(tmp_path):
    said = wrong(write(tmp_path, "preset: nope\n"))
    assert all(file.removesuffix(".yml") in said for file in PRESETS)
    assert "no such preset" in wrong(write(tmp_path, "preset: ../settings\n"))


# --- hashes ----------------------------------------------------------------------------------------------------------


def changed(section: str, field: str) -> Section:
    """The section with another value in this field."""
    made = SECTIONS[section]
    value = getattr(made, field)
    kinds = get_args(type(made).model_fields[field].annotation)
    choices = [other for other in kinds if isinstance(other, str)]
    if isinstance(value, bool):
        other = not value
    elif isinstance(value, (int, float)):
        other = value + 1
    elif isinstance(value, dict):
        other = {**value, "x": 1.0}
    elif value is None and kinds[0] in (int, float):
        other = kinds[0](3)
    else:
        other = next((choice for choice in choices if choice != value), f"{value}x")
    return made.model_copy(update={field: other})


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_a_hash_sees_what_has_an_effect_and_nothing_else(section, field):
    made, other = SECTIONS[section], changed(section, field)
    assert getattr(other, field) != getattr(made, field)
    assert (made.hash() == other.hash()) == (field in made.without_effect())


def test_what_has_no_effect():
    assert HarvestSettings.without_effect() == {"batch", "film_disk_gb"}
    assert TrainSettings.without_effect() == {"launcher", "processes", "reader", "kept_gb"}


def test_a_setting_that_came_later_changes_no_hash_at_its_default():
    cluster = ClusterSettings()
    before = {name: value for name, value in cluster.model_dump(mode="json").items() if name != "links"}
    text = json.dumps(before, sort_keys=True)  # as a castmine without the setting had it
    assert cluster.hash() == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert ClusterSettings(links="none").hash() != cluster.hash() == ClusterSettings(links="all").hash()


def test_a_hash_is_of_the_values_however_they_were_given(tmp_path):
    by_file = load(write(tmp_path, "harvest: {detect_fps: 6, min_score: 0.6}\n"))
    by_set = load(None, ["harvest.min_score=0.6", "harvest.detect_fps=6.0"])
    assert by_file.harvest.hash() == by_set.harvest.hash() != Settings().harvest.hash()
    assert by_file.mine.hash() == Settings().mine.hash()
    assert len(by_set.harvest.hash()) == 16


@hypothesis_settings(max_examples=50)
@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_equal_hashes_are_equal_settings(one, other):
    a, b = (HarvestSettings(detect_fps=fps) for fps in (one, other))
    assert (a.hash() == b.hash()) == (a == b)


def test_settings_are_frozen_and_described():
    with pytest.raises(ValidationError):
        Settings().harvest.batch = 3  # type: ignore[misc]
    for section, field in FIELDS:
        assert type(SECTIONS[section]).model_fields[field].description, f"{section}.{field} says nothing of itself"
