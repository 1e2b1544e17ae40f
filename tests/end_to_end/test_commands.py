"""The command line: what is wrong is said at once, before Spark starts, and what is right is silent when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli import dispatch
from jobs.lake import session
from tests.helpers.commands import castmine

TAKES_A_LAKE = ["mine", "train", "cluster", "report"]


@pytest.fixture
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Spark session that is asked for fails the test."""

    def asked_for(*_: object) -> None:
        pytest.fail("a session was asked for")

    monkeypatch.setattr(session, "start", asked_for)
    monkeypatch.setattr(SparkSession, "getActiveSession", asked_for)


def test_an_unknown_command_is_wrong_use(no_spark, capsys):
    assert castmine("harvset") == 2
    said = capsys.readouterr().err
    assert "no command 'harvset'" in said
    assert "  harvest " in said


def test_no_command_is_wrong_use_and_shows_what_there_is(no_spark, capsys):
    assert castmine() == 2
    listed = capsys.readouterr().out
    assert [name for name in dispatch.COMMANDS if f"\n  {name} " not in listed] == []
    assert castmine("--help") == 0
    assert capsys.readouterr().out == listed


@pytest.mark.parametrize("command", dispatch.COMMANDS)
def test_every_command_explains_itself(no_spark, capsys, command):
    assert castmine(command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: castmine {command}")
    assert f"castmine {command}" in said.partition("\n\n")[2], "no example"


def test_all_wrong_settings_are_said_at_once(no_spark, capsys, tmp_path):
    conf = tmp_path / "my.yml"
    conf.write_text("harvest:\n  detect_fps: -1\n  stride: 2\nmining: {}\n")
    words = ["mine", "--lake", tmp_path, "--conf", conf, "--set", "cluster.characters=many", "--set", "nonsense"]
    assert castmine(*words) == 2
    said = capsys.readouterr().err
    for wrong in ("harvest.detect_fps", "harvest.stride", "mining", "cluster.characters", "--set nonsense"):
        assert wrong in said
    assert "5 wrong setting(s)" in said


@pytest.mark.parametrize("words", [("harvest",), ("mine", "--frobnicate"), ("cluster", "--method", "magic")])
def test_wrong_arguments_are_wrong_use(no_spark, capsys, words):
    assert castmine(*words) == 2
    assert "usage: castmine" in capsys.readouterr().err


def test_films_that_are_not_there_are_said_at_once(no_spark, capsys, tmp_path):
    for command in ("harvest", "run"):
        assert castmine(command, tmp_path / "a.mp4", tmp_path / "b.mp4", "--lake", tmp_path / "lake") == 2
        said = capsys.readouterr().err
        assert "a.mp4: no such file" in said
        assert "b.mp4: no such file" in said
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("command", TAKES_A_LAKE)
def test_no_lake_says_how_to_make_one(spark, capsys, tmp_path, command):
    assert castmine(command, "--lake", tmp_path / "nothing") == 1
    assert "castmine harvest FILMS --lake" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("command", TAKES_A_LAKE)
def test_an_unknown_title_names_those_that_are_there(finished: Path, capsys, command):
    assert castmine(command, "--lake", finished, "--titles", "clip", "vertigo") == 2
    said = capsys.readouterr().err
    assert "vertigo" in said
    assert "castmine_demo_small" in said


def test_quiet_says_nothing(finished: Path, capfd):
    capfd.readouterr()
    assert castmine("mine", "--lake", finished, "--quiet") == 0
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize("command", TAKES_A_LAKE)
def test_json_is_one_line_on_standard_output(finished: Path, capfd, command):
    capfd.readouterr()
    assert castmine(command, "--lake", finished, "--json", "--quiet") == 0
    (line,) = capfd.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["job"], said["failed"]) == (command, {})


def test_the_installed_command_ends_with_its_exit_code(tmp_path):
    """The console script and `python -m` are the same program; neither starts Spark for a mistake."""
    for command in ([Path(sys.executable).with_name("castmine")], [sys.executable, "-m", "jobs.cli"]):
        done = subprocess.run(
            [*command, "mine", "--set", "mine.tracklets=1"],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "mine.tracklets" in done.stderr
        assert "Traceback" not in done.stderr
