"""Which films: files, folders, globs, or a manifest, each with its title_id."""

from __future__ import annotations

import glob
import os
import stat
import unicodedata
from collections.abc import Callable, Sequence
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
        *("wmv", "asf", "flv", "f4v", "ogv", "ogg", "mxf", "3gp", "3g2", "nut", "wtv"),
        *("m2t", "mod", "tod", "dv", "divx", "ivf"),
    )
)
OTHERS = frozenset(  # what lies beside films, and is none even where it is named
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "png", "webp", "gif", "bmp", "srt", "ass", "ssa", "sub", "idx", "vtt", "nfo", "txt", "md"),
        *("xml", "json", "yml", "yaml", "pdf", "doc", "docx", "xls", "xlsx", "ods", "zip", "rar", "7z", "torrent"),
    )
)
MANIFESTS = (".csv", ".tsv", ".parquet")
MANIFEST = ("title_id", "uri", "display_name")  # its columns; others are left alone
LISTED = 10  # lines
NOT_A_PATH = "not a path; mount the store and give a path (on Databricks: /Volumes/...)"

Named = dict[str, tuple[str | None, str | None]]  # uri -> title_id, display_name


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

    A file that was named is taken whatever its ending, but those of OTHERS; of a folder, and of what matches a glob,
    the files with a film's ending.

    Raises:
        UsageError: nothing found, or a manifest is wrong; all problems at once.
    """
    problems: list[str] = []
    left: list[str] = []
    named: Named = {}
    for argument in map(local_path, given):
        path = Path(argument)
        if path.suffix.lower() in MANIFESTS and os.path.isfile(path):
            _read_manifest(path, named, problems)
        elif os.path.isdir(path):
            _read_folder(path, named, left)
        elif os.path.lexists(path):
            _take(path, OTHERS.__contains__, named, left)
        elif "://" in argument:
            problems.append(f"{argument}: {NOT_A_PATH}")
        elif matches := sorted(glob.glob(argument, recursive=True)):
            for match in matches:
                if Path(match).is_dir():
                    _read_folder(Path(match), named, left)
                else:
                    _take(Path(match), is_no_films, named, left)
        else:
            problems.append(f"{argument}: no such file or folder, and no file matches it")
    for uri in list(named):
        if why := _why_not(uri):
            del named[uri]
            left.append(f"{uri if _is_unicode(uri) else ascii(uri)}: {why}")
    if not named and not problems:
        problems.append(f"no film in {', '.join(given)}; endings looked for: {' '.join(sorted(ENDINGS))}")
        problems += [f"  left alone: {line}" for line in left[:LISTED]]
    if problems:
        raise UsageError("\n".join(map(visible, problems)))
    return [_film_file(title_id, uri, shown) for uri, (title_id, shown) in sorted(named.items())], left


def stamp_of(uri: str) -> str:
    """A file's address, size and time: while they stay, its content is taken for unchanged."""
    size, time_ns = _size_and_time(uri)
    return f"{uri} {size} {time_ns}"


def is_no_films(ending: str) -> bool:
    """Whether files with this ending, of small letters, are not films."""
    return ending not in ENDINGS


def _take(path: Path, is_none: Callable[[str], bool], named: Named, left: list[str]) -> None:
    if is_none(path.suffix.lower()):
        left.append(f"{path}: no film's ending")
    else:
        named.setdefault(os.path.abspath(path), (None, None))


def _why_not(uri: str) -> str | None:
    """Why a file is no film before it is looked into; None where it may be one, or is not there and will fail."""
    if not _is_unicode(uri):
        return "a name that is no Unicode; rename the file"
    try:
        return None if stat.S_ISREG(os.stat(uri).st_mode) else "a pipe or a device, not a file"
    except (OSError, ValueError):  # ValueError: a NUL in it, which a manifest is told
        return None


def _read_folder(folder: Path, named: Named, left: list[str]) -> None:
    """The films in a folder and the folders below it, also those that are links, each once."""
    searched: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in searched:
            left.append(f"{place}: a link to a folder that is searched already")
            below.clear()
            continue
        searched.add(os.path.realpath(place))
        if Path(place, "runs", "_delta_log").is_dir():
            left.append(f"{place}: a castmine lake")
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(place, name) for name in sorted(names) if not name.startswith(".")):
            _take(path, is_no_films, named, left)


def _read_manifest(path: Path, named: Named, problems: list[str]) -> None:
    try:
        rows = _manifest_rows(path)
    except UsageError as error:
        problems.append(f"{path}: cannot be read as a manifest: {error}")
        return
    except Exception as error:  # a reader's errors are of many kinds, and all mean the same here
        problems.append(f"{path}: cannot be read as a manifest: {str(error) or type(error).__name__}")
        return
    if not {"title_id", "uri"} <= set(rows.columns):
        its = ", ".join(rows.columns) or "none of them"
        problems.append(f"{path}: a manifest needs the columns title_id and uri; it has: {its}")
        return
    known = {title_id: uri for uri, (title_id, _) in named.items() if title_id}
    for place, row in zip(rows.index, rows.to_dict("records"), strict=True):
        title_id, given = unicodedata.normalize("NFC", row["title_id"]), row["uri"]
        uri, shown = os.path.abspath(path.parent / local_path(given)), row.get("display_name", "")
        if not title_id or not given:
            problems.append(f"{path}, {place}: no {'uri' if title_id else 'title_id'}")
            continue
        if title_id != safe_name(title_id):
            problems.append(
                f"{path}, {place}: title_id {title_id!r} may hold letters, digits and, between them, dot, dash, "
                f"underscore; at most 100: {safe_name(title_id)} would do"
            )
        if title_id in known:
            problems.append(f"{path}, {place}: title_id {title_id} stands there twice")
        if "://" in local_path(given) or "\0" in uri:
            problems.append(f"{path}, {place}: uri {given!r}: {NOT_A_PATH}")
        cut = [f"{given}{comma}{shown}" for comma in (",", ", ")] if shown and not os.path.exists(uri) else []
        if meant := [name for name in cut if os.path.exists(path.parent / name)]:  # as many cells as the head has
            problems.append(f"{path}, {place}: no file {given}, but {meant[0]}: quote names with commas")
        if named.get(uri, (None, None))[0] is not None:
            problems.append(f"{path}, {place}: uri {given} has a title_id already: {named[uri][0]}")
        known[title_id] = uri
        named[uri] = (title_id, shown or None)
    if len(rows) and not problems and not any(os.path.lexists(uri) for uri in known.values()):
        problems.append(f"{path}: none of its {len(rows)} files is there, such as {next(iter(known.values()))}")


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
        found = os.stat(uri)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _is_unicode(text: str) -> bool:
    """Whether tables can hold it; a file's name is any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
