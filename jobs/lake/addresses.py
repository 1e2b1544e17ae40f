"""What an address of a lake names: a folder, an object store's prefix, or a catalog and schema."""

from __future__ import annotations

import os
import re
from pathlib import Path

from conf.errors import UsageError
from conf.places import local_path


def check_address(address: str) -> str:
    """The path or the object-store prefix that an address names.

    Raises:
        UsageError: it can be no lake.
    """
    given = local_path(address)
    if any("\ud800" <= letter <= "\udfff" for letter in given):
        raise UsageError(f"--lake {given!a}: a path that is no Unicode, which Spark cannot write to; rename the folder")
    if given.lower().startswith("file:"):
        raise UsageError(
            f"--lake {given}: of file: addresses those of this machine are known, such as file:///data/lake"
        )
    if "://" not in given and os.path.lexists(given) and not os.path.isdir(given):
        raise UsageError(f"--lake {given}: not a folder; name one, or a new path")
    return given


def is_catalog(address: str) -> bool:
    """`catalog.schema` with nothing of a path about it."""
    return re.fullmatch(r"[A-Za-z_]\w*\.[A-Za-z_]\w*", address) is not None and not Path(address).exists()
