"""The house keeps its own rules: style, types, one-way imports, and columns that name code that exists."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from conf.catalog import all_tables
from conf.table import Column

ROOT = Path(__file__).parent.parent
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


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{table}.{column}" for table, column in COLUMNS])
def test_every_column_names_code_that_exists(table: str, column: Column):
    module, _, name = column.made_by.partition(":")
    assert callable(functools.reduce(getattr, name.split("."), importlib.import_module(module)))


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
