"""The lake: its tables, how titles are replaced in them, and which rows count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conf.errors import LakeError, UsageError
from conf.tables import all_tables, table
from conf.views import VIEWS
from jobs import runs
from jobs.lake import Lake
from tests.spark.small import cast, clock, collected, finished, frame, written

SHOT = {"shot_id": 0, "start_frame": 0, "end_frame": 24}
TRACK = {"track_id": 0, "shot_id": 0, "start_s": 0.0, "end_s": 1.0, "n_faces": 12}


def test_two_first_writers_make_one_lake(spark, tmp_path):
    root = str(tmp_path / "lake")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: Lake(spark, root).create(), range(2)))
    made = Lake(spark, root)
    assert [found.name for found in all_tables() if made.raw(found.name).count()] == []
    versions = [made.version(found.name) for found in all_tables()]
    made.create()
    assert [made.version(found.name) for found in all_tables()] == versions


def test_tables_say_what_they_and_their_columns_mean(lake):
    for made in all_tables():
        detail = lake.spark.sql(f"DESCRIBE DETAIL {lake.address(made.name)}").collect()[0]
        assert detail["description"] == f"{made.meaning} Written by jobs/{made.written_by}.py."
        assert detail["partitionColumns"] == (["title_id"] if made.by_title else [])
        assert detail["properties"]["delta.enableDeletionVectors"] == "false"
        assert "deletionVectors" not in (detail["tableFeatures"] or [])
        fields = lake.raw(made.name).schema.fields
        assert [field.name for field in fields] == made.names
        assert [field.metadata["comment"] for field in fields] == [f"{c.meaning} [{c.made_by}]" for c in made.columns]


def test_a_column_that_keys_a_table_is_never_null(lake):
    with pytest.raises(Exception, match="NOT NULL"):
        written(lake, "a", "r1", {"shots": [{**SHOT, "shot_id": None}]})


def test_replacing_a_title_leaves_the_others(lake):
    for title in ("a", "b"):
        finished(lake, "harvest", title, {"shots": [SHOT]})
    finished(lake, "harvest", "a", {"shots": [{**SHOT, "end_frame": 48}, {**SHOT, "shot_id": 1}]})
    found = collected(lake.rows("shots"), "title_id", "shot_id", "end_frame")
    assert found == [("a", 0, 48), ("a", 1, 24), ("b", 0, 24)]
    assert collected(lake.rows("shots", ["b"]), "title_id") == [("b",)]
    assert lake.rows("shots").columns == table("shots").names


def test_an_empty_replacement_clears_the_title(lake):
    for title in ("a", "b"):
        finished(lake, "harvest", title, {"shots": [SHOT]})
    finished(lake, "harvest", "a", {"shots": []})
    assert collected(lake.raw("shots"), "title_id") == [("b",)]


def test_rows_of_another_title_are_refused(lake):
    rows = frame(lake, "shots", [{**SHOT, "title_id": "b", "run_id": "r1"}])
    with pytest.raises(Exception, match="DELTA_REPLACE_WHERE_MISMATCH"):
        lake.replace(table("shots"), rows, ["a"])
    assert lake.raw("shots").count() == 0


def test_appended_rows_stay(lake):
    for edit in ("e1", "e2"):
        lake.append(table("edits"), [{"edit_id": edit, "kind": "name"}])
    lake.append(table("edits"), [])
    assert collected(lake.rows("edits"), "edit_id", "kind") == [("e1", "name"), ("e2", "name")]


def test_two_writers_of_different_titles_both_succeed(lake):
    def write(title: str) -> None:
        for _ in range(3):
            finished(Lake(lake.spark, lake.root), "harvest", title, {"shots": [SHOT], "tracks": [TRACK]})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("a", "b")))
    assert collected(lake.rows("shots"), "title_id") == [("a",), ("b",)]
    assert collected(lake.rows("tracks"), "title_id") == [("a",), ("b",)]
    assert lake.raw("runs").count() == 6


def test_a_conflict_is_tried_again_and_another_error_is_not(lake, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    tries = []

    def write(error: str) -> None:
        tries.append(error)
        if len(tries) < 3:
            raise RuntimeError(error)

    lake._again_on_conflict(lambda: write("DELTA_CONCURRENT_APPEND"))
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(RuntimeError, match="disk full"):
        lake._again_on_conflict(lambda: write("disk full"))
    assert len(tries) == 1


# --- which rows count ---------------------------------------------------------------------------------------


def test_uncommitted_rows_are_seen_by_nobody(lake):
    cast(lake, "a", [(0, 0.0, 1.0, 0)])
    written(lake, "b", "unfinished", {"tracks": [TRACK], "titles": [{"status": "ok"}]})
    assert collected(lake.raw("tracks"), "title_id") == [("a",), ("b",)]
    assert collected(lake.rows("tracks"), "title_id") == [("a",)]
    reading = lake.apart()
    reading.register_views()
    for name in ("tracks", "titles", "appearances"):
        assert collected(reading.spark.table(name), "title_id") == [("a",)]


def test_a_failed_title_is_seen_in_titles(lake):
    finished(
        lake, "harvest", "a", {"titles": [{"status": "failed", "error": "no video"}], "tracks": []}, error="no video"
    )
    assert collected(lake.rows("titles"), "title_id", "error") == [("a", "no video")]
    assert runs.harvested(lake) == {}


def test_a_title_that_is_being_replaced_is_used_by_no_job(lake):
    cast(lake, "a", [(0, 0.0, 1.0, 0)])
    assert list(runs.harvested(lake)) == list(runs.mined(lake)) == list(runs.clustered(lake)) == ["a"]
    again = runs.begin(lake, "mine", "settings", 1, clock)
    again.writes([runs.Task("a", {"harvest": runs.harvested(lake)["a"]})])
    assert (list(runs.harvested(lake)), runs.mined(lake)) == (["a"], {})
    again = runs.begin(lake, "harvest", "settings", 1, clock)
    again.writes([runs.Task("a", {})])
    assert (runs.harvested(lake), runs.mined(lake)) == ({}, {})
    again.commit([runs.Done(runs.Task("a", {}))])
    assert runs.harvested(lake) == {"a": again.run_id}


def test_labels_of_tracks_that_were_replaced_do_not_count(lake):
    labels = cast(lake, "a", [(0, 0.0, 1.0, 0)], cannot_links=[{"track_a": 0, "track_b": 1}])
    assert runs.clustered(lake) == {"a": labels}
    finished(lake, "harvest", "a", {"titles": [{"status": "ok"}], "tracks": [{**TRACK, "start_s": 5.0, "end_s": 6.0}]})
    assert lake.raw("track_labels").count() == 1
    for name in ("cannot_links", "track_labels", "characters"):
        assert lake.rows(name).count() == 0
    assert runs.clustered(lake) == {}


def test_mining_again_keeps_labels_of_the_same_tracks(lake):
    labels = cast(lake, "a", [(0, 0.0, 1.0, 0)])
    finished(lake, "mine", "a", {"cannot_links": []}, inputs={"harvest": runs.harvested(lake)["a"]})
    assert lake.rows("track_labels").count() == 1
    assert runs.clustered(lake) == {"a": labels}


# --- where a lake is ----------------------------------------------------------------------------------------


def test_no_lake_there_says_how_to_make_one(spark, tmp_path):
    with pytest.raises(LakeError, match="castmine harvest FILMS --lake"):
        Lake(spark, str(tmp_path)).must_exist()


def test_a_catalog_needs_a_folder_for_files(spark, tmp_path):
    with pytest.raises(UsageError, match="--files"):
        Lake(spark, "main.castmine")
    lake = Lake(spark, "main.castmine", str(tmp_path))
    assert (lake.address("faces"), lake.files) == ("main.castmine.faces", tmp_path)


def test_a_folder_with_a_dot_in_its_name_is_no_catalog(spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.lake").mkdir()
    assert Lake(spark, "my.lake").root == str(tmp_path / "my.lake")


def test_views_are_registered_under_their_names(lake):
    reading = lake.apart()
    assert reading.register_views() == [*(made.name for made in all_tables()), *VIEWS]
    for name in VIEWS:
        assert reading.spark.table(name).count() == 0
    assert not lake.spark.catalog.tableExists("appearances")
