"""The last columns of BCL's Table 5: all episodes of a series, and of two, as one set of tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyspark.sql import functions as F

from conf.protocol import Protocol, read_protocol
from jobs.cli import command
from jobs.lake import run_log
from udfs.kernels.evaluate.pooled import score_pooled

COMPOSITE = "composite-"  # begins the id of a title whose tracks are a film's and whose faces are other people's
HOW = (
    "combined: the tracks of all episodes are one set. castmine clusters each episode by itself and then takes "
    "characters of several for one person (person_id, the view `people`); these people are the clusters. The paper "
    "clusters the combined tracks at once."
)


class Combined(NamedTuple):
    """Some titles' tracks as one set.

    Attributes:
        titles: those that the lake has, evaluated under their protocol.
        wanted: how many there are in the paper.
        figures: see `score_pooled`.
    """

    titles: list[str]
    wanted: int
    figures: dict[str, float]


def combine(job: command.Job, name: str, titles: Iterable[str]) -> dict[str, Combined]:
    """By last column of a protocol, what the lake has of it: nothing where that is one title, or one series of two.

    Episodes count that were evaluated under the protocol, now or by an earlier command, and not clustered again since.

    Args:
        titles: those evaluated now; composite ones are put together with composite ones alone.
    """
    rules = read_protocol(name)
    prefix = COMPOSITE if any(title.startswith(COMPOSITE) for title in titles) else ""
    series = {name: rules, **({rules.both_with: read_protocol(rules.both_with)} if rules.both_with else {})}
    there = _list_evaluated(job, {of: [prefix + title for title in made.titles] for of, made in series.items()})
    found: dict[str, Combined] = {}
    for column, of in (("all six", [name]), ("both twelve", [*series])):
        pooled = {one: there[one] for one in of}
        enough = all(pooled.values()) and sum(map(len, pooled.values())) > 1
        if column in rules.last_columns and enough:
            found[column] = _pool(job, pooled, {one: series[one] for one in of})
    return found


def _list_evaluated(job: command.Job, wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """By protocol, those of its titles whose newest evaluation was under it and whose verdicts count."""
    newest, counted = run_log.list_evaluated(job.lake), job.lake.counted("evaluate")
    titles = [
        title for of in wanted.values() for title in of if title in newest and counted.get(title) == newest[title]
    ]
    rows = job.lake.raw("metrics").where(F.col("title_id").isin(titles)).select("title_id", "run_id", "protocol")
    under = {(row["title_id"], row["run_id"]): row["protocol"] for row in rows.distinct().collect()}
    return {
        name: [title for title in of if title in titles and under.get((title, newest[title])) == name]
        for name, of in wanted.items()
    }


def _pool(job: command.Job, titles: Mapping[str, list[str]], series: Mapping[str, Protocol]) -> Combined:
    of_title = {title: name for name, of in titles.items() for title in of}
    verdicts = job.lake.rows("verdicts", [*of_title]).select("title_id", "track_id", "person", "character_id")
    people = job.lake.rows("characters", [*of_title]).select("title_id", "character_id", "person_id")
    tracks = verdicts.join(people, ["title_id", "character_id"], "left").toPandas()
    tracks["series"] = tracks.title_id.map(of_title)
    return Combined([*of_title], sum(len(made.titles) for made in series.values()), score_pooled(tracks))
