"""Whether two lakes hold the same rows: every table, but for what differs between two equal runs.

Compared are the columns that a table calls stable (run ids, wall clocks and table versions differ), of the rows that
count, by the table's key. Prints a line a table, and the first rows that differ. Exit code 1 where any do.

  python -m tests.bench.same_rows LAKE OTHER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd

from conf.catalog import all_tables
from conf.table import Table
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started

SHOWN = 3


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake")
    parser.add_argument("other")
    parser.add_argument("--not", nargs="+", default=[], metavar="COLUMN", dest="left_out", help="columns left out, too")
    args = parser.parse_args(argv)
    different = 0
    with borrowed_or_started(None, "bench") as spark:
        lakes = [Lake(spark, root) for root in (args.lake, args.other)]
        for made in all_tables():
            one, other = (rows_of(lake, made, args.left_out) for lake in lakes)
            same = one.equals(other)
            different += not same
            print(f"{made.name:16} {len(one):8,} {len(other):8,}  {'the same' if same else 'DIFFERENT'}")
            if not same:
                lost = one.merge(other, how="outer", indicator=True).query("_merge != 'both'")
                print(lost.head(SHOWN).to_string(index=False))
    return int(different > 0)


def rows_of(lake: Lake, made: Table, left_out: Sequence[str]) -> pd.DataFrame:
    """The stable columns of the rows that count, sorted, every value as text that can be compared."""
    there = set(lake.raw(made.name).columns)
    names = [name for name in made.stable if name in there and name not in left_out]
    rows = lake.rows(made.name).select(*names).toPandas()
    text = rows.apply(lambda column: column.map(_text))
    return text.sort_values(names, ignore_index=True)


def _text(value: object) -> str:
    return repr(value.hex() if isinstance(value, bytes | bytearray) else value)


if __name__ == "__main__":
    raise SystemExit(main())
