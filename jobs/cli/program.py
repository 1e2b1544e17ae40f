"""How a command ends as a program: its exit code, its errors in words."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable

from conf.cache import log_file
from conf.errors import CastmineError
from conf.text import visible

DONE, CANNOT_GO_ON, WRONG_USE, SOME_FAILED, INTERRUPTED, NOBODY_READS = 0, 1, 2, 3, 130, 141


def run(main: Callable[[], int]) -> None:
    """Run a command as a program: errors become a message and an exit code; a trace goes to a file.

    Raises SystemExit for anything but success: platforms that call the entry function look at nothing else.
    """
    _open_streams()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `castmine ... | head`: as other programs end that nobody listens to any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed there at the end
        code = NOBODY_READS
    except CastmineError as error:
        print(visible(f"castmine: {error}", keep="\n"), file=sys.stderr)  # several problems are a line each
        code = error.exit_code
    except Exception as error:
        with log_file().open("a") as log:
            traceback.print_exc(file=log)
        first = str(error).strip().partition("\n")[0]
        print(visible(f"castmine: unexpected: {type(error).__name__}: {first}"), file=sys.stderr)
        print(
            f"Its trace and Spark's words are in {log_file()}. What is committed stays; the same command goes on from "
            "there.",
            file=sys.stderr,
        )
        code = CANNOT_GO_ON
    except KeyboardInterrupt:
        print("\ncastmine: stopped. What is committed stays; the same command goes on from there.", file=sys.stderr)
        code = INTERRUPTED
    if code:
        raise SystemExit(code)


def _open_streams() -> None:
    """Standard streams that a daemon has closed lead nowhere; letters that a terminal does not know are spelled out."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)  # gets the lowest free number
            setattr(sys, name, os.fdopen(opened, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
