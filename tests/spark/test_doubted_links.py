"""A cannot-link of one person with herself (a mirror, a split screen): set aside by clustering, marked and said."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from conf.catalog import table
from conf.table import FORMAT_PROPERTY
from jobs import cluster
from jobs.lake.lake import Lake
from tests.helpers.small import SHA256, collected, finished

WHO = np.repeat([0, 1], 12)
MIRROR, TRUE = (0, 1), ((2, 14), (5, 20))


def embeddings():
    rng = np.random.default_rng(6)
    looks, noise = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 24, 128)))
    rows = looks[WHO] + 0.8 * noise
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def mined(lake):
    """Twelve tracks each of two people, three pairs of which are seen together."""
    tracks = [
        {"track_id": number, "shot_id": number, "start_s": float(number), "end_s": number + 1.0, "n_faces": 5}
        | {"quality": 0.8, "embedding": row.tolist()}
        for number, row in enumerate(embeddings())
    ]
    film = {"status": "ok", "embedder_sha256": SHA256, "embedding_dim": 128, "fps": 24.0, "detect_stride": 1}
    harvest = finished(lake, "harvest", "a", {"titles": [film], "tracks": tracks})
    links = [
        {"track_a": a, "track_b": b, "shared_frames": 3, "reason": "co_occurrence", "doubted": False}
        for a, b in (MIRROR, *TRUE)
    ]
    finished(lake, "mine", "a", {"cannot_links": links, "must_links": []}, inputs={"harvest": harvest})


def clustered(lake, *arguments):
    assert cluster.main(["--lake", lake.root, "--force", *arguments], spark=lake.spark) == 0
    return dict(collected(lake.rows("track_labels"), "track_id", "character_id"))


def links(lake):
    return collected(lake.rows("cannot_links"), "track_a", "track_b", "doubted")


def test_a_wrong_link_is_marked_and_said_and_not_obeyed(lake, capsys):
    mined(lake)
    character = clustered(lake)
    assert [character[track] for track in range(24)] == WHO.tolist()
    assert links(lake) == [(*MIRROR, True), *((a, b, False) for a, b in TRUE)]
    said = capsys.readouterr().err
    assert "1 cannot-links are doubted and were set aside" in said
    assert "where doubted" in said
    assert set(collected(lake.rows("track_labels"), "reason")) == {(None,)}
    version = lake.version("cannot_links")
    clustered(lake, "--quiet")
    assert lake.version("cannot_links") == version  # nothing new to say, so nothing is written


def test_a_method_that_obeys_all_links_takes_the_mark_back(lake):
    mined(lake)
    clustered(lake, "--quiet")
    character = clustered(lake, "--quiet", "--method", "hac_average")
    assert character[MIRROR[0]] != character[MIRROR[1]]
    assert {doubted for *_, doubted in links(lake)} == {False}


def test_without_links_none_is_obeyed_and_none_is_marked_and_the_labels_say_it(lake, capsys):
    mined(lake)
    clustered(lake, "--quiet")
    with_links = clustered(lake, "--quiet", "--method", "k_means", "--characters", "24")
    assert len(set(with_links.values())) == 24
    character = clustered(lake, "--method", "k_means", "--characters", "1", "--links", "none")
    assert set(character.values()) == {0}, "cannot-links would have forbidden it"
    assert "(raw embeddings, no links)" in capsys.readouterr().err
    assert {doubted for *_, doubted in links(lake)} == {False}
    assert set(collected(lake.rows("track_labels"), "method")) == {("k_means, no links",)}
    assert cluster.main(["--lake", lake.root, "--set", "cluster.links=none"], spark=lake.spark) == 0
    assert "1 titles clustered, 0 unchanged" in capsys.readouterr().err, "other settings"
    assert cluster.main(["--lake", lake.root, "--links", "none"], spark=lake.spark) == 0
    assert "0 titles clustered, 1 unchanged" in capsys.readouterr().err, "the same settings"


@pytest.fixture
def older(spark, empty, tmp_path):
    """A lake as castmine made it before links were doubted and labels had a reason."""
    root = shutil.copytree(empty, tmp_path / "older")
    found = Lake(spark, str(root))
    for name, column in (("cannot_links", "doubted"), ("track_labels", "reason")):
        shutil.rmtree(root / name)
        made = table(name)
        before = made._replace(columns=tuple(c for c in made.columns if c.name != column))
        spark.sql(before.ddl(found.address(name)))
    spark.sql(f"ALTER TABLE {found.address('runs')} SET TBLPROPERTIES ('{FORMAT_PROPERTY}' = '1')")
    return found


def test_a_lake_of_an_older_castmine_gets_the_columns_that_it_lacks(older):
    assert older.raw("cannot_links").where("doubted IS NULL").count() == 0  # readable before anything is written
    assert older.apart().register_views("select reason from track_labels") == ["track_labels"]
    older.open(print)
    mined(older)
    clustered(older, "--quiet")
    assert links(older) == [(*MIRROR, True), *((a, b, False) for a, b in TRUE)]
    for name in ("cannot_links", "track_labels"):
        assert set(older.spark.table(older.address(name)).columns) == set(table(name).names)
