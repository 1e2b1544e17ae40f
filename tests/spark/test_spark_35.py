"""No Spark call is used that Spark 3.5 lacks: castmine also runs where Spark is not the pinned one."""

from __future__ import annotations

import ast
import functools
import inspect
import pathlib
import re

import numpy as np
import pandas as pd
import pyspark.sql.functions as F
import pytest
from pyspark.sql import (
    Catalog,
    Column,
    DataFrame,
    DataFrameReader,
    DataFrameWriter,
    DataFrameWriterV2,
    GroupedData,
    SparkSession,
    Window,
    WindowSpec,
)
from pyspark.sql.conf import RuntimeConfig
from pyspark.sql.pandas.group_ops import PandasCogroupedOps, PandasGroupedOpsMixin
from pyspark.sql.pandas.map_ops import PandasMapOpsMixin

ROOT = pathlib.Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("jobs/**/*.py")), *sorted(ROOT.glob("udfs/*.py"))]
SPARK = (
    *(SparkSession, SparkSession.Builder, Catalog, RuntimeConfig, DataFrame, Column, GroupedData, Window, WindowSpec),
    *(
        DataFrameReader,
        DataFrameWriter,
        DataFrameWriterV2,
        PandasCogroupedOps,
        PandasGroupedOpsMixin,
        PandasMapOpsMixin,
    ),
)
# classes of others whose methods may bear the name of a Spark method, such as Path.exists
OTHERS = (pathlib.Path, str, dict, list, set, np.ndarray, pd.DataFrame, pd.Series, ast)


def added(thing: object) -> tuple[int, ...]:
    """The Spark version in which it came, as its docstring has it; (0,) where it says nothing."""
    said = re.search(r"\.\. versionadded:: (\d+)\.(\d+)", inspect.getdoc(thing) or "")
    return tuple(map(int, said.groups())) if said else (0,)


@functools.cache
def newer_functions() -> set[str]:
    return {name for name in dir(F) if callable(getattr(F, name)) and added(getattr(F, name)) > (3, 5)}


@functools.cache
def newer_methods() -> set[str]:
    """Method names that only came after 3.5, in whatever class, and that nobody else has."""
    versions: dict[str, set[tuple[int, ...]]] = {}
    for kind in SPARK:
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_"):
                versions.setdefault(name, set()).add(added(member))
    newer = {name for name, found in versions.items() if min(found) > (3, 5)}
    return newer - {name for kind in OTHERS for name in dir(kind)}


def newer_calls(source: str) -> list[str]:
    """Calls in a piece of code that Spark 3.5 lacks, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            is_function = isinstance(node.value, ast.Name) and node.value.id == "F"
            if node.attr in (newer_functions() if is_function else newer_methods()):
                found.append(f"line {node.lineno}: {node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module == "pyspark.sql.functions":
            found += [f"line {node.lineno}: {name.name}" for name in node.names if name.name in newer_functions()]
    return found


def test_what_is_newer_is_found():
    code = (
        "from pyspark.sql.functions import try_mod\n"
        "frame.select(F.listagg('a'), F.count('*'))\n"
        "frame.lateralJoin(other).groupBy('a').count()\n"
        "frame.toArrow()\n"
    )
    assert sorted(newer_calls(code)) == ["line 1: try_mod", "line 2: listagg", "line 3: lateralJoin", "line 4: toArrow"]


def test_what_is_old_is_let_pass():
    assert (
        newer_calls("Path(a).exists(); frame.withColumns(F.count_if(b)).mapInPandas(c, d).writeTo(e).overwrite(f)")
        == []
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_spark_35_has_all_that_is_called(file):
    assert newer_calls(file.read_text()) == []
