"""Which films: files, folders, globs, or a manifest, each with its title_id; on disks and in object stores."""

from __future__ import annotations

import glob
import io
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from conf.errors import CastmineError, UsageError
from conf.ids import safe_name
from conf.places import Seen, is_in_store, local_path, locate, look, say_failures
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
        if is_in_store(argument):
            _read_store(argument, named, left, problems)
            continue
        path = Path(argument)
        if path.suffix.lower() in MANIFESTS and os.path.isfile(path):
            _read_manifest(path, named, problems)
        elif os.path.isdir(path):
            _read_folder(path, named, left)
        elif os.path.lexists(path):
            _take(path, OTHERS.__contains__, named, left)
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
    seen = look(named)
    return [_film_file(title_id, uri, shown, seen.get(uri)) for uri, (title_id, shown) in sorted(named.items())], left


def stamp_of(uri: str, seen: Seen | None = None) -> str:
    """A file's address, size and time, both 0 of one that cannot be looked at: while they stay, its content is taken
    for unchanged.

    Args:
        seen: the file as it is, where it has been looked at already.
    """
    found = seen or look([uri]).get(uri) or Seen(0, 0)
    return f"{uri} {found.size} {found.time_ns}"


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


def _read_store(address: str, named: Named, left: list[str], problems: list[str]) -> None:
    """What an address in an object store names: as on a disk a manifest, a film, a folder or a glob."""
    try:
        place = locate(address)
        with say_failures(address):
            if place.suffix.lower() in MANIFESTS and place.is_file():
                _read_manifest(place, named, problems)
            elif place.is_file():
                _take_stored(str(place), OTHERS.__contains__, named, left)
            elif matches := _list_stored(place):
                lakes = {match.partition("/runs/_delta_log/")[0] for match in matches if "/runs/_delta_log/" in match}
                left += [f"{lake}: a castmine lake" for lake in sorted(lakes)]
                for match in matches:
                    if not any(match.startswith(f"{lake}/") for lake in lakes):
                        _take_stored(match, is_no_films, named, left)
            else:
                problems.append(f"{address}: no such object, nothing below it, and nothing matches it")
    except FileNotFoundError:
        problems.append(f"{address}: no such bucket")
    except CastmineError as error:
        problems.append(str(error))


def _list_stored(place: Path) -> list[str]:
    """The objects below a place in a store, or below those that match it where it is a glob, but hidden ones."""
    store: Any = place
    given: str = store.path
    folders = store.fs.glob(given) if glob.has_magic(given) else [given]
    fixed = re.split(r"[*?[]", given, maxsplit=1)[0]
    found = {name for folder in folders for name in store.fs.find(folder)}
    shown = [name for name in found if "/." not in f"/{name.removeprefix(fixed)}"]
    return sorted(store.fs.unstrip_protocol(name) for name in shown)


def _take_stored(uri: str, is_none: Callable[[str], bool], named: Named, left: list[str]) -> None:
    if is_none(PurePosixPath(uri).suffix.lower()):
        left.append(f"{uri}: no film's ending")
    else:
        named.setdefault(uri, (None, None))


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
        uri, shown = _resolve(path, given, problems, place), row.get("display_name", "")
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
        if "\0" in uri:
            problems.append(f"{path}, {place}: uri {given!r}: not a path")
        cut = [f"{given}{comma}{shown}" for comma in (",", ", ")] if shown and not look([uri]) else []
        if meant := [name for name in cut if look([str(path.parent / name)])]:  # as many cells as the head has
            problems.append(f"{path}, {place}: no file {given}, but {meant[0]}: quote names with commas")
        if named.get(uri, (None, None))[0] is not None:
            problems.append(f"{path}, {place}: uri {given} has a title_id already: {named[uri][0]}")
        known[title_id] = uri
        named[uri] = (title_id, shown or None)
    if len(rows) and not problems and not any(map(os.path.lexists, known.values())) and not look(known.values()):
        problems.append(f"{path}: none of its {len(rows)} files is there, such as {next(iter(known.values()))}")


def _resolve(manifest: Path, given: str, problems: list[str], place: str) -> str:
    """The address of a film that a manifest names: paths are seen from the manifest's folder."""
    try:
        address = local_path(given)
        if is_in_store(address):
            return str(locate(address))
        if is_in_store(manifest) and not address.startswith("/"):
            return str(manifest.parent / address)
        return os.path.abspath(Path("/") / address if is_in_store(manifest) else manifest.parent / address)
    except UsageError as error:
        problems.append(f"{manifest}, {place}: uri {given!r}: {error}")
        return given


def _manifest_rows(path: Path) -> pd.DataFrame:
    """All columns as text, so that a title_id 007 stays what it is; empty where there is no value.

    The index says where a row stands, such as `line 3`.
    """
    if path.suffix.lower() == ".parquet":
        rows = pd.read_parquet(io.BytesIO(path.read_bytes())).map(
            lambda value: "" if pd.isna(value) else str(value).strip()
        )
        return rows.set_axis([f"row {number}" for number in range(1, len(rows) + 1)])
    head, lines = read_sheet(path, MANIFEST)
    columns = {name: [line.cells[head.index(name)] for line in lines] for name in MANIFEST if name in head}
    return pd.DataFrame(columns, [f"line {line.number}" for line in lines])


def _film_file(title_id: str | None, uri: str, display_name: str | None, seen: Seen | None) -> FilmFile:
    """One that cannot be looked at has no bytes: it will fail."""
    shown = display_name or PurePosixPath(uri).stem
    return FilmFile(title_id or "", uri, shown, seen.size if seen else 0, stamp_of(uri, seen or Seen(0, 0)))


def _is_unicode(text: str) -> bool:
    """Whether tables can hold it; a file's name is any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
