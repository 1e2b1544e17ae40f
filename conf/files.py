"""Files: written whole or not at all, and told apart by what is in them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from conf.errors import FilmError, LakeError
from conf.text import is_control

LONGEST_NAME = 240  # bytes; file systems end at 255, and a name's ending comes on top


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
    """The path that a `file:` URI on this machine names; anything else stays what it is."""
    uri = re.fullmatch(r"file:(?://(?:localhost)?/|/(?!/))(.*)", given, re.IGNORECASE | re.DOTALL)
    return "/" + unquote(uri[1], errors="surrogateescape").lstrip("/") if uri else given


def title_file(folder: str | Path, title_id: str, ending: str) -> Path:
    """Where a title's file lies in `folder`: nothing that is named after a title leaves it.

    Raises:
        LakeError: the title_id would lead elsewhere, or cannot name a file. castmine writes no such title_id; another
            program may.
    """
    unfit = title_id.startswith(".") or any(c in "/\\" or is_control(c) for c in title_id)
    if not title_id or unfit or len(title_id.encode()) > LONGEST_NAME:
        raise LakeError(
            f"title {title_id!a} cannot name a file in {folder}; no command of castmine writes such a title_id: "
            "take the title out of the lake, or name it anew"
        )
    return Path(folder, title_id + ending)


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
