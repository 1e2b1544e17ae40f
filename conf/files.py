"""Files: written whole or not at all, and told apart by what is in them."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.errors import FilmError, LakeError
from conf.places import is_in_store, locate, send
from conf.text import is_control

LONGEST_NAME = 240  # bytes; file systems end at 255, and a name's ending comes on top


@contextmanager
def write_whole(file: str | Path) -> Iterator[Path]:
    """A path on this machine to write to, which takes the place of `file` when the block ends well; the folder is made.

    Half of the temporary name is random: two processes that write one file, also on two hosts that share a disk, never
    write into each other's. An object in a store is sent there as a whole.
    """
    file = locate(file)
    if is_in_store(file):
        with tempfile.TemporaryDirectory(prefix="castmine-") as scratch:
            part = Path(scratch, "part")
            yield part
            send(part, file)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    short = file.name.encode()[:200].decode(errors="ignore")  # of 255 bytes
    part = file.with_name(f".{short}.{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


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
    return locate(folder) / (title_id + ending)


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
