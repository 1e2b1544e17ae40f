"""The Parquet files of titles, as Delta names them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

import pyarrow.parquet as pq

from conf.errors import UsageError
from conf.places import is_in_store, locate, look


def group_by_title(files: Iterable[str]) -> dict[str, list[str]]:
    """The files of each title, as Delta names them: the folder escaped by Hive's rules, the whole not as a URI."""
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if folder := re.search(r"/title_id=([^/]+)/[^/]+$", file):
            found.setdefault(unquote(folder[1]), []).append(file)
    return found


def list_local_paths(files: Iterable[str]) -> dict[str, list[str]] | None:
    """The paths of each title's files; None where some have none on this machine or a shared disk."""
    found = group_by_title(files)
    if not all(file.startswith("file:/") for listed in found.values() for file in listed):
        return None
    return {title: ["/" + file.removeprefix("file:").lstrip("/") for file in listed] for title, listed in found.items()}


def list_paths(files: Iterable[str]) -> dict[str, list[str]] | None:
    """As `list_local_paths`, and the addresses of files in stores that castmine can reach."""
    listed = list(files)
    if not listed or not all(map(is_in_store, listed)):
        return list_local_paths(listed)
    try:
        return {title: [str(locate(file)) for file in found] for title, found in group_by_title(listed).items()}
    except UsageError:
        return None


def count_bytes(paths: Iterable[str]) -> int:
    return sum(seen.size for seen in look(paths).values())


def count_runs(files: Mapping[str, Sequence[str]]) -> Counter[tuple[str, str]]:
    """Rows by (title_id, run_id) of the files of each title."""
    counts: Counter[tuple[str, str]] = Counter()
    for title, listed in files.items():
        for file in listed:
            for run in pq.ParquetFile(file).read(["run_id"])["run_id"].value_counts().to_pylist():
                counts[title, run["values"]] += run["counts"]
    return counts
