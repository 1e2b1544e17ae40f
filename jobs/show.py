"""show: what can be set, and what the tables and views are. Needs no lake.

castmine show settings [harvest]       every setting: its value, what it may be, what it does
castmine show settings --conf my.yml   the same with the values that my.yml gives
castmine show tables [tracks]          every column: type, meaning, the code that makes it
castmine show views [appearances]      the SQL of every view
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from conf import settings as conf_settings
from conf import views
from conf.catalog import all_tables
from conf.errors import UsageError
from conf.settings import Section
from jobs.cli import options, program
from jobs.cli.text_table import print_table

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of", "pattern": "like"}


def main(argv: Sequence[str] | None = None) -> int:
    """`castmine show`."""
    parser = options.parser(__doc__ or "", "show", titles=False)
    parser.add_argument("what", choices=["settings", "tables", "views"], help="what to show")
    parser.add_argument("name", nargs="?", metavar="NAME", help="this one only: a job, a table or a view")
    args = parser.parse_args(argv)
    known = {"settings": _settings, "tables": _tables, "views": _views}[args.what](args)
    if args.name is not None and args.name not in known:
        raise UsageError(f"show {args.what}: no {args.name}; there are: {', '.join(known)}")
    chosen = known if args.name is None else {args.name: known[args.name]}
    if args.json:
        print(json.dumps(chosen))
    else:
        {"settings": _print_settings, "tables": _print_tables, "views": _print_views}[args.what](chosen)
    return program.DONE


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """job -> what it is for and its settings."""
    loaded = conf_settings.load(args.conf, args.set)
    jobs = {name: value for name, value in loaded if isinstance(value, Section)}
    fields = type(loaded).model_fields
    spark = {"meaning": f"{fields['spark'].description}: spark.<key>", "settings": loaded.spark}
    return {**{name: _section(section) for name, section in jobs.items()}, "spark": spark}


def _section(section: Section) -> dict[str, Any]:
    quick = section.without_effect()
    described = {
        name: {
            "value": getattr(section, name),
            "default": field.default,
            "allowed": say_allowed(field),
            "meaning": (field.description or "") + (" (speed only)" if name in quick else ""),
        }
        for name, field in type(section).model_fields.items()
    }
    return {"meaning": (type(section).__doc__ or "").strip(), "settings": described}


def say_allowed(field: FieldInfo) -> str:
    """What a setting may be, in a few words."""
    parts = get_args(field.annotation)
    if get_origin(field.annotation) is Literal:
        return " | ".join(map(str, parts))
    if get_origin(field.annotation) is dict:
        return "NAME: " + parts[1].__name__
    kinds = [kind.__name__ for kind in parts or (field.annotation,) if kind is not type(None)]
    rules = [
        f"{said} {getattr(rule, sign)}"
        for rule in field.metadata
        for sign, said in SIGNS.items()
        if hasattr(rule, sign)
    ]
    return ", ".join([" | ".join(kinds), *rules])


def _tables(args: argparse.Namespace) -> dict[str, Any]:
    return {
        made.name: {
            "meaning": made.meaning,
            "written_by": made.writers,
            "partitioned_by": ["title_id"] if made.by_title else [],
            "key": list(made.key),
            "columns": {c.name: {"type": c.type, "meaning": c.meaning, "made_by": c.made_by} for c in made.columns},
        }
        for made in all_tables()
    }


def _views(args: argparse.Namespace) -> dict[str, Any]:
    return {name: textwrap.dedent(text).strip() for name, text in views.VIEWS.items()}


def _print_settings(chosen: dict[str, Any]) -> None:
    for job, section in chosen.items():
        print(f"{job}: {section['meaning']}")
        if job == "spark":
            rows = [[f"spark.{key}", value, "", ""] for key, value in section["settings"].items()]
        else:
            rows = [
                [f"{job}.{name}", _say_value(s["value"]), s["allowed"], s["meaning"]]
                for name, s in section["settings"].items()
            ]
        if rows:
            print_table(["setting", "value", "allowed", "meaning"], rows)
        print()


def _print_tables(chosen: dict[str, Any]) -> None:
    for name, made in chosen.items():
        print(f"{name}: {made['meaning']}")
        print(f"  written by {made['written_by']}; key: {', '.join(made['key'])}")
        rows = [[column, c["type"], c["meaning"], c["made_by"]] for column, c in made["columns"].items()]
        print_table(["column", "type", "meaning", "made by"], rows)
        print()


def _print_views(chosen: dict[str, Any]) -> None:
    for name, text in chosen.items():
        print(f"-- {name}\n{text}\n")


def _say_value(value: object) -> str:
    return "not set" if value is None else str(value)


if __name__ == "__main__":
    program.run(main)
