"""From imported tracks of people who are easy to tell apart to characters: they must be right, however dealt out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from conf.catalog import table
from jobs import cluster, import_tracks, mine
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import SHA256, collected
from udfs.kernels.cluster.interface import FaceSets, Links
from udfs.kernels.cluster.own_thresholds import measure_spread, own_thresholds

pytestmark = pytest.mark.long

MADE = ("cannot_links", "must_links", "tracklets", "hard_negatives")
MADE_OF_THEM = ("characters", "track_labels")


@pytest.mark.parametrize(("title", "seed"), [("alpha", 0), ("beta", 1)])
def test_each_character_is_one_person(spark, clustered, title, seed):
    person = people.make(title, seed=seed).person
    labels = dict(collected(Lake(spark, str(clustered)).rows("track_labels", [title]), "track_id", "character_id"))
    assert labels.keys() == person.keys()
    pairs = {(labels[track], person[track]) for track in person}
    assert len(pairs) == len({p for _, p in pairs}) == len({c for c, _ in pairs}) == 4


def test_who_is_seen_together_is_cannot_linked(spark, clustered):
    links = Lake(spark, str(clustered)).rows("cannot_links", ["alpha"])
    found = collected(links, "track_a", "track_b", "shared_frames")
    assert found == sorted(((2 * i, 2 * i + 1, people.DETECTIONS) for i in range(14)), key=str)
    seconds = [row["shared_s"] for row in links.select("shared_s").collect()]
    assert seconds == pytest.approx([people.DETECTIONS * people.STRIDE / people.FPS] * 14)


def test_the_hard_negative_is_the_other_one_in_the_scene(spark, clustered):
    found = collected(Lake(spark, str(clustered)).rows("hard_negatives", ["beta"]), "track_id", "negative_track_id")
    assert found == sorted(((track, track ^ 1) for track in range(28)), key=str)


def test_screen_time_is_what_the_tracks_say(spark, given, clustered):
    lake = Lake(spark, str(clustered))
    per_track = people.DETECTIONS * people.STRIDE / people.FPS
    for row in lake.rows("characters").collect():
        assert row["screen_time_s"] == pytest.approx(row["n_tracks"] * per_track)
        assert row["n_faces"] == row["n_tracks"] * people.DETECTIONS


def test_one_partition_and_seven_make_the_same_rows(spark, clustered, tmp_path):
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "seven")))
    kept = spark.conf.get("spark.sql.shuffle.partitions")
    try:
        spark.conf.set("spark.sql.shuffle.partitions", "7")
        words = ["--lake", lake.root, "--quiet", "--force"]
        assert mine.main(words, spark=spark) == 0
        spark.conf.set("spark.sql.shuffle.partitions", "1")
        assert cluster.main(words, spark=spark) == 0
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", kept)
    for name in (*MADE, *MADE_OF_THEM):
        ours, theirs = (
            sorted(map(tuple, found.rows(name).select(*table(name).stable).collect()), key=str)
            for found in (lake, Lake(spark, str(clustered)))
        )
        assert ours == theirs, name
        assert ours or name == "must_links"


def test_people_are_linked_across_titles_and_stay_who_they_are(spark, clustered, tmp_path):
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))
    before = _persons(lake)
    assert len(set(before.values())) == 8  # alpha's four people are not beta's
    again = people.make("gamma", seed=0)  # alpha's people
    people.write(tmp_path / "given", again)
    files = ["--tracks", tmp_path / "given" / "tracks", "--faces", tmp_path / "given" / "faces", "--embedder", SHA256]
    words = ["--lake", lake.root, "--quiet"]
    for job, more in ((import_tracks, files), (mine, []), (cluster, ["--titles", "gamma"])):
        assert job.main([*words, *map(str, more)], spark=spark) == 0
    found = _persons(lake)
    assert {key: person for key, person in found.items() if key[0] != "gamma"} == before
    shown = {title: _shown(lake, title) for title in ("alpha", "gamma")}
    for character, person in shown["gamma"].items():
        (other,) = [c for c, p in shown["alpha"].items() if p == person]
        assert found["gamma", character] == found["alpha", other]
    apart = lake.apart()
    apart.register_views()
    linked = apart.spark.sql("select n_titles, n_characters, screen_time_s > 0 from people order by n_titles").collect()
    assert [tuple(row) for row in linked] == [(1, 1, True)] * 4 + [(2, 2, True)] * 4
    assert cluster.main([*words, "--force"], spark=spark) == 0
    assert _persons(lake) == found


def test_a_method_that_goes_by_faces_is_given_them(spark, clustered, tmp_path):
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))
    words = ["--lake", lake.root, "--quiet", "--titles", "alpha", "--method", "own_thresholds"]
    assert cluster.main(words, spark=spark) == 0
    faces = lake.rows("faces", ["alpha"]).where("embedding IS NOT NULL").select("track_id", "embedding").toPandas()
    of_track = [np.stack(rows.to_list()) for _, rows in faces.groupby("track_id").embedding]
    assert len(of_track) == 28
    means = np.stack([rows.mean(axis=0) for rows in of_track])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    sets = FaceSets(np.array([measure_spread(rows) for rows in of_track]), np.array([len(rows) for rows in of_track]))
    links = np.array(collected(lake.rows("cannot_links", ["alpha"]), "track_a", "track_b"))
    expected = own_thresholds(sets)(means, Links(links, np.zeros((0, 2), np.int64))).labels
    found = dict(collected(lake.rows("track_labels", ["alpha"]), "track_id", "character_id"))
    pairs = {(found[track], expected[track]) for track in found}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 1


def _persons(lake: Lake) -> dict[tuple[str, int], str]:
    rows = lake.rows("characters").collect()
    return {(row["title_id"], row["character_id"]): row["person_id"] for row in rows}


def _shown(lake: Lake, title: str) -> dict[int, int]:
    """character_id -> the person whom its tracks show."""
    person = people.make(title, seed=0).person
    labels = collected(lake.rows("track_labels", [title]), "track_id", "character_id")
    return {character: person[track] for track, character in labels}
