"""How a command ends as a program: its exit code, its errors in words."""

from __future__ import annotations

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
