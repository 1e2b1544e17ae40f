"""`castmine name`: the people of a film by photographs that the film does not show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from jobs.demo_film import film
from jobs.demo_film.screenplay import short_screenplay
from tests.helpers import lakes
from tests.helpers.commands import castmine
from tests.helpers.photographs import not_shown, write_gallery

TITLE, PHOTOGRAPHS = "castmine_demo_small", 2


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 26 people of the photographs, four of whom are in the film."""
    left = not_shown(short_screenplay)
    people = {f"person_{person:02}": numbers[:PHOTOGRAPHS] for person, numbers in left.items()}
    return write_gallery(tmp_path_factory.mktemp("gallery"), people)


def test_the_people_of_a_film_get_their_names_and_nobody_else_does(copied: Path, small, gallery: Path, capsys):
    assert castmine("name", "--lake", copied, "--gallery", gallery) == 0
    said = capsys.readouterr().out
    assert f"{TITLE}: 4 of 4 characters have a name" in said
    assert _named(copied) == _true(copied, small)
    assert {edit["title_id"] for edit in lakes.raw(copied, "edits").to_pylist()} == {TITLE}  # nobody of the clip
    # the sheet of that title is drawn anew with the names, and only once
    for redrawn in (1, 0):
        assert castmine("report", "--lake", copied) == 0
        assert f"{redrawn} contact sheets drawn" in capsys.readouterr().err


def _named(lake: Path) -> dict[int, str]:
    rows = lakes.rows(lake, "characters", [TITLE]).to_pylist()
    return {row["character_id"]: row["name"] for row in rows}


def _true(lake: Path, made: film.Film) -> dict[int, str]:
    """character_id -> the person whose true boxes its faces lie on, mostly."""
    boxes, labels = (lakes.rows(lake, name, [TITLE]).to_pandas() for name in ("faces", "track_labels"))
    pairs = pd.read_csv(made.truth).merge(boxes.merge(labels, on="track_id"), on="frame", suffixes=("_true", ""))
    near = (pairs.x - pairs.x_true).abs() < pairs.w / 2
    return pairs[near].groupby("character_id").label.agg(lambda names: names.mode()[0]).to_dict()
