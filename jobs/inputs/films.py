"""Which films: files, folders, globs, or a manifest, each with its title_id."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conf.errors import UsageError
from conf.files import local_path
from conf.ids import safe_name
from conf.text import visible
from jobs.inputs.sheets import read_sheet

ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "m2v", "ts", "m2ts", "mts", "vob"),
        *("wmv", "asf", "flv", "ogv", "ogg", "mxf", "3gp", "nut", "wtv"),
    )
)
MANIFESTS = (".csv", ".tsv", ".parquet")
MANIFEST = ("title_id", "uri", "display_name")  # its columns; others are left alone
NOT_A_PATH = "not a path; mount the store and give a path (on Databricks: /Volumes/...)"


@dataclass(frozen=True)
class FilmFile:
    """A film to harvest: `title_id` is the manifest's, else empty until it is named; for `stamp` see `stamp_of`."""

    title_id: str
    uri: str
    display_name: str
    size_bytes: int
    stamp: str


def find_films(given: Sequence[str]) -> tuple[list[FilmFile], list[str]]:
    """The films behind the arguments, by address, and what was left alone with the reason.

    A file that was named is taken whatever its ending; of a folder, the files with a film's ending.

    Raises:
        UsageError: nothing found, or a manifest is wrong; all problems at once.
    """
    problems: list[str] = []
    left: list[str] = []
    named: dict[str, tuple[str | None, str | None]] = {}  # uri -> title_id, display_name
    for argument in map(local_path, given):
        path = Path(argument)
        if path.suffix.lower() in MANIFESTS and path.is_file():
            _read_manifest(path, named, problems)
        elif path.is_dir():
            _read_folder(path, named, left)
        elif path.is_file() or path.is_symlink():
            named.setdefault(os.path.abspath(path), (None, None))
        elif "://" in argument:
            problems.append(f"{argument}: {NOT_A_PATH}")
        elif matches := sorted(glob.glob(argument, recursive=True)):
            for match in matches:
                if Path(match).is_dir():
                    _read_folder(Path(match), named, left)
                else:
                    named.setdefault(os.path.abspath(match), (None, None))
        else:
            problems.append(f"{argument}: no such file or folder, and no file matches it")
    for uri in [uri for uri in named if not _is_unicode(uri)]:
        del named[uri]
        left.append(f"{uri!a}: a name that is no Unicode; rename the file")
    if not named and not problems:
        problems.append(f"no film in {', '.join(given)}; endings looked for: {' '.join(sorted(ENDINGS))}")
    if problems:
        raise UsageError("\n".join(map(visible, problems)))
    return [_film_file(title_id, uri, shown) for uri, (title_id, shown) in sorted(named.items())], left


def stamp_of(uri: str) -> str:
    """A file's address, size and time: while they stay, its content is taken for unchanged."""
    size, time_ns = _size_and_time(uri)
    return f"{uri} {size} {time_ns}"


def _read_folder(folder: Path, named: dict[str, tuple[str | None, str | None]], left: list[str]) -> None:
    """The films in a folder and the folders below it, also those that are links, each once."""
    searched: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in searched:
            left.append(f"{place}: a link to a folder that is searched already")
            below.clear()
            continue
        searched.add(os.path.realpath(place))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in ENDINGS:
                named.setdefault(os.path.abspath(path), (None, None))
            else:
                left.append(f"{path}: no film's ending")


def _read_manifest(path: Path, named: dict[str, tuple[str | None, str | None]], problems: list[str]) -> None:
    try:
        rows = _manifest_rows(path)
    except UsageError as error:
        problems.append(f"{path}: cannot be read as a manifest: {error}")
        return
    except Exception as error:  # a reader's errors are of many kinds, and all mean the same here
        problems.append(f"{path}: cannot be read as a manifest: {str(error) or type(error).__name__}")
        return
    if missing := {"title_id", "uri"} - set(rows.columns):
        problems.append(f"{path}: a manifest needs the columns title_id and uri; missing: {', '.join(sorted(missing))}")
        return
    known = {title_id: uri for uri, (title_id, _) in named.items() if title_id}
    for place, row in zip(rows.index, rows.to_dict("records"), strict=True):
        title_id, given = row["title_id"], row["uri"]
        uri, shown = os.path.abspath(path.parent / local_path(given)), row.get("display_name", "")
        if title_id != safe_name(title_id):
            problems.append(
                f"{path}, {place}: title_id {title_id!r} may hold letters, digits and, between them, dot, dash, "
                "underscore; at most 100"
            )
        if title_id in known:
            problems.append(f"{path}, {place}: title_id {title_id} stands there twice")
        if not given or "://" in local_path(given) or "\0" in uri:
            problems.append(f"{path}, {place}: uri {given!r}: {NOT_A_PATH}")
        cut = [f"{given}{comma}{shown}" for comma in (",", ", ")] if shown and not os.path.exists(uri) else []
        if meant := [name for name in cut if os.path.exists(path.parent / name)]:  # as many cells as the head has
            problems.append(f"{path}, {place}: no file {given}, but {meant[0]}: quote names with commas")
        if named.get(uri, (None, None))[0] is not None:
            problems.append(f"{path}, {place}: uri {given} has a title_id already: {named[uri][0]}")
        known[title_id] = uri
        named[uri] = (title_id, shown or None)


def _manifest_rows(path: Path) -> pd.DataFrame:
    """All columns as text, so that a title_id 007 stays what it is; empty where there is no value.

    The index says where a row stands, such as `line 3`.
    """
    if path.suffix.lower() == ".parquet":
        rows = pd.read_parquet(path).map(lambda value: "" if pd.isna(value) else str(value).strip())
        return rows.set_axis([f"row {number}" for number in range(1, len(rows) + 1)])
    head, lines = read_sheet(path, MANIFEST)
    columns = {name: [line.cells[head.index(name)] for line in lines] for name in MANIFEST if name in head}
    return pd.DataFrame(columns, [f"line {line.number}" for line in lines])


def _film_file(title_id: str | None, uri: str, display_name: str | None) -> FilmFile:
    return FilmFile(title_id or "", uri, display_name or Path(uri).stem, _size_and_time(uri)[0], stamp_of(uri))


def _size_and_time(uri: str) -> tuple[int, int]:
    """Bytes and nanoseconds; 0 of a file that cannot be looked at: it will fail."""
    try:
        stat = os.stat(uri)
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _is_unicode(text: str) -> bool:
    """Whether tables can hold it; a file's name is any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
