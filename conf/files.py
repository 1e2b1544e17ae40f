"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(file: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `file` when the block ends well; the folder is made.

    Half of the temporary name is random: two processes that write one file, also on two hosts that share a disk, never
    write into each other's.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
