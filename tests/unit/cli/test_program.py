"""How a command ends: nobody reads what it says, it was stopped, it cannot go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conf.errors import LakeError, UsageError
from jobs.cli import program


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


def test_castmines_errors_in_an_executor_are_words_too(capsys):
    def fail() -> int:
        raise RuntimeError(
            "Traceback:\n  File x, in y\nconf.errors.UsageError: what\x1b?\n\n\tat java.lang.Thread.run\n"
        )

    with pytest.raises(SystemExit) as end:
        program.run(fail)
    assert end.value.code == program.WRONG_USE
    assert capsys.readouterr().err == "castmine: what\\x1b?\n"


def test_other_errors_keep_their_stack(capsys):
    with pytest.raises(ZeroDivisionError):
        program.run(lambda: 1 // 0)
    assert "castmine: unexpected; what Spark said is in " in capsys.readouterr().err
