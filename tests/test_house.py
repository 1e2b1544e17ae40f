"""The house keeps its own rules: style, types, one-way imports, and columns that name code that exists."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.catalog import all_tables
from conf.table import Column

ROOT = Path(__file__).parent.parent
PACKAGES = ("conf", "jobs", "training", "udfs")
COLUMNS = [(made.name, column) for made in all_tables() for column in made.columns]


def _said(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff", "ruff format", "mypy"],
)
def test_style_and_types(command):
    done = _said(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_run_one_way():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_packages_say_nothing_themselves():
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")):
        body = ast.parse(file.read_text()).body
        assert all(isinstance(line, ast.Expr) for line in body), f"{file} holds more than a docstring"


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{table}.{column}" for table, column in COLUMNS])
def test_every_column_names_the_code_that_makes_it(table: str, column: Column):
    module, _, name = column.made_by.partition(":")
    home = importlib.import_module(module)
    maker = functools.reduce(getattr, name.split("."), home)
    assert callable(maker)
    last = name.rpartition(".")[2].strip("_")
    source = _source(maker)
    assert last in column.name or column.name in last or re.search(rf"\b{column.name}\b", source), (
        "it is not named there"
    )
    assert not _only_copied(column.name, source), "it is made elsewhere, and only copied there"


def _source(maker: Callable[..., object]) -> str:
    """What a maker says, and what the classes of castmine say that it returns: their fields are columns."""
    home = importlib.import_module(maker.__module__)
    said = str(getattr(maker, "__annotations__", {}).get("return", ""))
    classes = [vars(home)[word] for word in re.findall(r"\w+", said) if isinstance(vars(home).get(word), type)]
    ours = [kind for made in classes for kind in made.__mro__ if kind.__module__.split(".")[0] in PACKAGES]
    return "\n\n".join(textwrap.dedent(inspect.getsource(thing)) for thing in (maker, *ours))


def _only_copied(name: str, source: str) -> bool:
    """Whether every value that gets this name there is read from something else under the same name."""
    made = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            made += [
                v
                for k, v in zip(node.keys, node.values, strict=True)
                if isinstance(k, ast.Constant) and k.value == name
            ]
        elif isinstance(node, ast.keyword) and node.arg == name:
            made.append(node.value)
    return bool(made) and all(_is_copy(name, value) for value in made)


def _is_copy(name: str, value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
        return isinstance(value.args[0], ast.Constant) and value.args[0].value == name
    if isinstance(value, ast.Subscript):
        return isinstance(value.slice, ast.Constant) and value.slice.value == name
    return False


def test_every_key_is_a_column():
    for made in all_tables():
        assert set(made.key) <= set(made.names)
        assert not made.by_title or {"title_id", "run_id"} <= set(made.names)


def test_installed_packages_fit_but_for_the_known_ones():
    """uv overrides two bounds on purpose (pyproject.toml); anything else that does not fit is a mistake."""
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), "pip", "check", "--python", sys.executable],
        capture_output=True,
        text=True,
    )
    misfits = [line for line in done.stderr.splitlines() if "requires" in line]
    known = ("petastorm", "opencv-python")
    assert not [line for line in misfits if not any(name in line for name in known)], done.stderr
