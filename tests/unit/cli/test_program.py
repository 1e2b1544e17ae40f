"""How a command ends: nobody reads what it says, it was stopped, it cannot go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conf.errors import LakeError, UsageError
from jobs.cli import dispatch, program


@pytest.mark.parametrize("words", [["show", "settings"], ["--help"]])
def test_a_reader_who_has_seen_enough_is_no_error(words):
    command = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait() == program.NOBODY_READS


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (LakeError("no lake"), program.CANNOT_GO_ON, "castmine: no lake\n"),
        (UsageError("what?"), program.WRONG_USE, "castmine: what?\n"),
        (UsageError("a\x1b[2Jb\nc\udcff"), program.WRONG_USE, "castmine: a\\x1b[2Jb\nc\\udcff\n"),
        (KeyboardInterrupt(), program.INTERRUPTED, "castmine: stopped."),
    ],
)
def test_castmines_own_errors_are_words_and_a_code(capsys, error, code, said):
    def fail() -> int:
        raise error

    with pytest.raises(SystemExit) as end:
        program.run(fail)
    assert end.value.code == code
    assert said in capsys.readouterr().err


def test_the_trace_of_an_error_that_nobody_expected_is_in_a_file(capsys, monkeypatch, tmp_path):
    log = tmp_path / "logs" / "now.log"
    log.parent.mkdir()
    monkeypatch.setattr(program, "log_file", lambda: log)

    def fail() -> int:
        raise ZeroDivisionError("what\x1b?\nand more")

    with pytest.raises(SystemExit) as end:
        program.run(fail)
    assert end.value.code == program.CANNOT_GO_ON
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "castmine: unexpected: ZeroDivisionError: what\\x1b?"
    assert f"Its trace and Spark's words are in {log}" in said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert 'raise ZeroDivisionError("what' in log.read_text()


@pytest.mark.parametrize("words", [
    ("harvest", ""), ("harvest", "a.mp4", "--lake", ""), ("export", "--format", "csv", "--out", " "),
    ("name", "--gallery", ""), ("evaluate", "--truth", ""), ("run", "a.mp4", "--files", ""),
])  # fmt: skip
def test_an_empty_path_is_not_the_folder_one_is_in(words, capsys):
    """As a variable that is not set leaves it."""
    with pytest.raises(SystemExit) as ended:
        dispatch.main(words)
    assert ended.value.code == 2
    assert "it is empty; is a variable not set?" in capsys.readouterr().err


def test_the_version_and_the_help_of_a_command(capsys):
    assert dispatch.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("castmine ")
    with pytest.raises(SystemExit) as ended:
        dispatch.main(["help", "mine"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: castmine mine")
