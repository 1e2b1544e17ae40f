"""SQL as it is typed: statements up to their semicolon, and a prompt that asks for one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.cache import cache_dir
from conf.errors import CastmineError

FIRST, GOES_ON = "castmine> ", "       -> "
HELP = r"\q or Ctrl-D: leave. A statement ends with ; and may have several lines. Ctrl-C: forget what was typed."
KEPT_LINES = 1000  # of the history
# what may hold a semicolon that ends nothing; what is not closed goes on to the end
TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.)*(?:'|\Z) | "(?:[^"\\]|\\.)*(?:"|\Z) | `[^`]*(?:`|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z) | ; | .""",
    re.VERBOSE | re.DOTALL,
)


def split(text: str) -> tuple[list[tuple[int, str]], str]:
    """The statements of a text that end with a semicolon, each with the line it begins on, and what is left over.

    Semicolons inside quotes and comments end nothing. Empty statements, and such of comments alone, are left out.
    """
    statements: list[tuple[int, str]] = []
    begins = said = 0
    for token in TOKEN.finditer(text):
        if token[0] == ";":
            if said:
                begins += len(text[begins : token.start()]) - len(text[begins : token.start()].lstrip())
                statements.append((text.count("\n", 0, begins) + 1, text[begins : token.start()].strip()))
            begins, said = token.end(), 0
        elif not token[0].isspace() and not token[0].startswith(("--", "/*")):
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
                    say(f"castmine: {error}")
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
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        readline.read_history_file(file)
    readline.set_history_length(KEPT_LINES)
    try:
        yield
    finally:
        readline.write_history_file(file)
