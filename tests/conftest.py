"""One Spark session for each of the processes that share the tests, started by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs import session

# Tests of one folder share a session and the lakes they have made, so one process runs them; the longest come first.
TOGETHER = ("whole", "spark", "horovod")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups after
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out to the processes: a folder of `TOGETHER` is one piece of work, else each file."""
    for item in items:
        folder = next((name for name in TOGETHER if f"/{name}/" in f"/{item.nodeid}"), None)
        item.add_marker(pytest.mark.xdist_group(folder or item.nodeid.partition("::")[0]))
    place = {name: n for n, name in enumerate(TOGETHER)}
    items.sort(key=lambda item: place.get(item.get_closest_marker("xdist_group").args[0], len(TOGETHER)))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """local[2], started as the commands start theirs."""
    warehouse = str(tmp_path_factory.mktemp("warehouse"))
    small = {"spark.sql.codegen.wholeStage": "false"}  # to compile a query takes longer than its few rows
    started = session.start("tests", "local[2]", {"spark.sql.warehouse.dir": warehouse, **small})
    yield started
    started.stop()
