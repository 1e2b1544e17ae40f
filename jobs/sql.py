"""sql: read-only SQL over a lake's tables and views.

  castmine sql --lake ./lake "select title_id, name, start_s, end_s from appearances order by start_s"
  castmine sql --lake ./lake "describe tracks"
  castmine sql --lake ./lake --csv "select * from screen_time" > screen_time.csv

Tables show committed rows only. One query at a time: SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN; whatever could
write or run something else is refused, and so is reading a file by its path, which would show half-written titles.
Printed are the first 1,000 rows, long arrays shortened; --json (an object a line) and --csv give all, arrays whole.
Bytes are never printed, only how many there are.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import ParseException, PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampType

from conf.errors import UsageError
from jobs.cli import command
from jobs.cli.text_table import print_table
from jobs.lake import run_log

SHOWN_ROWS = 1000
SHOWN_ITEMS = 3  # of an array, in a table
SAYINGS = ("SHOW", "DESCRIBE", "DESC", "EXPLAIN")  # statements that only say something
# queries that run code of another kind: a program per partition, a static method of Java
RUNS_A_PROGRAM = re.compile(r"^[\s:+\-|'*()\d]*ScriptTransformation\b", re.MULTILINE)
CALLS_JAVA = re.compile(r"\b(reflect|try_reflect|java_method)\b`?\s*\(", re.IGNORECASE)
ONE_QUERY = "castmine sql reads, with one query at a time: SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN"


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine sql`."""
    parser = command.parser(__doc__ or "", "sql", titles=False)
    parser.add_argument("query", metavar="QUERY", help="one SQL query, in quotes")
    parser.add_argument("--csv", action="store_true", help="print comma-separated values, with a line of names")
    args = parser.parse_args(argv)
    if args.csv and args.json:
        raise UsageError("--csv and --json: one of the two")
    logging.getLogger("SQLQueryContextLogger").disabled = True  # Spark 4 repeats every wrong query as a line of JSON
    with command.opened(args, "sql", spark, clock, run_id) as job:
        reading = job.lake.apart()
        lists_all = args.query.strip().upper().startswith("SHOW")
        reading.register_views(None if lists_all else args.query)
        reading.spark.conf.set("spark.sql.runSQLOnFiles", "false")  # no delta.`path`, no parquet.`path`
        try:
            frame = _printable(checked(reading.spark, args.query))
            rows = frame.toLocalIterator()
            show = _show_json if args.json else _show_csv if args.csv else _show_table
            show(frame.columns, rows, job)
        except (PySparkException, Py4JJavaError) as error:
            raise UsageError(f"the query failed: {reason(error)}") from error
    return command.DONE


def checked(spark: SparkSession, query: str) -> DataFrame:
    """The query as a DataFrame; nothing of it has run, unless it is one of SAYINGS.

    Spark's own grammar is asked: only a query, never a command, may stand inside the brackets of a FROM.

    Raises:
        UsageError: it is no single reading query. PySparkException: Spark does not understand it.
    """
    query = query.strip().rstrip(";")
    if not query:
        raise UsageError(f"no query. {ONE_QUERY}")
    if query.split()[0].upper() in SAYINGS:
        return spark.sql(query)
    if found := CALLS_JAVA.search(query):
        raise UsageError(f"{found[1]}() calls Java code. {ONE_QUERY}")
    try:
        spark.sql(f"SELECT * FROM (\n{query}\n)")
    except ParseException:
        spark.sql(f"EXPLAIN {query}")  # planned, never run: raises where it is no SQL at all
        raise UsageError(f"{query.split()[0].upper()} is no query. {ONE_QUERY}") from None
    if RUNS_A_PROGRAM.search(spark.sql(f"EXPLAIN EXTENDED {query}").first()[0]):
        raise UsageError(f"TRANSFORM ... USING runs a program. {ONE_QUERY}")
    return spark.sql(query)


def reason(error: Exception) -> str:
    """The line in which Spark says what is wrong, without its codes."""
    text = str(error)
    if isinstance(error, Py4JJavaError):  # from a task: the last cause is what the query did wrong
        cause = error.java_exception
        while cause.getCause() is not None:
            cause = cause.getCause()
        text = str(cause.getMessage() or cause)
    line = text.strip().partition("\n")[0]
    return re.sub(r"^\[[A-Z0-9_.]+\]\s*|\s*SQLSTATE: \w+.*", "", line)


def _printable(frame: DataFrame) -> DataFrame:
    """Times as UTC text: Python's own would be in the zone of this machine."""
    names = [f"_{number}" for number in range(len(frame.columns))]  # a query may give two columns one name
    renamed = frame.toDF(*names)
    times = {
        name
        for name, field in zip(names, frame.schema.fields, strict=True)
        if isinstance(field.dataType, TimestampType)
    }
    chosen = [F.col(name).cast("string") if name in times else F.col(name) for name in names]
    return renamed.select(*chosen).toDF(*frame.columns)


def _show_table(names: list[str], rows: Iterator[Row], job: command.Job) -> None:
    shown = [[_in_table(value) for value in row] for row in islice(rows, SHOWN_ROWS + 1)]
    print_table(names, shown[:SHOWN_ROWS])
    if len(shown) > SHOWN_ROWS:
        job.progress.say(f"the first {SHOWN_ROWS:,} rows; --csv and --json give all")


def _show_json(names: list[str], rows: Iterator[Row], job: command.Job) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--json: two columns are called {', '.join(twice)}; name them apart with AS")
    for row in rows:
        print(json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False))


def _show_csv(names: list[str], rows: Iterator[Row], job: command.Job) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = [_plain(value) for value in row]
        writer.writerow([json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in values])


def _in_table(value: Any) -> object:
    plain = _plain(value)
    if isinstance(plain, list) and len(plain) > 2 * SHOWN_ITEMS:
        first = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in plain[:SHOWN_ITEMS])
        return f"[{first}, ... {len(plain):,} in all]"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _plain(value: Any) -> Any:
    """A value as JSON knows it: NaN and infinity as text, bytes as how many there are."""
    if isinstance(value, bytes | bytearray):
        return f"<{len(value):,} bytes>"
    if isinstance(value, Row):
        return {name: _plain(v) for name, v in value.asDict().items()}
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


if __name__ == "__main__":
    command.run(main)
