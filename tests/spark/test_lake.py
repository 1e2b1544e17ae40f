"""The lake: its tables, how titles are replaced in them, and which rows count."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from conf.catalog import all_tables, table
from conf.code_versions import FORMAT
from conf.errors import LakeError, UsageError
from conf.views import VIEWS
from jobs.lake import lake as lake_module
from jobs.lake import run_log
from jobs.lake.lake import Lake
from tests.helpers.small import clock, collected, finished, frame, written

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


def test_a_table_whose_creator_was_killed_is_made_again(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(lake_module, "ABANDONED_S", 1.0)
    made = Lake(spark, str(tmp_path))
    log = tmp_path / "shots" / "_delta_log"
    (log / "_staged_commits").mkdir(parents=True)
    (log / ".00000000000000000000.json.1b9d.tmp").touch()  # what is there a moment before the first commit
    assert not made.exists("shots")
    made.create()
    assert made.raw("shots").columns == table("shots").names
    assert list(log.glob("*.json"))


@pytest.mark.parametrize("made", all_tables(), ids=lambda made: made.name)
def test_a_table_says_what_it_and_its_columns_mean(empty, made):
    first = (empty / made.name / "_delta_log" / "00000000000000000000.json").read_text().splitlines()
    log = {key: value for line in first for key, value in json.loads(line).items()}
    assert log["metaData"]["description"] == f"{made.meaning} Written by {made.writers}."
    assert log["metaData"]["partitionColumns"] == (["title_id"] if made.by_title else [])
    format_of_lake = {"castmine.format": str(FORMAT)} if made.name == "runs" else {}
    assert log["metaData"]["configuration"] == {
        "delta.enableDeletionVectors": "false",
        "delta.dataSkippingNumIndexedCols": "0",
        **format_of_lake,
    }
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
    assert two.raw("runs").count() == before + 2 * 4


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
    assert run_log.list_harvested(lake) == {}


def test_a_title_that_is_being_replaced_is_used_by_no_job(two):
    again = run_log.begin(two, "mine", "settings", clock)
    again.writes([run_log.Task("a", {"harvest": "harvest-a"}), run_log.Task("never done", {})])
    assert (list(run_log.list_harvested(two)), list(run_log.list_mined(two))) == (["a", "b"], ["b"])
    again = run_log.begin(two, "import", "", clock)  # a title that was harvested is now imported
    again.writes([run_log.Task("a", {})])
    assert list(run_log.list_harvested(two)) == ["b"]
    again.commit([run_log.Done(run_log.Task("a", {}))])
    assert run_log.list_harvested(two) == {"a": again.run_id, "b": "harvest-b"}


def test_labels_of_tracks_that_were_replaced_do_not_count(two):
    assert run_log.list_clustered(two) == {"a": "cluster-a", "b": "cluster-b"}
    finished(two, "harvest", "a", {"titles": [{"status": "ok"}], "tracks": [{**TRACK, "start_s": 5.0, "end_s": 6.0}]})
    for name in ("cannot_links", "track_labels", "characters"):
        assert {title for (title,) in collected(two.raw(name), "title_id")} == {"a", "b"}
        assert {title for (title,) in collected(two.rows(name), "title_id")} == {"b"}
    assert run_log.list_clustered(two) == {"b": "cluster-b"}


def test_mining_again_keeps_labels_of_the_same_tracks(two):
    finished(two, "mine", "a", {"cannot_links": []}, inputs={"harvest": "harvest-a"})
    assert collected(two.rows("track_labels", ["a"]), "track_id") == [(0,), (1,)]
    assert list(run_log.list_clustered(two)) == ["a", "b"]


# --- where a lake is ----------------------------------------------------------------------------------------


def test_no_lake_there_says_how_to_make_one(spark, tmp_path):
    with pytest.raises(LakeError, match="castmine harvest FILMS --lake"):
        Lake(spark, str(tmp_path)).open(print)


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
    assert registered == ["characters", "titles", "screen_time", "people"]


def listed(lake, titles, tracks=None):
    """(title, partition, its rows in the order of their key) as `map_titles` gives the rows of faces."""

    def whole(batches):  # nested, so that it travels as code
        from pyspark import TaskContext

        from udfs.batches import titles_of

        for title, rows in titles_of(batches):
            faces = str(sorted(rows.drop_columns(["title_id"]).to_pylist(), key=lambda r: (r["track_id"], r["frame"])))
            task = TaskContext.get().partitionId()
            yield pa.RecordBatch.from_pydict({"title_id": [title], "task": [task], "rows": [faces]})

    columns = ["track_id", "frame", "x", "detected", "embedding"]
    made = lake.map_titles("faces", titles, columns, whole, "title_id STRING, task BIGINT, rows STRING", tracks)
    return made, [tuple(row) for row in made.orderBy("title_id").collect()]


@pytest.mark.parametrize("by_spark", [False, True])
def test_whole_titles_are_read_without_a_shuffle(spark, clustered, monkeypatch, by_spark):
    if by_spark:  # as where files have no path
        monkeypatch.setattr(lake_module, "list_paths", lambda files: None)
    lake = Lake(spark, str(clustered))
    tracks = lake.rows("tracks").where("track_id < 20").select("title_id", "track_id", "shot_id")
    made, found = listed(lake, ["alpha", "beta"], tracks)
    # either Spark reads embeddings and moves none, or it reads none
    assert ("Exchange hashpartitioning" if by_spark else "embedding") not in _plan(made)
    assert [title for title, _, _ in found] == ["alpha", "beta"]
    assert found[0][1] != found[1][1], "one title a task"
    for title, _, rows in found:
        faces = lake.rows("faces", [title]).join(tracks, ["title_id", "track_id"], "left")
        faces = faces.orderBy("track_id", "frame").select("track_id", "frame", "x", "detected", "embedding", "shot_id")
        assert rows == str([row.asDict() for row in faces.collect()])
    assert [title for title, _, _ in listed(lake, ["beta"])[1]] == ["beta"]


@pytest.mark.parametrize("by_spark", [False, True])
def test_titles_in_several_files_are_brought_together(spark, clustered, tmp_path, monkeypatch, by_spark):
    if by_spark:
        monkeypatch.setattr(lake_module, "list_paths", lambda files: None)
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))
    _, before = listed(lake, ["alpha", "beta"])
    lake.replace(table("faces"), lake.rows("faces", ["alpha"]).repartition(3), ["alpha"])
    _, found = listed(lake, ["alpha", "beta"])
    assert [(title, rows) for title, _, rows in found] == [(title, rows) for title, _, rows in before]


def test_titles_by_path_are_those_that_count(lake):
    for title in ("a b é#?;%20=", "other", "cut short"):
        faces = [{"track_id": 0, "frame": 1, "x": 1.0, "detected": True, "embedding": [1.0, 0.0]}]
        finished(lake, "harvest", title, {"titles": [{"status": "ok"}], "faces": faces})
    half = lake.raw("faces").where("title_id = 'cut short'").withColumn("run_id", F.lit("killed"))
    lake.replace(table("faces"), half, ["cut short"])
    titles = ["a b é#?;%20=", "cut short", "of no rows"]
    expected = "[{'track_id': 0, 'frame': 1, 'x': 1.0, 'detected': True, 'embedding': [1.0, 0.0]}]"
    assert [(title, rows) for title, _, rows in listed(lake, titles)[1]] == [("a b é#?;%20=", expected)]
    of_no_track = lake.rows("tracks").select("title_id", "track_id", "shot_id")
    expected = expected.replace("}]", ", 'shot_id': None}]")
    assert [(title, rows) for title, _, rows in listed(lake, titles, of_no_track)[1]] == [("a b é#?;%20=", expected)]


def _plan(found):
    return found._jdf.queryExecution().executedPlan().toString()
