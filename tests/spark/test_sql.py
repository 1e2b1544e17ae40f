"""castmine sql: it reads, it prints, and it does nothing else."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest

from conf.catalog import table
from conf.errors import LakeError, UsageError
from jobs import sql, status
from jobs.cli import results
from tests.helpers.small import SHA256


@pytest.fixture
def ask(spark, two_titles, capsys):
    """What `castmine sql` prints for a query over the lake of the titles a and b."""

    def asked(query: str, *options: str) -> str:
        assert sql.main(["--lake", str(two_titles), *options, query], spark=spark) == 0
        return capsys.readouterr().out

    return asked


@pytest.fixture
def refuse(ask):
    """The message with which a query is refused, as wrong use."""

    def refused(query: str, *options: str) -> str:
        with pytest.raises(UsageError) as caught:
            ask(query, *options)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused


def test_a_table_of_plain_aligned_text(ask):
    said = ask("select track_id, title_id, start_s, cast(null as string) as nothing from tracks order by 2, 1")
    assert said == (
        "track_id  title_id  start_s  nothing\n"
        "--------  --------  -------  -------\n"
        "       0  a               0\n"
        "       1  a               0\n"
        "       0  b               0\n"
        "       1  b               0\n"
    )


def test_views_and_tables_are_there_by_name(ask):
    said = ask("with a as (select * from appearances) select title_id, end_s from a where character_id = 1", "--json")
    assert sorted(map(json.loads, said.splitlines()), key=str) == [
        {"title_id": "a", "end_s": 2.0},
        {"title_id": "b", "end_s": 2.0},
    ]
    assert json.loads(ask("select * from tracks limit 1", "--json")).keys() == set(table("tracks").names)


WIDE = "select cast('abc' as binary) as picture, array(0.25f, 1f, 2f, 3f, 4f, 5f, 6f) as embedding, array(1, 2) as few"


def test_bytes_are_counted_and_long_arrays_shortened(ask):
    assert ask(WIDE).splitlines()[2] == "<3 bytes>  [0.25, 1, 2, ... 7 in all]  [1, 2]"


def test_json_has_arrays_whole_and_csv_too(ask):
    whole = {"picture": "<3 bytes>", "embedding": [0.25, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "few": [1, 2]}
    assert json.loads(ask(WIDE, "--json")) == whole
    names, values = csv.reader(io.StringIO(ask(WIDE, "--csv")))
    assert dict(zip(names, values, strict=True)) == {
        k: v if k == "picture" else json.dumps(v) for k, v in whole.items()
    }


def test_other_values(ask):
    query = (
        "select named_struct('x', 1) as place, map('k', date'2026-01-02') as days, double('nan') as odd, true as yes, "
        "timestamp'2026-01-02 03:04:05' as moment, 1.50 as exact"
    )
    said = json.loads(ask(query, "--json"))
    assert said.pop("moment") == "2026-01-02 03:04:05"
    assert said == {"place": {"x": 1}, "days": {"k": "2026-01-02"}, "odd": "nan", "yes": True, "exact": "1.50"}


def test_times_are_utc_wherever_this_machine_stands(ask, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "2026-01-02 03:04:05" in ask("select timestamp'2026-01-02 03:04:05' as moment")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_text_does_nothing_to_the_terminal(ask):
    said = ask("select concat('a', char(27), '[31m', char(10), 'b') as name")
    assert said.splitlines()[2] == r"a\x1b[31m\nb"
    assert r"a\x1b[31m b" in ask("select concat('a', char(27), '[31m', char(10), 'b') as name", "--format", "markdown")


def test_csv_has_no_formulas_and_json_is_exact(ask):
    query = "select '=1+1' as name, '-1.5' as n, -2 as m, -1.50 as d, concat('a', char(13), 'b') as `@x`"
    rows = list(csv.reader(io.StringIO(ask(query, "--csv"), newline="")))
    assert rows == [["name", "n", "m", "d", "'@x"], ["'=1+1", "-1.5", "-2", "-1.50", "a\rb"]]
    exact = {"name": "=1+1", "n": "-1.5", "m": -2, "d": "-1.50", "@x": "a\rb"}
    assert json.loads(ask(query, "--json")) == exact


def test_a_table_ends_after_a_thousand_rows_and_json_does_not(ask):
    query = "select explode(sequence(1, 1500)) as n"
    assert len(ask(query).splitlines()) == 2 + results.SHOWN_ROWS
    assert len(ask(query, "--json").splitlines()) == 1500


@pytest.mark.parametrize(
    "query", ["show tables", "describe tracks", "explain select 1", "values (1)", "select 1 -- one;", "(select 1);"]
)
def test_what_only_says_something_is_allowed(ask, query):
    assert ask(query)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("drop table tracks", "DROP"),
        ("insert into tracks select * from tracks", "INSERT"),
        ("create table t (a int)", "CREATE"),
        ("set spark.sql.runSQLOnFiles=true", "SET"),
        ("with a as (select 1) insert into tracks select * from a", "WITH"),
        ("from tracks insert into tracks select *", "FROM"),
        ("-- a remark\ndelete from tracks", "DELETE"),
    ],
)
def test_a_command_is_refused(refuse, query, word):
    assert refuse(query) == f"{word} is no query. {sql.ONE_QUERY}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select transform(title_id) using 'touch /tmp/x' from tracks", "runs a program"),
        ("select reflect('java.lang.System', 'exit', 1)", "calls Java code"),
        ("select `java_method` ('java.lang.System', 'exit', 1)", "calls Java code"),
        ("", "no query"),
        (";", "no query"),
        ("select 1; drop table tracks", "Syntax error at or near 'drop'"),
        ("begin drop table tracks; end", "Syntax error"),
        ("selec 1", "Syntax error"),
        ("select title from tracks", "`title` cannot be resolved. Did you mean one of the following? ["),
        ("select * from films", "`films` cannot be found"),
        ("select 1 / (track_id - track_id) from tracks", "the query failed: Division by zero."),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(refuse, query, said):
    assert said in refuse(query)


@pytest.mark.parametrize("kind", ["delta", "parquet", "text"])
def test_a_file_is_not_read_by_its_path(refuse, two_titles, kind):
    assert "cannot be found" in refuse(f"select * from {kind}.`{two_titles}/runs`")


def test_refused_commands_have_done_nothing(ask, refuse, two_titles):
    log = two_titles / "tracks" / "_delta_log"
    before = sorted(log.iterdir())
    for query in (
        "truncate table tracks",
        f"drop table delta.`{two_titles}/tracks`",
        f"delete from delta.`{two_titles}/tracks`",
    ):
        refuse(query)
    assert sorted(log.iterdir()) == before


def test_nothing_is_left_in_the_session(ask, spark):
    ask("select 1")
    assert [found.name for found in spark.catalog.listTables()] == []
    assert spark.conf.get("spark.sql.runSQLOnFiles") == "true"


def test_two_columns_of_one_name(ask, refuse):
    assert ask("select 1 as a, 2 as a").splitlines()[2].split() == ["1", "2"]
    assert ask("select 1 as a, 2 as a", "--csv") == "a,a\n1,2\n"
    assert "two columns are called a" in refuse("select 1 as a, 2 as a", "--json")


def test_csv_and_json_exclude_each_other(refuse):
    assert "one of the two" in refuse("select 1", "--csv", "--json")


def test_no_lake_no_query(spark, tmp_path):
    with pytest.raises(LakeError, match="no castmine lake here"):
        sql.main(["--lake", str(tmp_path / "none"), "select 1"], spark=spark)


def test_embedders_are_text(ask):
    assert json.loads(ask("select distinct embedder_sha256 as e from titles", "--json")) == {"e": SHA256}


@pytest.fixture
def lake_words(two_titles):
    return ["--lake", str(two_titles)]


def test_a_file_of_statements(spark, lake_words, tmp_path, capsys):
    file = tmp_path / "queries.sql"
    file.write_text("-- one\nselect 1 as a;\n\nselect 'x;y' as b; -- two\n\nselect count(*) as n from tracks")
    assert sql.main([*lake_words, "--format", "csv", "-f", str(file)], spark=spark) == 0
    assert capsys.readouterr().out == "a\n1\n\nb\nx;y\n\nn\n4\n"


def test_a_file_ends_at_the_statement_that_fails_and_names_its_line(spark, lake_words, tmp_path, capsys):
    file = tmp_path / "queries.sql"
    file.write_text("select 1 as a;\n\n\ndrop table\n  tracks;\nselect 2 as a")
    with pytest.raises(UsageError, match=r"queries\.sql, line 4: DROP is no query"):
        sql.main([*lake_words, "-f", str(file)], spark=spark)
    assert capsys.readouterr().out.split() == ["a", "-", "1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "none.sql"], "none.sql: cannot be read"),
        (["-f", "none.sql", "select 1"], "one of the two"),
        (["--format", "csv", "--json", "select 1"], "one of the two"),
    ],
)
def test_wrong_use(lake_words, words, said):
    with pytest.raises(UsageError, match=said):
        sql.main([*lake_words, *words])


def test_what_is_piped_is_a_file(spark, lake_words, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("select 1 as a;"))
    assert sql.main([*lake_words, "--csv"], spark=spark) == 0
    assert capsys.readouterr().out == "a\n1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("-- nothing\n"))
    with pytest.raises(UsageError, match="no query"):
        sql.main(lake_words, spark=spark)


def test_markdown(ask):
    said = ask("select 'a|b' as name, 1.5 as n, cast(null as int) as nothing", "--format", "markdown")
    assert said == "| name | n | nothing |\n|---|---|---|\n| a\\|b | 1.5 |  |\n"
    assert ask("select 1 as a where false", "--format", "markdown") == "| a |\n|---|\n"
    many = ask("select explode(sequence(1, 1500)) as n", "--format", "markdown")
    assert len(many.splitlines()) == 2 + results.SHOWN_ROWS


def test_the_prompt_keeps_its_session_and_goes_on_after_a_mistake(spark, lake_words, monkeypatch, capsys, tmp_path):
    lines = iter(["select count(*) as n", "from tracks;", "drop table tracks;", "select 2 as two;", "\\q"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path))
    assert sql.main(lake_words, spark=spark) == 0
    said = capsys.readouterr().out.split()
    assert said[-3:] == ["two", "---", "2"]
    assert "DROP" in said
    assert said[said.index("n") : said.index("n") + 3] == ["n", "-", "4"]


def test_the_next_command_finds_its_own_session(spark, two_titles, capsys):
    """In a notebook one session serves all commands, also those that are not given one."""
    assert sql.main(["--lake", str(two_titles), "select 1"]) == 0
    assert status.main(["--lake", str(two_titles)]) == 0
    assert "a" in capsys.readouterr().out


@pytest.mark.parametrize("query", ["select date '+10000-01-01' as d", "select timestamp '+10000-01-01 00:00:00' as d"])
def test_a_day_that_python_does_not_know(ask, query):
    assert json.loads(ask(query, "--json"))["d"].startswith("+10000-01-01")


def test_a_query_that_is_no_text(refuse):
    assert refuse("select '\udcff'") == "the query is not UTF-8"
