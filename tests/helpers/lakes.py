"""Lakes, looked at from outside: read from their Delta logs with Arrow alone, and compared exactly.

Nothing here uses the code under test, so a lake is what another Delta reader would see.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.catalog import all_tables, table
from conf.table import Table

MADE = (  # what `castmine run` fills; edits, metrics, verdicts and errors are other commands'
    "titles", "shots", "tracks", "faces", "cannot_links", "must_links", "tracklets", "hard_negatives",
    "adapters", "curves", "characters", "track_labels", "runs",
)  # fmt: skip
MINED = ("cannot_links", "must_links", "tracklets", "hard_negatives")


def raw(lake: Path, name: str) -> pa.Table:
    """All rows of the newest version of a table, half-written titles' too."""
    made = table(name)
    parts = [made.arrow.empty_table()]
    for file, partition in _live_files(lake / name).items():
        part = pq.ParquetFile(lake / name / unquote(file)).read()
        for column, value in partition.items():
            if column not in part.column_names:  # writers may leave them in the file
                part = part.append_column(column, pa.array([value] * part.num_rows, pa.string()))
        parts.append(part.select(made.names).cast(made.arrow))
    return pa.concat_tables(parts).combine_chunks()


def rows(lake: Path, name: str, titles: Sequence[str] | None = None) -> pa.Table:
    """The rows that finished runs have committed, of `titles` where given, in the order of the key."""
    made, found = table(name), raw(lake, name)
    if made.by_title:
        marks = {(run["run_id"], run["title_id"]) for run in raw(lake, "runs").to_pylist() if _is_mark(run)}
        keys = zip(found["run_id"].to_pylist(), found["title_id"].to_pylist(), strict=True)
        found = found.filter(pa.array([key in marks for key in keys], pa.bool_()))
    if titles is not None and "title_id" in made.names:
        found = found.filter(pc.is_in(found["title_id"], pa.array([*titles, ""])))
    return found.sort_by([(column, "ascending") for column in _order(made)])


def differences(
    ours: Path,
    theirs: Path,
    titles: Sequence[str] | None = None,
    names: Sequence[str] = MADE,
    but: Collection[str] = (),
) -> list[str]:
    """The first difference of each stable column of each table, in words; equal lakes have none.

    Values are compared exactly, embeddings and pictures too. Of `runs`, what was finished is compared.

    Args:
        names: tables to compare. but: columns left out, as `table.column`.
    """
    found = []
    for name in names:
        mine, other = (_finished(rows(lake, name, titles)) for lake in (ours, theirs))
        if mine.num_rows != other.num_rows:
            found.append(f"{name}: {mine.num_rows} rows against {other.num_rows}")
            continue
        stable = [column for column in table(name).stable if f"{name}.{column}" not in but]
        found += [_first_difference(name, c, mine, other) for c in stable if not mine[c].equals(other[c])]
    return found


def repeated_keys(lake: Path) -> list[str]:
    """Tables in which two rows have one key, half-written titles' rows too."""
    found = []
    for made in all_tables():
        counted = raw(lake, made.name).group_by(list(made.key)).aggregate([([], "count_all")])
        twice = counted.filter(pc.greater(counted["count_all"], 1))
        found += [f"{made.name}: {row}" for row in twice.slice(0, 3).to_pylist()]
    return found


def uncommitted(lake: Path) -> dict[str, int]:
    """Rows of each table that no finished run has committed, where there are any."""
    counts = {made.name: raw(lake, made.name).num_rows - rows(lake, made.name).num_rows for made in all_tables()}
    return {name: count for name, count in counts.items() if count}


def version(lake: Path, name: str) -> int:
    """The newest version of a table; -1 where there is none."""
    return max((int(log.stem) for log in (lake / name / "_delta_log").glob("*.json")), default=-1)


def versions(lake: Path) -> dict[str, int]:
    """The newest version of every table."""
    return {made.name: version(lake, made.name) for made in all_tables()}


def _live_files(folder: Path) -> dict[str, dict[str, str]]:
    """File -> its partition's values: what the log has added and not removed since."""
    live: dict[str, dict[str, str]] = {}
    for log in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, log.read_text().splitlines()):
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
            if "add" in action:
                live[action["add"]["path"]] = action["add"]["partitionValues"]
    return live


def _is_mark(run: dict[str, object]) -> bool:
    return run["status"] in ("ok", "failed")  # a failed title's row of `titles` counts: it says why


def _finished(found: pa.Table) -> pa.Table:
    return found.filter(pc.equal(found["status"], "ok")) if "input_versions" in found.column_names else found


def _order(made: Table) -> list[str]:
    """The key, and behind it every other column that has an order, for tables whose key names a run."""
    plain = [c.name for c in made.columns if not c.volatile and not c.type.startswith(("ARRAY", "BINARY"))]
    return sorted(plain, key=lambda name: (name not in made.key, plain.index(name)))


def _first_difference(name: str, column: str, ours: pa.Table, theirs: pa.Table) -> str:
    pairs = enumerate(zip(ours[column].to_pylist(), theirs[column].to_pylist(), strict=True))
    at, (mine, other) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    key = [ours[part][at].as_py() for part in table(name).key]
    return f"{name}.{column} at {key}: {str(mine)[:120]} against {str(other)[:120]}"
