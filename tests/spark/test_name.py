"""castmine name: by hand and from photographs of real faces; names outlive clustering, numbering and harvesting."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from conf.catalog import table
from conf.errors import ModelError, UsageError
from jobs import cluster, name
from jobs.lake import edits as lake_edits
from jobs.lake.lake import Lake
from tests.helpers.photographs import numbers_of, photograph, write_gallery
from tests.helpers.small import SHA256, cast, clock, collected, finished
from udfs import assets
from udfs.kernels.harvest.networks import open_faces
from udfs.kernels.name.photographs import find_face

pytestmark = pytest.mark.long

CAST = {"Ada": 1, "Böğürtlen Çelik": 6, "李": 18, "Dee": 21}  # a name, and the number of the person photographed
STRANGERS = {"Nobody Else": 8, "Not Here": 15}
PHOTOGRAPHS, IN_FILM = 3, 5  # of a person in the gallery, and in the film
SHOWN = [(w, n) for w, person in CAST.items() for n in numbers_of(person)[PHOTOGRAPHS : PHOTOGRAPHS + IN_FILM]]
BOX = {"x": 10.0, "y": 20.0, "w": 50.0, "h": 60.0}
TITLE = {"status": "ok", "embedder_sha256": SHA256, "embedding_dim": 2, "fps": 24.0, "detect_stride": 1,
         "content_hash": "c1"}  # fmt: skip


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """Photographs of the cast that the tracks do not show, of two strangers, and what does not belong there."""
    shown = {who: numbers_of(person)[:PHOTOGRAPHS] for who, person in {**CAST, **STRANGERS}.items()}
    folder = write_gallery(tmp_path_factory.mktemp("gallery"), shown)
    (folder / "Ada" / "wrong person.jpg").write_bytes(photograph(numbers_of(8)[4]))
    (folder / "Ada" / "broken.png").write_bytes(b"no picture")
    (folder / "Ada" / "notes.txt").write_text("not a picture")
    (folder / "Dee" / "wall.webp").write_bytes(cv2.imencode(".webp", np.full((90, 90, 3), 70, np.uint8))[1].tobytes())
    return folder


@pytest.fixture(scope="module")
def pictured(spark, empty, gallery, tmp_path_factory) -> tuple[Path, str, str]:
    """A lake of one title whose every track is one photograph, named by the gallery; and what the command said."""
    models = open_faces(*assets.fetch_pack("buffalo_sc"), "insightface")
    tracks, faces = [], []
    for track_id, (_, number) in enumerate(SHOWN):
        embedding = find_face(photograph(number), models, 0.5, 16.0).embedding.tolist()
        at = {"track_id": track_id, "embedding": embedding}
        tracks.append({**at, "start_s": float(track_id), "end_s": track_id + 1.0, "n_faces": 24})
        faces += [{**at, "frame": 24 * track_id + n, "detected": True, **BOX} for n in range(3)]
    root = Path(shutil.copytree(empty, tmp_path_factory.mktemp("lakes") / "pictured"))
    sha = assets.registry().files[assets.pack("buffalo_sc").embedder].sha256
    titles = [{"status": "ok", "embedder_sha256": sha, "embedding_dim": 512, "duration_s": 100.0}]
    more = {"titles": titles, "tracks": tracks, "faces": faces, "characters": [], "track_labels": []}
    cast(Lake(spark, str(root)), ["film"], [], **more)
    assert cluster.main(["--lake", str(root), "--quiet"], spark=spark) == 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        named(Lake(spark, str(root)), "--gallery", gallery)
    return root, out.getvalue(), err.getvalue()


@pytest.fixture
def lake(spark, pictured, tmp_path) -> Lake:
    """A copy of it, to be written to."""
    return Lake(spark, str(shutil.copytree(pictured[0], tmp_path / "lake")))


def named(lake: Lake, *words: str | Path) -> None:
    assert name.main(["--lake", lake.root, *map(str, words)], spark=lake.spark) == 0


def names(lake: Lake) -> dict[int, str]:
    """character_id -> its name, of those that have one."""
    return dict(collected(lake.rows("characters").where("name IS NOT NULL"), "character_id", "name"))


def shown(lake: Lake) -> dict[str, str]:
    """Name -> whom the tracks of that character show, all of them."""
    given, found = names(lake), dict[str, set[str]]()
    for track, character in collected(lake.rows("track_labels"), "track_id", "character_id"):
        if character in given:
            found.setdefault(given[character], set()).add(SHOWN[track][0])
    return {who: " and ".join(sorted(truly)) for who, truly in found.items()}


def edits(lake: Lake) -> list[dict]:
    rows = lake.rows("edits").orderBy("made_at", "edit_id").collect()
    return [{**row.asDict(), **json.loads(row["payload"])} for row in rows]


# --- from photographs ---------------------------------------------------------------------------------------


def test_the_cast_is_named_and_strangers_are_not(spark, pictured):
    root, out, err = pictured
    lake = Lake(spark, str(root))
    assert shown(lake) == {who: who for who in CAST}
    for problem in (
        "wrong person.jpg: does not agree with the person's other photographs",
        "broken.png: cannot be read as a picture",
        "notes.txt: no picture's ending",
        "wall.webp: no face in it",
    ):
        assert problem in err
    assert "film: 4 of 4 characters have a name" in out
    in_film, nowhere = out.split("in the gallery and in none of these titles")
    assert [who for who in (*CAST, *STRANGERS) if who in in_film] == list(CAST)
    assert [who for who in (*CAST, *STRANGERS) if who in nowhere] == list(STRANGERS)
    written = edits(lake)
    assert sorted(edit["name"] for edit in written) == sorted(CAST)
    assert {(edit["kind"], edit["author"], edit["source"]) for edit in written} == {("name", "gallery", "gallery")}
    assert all(0.75 <= edit["confidence"] <= 1 for edit in written)
    assert all(len(json.loads(edit["anchors"])) == 5 for edit in written)


def test_names_outlive_clustering_and_other_numbers(lake):
    words = ["--lake", lake.root, "--quiet", "--force"]
    assert cluster.main([*words, "--characters", "3"], spark=lake.spark) == 0
    assert set(names(lake)) == {0, 1, 2}
    assert cluster.main(words, spark=lake.spark) == 0
    assert shown(lake) == {who: who for who in CAST}


def test_a_name_by_hand_wins_and_nothing_is_written_twice(lake, gallery):
    whole, run_ids = names(lake), collected(lake.raw("characters"), "run_id")
    rows = lake.rows("characters").selectExpr("title_id", "character_id", "run_id", "CAST(NULL AS STRING) AS name")
    lake.update(table("characters"), rows, ["film"])  # what a killed command leaves: edits, and no names yet
    (ada,) = [character for character, given in whole.items() if given == "Ada"]
    named(lake, "--titles", "film", "--character", str(ada), " Ada Lovelace ", "--quiet")
    assert names(lake) == {**whole, ada: "Ada Lovelace"}
    assert collected(lake.raw("characters"), "run_id") == run_ids
    versions = [lake.version(made) for made in ("edits", "characters")]
    named(lake, "--gallery", gallery, "--quiet")
    assert [lake.version(made) for made in ("edits", "characters")] == versions
    named(lake, "--titles", "film", "--character", str(ada), "", "--quiet")
    assert ada not in names(lake)
    first, second = [edit for edit in edits(lake) if edit["author"] == "user"]
    assert (first["name"], second["name"]) == ("Ada Lovelace", "")
    assert second["replaces"] == first["edit_id"]
    assert first["replaces"] in {edit["edit_id"] for edit in edits(lake) if edit["name"] == "Ada"}


def test_a_gallery_of_strangers_names_nobody(spark, pictured, gallery, tmp_path, capsys):
    for who in STRANGERS:
        shutil.copytree(gallery / who, tmp_path / who)
    lake = Lake(spark, str(pictured[0]))
    versions = [lake.version(made) for made in ("edits", "characters")]
    named(lake, "--gallery", tmp_path, "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["edits"], said["changed"], len(said["named"])) == (0, 0, len(CAST))  # named before
    assert [lake.version(made) for made in ("edits", "characters")] == versions


# --- edits, and mistakes ------------------------------------------------------------------------------------


def test_a_name_survives_a_new_harvest_with_other_track_numbers(two, capsys):
    """The new harvest numbers tracks anew, and one person of the two is seen no more."""
    boxes = {"Ann": [0.0, 20.0, 50.0, 60.0], "Bob": [200.0, 20.0, 50.0, 60.0]}
    said = [
        {
            **{"edit_id": who, "title_id": "a", "kind": "name", "author": "user", "made_at": clock()},
            "anchors": json.dumps([{"frame": frame, "box": box} for frame in (3, 9)]),
            "payload": json.dumps({"name": who, "source": "user", "film": "c1"}),
        }
        for who, box in boxes.items()
    ]
    two.append(table("edits"), said)
    seen = {"track_id": 7, "start_s": 0.0, "end_s": 1.0, "n_faces": 24, "embedding": [1.0, 0.0]}
    box = dict(zip("xywh", boxes["Bob"], strict=True))
    faces = [{"track_id": 7, "frame": frame, "detected": True, **box} for frame in range(24)]
    made = finished(two, "harvest", "a", {"titles": [TITLE], "tracks": [seen], "faces": faces})
    finished(two, "mine", "a", {"cannot_links": [], "must_links": []}, inputs={"harvest": made})
    assert cluster.main(["--lake", two.root, "--titles", "a"], spark=two.spark) == 0
    assert collected(two.rows("characters", ["a"]), "character_id", "name") == [(0, "Bob")]
    assert "the name 'Ann' finds nobody in this film" in capsys.readouterr().err


def test_in_another_cut_names_follow_the_people_and_not_the_places(two, capsys):
    """Ann and Bob are named; in another cut Bob sits where Ann sat, Ann is gone, and a stranger sits where Bob sat."""
    faces_of = {"Ann": [1.0, 0.0, 0.0], "Bob": [0.0, 1.0, 0.0], "stranger": [0.0, 0.0, 1.0]}
    places = [[0.0, 20.0, 50.0, 60.0], [200.0, 20.0, 50.0, 60.0]]

    def harvest(content: str, *people: str) -> None:
        tracks, faces = [], []
        for track, (who, place) in enumerate(zip(people, places, strict=True)):
            seen = {"track_id": track, "embedding": faces_of[who]}
            tracks.append({**seen, "start_s": 0.0, "end_s": 1.0, "n_faces": 24, "n_embedded": 24, "quality": 0.9})
            box = dict(zip("xywh", place, strict=True))
            faces += [{**seen, "frame": frame, "detected": True, **box} for frame in range(24)]
        title = {**TITLE, "content_hash": content, "embedding_dim": 3}
        made = finished(two, "harvest", "a", {"titles": [title], "tracks": tracks, "faces": faces})
        finished(two, "mine", "a", {"cannot_links": [], "must_links": []}, inputs={"harvest": made})
        assert cluster.main(["--lake", two.root, "--titles", "a", "--characters", "2"], spark=two.spark) == 0

    def given() -> dict[int, str]:
        """Track -> name of its character."""
        labels, names = two.rows("track_labels", ["a"]), two.rows("characters", ["a"]).where("name IS NOT NULL")
        return dict(collected(labels.join(names, ["title_id", "character_id"]), "track_id", "name"))

    harvest("c1", "Ann", "Bob")
    labels = collected(two.rows("track_labels", ["a"]), "track_id", "character_id")
    who = [["a", character, ("Ann", "Bob")[track]] for track, character in labels]
    said = pd.DataFrame(who, columns=["title_id", "character_id", "name"]).assign(confidence=np.nan)
    lake_edits.record(SimpleNamespace(lake=two, clock=clock), said, {}, "user")
    capsys.readouterr()
    harvest("c2", "Bob", "stranger")
    assert given() == {0: "Bob"}
    assert "the name 'Ann' finds nobody in this film" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--character", "0", "Ann"], "--titles"),
        (["--character", "0", "Ann", "--titles", "a", "b"], "--titles"),
        (["--character", "nobody", "Ann", "--titles", "a"], "a number"),
        (["--character", "99", "Ann", "--titles", "a"], "2 characters, numbered from 0"),
        (["--character", "0", "a\nb", "--titles", "a"], "printed"),
        (["--character", "0", "Ann", "--titles", "c"], "not clustered"),
        (["--gallery", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_said(spark, two_titles, words, said):
    with pytest.raises(UsageError, match=said):
        name.main(["--lake", str(two_titles), *words], spark=spark)


def test_titles_of_unknown_models_cannot_be_compared(spark, two_titles, gallery):
    with pytest.raises(ModelError, match="not castmine's"):
        name.main(["--lake", str(two_titles), "--gallery", str(gallery)], spark=spark)


def test_an_empty_gallery_says_what_is_expected(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match="one folder a person"):
        name.main(["--lake", str(tmp_path), "--gallery", str(tmp_path)])
