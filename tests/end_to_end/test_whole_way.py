"""`castmine run`, film to characters, on a film whose truth is known, a real clip, and a film without faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from jobs import harvest
from jobs.inputs.titles import Known
from tests.helpers import lakes
from tests.helpers.commands import PIECES, castmine
from udfs import harvest as udfs

SMALL, CLIP, NOBODY = TITLES = ["castmine_demo_small", "clip", "nobody"]


def test_every_table_has_rows_and_every_key_is_there_once(finished: Path):
    assert [name for name in lakes.MADE if not lakes.rows(finished, name).num_rows] == ["curves"]  # too few to train on
    assert lakes.repeated_keys(finished) == []
    assert lakes.uncommitted(finished) == {}


def test_every_job_has_committed_every_title(finished: Path):
    runs = lakes.rows(finished, "runs").to_pylist()
    done = [(run["job"], run["title_id"]) for run in runs if run["status"] == "ok"]
    jobs = ("harvest", "mine", "cluster", "report")
    assert sorted(done) == sorted([(job, title) for job in jobs for title in TITLES] + [("train", "")])
    titles = lakes.rows(finished, "titles").to_pylist()
    assert [row["title_id"] for row in titles] == TITLES
    assert {(row["status"], row["warning"], row["error"]) for row in titles} == {("ok", None, None)}


def test_the_four_people_are_found_and_told_apart(finished: Path, small):
    assert lakes.rows(finished, "characters", [SMALL]).num_rows == 4
    boxes, labels = (lakes.rows(finished, name, [SMALL]).to_pandas() for name in ("faces", "track_labels"))
    seen = boxes.merge(labels[["track_id", "character_id"]], on="track_id")
    pairs = pd.read_csv(small.truth).merge(seen, on="frame", suffixes=("_true", ""))
    matched = pairs[_overlap(pairs) > 0.5]
    assert matched.label.nunique() == 4
    assert (matched.groupby("character_id").label.nunique() == 1).all()
    assert len(matched) > 0.9 * len(seen)


def test_every_track_says_how_it_looks_in_most_faces_and_in_any(finished: Path):
    tracks = lakes.rows(finished, "tracks", [SMALL, CLIP]).to_pandas()
    assert tracks.quality_labels.notna().all()
    labels, flags = ([set(said) for said in tracks[name]] for name in ("quality_labels", "flags"))
    assert set().union(*labels) <= {"frontal", "profile", "blurred", "glasses", "occluded", "dark"}
    assert {"frontal", "dark"} <= set().union(*labels)
    assert [title for title, said in zip(tracks.title_id, labels, strict=True) if "glasses" in said] == [CLIP]
    assert not any("occluded" in said for said in labels), "of the clip's four people one wears glasses, none is hidden"
    for of_any, of_most in zip(labels, flags, strict=True):
        assert not {"frontal", "profile"} <= of_any
        assert of_any >= of_most - {"frontal", "small", "not_a_face"}, "what most faces are, one is"
        assert "frontal" not in of_any or "frontal" in of_most, "what all faces are, most are"


def test_every_title_has_a_contact_sheet(finished: Path):
    for title in TITLES:
        with Image.open(finished / "reports" / f"{title}.png") as sheet:
            assert sheet.format == "PNG"
            assert min(sheet.size) > 100


def test_nothing_staged_is_left(finished: Path):
    assert list((finished / "_staging").rglob("*.parquet")) == []


def test_a_film_without_faces_has_shots_alone(finished: Path):
    made = [name for name in lakes.MADE if name not in ("adapters", "curves")]
    rows = {name: lakes.rows(finished, name, [NOBODY]).num_rows for name in made}
    assert {name for name, n in rows.items() if n} == {"titles", "shots", "runs"}


def test_the_same_command_again_writes_nothing(finished: Path, films):
    before, sheets = lakes.versions(finished), _sheets(finished)
    assert castmine("run", *films, "--lake", finished, *PIECES) == 0
    assert lakes.versions(finished) == before
    assert _sheets(finished) == sheets


def test_a_film_that_only_moved_is_not_done_again(finished: Path, copied: Path, nobody, tmp_path, monkeypatch):
    monkeypatch.setattr(Known, "is_there", False)  # as if the file that the lake knows were gone
    shutil.copy(nobody, tmp_path / "nobody.mp4")
    assert castmine("harvest", tmp_path / "nobody.mp4", "--lake", copied, *PIECES) == 0
    assert castmine("mine", "--lake", copied) == 0
    before, after = lakes.versions(finished), lakes.versions(copied)
    assert {name for name, version in after.items() if version != before[name]} == {"titles", "runs"}
    (row,) = lakes.rows(copied, "titles", [NOBODY]).to_pylist()
    assert row["uri"] == str(tmp_path / "nobody.mp4")
    assert lakes.differences(copied, finished, but=["titles.uri"]) == []
    assert castmine("harvest", tmp_path / "nobody.mp4", "--lake", copied, *PIECES) == 0
    assert lakes.versions(copied) == after
    assert list((copied / "_staging").rglob("*.parquet")) == []


def test_a_film_whose_name_is_not_ascii_is_hashed_once(nobody, tmp_path, monkeypatch):
    """What is due again, by other settings say, is not read whole to learn that its bytes are the same."""
    film, lake = tmp_path / "Amélie 一.mp4", tmp_path / "lake"
    shutil.copy2(nobody, film)
    asked = []
    each = harvest._Harvest._each

    def recorded(self, rows, takes, *more, **fixed):
        asked.extend(row[0] for row in rows if takes is udfs.TO_HASH)
        return each(self, rows, takes, *more, **fixed)

    monkeypatch.setattr(harvest._Harvest, "_each", recorded)
    for threshold in ("0.5", "0.6"):
        assert castmine("harvest", film, "--lake", lake, "--set", f"harvest.min_score={threshold}") == 0
    assert asked == [str(film)]


def _sheets(lake: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (lake / "reports").iterdir()}


def _overlap(pairs: pd.DataFrame) -> pd.Series:
    """Intersection over union of the true and the found box of each row."""
    sides = []
    for low, size in (("x", "w"), ("y", "h")):
        begin = np.maximum(pairs[f"{low}_true"], pairs[low])
        end = np.minimum(pairs[f"{low}_true"] + pairs[f"{size}_true"], pairs[low] + pairs[size])
        sides.append((end - begin).clip(lower=0))
    shared = sides[0] * sides[1]
    return shared / (pairs.w_true * pairs.h_true + pairs.w * pairs.h - shared)
