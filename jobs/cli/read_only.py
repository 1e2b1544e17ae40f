"""A session that only reads: which statements of `castmine sql` are answered, and which functions its session lacks."""

from __future__ import annotations

import re
from itertools import pairwise

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame, SparkSession

from conf.errors import UsageError
from jobs.cli.statements import Token, split, tokens

ONE_QUERY = "castmine sql reads, with one query at a time: SELECT, WITH, VALUES, SHOW, DESCRIBE or EXPLAIN"
SHOWS = ("SHOW", "DESCRIBE", "DESC")  # statements that only say something
EXPLAIN_MODES = ("LOGICAL", "FORMATTED", "EXTENDED", "CODEGEN", "COST")
# a query that starts a program for each partition
RUNS_A_PROGRAM = re.compile(r"^[\s:+\-|'*()\d]*ScriptTransformation\b", re.MULTILINE)

JAVA, FILES, ROWS = "calls Java code", "can read files", "reads rows that do not count"
SECRETS = "gives secrets"
# some are of Databricks alone; a schema or a message's description may be a file, read by whoever names it
TAKEN_OUT = {
    **dict.fromkeys(("reflect", "try_reflect", "java_method"), JAVA),
    **dict.fromkeys(("from_xml", "schema_of_xml", "from_avro", "to_avro", "schema_of_avro"), FILES),
    **dict.fromkeys(("from_protobuf", "to_protobuf", "read_files", "table_changes_by_path"), FILES),
    **dict.fromkeys(("secret", "try_secret", "list_secrets"), SECRETS),
    "table_changes": ROWS,
}


def shut(spark: SparkSession) -> bool:
    """Take out of a session of one's own what reads more than tables: functions, paths as tables, `${env:...}`.

    Returns:
        whether its functions could be taken out; Spark Connect shows no registry, and queries have to be searched.
    """
    spark.conf.set("spark.sql.variable.substitute", "false")  # ${env:...}, ${system:...}, ${spark:...}
    spark.conf.set("spark.sql.runSQLOnFiles", "false")  # delta.`path`, parquet.`path`
    try:
        state = spark._jsparkSession.sessionState()
        identifier = spark._jvm.org.apache.spark.sql.catalyst.FunctionIdentifier
        for name in TAKEN_OUT:
            state.functionRegistry().dropFunction(identifier(name))
            state.tableFunctionRegistry().dropFunction(identifier(name))
    except (AttributeError, TypeError, Py4JError):  # Connect has no JVM; a shared cluster may forbid to reach for it
        return False
    return True


def check_query(spark: SparkSession, query: str, is_shut: bool = True) -> DataFrame:
    """The query as a DataFrame; nothing of it has run, unless it only says something.

    Spark's own grammar is asked: only a query, never a command, may stand in brackets behind UNION ALL.

    Args:
        spark: a session of its own, on which `shut` was called. is_shut: what that returned.
    Raises:
        UsageError: it is no single reading query. PySparkException: Spark does not understand it.
    """
    query = _one_statement(query)
    said = list(tokens(query))
    if not is_shut:
        _refuse_words(said)
    word = said[0].text.upper()
    try:
        if word in SHOWS:
            _refuse_path(said)
        elif word == "EXPLAIN":
            second = said[1].text.upper() if len(said) > 1 else ""
            explained = said[2 if second in EXPLAIN_MODES else 1 :]
            _read(spark, query[explained[0].start :] if explained else "")
        else:
            return _read(spark, query)
        return spark.sql(query)
    except AnalysisException as error:
        called = _called(said) + re.findall(r"`(\w+)`", str(error).partition("\n")[0])
        if taken := [name for name in called if name in TAKEN_OUT]:
            raise UsageError(f"{taken[0]}() {TAKEN_OUT[taken[0]]}. {ONE_QUERY}") from error
        raise


def _one_statement(query: str) -> str:
    """The query without semicolons behind it, comments before it and behind these; more than one is left to Spark."""
    statements, rest = split(query)
    found = [*(statement for _, statement in statements), *([rest] if rest else [])]
    if not found:
        raise UsageError(f"no query. {ONE_QUERY}")
    whole = found[0] if len(found) == 1 else query.strip()
    return whole[next(tokens(whole)).start :]


def _read(spark: SparkSession, query: str) -> DataFrame:
    try:
        spark.sql(f"EXPLAIN SELECT 1 UNION ALL (\n{query}\n)")
    except ParseException:
        spark.sql(f"EXPLAIN {query}")  # planned, never run: raises where it is no SQL at all
        raise UsageError(f"{next(tokens(query)).text.upper()} is no query. {ONE_QUERY}") from None
    frame = spark.sql(query)  # before EXPLAIN, which shows mistakes as if they were a plan
    if RUNS_A_PROGRAM.search(spark.sql(f"EXPLAIN EXTENDED {query}").first()[0]):
        raise UsageError(f"TRANSFORM ... USING runs a program. {ONE_QUERY}")
    return frame


def _refuse_path(said: list[Token]) -> None:
    """DESCRIBE DETAIL and DESCRIBE HISTORY take a path in quotes, whatever the session allows."""
    words = [token.text.upper() for token in said[:3]]
    if len(words) == 3 and words[1] in ("DETAIL", "HISTORY") and words[2][-1] in "'\"":
        raise UsageError(f"{words[0]} {words[1]} of a path reads files; name a table. {ONE_QUERY}")


def _refuse_words(said: list[Token]) -> None:
    """Refuse the names of what is taken out elsewhere, and what can put such a name together."""
    names = [token.text.strip("`").lower() for token in said]
    if taken := [name for name in [*names, *_called(said)] if name in TAKEN_OUT]:
        raise UsageError(f"{taken[0]}: it {TAKEN_OUT[taken[0]]}; where it is a column, name another. {ONE_QUERY}")
    if "identifier" in _called(said):
        raise UsageError(f"identifier() can name a function that {JAVA}; write the name itself. {ONE_QUERY}")


def _called(said: list[Token]) -> list[str]:
    """The names before brackets, small; quotes of every kind are taken off, as double ones may be a name too."""
    pairs = pairwise(said)
    return [first.text.strip('`"').lower() for first, second in pairs if second.text == "("]


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
