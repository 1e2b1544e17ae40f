"""A lake that is a catalog and schema gives the rows of one that is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.catalog import table
from tests.helpers.commands import PIECES, castmine
from tests.helpers.lakes import rows


@pytest.fixture
def schema(spark: SparkSession):
    spark.sql("CREATE SCHEMA castmine_test")
    yield "spark_catalog.castmine_test"
    spark.sql("DROP SCHEMA castmine_test CASCADE")


def test_a_catalog_is_a_lake(spark, schema: str, clip: Path, finished: Path, tmp_path: Path):
    common = ("--lake", schema, "--files", tmp_path / "files")
    assert castmine("harvest", clip, *common, *PIECES) == 0
    assert castmine("mine", *common) == 0
    assert castmine("cluster", *common, "--adapter", "none") == 0
    for name in ("tracks", "cannot_links", "track_labels"):
        made = table(name)
        ours = spark.table(f"{schema}.{name}").orderBy(*made.key).select(*made.stable).collect()
        theirs = rows(finished, name, [clip.stem]).select(made.stable).to_pylist()
        assert [row.asDict() for row in ours] == theirs
        comments = {column.name: column.description for column in spark.catalog.listColumns(f"{schema}.{name}")}
        assert all(comments.values())


def test_a_catalog_needs_a_folder_for_files(schema: str, capsys: pytest.CaptureFixture[str]):
    assert castmine("status", "--lake", schema) == 2
    assert "--files" in capsys.readouterr().err
