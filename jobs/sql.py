"""sql: read-only SQL over a lake's tables and views.

  castmine sql --lake ./lake "select title_id, name, start_s, end_s from appearances order by start_s"
  castmine sql --lake ./lake "describe tracks"
  castmine sql --lake ./lake --format csv "select * from screen_time" > screen_time.csv
  castmine sql --lake ./lake -f queries.sql       the statements of a file, each ended by ;
  castmine sql --lake ./lake                      a prompt; \\q leaves

Tables show committed rows only. One query at a time: SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN; whatever could
write or run something else is refused, and so is reading a file by its path, which would show half-written titles.
Functions that call Java or read files are not there, and ${env:...} is text.
Printed are the first 1,000 rows, long arrays shortened; --format json (an object a line) and csv give all rows, and
arrays whole. Bytes are never printed, only how many there are.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampType

from conf.errors import UsageError
from jobs.cli import command, options, program
from jobs.cli.read_only import ONE_QUERY, check_query, reason, shut
from jobs.cli.results import FORMATS, Show
from jobs.cli.statements import ask, history, split, tokens
from jobs.lake import run_log
from jobs.lake.lake import Lake


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine sql`."""
    parser = options.parser(__doc__ or "", "sql", titles=False)
    parser.add_argument("query", metavar="QUERY", nargs="?", help="one SQL query, in quotes; without it, a prompt")
    parser.add_argument("-f", metavar="FILE", dest="file", help="run the statements of a file, one after the other")
    parser.add_argument("--format", choices=list(FORMATS), help="how rows are printed (default: table)")
    parser.add_argument("--csv", action="store_true", help="the same as --format csv")
    args = parser.parse_args(argv)
    if args.query is not None and args.file is not None:
        raise UsageError("QUERY and -f FILE: one of the two")
    show = FORMATS[_format(args)]
    written = _statements(args)
    logging.getLogger("SQLQueryContextLogger").disabled = True  # Spark 4 repeats every wrong query as a line of JSON
    with command.open_job(args, "sql", spark, clock, run_id, writes=False) as job:
        reading = job.lake.apart()
        is_shut = shut(reading.spark)

        def answer(query: str) -> None:
            _answer(reading, query, is_shut, show, job.progress.say)

        if written is None:
            with history():
                ask(input, answer, print)
        else:
            _answer_all(written, args.file or "standard input", answer)
    return program.DONE


def _format(args: argparse.Namespace) -> str:
    asked = {args.format, "csv" if args.csv else None, "json" if args.json else None} - {None}
    if len(asked) > 1:
        raise UsageError("--format, --csv and --json: one of the two")
    return str(next(iter(asked), "table"))


def _statements(args: argparse.Namespace) -> list[tuple[int, str]] | None:
    """What to answer, each with the line it stands on (0: the query of the command line); None: ask a person."""
    if args.query is not None:
        return [(0, _as_text(args.query, "the query"))]
    if args.file is None and sys.stdin.isatty():
        return None
    source = "standard input" if args.file in (None, "-") else args.file
    try:
        read = sys.stdin.read() if source == "standard input" else Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: cannot be read: {error}") from error
    text = _as_text(read, source).removeprefix("\ufeff")
    statements, last = split(text)
    last_line = text.rstrip().count("\n") - last.count("\n") + 1
    found = [*statements, *([(last_line, last)] if last else [])]
    if not found:
        raise UsageError(f"no query. {ONE_QUERY}")
    return found


def _as_text(text: str, source: str) -> str:
    """Raises UsageError where bytes that are no UTF-8 came through as they were."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError(f"{source} is not UTF-8")
    return text


def _answer_all(statements: Sequence[tuple[int, str]], source: str, answer: Callable[[str], None]) -> None:
    """Answer one after the other, a blank line between them; the first that fails ends it, and is named."""
    for number, (line, statement) in enumerate(statements):
        if number:
            print()
        try:
            answer(statement)
        except UsageError as error:
            raise UsageError(f"{source}, line {line}: {error}" if line else str(error)) from error


def _answer(reading: Lake, query: str, is_shut: bool, show: Show, say: Callable[[str], None]) -> None:
    """Run one query and print its rows."""
    first = next(tokens(query), None)
    lists_all = first is not None and first.text.upper() == "SHOW"
    try:
        reading.spark.conf.set("spark.sql.runSQLOnFiles", "true")  # this is how the lake's own tables are opened
        reading.register_views(None if lists_all else query)
        reading.spark.conf.set("spark.sql.runSQLOnFiles", "false")
        frame = _printable(check_query(reading.spark, query, is_shut))
        show(frame.columns, frame.toLocalIterator(), say)
    except (PySparkException, Py4JJavaError) as error:
        raise UsageError(f"the query failed: {reason(error)}") from error
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):  # a shared cluster may not let us
            reading.spark.sparkContext.cancelAllJobs()
        raise


def _printable(frame: DataFrame) -> DataFrame:
    """Times as UTC text: Python's own would be in the zone of this machine."""
    names = [f"_{number}" for number in range(len(frame.columns))]  # a query may give two columns one name
    renamed = frame.toDF(*names)
    times = {
        name
        for name, field in zip(names, frame.schema.fields, strict=True)
        if isinstance(field.dataType, TimestampType | DateType)  # Python knows no year 10000
    }
    chosen = [F.col(name).cast("string") if name in times else F.col(name) for name in names]
    return renamed.select(*chosen).toDF(*frame.columns)


if __name__ == "__main__":
    program.run(main)
