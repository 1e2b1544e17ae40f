"""Files: written whole or not at all, and told apart by what is in them."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from conf.errors import FilmError


@contextmanager
def write_whole(file: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `file` when the block ends well; the folder is made.

    Half of the temporary name is random: two processes that write one file, also on two hosts that share a disk, never
    write into each other's.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    short = file.name.encode()[:200].decode(errors="ignore")  # of 255 bytes
    part = file.with_name(f".{short}.{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def local_path(given: str) -> str:
    """The path that a `file:` URI names; anything else stays what it is."""
    parts = urlsplit(given)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return given
    return unquote(given.removeprefix("file:").removeprefix("//").removeprefix("localhost"))


def content_hash(path: str | Path) -> str:
    """sha256 of a file's bytes, hex.

    Raises:
        FilmError: the file cannot be read to its end.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FilmError(f"the file cannot be read: {error.strerror or error}") from error
