"""Which films: files, folders, globs, or a manifest, each with its title_id."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conf.errors import UsageError
from udfs.kernels.video import content_hash

ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "m2v", "ts", "m2ts", "mts", "vob"),
        *("wmv", "asf", "flv", "ogv", "ogg", "mxf", "3gp", "nut", "wtv"),
    )
)
MANIFESTS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


@dataclass(frozen=True)
class FilmFile:
    """A film to harvest. `stamp` is its size and time: while they stay, its content is taken for unchanged."""

    title_id: str
    uri: str
    display_name: str
    size_bytes: int
    stamp: str


def find_films(given: Sequence[str]) -> tuple[list[FilmFile], list[str]]:
    """The films behind the arguments, by title_id, and what was left alone with the reason.

    A file that was named is taken whatever its ending; of a folder, the files with a film's ending.

    Raises:
        UsageError: nothing found, or a manifest is wrong; all problems at once.
    """
    problems: list[str] = []
    left: list[str] = []
    named: dict[str, tuple[str | None, str | None]] = {}  # uri -> title_id, display_name
    for argument in given:
        path = Path(argument)
        if path.suffix.lower() in MANIFESTS and path.is_file():
            _read_manifest(path, named, problems)
        elif path.is_dir():
            _read_folder(path, named, left)
        elif path.is_file() or path.is_symlink():
            named.setdefault(str(path.absolute()), (None, None))
        elif "://" in argument:
            problems.append(f"{argument}: an address; mount the store and give a path (on Databricks: /Volumes/...)")
        elif matches := sorted(glob.glob(argument, recursive=True)):
            for match in matches:
                if Path(match).is_dir():
                    _read_folder(Path(match), named, left)
                else:
                    named.setdefault(str(Path(match).absolute()), (None, None))
        else:
            problems.append(f"{argument}: no such file or folder, and no file matches it")
    if not named and not problems:
        problems.append(f"no film in {', '.join(given)}; endings looked for: {' '.join(sorted(ENDINGS))}")
    if problems:
        raise UsageError("\n".join(problems))
    return title_ids(named, left), left


def title_ids(named: dict[str, tuple[str | None, str | None]], left: list[str]) -> list[FilmFile]:
    """Give every film its title_id: the manifest's, else the file's name made safe.

    Two files of one name get a short content hash behind it; of two files of one name and content the second is left.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for uri, (title_id, _) in named.items():
        by_name[title_id or safe_name(Path(uri).stem)].append(uri)
    films: dict[str, FilmFile] = {}
    for name, uris in by_name.items():
        for uri in sorted(uris):
            title_id = name if len(uris) == 1 else f"{name}-{_short_hash(uri)}"
            if title_id in films:
                left.append(f"{uri}: the same film as {films[title_id].uri}")
                continue
            films[title_id] = _film_file(title_id, uri, named[uri][1])
    return [films[title_id] for title_id in sorted(films)]


def safe_name(text: str) -> str:
    """`text` as a title_id: letters, digits, dot, dash and underscore; what is left of it where it has others."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._")[:100] or "film"


def _read_folder(folder: Path, named: dict[str, tuple[str | None, str | None]], left: list[str]) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.suffix.lower() in ENDINGS:
            named.setdefault(str(path.absolute()), (None, None))
        else:
            left.append(f"{path}: no film's ending")


def _read_manifest(path: Path, named: dict[str, tuple[str | None, str | None]], problems: list[str]) -> None:
    try:
        rows = MANIFESTS[path.suffix.lower()](path)
    except Exception as error:  # a reader's errors are of many kinds, and all mean the same here
        problems.append(f"{path}: cannot be read as a manifest: {error}")
        return
    if missing := {"title_id", "uri"} - set(rows.columns):
        problems.append(f"{path}: a manifest needs the columns title_id and uri; missing: {', '.join(sorted(missing))}")
        return
    seen: set[str] = set()
    for line, row in enumerate(rows.to_dict("records"), start=2):
        title_id, uri = str(row["title_id"]).strip(), str(row["uri"]).strip()
        if title_id != safe_name(title_id):
            problems.append(
                f"{path}, line {line}: title_id {title_id!r} may hold letters, digits, dot, dash, underscore"
            )
        if title_id in seen:
            problems.append(f"{path}, line {line}: title_id {title_id} stands there twice")
        seen.add(title_id)
        shown = row.get("display_name")
        named[str((path.parent / uri).absolute())] = (title_id, str(shown) if isinstance(shown, str) else None)


def _film_file(title_id: str, uri: str, display_name: str | None) -> FilmFile:
    path = Path(uri)
    stat = path.stat() if path.exists() else None
    size, time_ns = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    return FilmFile(title_id, uri, display_name or path.stem, size, f"{uri} {size} {time_ns}")


def _short_hash(uri: str) -> str:
    try:
        return content_hash(uri)[:8]
    except OSError:
        return "unreadable"
