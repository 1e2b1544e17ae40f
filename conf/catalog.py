"""The Delta tables of a lake: one module a table in `conf/tables`. `conf/views.py` has the SQL views over them."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from conf import tables
from conf.table import Table


@functools.cache
def all_tables() -> tuple[Table, ...]:
    """Every table of a lake, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(tables.__path__))
    return tuple(importlib.import_module(f"{tables.__name__}.{name}").TABLE for name in modules)


def table(name: str) -> Table:
    """The table called `name`; KeyError when there is none."""
    return {known.name: known for known in all_tables()}[name]
