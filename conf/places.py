"""Where things lie: paths on a disk, and addresses in object stores (s3://, gs://, abfss://, ...), used alike.

A store is reached through fsspec, which finds keys and endpoints where the store's own tools do: the environment, or
the user's configuration. s3 is tested; others need their package, and are not tried.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from conf.errors import CastmineError, UsageError

STORE = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
SAME = {"s3a": "s3", "s3n": "s3"}  # what Hadoop calls a store, and what fsspec does
PACKAGES = {"s3": "castmine[s3]", "gs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
LOOKS_AT_ONCE = 32  # requests


class Seen(NamedTuple):
    """A file as it is: bytes, and nanoseconds of its last change."""

    size: int
    time_ns: int


def local_path(given: str) -> str:
    """The path that a `file:` URI on this machine names; anything else stays what it is."""
    uri = re.fullmatch(r"file:(?://(?:localhost)?/|/(?!/))(.*)", given, re.IGNORECASE | re.DOTALL)
    return "/" + unquote(uri[1], errors="surrogateescape").lstrip("/") if uri else given


def is_in_store(address: str | Path) -> bool:
    """Whether an address is one in an object store; a file: URI of this machine is not."""
    return STORE.match(local_path(str(address))) is not None


def locate(address: str | Path) -> Path:
    """What an address names, to be used as a path, on whichever machine.

    Raises:
        UsageError: nobody knows such addresses, or a package is missing.
    """
    given = local_path(str(address))
    if (store := STORE.match(given)) is None:
        return Path(given)
    scheme = store[1].lower()
    scheme = SAME.get(scheme, scheme)
    _check(scheme)
    from upath import UPath  # half a second to import

    # other machines write there, too: nothing that was seen before may be taken for what is there now
    return cast(Path, UPath(f"{scheme}://{given[store.end() :]}", use_listings_cache=False))


def settle(address: str | Path) -> Path:
    """As `locate`, the same wherever it is used from: absolute, and links followed."""
    place = locate(address)
    return place if is_in_store(place) else place.resolve()


def for_spark(address: str) -> str:
    """An address as Spark knows it: Hadoop's name of the store is another one for S3 alone."""
    return re.sub(r"^s3n?://", "s3a://", address, flags=re.IGNORECASE)


@functools.cache
def _check(scheme: str) -> None:
    if scheme == "file":
        raise UsageError("file://: a file of another machine; those of this one are file:///PATH")
    if scheme not in PACKAGES:
        raise UsageError(f"{scheme}://: no such store is known; give a path, or {'://, '.join(PACKAGES)}://")
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        package = PACKAGES[scheme]
        raise UsageError(f"{scheme}:// needs a package: pip install '{package}', on every machine") from error


def look(addresses: Iterable[str]) -> dict[str, Seen]:
    """The files as they are now; those that are not there, or cannot be looked at, are left out.

    In stores many requests are under way at once.
    """
    given = list(dict.fromkeys(addresses))
    with ThreadPoolExecutor(LOOKS_AT_ONCE if any(map(is_in_store, given)) else 1) as pool:
        seen = pool.map(_look, given)
    return {address: found for address, found in zip(given, seen, strict=True) if found is not None}


def _look(address: str) -> Seen | None:
    if not is_in_store(address):
        try:
            on_disk = os.stat(address)
        except (OSError, ValueError):  # ValueError: a NUL in it
            return None
        return Seen(on_disk.st_size, on_disk.st_mtime_ns)
    place = locate(address)
    try:
        with say_failures(address):
            found = place.stat()
    except (FileNotFoundError, CastmineError):
        return None
    return Seen(found.st_size, round(found.st_mtime * 1e9))


@contextlib.contextmanager
def say_failures(address: str | Path) -> Iterator[None]:
    """What goes wrong with a store inside is said in a line; that something is not there passes as it is.

    Raises:
        CastmineError: the store does not answer, or refuses: of as many kinds as there are stores.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, CastmineError):
        raise
    except Exception as error:
        if not is_in_store(address):
            raise
        what = str(error).strip() or type(error).__name__
        raise CastmineError(f"{address}: the store does not give it: {what}") from error


def send(file: Path, place: Path) -> None:
    """Put a file of this machine into a store, whole or not at all."""
    with say_failures(place):
        _store(place).put_file(str(file), _path(place))


def read(place: Path) -> bytes:
    """The bytes of a file, those of one moment also where somebody writes them anew."""
    if not is_in_store(place):
        return place.read_bytes()
    with say_failures(place):
        return bytes(_store(place).cat_file(_path(place)))


def fetch_folder(folder: Path, here: Path) -> None:
    """Copy all that lies below an address in a store into a folder of this machine, which is there."""
    with say_failures(folder):
        _store(folder).get(f"{_path(folder)}/", f"{here}/", recursive=True)


def create(place: Path, content: bytes) -> bool:
    """Make an object in a store, if none is there; whether it was made. Of several who try, one succeeds."""
    try:
        with say_failures(place):
            _store(place).pipe_file(_path(place), content, mode="create")
    except FileExistsError:
        return False
    return True


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; a store has none that could be made."""
    if not is_in_store(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, or all below an address in a store; what is not there is none."""
    if not is_in_store(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError), say_failures(folder):
        _store(folder).rm(_path(folder), recursive=True)


def for_arrow(file: str | Path) -> str | io.BytesIO:
    """What Arrow reads a file from: its path, or its bytes where it lies in a store."""
    place = locate(file)
    if not is_in_store(place):
        return str(place)
    return io.BytesIO(read(place))


def _store(place: Path) -> Any:
    return cast(Any, place).fs


def _path(place: Path) -> str:
    return str(cast(Any, place).path)
