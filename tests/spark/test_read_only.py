"""The session of castmine sql: what reaches Java, files or the environment is refused and does not run."""

from __future__ import annotations

import pytest
from pyspark.errors import PySparkAttributeError
from pyspark.sql import SparkSession

from conf.errors import UsageError
from jobs import sql
from jobs.cli.read_only import TAKEN_OUT, check_query, shut

SETS = "'java.lang.System', 'setProperty', 'castmine.test', 'set'"


def opened(spark: SparkSession) -> SparkSession:
    session = spark.newSession()
    session.sql("select 1 as a, array(1, 2) as b").createOrReplaceTempView("t")
    return session


@pytest.fixture(scope="module")
def reading(spark):
    session = opened(spark)
    assert shut(session)
    return session


class WithoutJvm:
    """A session that shows no registry, as over Spark Connect; what it would run is noted."""

    def __init__(self, session: SparkSession) -> None:
        self.session, self.conf, self.ran = session, session.conf, []

    def sql(self, query: str):
        self.ran.append(query)
        return self.session.sql(query)

    @property
    def _jsparkSession(self):  # noqa: N802  Spark's name
        raise PySparkAttributeError(errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED", messageParameters={"attr_name": "x"})


@pytest.fixture
def connected(spark):
    session = WithoutJvm(opened(spark))
    assert not shut(session)
    return session


CALLS = [
    f"select reflect({SETS})",
    f"select ReFLect /* a ( */ -- b\n ({SETS})",
    f"select `reflect`/* ( */({SETS})",
    f"select java_method({SETS})",
    f"select try_reflect({SETS})",
    f"select builtin.reflect({SETS})",
    f"select system.builtin.`reflect`({SETS})",
    f"select identifier('ref' || 'lect')({SETS})",
    f"select identifier(concat('java', '_method'))({SETS})",
    f"select a from t where reflect({SETS}) is null",
    f"select a from t order by reflect({SETS})",
    f"explain select reflect({SETS}) from values (1)",
    f"explain extended select reflect({SETS}) from values (1)",
    f"/* a */ explain formatted select reflect({SETS}) from values (1)",
    f"describe query select reflect({SETS})",
    f"-- b\ndesc select reflect({SETS}) from values (1)",
    f"with x as (select reflect({SETS}) from values (1)) select * from x",
    f"select * from t, lateral (select reflect({SETS}))",
    f"select * from t lateral view explode(array(reflect({SETS}))) as c",
    f"select * from explode(array(reflect({SETS})))",
    f"((((select reflect({SETS})))))",
    f"from t select reflect({SETS})",
    f"from t |> extend reflect({SETS}) as c",
    f"values (reflect({SETS}))",
    f"select transform(b, x -> reflect({SETS})) from t",
    f"select reflect({SETS}); -- c",
    f"select /*+ repartition(1) */ a /* a /* b */ c */, reflect({SETS}) from t",
]  # fmt: skip


def refusal(session, query: str, is_shut: bool = True) -> str:
    with pytest.raises(UsageError) as caught:
        check_query(session, query, is_shut).collect()
    assert sql.ONE_QUERY in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("query", CALLS)
def test_no_query_calls_java(reading, connected, query):
    assert "calls Java code" in refusal(reading, query)
    assert "calls Java code" in refusal(connected, query, is_shut=False)
    assert connected.ran == []
    assert reading._jvm.java.lang.System.getProperty("castmine.test") is None


def test_other_sessions_keep_their_functions(reading, spark):
    assert spark.sql("select reflect('java.lang.Math', 'abs', -1) as a").first().a == "1"


@pytest.fixture(scope="module")
def table_of_changes(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "table"
    spark.sql(
        f"create table delta.`{folder}` (a int) using delta tblproperties ('delta.enableChangeDataFeed' = 'true')"
    )
    return folder


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select * from table_changes_by_path('{path}', 0)", "can read files"),
        ("explain select * from table_changes_by_path('{path}', 0)", "can read files"),
        ("select * from table_changes('t', 0)", "reads rows that do not count"),
        ("describe detail '{path}'", "reads files; name a table"),
        ('/* a */ desc -- b\n history "{path}" limit 1', "reads files; name a table"),
        ("select from_xml('<a/>', 'a string', map('rowValidationXSDPath', '{path}'))", "can read files"),
        ("select schema_of_xml('<a/>', map('rowValidationXSDPath', '{path}'))", "can read files"),
        ("select from_protobuf(cast('a' as binary), 'M', '{path}')", "can read files"),
        ("select from_avro(cast('a' as binary), '\"string\"', map('avroSchemaUrl', '{path}'))", "can read files"),
        ("select secret('a', 'b')", "gives secrets"),
        ("select transform(a) using 'touch {path}/ran' from t", "runs a program"),
        ("explain from t map a using 'touch {path}/ran'", "runs a program"),
        ("select a from t where a in (from t select transform(a) using 'touch {path}/ran' as (c))", "runs a program"),
        ("explain insert into t values (1)", "INSERT is no query"),
        ("explain explain select 1", "EXPLAIN is no query"),
        ("execute immediate 'select 1'", "EXECUTE is no query"),
        ("/* a */ reset", "RESET is no query"),
        ("use default", "USE is no query"),
        ("clear cache", "CLEAR is no query"),
        ("list jars", "LIST is no query"),
        ("add jar '{path}/x.jar'", "ADD is no query"),
        ("set spark.sql.variable.substitute = true", "SET is no query"),
        ("create temporary function f as 'x.Y'", "CREATE is no query"),
        ("declare variable v int", "DECLARE is no query"),
    ],
)
def test_other_doors_are_shut(reading, table_of_changes, query, said):
    assert said in refusal(reading, query.format(path=table_of_changes))
    assert not (table_of_changes / "ran").exists()


@pytest.mark.parametrize("name", ["env:PATH", "system:java.home", "spark:spark.app.name", "spark.app.name"])
def test_variables_of_the_environment_are_text(reading, name):
    (row,) = check_query(reading, f"select '${{{name}}}' as a").collect()
    assert row.a == f"${{{name}}}"


@pytest.mark.parametrize(
    "query",
    [
        "-- a remark\nshow tables", "/* a /* nested */ one */ describe t", "show tables; -- done",
        "desc t; /* done */ ;", "/* a */ explain select 1", "(((values (1))))", "from t select a", "table t",
        "((select 1) union (select 2)) order by 1", "from t |> where a = 1 |> select a", "table t |> limit 1",
        "values (1), (2)", "select /*+ broadcast(t) */ a from t", "with x as (select 1) select * from x",
        "select r'\\' as c", "explain formatted from t select a", "describe query table t",
        "select 'reflect(' as c; --;", "select a from t --",
    ],
)  # fmt: skip
def test_what_reads_is_answered(reading, connected, query):
    assert check_query(reading, query).collect()
    assert check_query(connected, query, is_shut=False).collect()


def test_without_a_registry_the_names_alone_are_refused(connected):
    for name in TAKEN_OUT:
        assert f"{name}: it " in refusal(connected, f"select `{name}`('a')", is_shut=False)
    assert check_query(connected, "select 'reflect', a as identifier from t", is_shut=False).collect()


def test_the_command_shuts_its_session(spark, two_titles, monkeypatch, capsys):
    monkeypatch.setenv("CASTMINE_SECRET", "token")
    words = ["--lake", str(two_titles), "--json"]
    assert sql.main([*words, "select '${env:PATH}' as a; -- done"], spark=spark) == 0
    assert capsys.readouterr().out == '{"a": "${env:PATH}"}\n'
    with pytest.raises(UsageError, match=r"reflect\(\) calls Java code"):
        sql.main([*words, f"explain select builtin.reflect({SETS}) from values (1)"], spark=spark)
    assert spark._jvm.java.lang.System.getProperty("castmine.test") is None
    assert spark.sql("select '${spark.app.name}' as a").first().a == "castmine tests", "only that session"
