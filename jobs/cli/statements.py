"""SQL as it is typed: statements up to their semicolon, and a prompt that asks for one after the other."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from conf.cache import cache_dir
from conf.errors import CastmineError
from conf.text import visible

FIRST, GOES_ON = "castmine> ", "       -> "
HELP = r"\q or Ctrl-D: leave. A statement ends with ; and may have several lines. Ctrl-C: forget what was typed."
KEPT_LINES = 1000  # of the history
# as Spark's lexer has them; what may hold a semicolon that ends nothing and is not closed goes on to the end
TOKEN = re.compile(
    r"""[rR]'[^']*(?:'|\Z) | [rR]"[^"]*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z) | "(?:[^"\\]|\\.)*(?:"|\Z) | `[^`]*(?:`|\Z)
    | --(?:\\\n|[^\r\n])* | /\*(?!\+) | \s+ | \w+ | .""",
    re.VERBOSE | re.DOTALL,
)
COMMENTS = re.compile(r"/\*(?!\+)|\*/")  # they nest; /*+ is a hint


class Token(NamedTuple):
    """A word, a literal or a sign of a statement, and where it begins."""

    start: int
    text: str


def tokens(text: str) -> Iterator[Token]:
    """What a text says, blanks and comments left out."""
    at = 0
    while found := TOKEN.match(text, at):
        begins, at = found.span()
        if found[0] == "/*":
            at = _end_of_comment(text, at)
        elif not found[0].isspace() and not found[0].startswith("--"):
            yield Token(begins, found[0])


def _end_of_comment(text: str, at: int) -> int:
    depth = 1
    while depth and (found := COMMENTS.search(text, at)):
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return len(text) if depth else at


def split(text: str) -> tuple[list[tuple[int, str]], str]:
    """The statements of a text that end with a semicolon, each with the line it begins on, and what is left over.

    Semicolons inside quotes and comments end nothing. Empty statements, and such of comments alone, are left out.
    """
    statements: list[tuple[int, str]] = []
    begins = said = 0
    for token in tokens(text):
        if token.text == ";":
            if said:
                begins += len(text[begins : token.start]) - len(text[begins : token.start].lstrip())
                statements.append((text.count("\n", 0, begins) + 1, text[begins : token.start].strip()))
            begins, said = token.start + 1, 0
        else:
            said += 1
    return statements, text[begins:].strip() if said else ""


def ask(read: Callable[[str], str], answer: Callable[[str], None], say: Callable[[str], None]) -> None:
    r"""Read statements and answer them until `\q` or the end of what is typed. What fails is said, and it goes on.

    Args:
        read: a prompt -> a line; raises EOFError at the end, KeyboardInterrupt where the line is given up.
    """
    say(HELP)
    held = ""
    while True:
        try:
            line = read(GOES_ON if held.strip() else FIRST)
            if not held.strip() and line.strip() in ("\\q", "quit", "exit"):
                return
            if not held.strip() and line.strip() in ("\\?", "help"):
                say(HELP)
                continue
            statements, held = split(f"{held}\n{line}" if held else line)
            for _, statement in statements:
                try:
                    answer(statement)
                except CastmineError as error:
                    say(visible(f"castmine: {error}", keep="\n"))
        except KeyboardInterrupt:
            held = ""
            say("")
        except EOFError:
            say("")
            return


@contextmanager
def history() -> Iterator[None]:
    """Lines that `input` reads can be edited and recalled, also those of earlier times."""
    try:
        import readline
    except ImportError:  # a Python without it still reads lines
        yield
        return
    file: Path = cache_dir() / "sql_history"
    readline.set_history_length(KEPT_LINES)
    with contextlib.suppress(OSError):  # nowhere to keep it, or nothing kept yet
        file.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(file)
