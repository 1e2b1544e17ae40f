"""Settings of all tests, and the one Spark session of a run, started by the first test that asks for it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from jobs.lake import class_archive, session
from jobs.lake.jvm import find_java
from tests.helpers import stores

# nothing asserts a time; what fails once fails again (`--hypothesis-profile=search` draws new examples)
settings.register_profile("castmine", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("castmine")

os.environ.update(stores.ENVIRONMENT)  # before any process starts: Spark's workers have it too


@pytest.fixture(scope="session")
def _store() -> Iterator[None]:
    with stores.serve():
        yield


@pytest.fixture
def bucket(_store: None) -> str:
    """The address of a new bucket of an S3 on this machine."""
    return stores.make_bucket(f"bucket-{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def module_bucket(_store: None) -> str:
    """The same for the tests of a module."""
    return stores.make_bucket(f"bucket-{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """local[2], started as the commands start theirs, with the JVM's classes kept as set-up keeps them."""
    class_archive.make(find_java())
    warehouse = str(tmp_path_factory.mktemp("warehouse"))
    # to compile a query takes longer than its few rows
    small = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    started = session.start("tests", ["s3://any"], "local[2]", {"spark.sql.warehouse.dir": warehouse, **small})
    yield started
    started.stop()
