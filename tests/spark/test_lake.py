"""The lake: its tables, how titles are replaced in them, and which rows count."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conf.errors import LakeError, UsageError
from conf.tables import all_tables, table
from conf.views import VIEWS
from jobs import runs
from jobs.lake import Lake
from tests.spark.small import clock, collected, finished, frame, written

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


@pytest.mark.parametrize("made", all_tables(), ids=lambda made: made.name)
def test_a_table_says_what_it_and_its_columns_mean(empty, made):
    first = (empty / made.name / "_delta_log" / "00000000000000000000.json").read_text().splitlines()
    log = {key: value for line in first for key, value in json.loads(line).items()}
    assert log["metaData"]["description"] == f"{made.meaning} Written by jobs/{made.written_by}.py."
    assert log["metaData"]["partitionColumns"] == (["title_id"] if made.by_title else [])
    assert log["metaData"]["configuration"] == {"delta.enableDeletionVectors": "false"}
    assert log["protocol"]["minReaderVersion"] == 1  # any Delta reader can open it
    fields = json.loads(log["metaData"]["schemaString"])["fields"]
    assert [field["name"] for field in fields] == made.names
    assert [field["metadata"]["comment"] for field in fields] == [f"{c.meaning} [{c.made_by}]" for c in made.columns]
    assert [field["name"] for field in fields if not field["nullable"]] == [c for c in made.names if c in made.key]


def test_replacing_a_title_leaves_the_others(two):
    finished(two, "harvest", "a", {"shots": [{**SHOT, "end_frame": 48}, {**SHOT, "shot_id": 1}]})
    found = collected(two.rows("shots"), "title_id", "shot_id", "end_frame")
    assert found == [("a", 0, 48), ("a", 1, 24), ("b", 0, 24)]
    assert collected(two.rows("shots", ["b"]), "title_id") == [("b",)]
    assert two.rows("shots").columns == table("shots").names


def test_an_empty_replacement_clears_the_title(two):
    finished(two, "harvest", "a", {"shots": []})
    assert collected(two.raw("shots"), "title_id") == [("b",)]


def test_rows_that_do_not_belong_are_refused(two):
    version = two.version("shots")
    with pytest.raises(Exception, match="DELTA_REPLACE_WHERE_MISMATCH"):
        two.replace(table("shots"), frame(two, "shots", [{**SHOT, "title_id": "b", "run_id": "r1"}]), ["a"])
    with pytest.raises(Exception, match="NOT NULL"):
        written(two, ["a"], "r1", {"shots": [{**SHOT, "shot_id": None}]})
    assert two.version("shots") == version


def test_appended_rows_stay(lake):
    for edit in ("e1", "e2"):
        lake.append(table("edits"), [{"edit_id": edit, "kind": "name"}])
    lake.append(table("edits"), [])
    assert collected(lake.rows("edits"), "edit_id", "kind") == [("e1", "name"), ("e2", "name")]


def test_two_writers_of_different_titles_both_succeed(two):
    def write(title: str) -> None:
        for end in (48, 72):
            finished(Lake(two.spark, two.root), "harvest", title, {"shots": [{**SHOT, "end_frame": end}]})

    before = two.raw("runs").count()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("a", "c")))
    assert collected(two.rows("shots"), "title_id", "end_frame") == [("a", 72), ("b", 24), ("c", 72)]
    assert two.raw("runs").count() == before + 4


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


def test_uncommitted_rows_are_seen_by_nobody(two):
    written(two, ["b", "c"], "unfinished", {"tracks": [TRACK], "titles": [{"status": "ok"}]})
    assert collected(two.raw("titles"), "title_id") == [("a",), ("b",), ("c",)]
    assert collected(two.rows("titles"), "title_id") == [("a",)]
    reading = two.apart()
    reading.register_views()
    for name in ("tracks", "appearances", "screen_time"):
        assert {title for (title,) in collected(reading.spark.table(name), "title_id")} == {"a"}


def test_a_failed_title_is_seen_in_titles(lake):
    finished(lake, "harvest", "a", {"titles": [{"status": "failed", "error": "no video"}]}, error="no video")
    assert collected(lake.rows("titles"), "title_id", "error") == [("a", "no video")]
    assert runs.harvested(lake) == {}


def test_a_title_that_is_being_replaced_is_used_by_no_job(two):
    again = runs.begin(two, "mine", "settings", 1, clock)
    again.writes([runs.Task("a", {"harvest": "harvest-a"}), runs.Task("never done", {})])
    assert collected(two.raw("runs").where("status = 'writing'"), "title_id") == [("a",)]
    assert (list(runs.harvested(two)), list(runs.mined(two))) == (["a", "b"], ["b"])
    again = runs.begin(two, "import", "", 1, clock)  # a title that was harvested is now imported
    again.writes([runs.Task("a", {})])
    assert list(runs.harvested(two)) == ["b"]
    again.commit([runs.Done(runs.Task("a", {}))])
    assert runs.harvested(two) == {"a": again.run_id, "b": "harvest-b"}


def test_labels_of_tracks_that_were_replaced_do_not_count(two):
    assert runs.clustered(two) == {"a": "cluster-a", "b": "cluster-b"}
    finished(two, "harvest", "a", {"titles": [{"status": "ok"}], "tracks": [{**TRACK, "start_s": 5.0, "end_s": 6.0}]})
    for name in ("cannot_links", "track_labels", "characters"):
        assert {title for (title,) in collected(two.raw(name), "title_id")} == {"a", "b"}
        assert {title for (title,) in collected(two.rows(name), "title_id")} == {"b"}
    assert runs.clustered(two) == {"b": "cluster-b"}


def test_mining_again_keeps_labels_of_the_same_tracks(two):
    finished(two, "mine", "a", {"cannot_links": []}, inputs={"harvest": "harvest-a"})
    assert collected(two.rows("track_labels", ["a"]), "track_id") == [(0,), (1,)]
    assert list(runs.clustered(two)) == ["a", "b"]


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


def test_views_are_registered_apart_from_the_session(two):
    reading = two.apart()
    assert reading.register_views() == [*(made.name for made in all_tables()), *VIEWS]
    assert reading.spark.table("screen_time").columns[:3] == ["title_id", "character_id", "name"]
    assert not two.spark.catalog.tableExists("appearances")


def test_of_the_views_those_that_a_query_names_are_registered(two):
    registered = two.apart().register_views("SELECT * FROM `Screen_Time` JOIN people")
    assert registered == ["characters", "people", "titles", "screen_time"]


def test_whole_titles_are_read_without_a_shuffle(spark, clustered):
    lake = Lake(spark, str(clustered))
    found = lake.whole_titles("faces", ["alpha", "beta"])
    assert "Exchange hashpartitioning" not in _plan(found)
    parts = found.rdd.map(lambda row: row["title_id"]).glom().map(set).collect()
    assert sorted(part.pop() for part in parts if part) == ["alpha", "beta"]
    assert all(len(part) == 0 for part in parts), "one title a partition"
    assert found.count() == lake.rows("faces", ["alpha", "beta"]).count() > 0
    assert lake.whole_titles("faces", ["beta"]).select("title_id").distinct().count() == 1


def test_titles_in_several_files_are_brought_together(spark, clustered, tmp_path):
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))
    rows = lake.rows("faces", ["alpha"])
    lake.replace(table("faces"), rows.repartition(3), ["alpha"])
    found = lake.whole_titles("faces", ["alpha", "beta"])
    assert "Exchange hashpartitioning" in _plan(found)
    together = found.rdd.map(lambda row: row["title_id"]).glom().collect()
    assert sum(len(set(part)) for part in together) == 2
    assert all(part == sorted(part) for part in together)
    assert "Exchange hashpartitioning" not in _plan(lake.whole_titles("faces", ["beta"]))


def _plan(found):
    return found._jdf.queryExecution().executedPlan().toString()
