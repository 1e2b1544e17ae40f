"""How a command ends as a program: its exit code, its errors in words."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

from conf import errors
from conf.cache import spark_log
from conf.errors import CastmineError
from conf.text import visible

DONE, CANNOT_GO_ON, WRONG_USE, SOME_FAILED, INTERRUPTED, NOBODY_READS = 0, 1, 2, 3, 130, 141


def run(main: Callable[[], int]) -> None:
    """Run a command as a program: castmine's own errors become a message and an exit code, others a stack trace.

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
        own = re.search(r"\bconf\.errors\.(\w+): (.+)", str(error))  # raised in an executor: a line of its stack
        if own is None:
            print(f"castmine: unexpected; what Spark said is in {spark_log()}", file=sys.stderr)
            raise
        print(visible(f"castmine: {own[2]}"), file=sys.stderr)
        code = getattr(errors, own[1], CastmineError).exit_code
    except KeyboardInterrupt:
        print("\ncastmine: stopped. What is committed stays; the same command goes on from there.", file=sys.stderr)
        code = INTERRUPTED
    if code:
        raise SystemExit(code)
