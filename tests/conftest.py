"""Settings of all tests, and the one Spark session of a run, started by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from jobs.lake import class_archive, session
from jobs.lake.jvm import find_java

# nothing asserts a time; what fails once fails again (`--hypothesis-profile=search` draws new examples)
settings.register_profile("castmine", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("castmine")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """local[2], started as the commands start theirs, with the JVM's classes kept as set-up keeps them."""
    class_archive.make(find_java())
    warehouse = str(tmp_path_factory.mktemp("warehouse"))
    # to compile a query takes longer than its few rows
    small = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    started = session.start("tests", "local[2]", {"spark.sql.warehouse.dir": warehouse, **small})
    yield started
    started.stop()
