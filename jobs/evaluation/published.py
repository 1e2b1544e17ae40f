"""Published benchmarks beside castmine: which tracks count, and castmine's figures above the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from conf.errors import UsageError
from conf.protocol import LAST, Protocol, Title, read_protocol
from jobs.cli.text_table import print_table
from jobs.evaluation.combined import COMPOSITE, HOW, Combined
from jobs.inputs.truth import NOBODY

BACKGROUND = "unknown"  # begins the label of a background person there: unknown_e03_10
OURS = {"castmine": "", "castmine, known only": "known_"}  # a row -> what stands before the name of its figure
LEGEND = """castmine: a track without a character is alone in NMI and V-measure, wrong in WCP and accuracy, not in #Cl
castmine, known only: over the tracks that have a character"""


def select_counted(truth: pd.DataFrame, name: str) -> pd.DataFrame:
    """The truth (`jobs.truth.read_truth`) with null in the place of labels that the protocol does not count.

    Raises:
        UsageError: a title that is not the protocol's; composite titles among others.
    """
    rules, titles = read_protocol(name), sorted(set(truth.title_id))
    composite = [title for title in titles if title.startswith(COMPOSITE)]
    if composite and composite != titles:
        raise UsageError(f"--protocol {name}: evaluate composite titles apart from others: {', '.join(composite)}")
    if others := [title for title in titles if title.removeprefix(COMPOSITE) not in rules.titles]:
        there = ", ".join(rules.titles)
        raise UsageError(f"--protocol {name}: {', '.join(others[:20])}: not its titles, whose title_ids are {there}")
    left_out = truth.label.isin(NOBODY if rules.counts != "all" else ())
    if rules.counts == "named":
        left_out |= truth.label.str.startswith(BACKGROUND).eq(True)  # a null one is no True
    return truth.assign(label=truth.label.mask(left_out, None))


def compare(
    name: str, figures: Mapping[str, Mapping[str, float]], combined: Mapping[str, Combined] | None = None
) -> dict[str, Any]:
    """castmine's figures (title_id -> figure -> value) under a protocol, as JSON has them and `show` prints them.

    Numbers are in the paper's unit, null where there is none. `published` is empty for composite titles. `combined` is
    what `combine` gives; one of fewer titles than the paper's has a column of its own, such as `2 of six`.
    """
    rules = read_protocol(name)
    composite = any(title.startswith(COMPOSITE) for title in figures)
    titles = {f"{COMPOSITE}{title}" if composite else title: size for title, size in rules.titles.items()}
    columns = [*titles, *rules.last_columns]
    pooled = {_name_column(column, made): made for column, made in (combined or {}).items()}
    in_paper = {str(column): size for column, size in rules.last_columns.items()}
    metrics = {}
    for metric, what in rules.metrics.items():
        scale = 100 if what.percent else 1
        metrics[metric] = {
            "table": what.table,
            "castmine": {
                row: _row(columns, figures, pooled, prefix + what.figure, scale) for row, prefix in OURS.items()
            },
            "published": {
                method: dict(zip(columns, numbers, strict=True))
                for method, numbers in rules.published[metric].items()
                if not composite
            },
        }
    return {
        "name": name,
        "composite": composite,
        "missing_titles": [title for title in titles if title not in figures],
        "titles": {title: _sizes(figures[title], size) for title, size in titles.items() if title in figures},
        "combined": {
            column: {"titles": made.titles, "how": HOW, **_sizes(made.figures, in_paper.get(column))}
            for column, made in pooled.items()
        },
        "metrics": metrics,
    }


def show(said: Mapping[str, Any]) -> None:
    """Print what `compared` gave: the sizes of the titles, what sets the numbers apart, and a table a metric."""
    rules = read_protocol(said["name"])
    given = "given" if rules.number_given else "not given"
    print(f"\nprotocol {said['name']}: {rules.rule}; the number of characters is {given}\n{rules.paper}\n")
    sizes = {**said["titles"], **said["combined"]}
    names = list(next(iter(said["titles"].values())))
    print_table(
        ["title", *(name.replace("_", " ") for name in names)],
        [[title, *(size[name] for name in names)] for title, size in sizes.items()],
    )
    for line in _reservations(rules, said):
        print(f"\n{line}")
    for metric, found in said["metrics"].items():
        unit = ", %" if rules.metrics[metric].percent else ""
        print(f"\n{metric}{unit}" + (f"; published: {found['table']}" if found["published"] else ""))
        rows = {**found["castmine"], **found["published"]}
        columns = [name for name in rows["castmine"] if any(row.get(name) is not None for row in rows.values())]
        print_table(["", *columns], [[name, *(row.get(column) for column in columns)] for name, row in rows.items()])
    print("\n".join(["", LEGEND, *([] if said["composite"] else rules.notes)]))


def _reservations(rules: Protocol, said: Mapping[str, Any]) -> list[str]:
    """Why these are not numbers on the paper's benchmark, a line each."""
    sizes, missing, lines = said["titles"], said["missing_titles"], []
    if said["composite"]:
        lines.append(
            f"COMPOSITE: the faces of {', '.join(sizes)} are not the film's. These numbers must not be put beside "
            "published ones, which are left out."
        )
    if missing:
        lines.append(f"PARTIAL: {len(missing)} of {len(rules.titles)} titles are missing: {', '.join(missing)}")
    if others := [title for title, size in sizes.items() if size["tracks"] != size["tracks_in_paper"]]:
        lines.append(f"PARTIAL: other tracks than the paper's in {', '.join(others)}")
    wrong = [title for title, size in sizes.items() if size["characters_found"] != size["characters"]]
    if rules.number_given and wrong:
        lines.append(
            f"NUMBER NOT GIVEN: the paper's methods are told the number of characters; {', '.join(wrong)} has another: "
            "castmine cluster --titles ID --characters N"
        )
    if said["combined"]:
        lines.append(HOW)
    return lines


def _row(
    columns: list[str],
    figures: Mapping[str, Mapping[str, float]],
    pooled: Mapping[str, Combined],
    figure: str,
    scale: float,
) -> dict[str, float | None]:
    """A figure of all titles, their mean where that is asked for and none is missing, and what is combined."""
    titles = [column for column in columns if column not in LAST]
    values = {title: figures.get(title, {}).get(figure) for title in titles}
    there = [value for value in values.values() if value is not None]
    if "mean" in columns:
        values["mean"] = sum(there) / len(there) if len(there) == len(titles) else None
    values |= {column: None for column in columns if column not in values}
    values |= {column: made.figures.get(figure) for column, made in pooled.items()}
    return {column: None if value is None else round(scale * value, 2) for column, value in values.items()}


def _name_column(column: str, made: Combined) -> str:
    return column if len(made.titles) == made.wanted else f"{len(made.titles)} of {column.split()[-1]}"


def _sizes(figures: Mapping[str, float], paper: Title | None) -> dict[str, int | None]:
    return {
        "tracks": int(figures["n_tracks"]),
        "tracks_in_paper": paper.tracks if paper else None,
        "tracks_not_in_lake": int(figures.get("missing_tracks", 0)),
        "characters": int(figures["n_true"]),
        "characters_in_paper": paper.characters if paper else None,
        "characters_found": int(figures["n_predicted"]),
    }
