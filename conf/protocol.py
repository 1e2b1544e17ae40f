"""Published benchmarks, a YAML file each: which tracks count, what is reported, and what the paper has.

A number of `published` stands where its paper has it (`metrics` names the table) and as it is printed there: percent
unless `percent: false`, null where the paper has none.
"""

from __future__ import annotations

from importlib import resources
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict

FOLDER = "conf.protocols"
LastColumn = Literal["mean", "all six", "both twelve"]
LAST = get_args(LastColumn)


class Strict(BaseModel):
    """Frozen, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Title(Strict):
    """A title as the paper counts it. Its key is the title_id that it must have in the lake."""

    tracks: int
    characters: int


class Metric(Strict):
    """The figure of `evaluate.scoring` that a metric of the paper is, and the table in which the paper has it."""

    figure: str
    table: str
    percent: bool = True


class Protocol(Strict):
    """A benchmark and how it is scored.

    Attributes:
        paper, release: what to cite, and where the truth comes from.
        counts: `all` labels; `identities`, without labels that stand for nobody in particular; `named`, without
            background people too. `rule` says it in words.
        number_given: whether the methods of the paper are told the number of characters.
        last_columns: what follows the titles in the paper's table: the mean over titles, or the figure of all titles'
            tracks (`all six`), or of those and another protocol's (`both twelve`), clustered as one set, with its size.
        both_with: that other protocol.
        published: metric -> method -> a number for each title, and for the last columns.
        notes: what else to know before two numbers are put side by side.
    """

    paper: str
    release: str
    counts: Literal["all", "identities", "named"]
    rule: str
    number_given: bool
    titles: dict[str, Title]
    last_columns: dict[LastColumn, Title | None] = {}
    both_with: str | None = None
    metrics: dict[str, Metric]
    published: dict[str, dict[str, list[float | None]]]
    notes: list[str] = []

    @property
    def columns(self) -> list[str]:
        """Of a row of `published`."""
        return [*self.titles, *self.last_columns]


def list_protocols() -> list[str]:
    """Every protocol there is."""
    files = resources.files(FOLDER).iterdir()
    return sorted(file.name.removesuffix(".yml") for file in files if file.name.endswith(".yml"))


def read_protocol(name: str) -> Protocol:
    """The protocol called `name`, one of `list_protocols()`."""
    text = (resources.files(FOLDER) / f"{name}.yml").read_text(encoding="utf-8")
    return Protocol.model_validate(yaml.safe_load(text))
