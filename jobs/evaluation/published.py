"""Published benchmarks beside castmine: which tracks count, and castmine's figures above the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from conf.errors import UsageError
from conf.protocol import Protocol, read_protocol
from jobs.cli.text_table import print_table
from jobs.inputs.truth import NOBODY

COMPOSITE = "composite-"  # begins the id of a title whose tracks are a film's and whose faces are other people's
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


def compare(name: str, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """castmine's figures (title_id -> figure -> value) under a protocol, as JSON has them and `show` prints them.

    Numbers are in the paper's unit, null where there is none. `published` is empty for composite titles.
    """
    rules = read_protocol(name)
    composite = any(title.startswith(COMPOSITE) for title in figures)
    titles = {f"{COMPOSITE}{title}" if composite else title: size for title, size in rules.titles.items()}
    columns = [*titles, *rules.columns[len(titles) :]]
    metrics = {}
    for metric, what in rules.metrics.items():
        scale = 100 if what.percent else 1
        rows = {row: [figures.get(t, {}).get(prefix + what.figure) for t in titles] for row, prefix in OURS.items()}
        metrics[metric] = {
            "table": what.table,
            "castmine": {
                row: dict(zip(columns, _row(rules, values, scale), strict=True)) for row, values in rows.items()
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
        "titles": {
            title: {
                "tracks": int(figures[title]["n_tracks"]),
                "tracks_in_paper": size.tracks,
                "tracks_not_in_lake": int(figures[title].get("missing_tracks", 0)),
                "characters": int(figures[title]["n_true"]),
                "characters_in_paper": size.characters,
                "characters_found": int(figures[title]["n_predicted"]),
            }
            for title, size in titles.items()
            if title in figures
        },
        "metrics": metrics,
    }


def show(said: Mapping[str, Any]) -> None:
    """Print what `compared` gave: the sizes of the titles, what sets the numbers apart, and a table a metric."""
    rules = read_protocol(said["name"])
    given = "given" if rules.number_given else "not given"
    print(f"\nprotocol {said['name']}: {rules.rule}; the number of characters is {given}\n{rules.paper}\n")
    sizes = [{"title": title, **size} for title, size in said["titles"].items()]
    print_table([name.replace("_", " ") for name in sizes[0]], [list(size.values()) for size in sizes])
    for line in _reservations(rules, said):
        print(f"\n{line}")
    for metric, found in said["metrics"].items():
        unit = ", %" if rules.metrics[metric].percent else ""
        print(f"\n{metric}{unit}" + (f"; published: {found['table']}" if found["published"] else ""))
        rows = {**found["castmine"], **found["published"]}
        columns = [name for name in rows["castmine"] if any(row[name] is not None for row in rows.values())]
        print_table(["", *columns], [[name, *(row[column] for column in columns)] for name, row in rows.items()])
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
    return lines


def _row(rules: Protocol, values: list[float | None], scale: float) -> list[float | None]:
    """Figures of all titles, and what follows them: the mean, if that is meant and none is missing, or null."""
    row = [None if value is None else round(scale * value, 2) for value in values]
    there = [scale * value for value in values if value is not None]
    mean = round(sum(there) / len(row), 2) if rules.last_column == "mean" and len(there) == len(row) else None
    return [*row, mean] if rules.last_column else [*row]
