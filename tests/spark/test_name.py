"""castmine name: by hand and from photographs of real faces; names outlive clustering, numbering and harvesting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from conf.errors import ModelError, UsageError
from jobs import cluster, import_tracks, mine, name
from jobs.lake import Lake
from tests.photographs import numbers_of, photograph, write_gallery
from tests.spark import people
from tests.spark.small import collected
from udfs import assets
from udfs.kernels.faces import open_faces
from udfs.kernels.photographs import look

CAST = {"Ada": 1, "Böğürtlen Çelik": 6, "李": 18, "Dee": 21}  # the person of the photographs; Ada is seen most
STRANGERS = {"Nobody Else": 8, "Not Here": 15}
PHOTOGRAPHS = 3  # of each person in the gallery
FRAMES = 24  # of a track


@pytest.fixture(scope="module")
def pictured(spark, tmp_path_factory) -> Path:
    """A lake of one title in which every track is one photograph of a person, Ada with Dee and Dee with 李."""
    models = open_faces(*assets.fetch_pack("buffalo_sc"), "insightface")
    shown = [(who, n) for who, person in CAST.items() for n in numbers_of(person)[PHOTOGRAPHS : PHOTOGRAPHS + 5]]
    shown += [("Ada", n) for n in numbers_of(CAST["Ada"])[PHOTOGRAPHS + 5 : PHOTOGRAPHS + 8]]
    tracks, faces = [], []
    for track_id, (_, number) in enumerate(shown):
        embedding = look(photograph(number), models, 0.5, 16.0).embedding
        first = FRAMES * track_id
        common = {"title_id": "film", "track_id": track_id, "embedding": embedding}
        for frame in range(first, first + FRAMES):
            box = {"x": 10.0, "y": 20.0, "w": 50.0, "h": 60.0}
            faces.append({**common, "frame": frame, "time_s": frame / 24, **box, "score": 0.9})
        ends = {"start_frame": first, "end_frame": first + FRAMES, "start_s": first / 24, "end_s": first / 24 + 1}
        tracks.append({**common, "shot_id": track_id, "n_faces": FRAMES, **ends})
    folder, root = tmp_path_factory.mktemp("pictured"), tmp_path_factory.mktemp("lakes") / "pictured"
    people.write(folder, people.Title("film", pd.DataFrame(tracks), pd.DataFrame(faces), {}))
    sha = assets.registry().files[assets.pack("buffalo_sc").embedder].sha256
    files = ["--tracks", folder / "tracks", "--faces", folder / "faces", "--embedder", sha]
    for job, more in ((import_tracks, files), (mine, []), (cluster, [])):
        assert job.main(["--lake", str(root), "--quiet", *map(str, more)], spark=spark) == 0
    (root / "shown.json").write_text(json.dumps([who for who, _ in shown]))
    return root


@pytest.fixture
def lake(spark, pictured, tmp_path) -> Lake:
    return Lake(spark, str(shutil.copytree(pictured, tmp_path / "lake")))


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


def named(lake: Lake, *words: str | Path) -> None:
    assert name.main(["--lake", lake.root, *map(str, words)], spark=lake.spark) == 0


def names(lake: Lake) -> dict[int, str]:
    """character_id -> its name, of those that have one."""
    rows = lake.rows("characters").where("name IS NOT NULL")
    return dict(collected(rows, "character_id", "name"))


def shown(lake: Lake) -> dict[str, str]:
    """Name -> whom the tracks of that character show, all of them."""
    truth = json.loads((Path(lake.root) / "shown.json").read_text())
    labels = lake.rows("track_labels").join(lake.rows("characters").select("character_id", "name"), "character_id")
    found: dict[str, set[str]] = {}
    for track, given in collected(labels.where("name IS NOT NULL"), "track_id", "name"):
        found.setdefault(given, set()).add(truth[track])
    return {given: " and ".join(sorted(who)) for given, who in found.items()}


def edits(lake: Lake) -> list[dict]:
    rows = lake.rows("edits").orderBy("made_at", "edit_id").collect()
    return [{**row.asDict(), **json.loads(row["payload"])} for row in rows]


# --- from photographs ---------------------------------------------------------------------------------------


def test_the_cast_is_named_and_strangers_are_not(lake, gallery, capsys):
    named(lake, "--gallery", gallery)
    assert shown(lake) == {who: who for who in CAST}
    said = capsys.readouterr()
    for problem in (
        "wrong person.jpg: does not agree with the person's other photographs",
        "broken.png: cannot be read as a picture",
        "notes.txt: no picture's ending",
        "wall.webp: no face in it",
    ):
        assert problem in said.err
    assert all(who in said.out for who in (*CAST, *STRANGERS))
    written = edits(lake)
    assert sorted(edit["name"] for edit in written) == sorted(CAST)
    assert {(edit["kind"], edit["author"], edit["source"]) for edit in written} == {("name", "gallery", "gallery")}
    assert all(0.5 < edit["confidence"] <= 1 for edit in written)
    assert all(len(json.loads(edit["anchors"])) > 2 for edit in written)


def test_the_same_again_writes_nothing(lake, gallery):
    named(lake, "--gallery", gallery)
    versions = [lake.version(table) for table in ("edits", "characters", "runs")]
    named(lake, "--gallery", gallery)
    assert [lake.version(table) for table in ("edits", "characters", "runs")] == versions


def test_names_outlive_clustering_and_other_numbers(lake, gallery):
    named(lake, "--gallery", gallery)
    before = names(lake)
    assert cluster.main(["--lake", lake.root, "--quiet", "--force"], spark=lake.spark) == 0
    assert names(lake) == before
    # two characters fewer: those who are left have other numbers and keep a name that they had
    assert cluster.main(["--lake", lake.root, "--quiet", "--characters", "2"], spark=lake.spark) == 0
    assert set(names(lake)) == {0, 1}
    assert cluster.main(["--lake", lake.root, "--quiet"], spark=lake.spark) == 0
    assert shown(lake) == {who: who for who in CAST}


def test_a_name_by_hand_wins_and_can_be_taken_away(lake, gallery):
    named(lake, "--gallery", gallery)
    (ada,) = [character for character, given in names(lake).items() if given == "Ada"]
    named(lake, "--titles", "film", "--character", str(ada), " Ada Lovelace ")
    assert names(lake)[ada] == "Ada Lovelace"
    named(lake, "--gallery", gallery)
    assert names(lake)[ada] == "Ada Lovelace"
    assert cluster.main(["--lake", lake.root, "--quiet", "--force"], spark=lake.spark) == 0
    assert names(lake)[ada] == "Ada Lovelace"
    named(lake, "--titles", "film", "--character", str(ada), "")
    named(lake, "--gallery", gallery)
    assert ada not in names(lake)
    written = [edit for edit in edits(lake) if edit["author"] == "user"]
    assert [edit["name"] for edit in written] == ["Ada Lovelace", ""]
    assert written[1]["replaces"] == written[0]["edit_id"]


def test_what_a_killed_command_left_is_put_to_use(lake, gallery):
    """Edits are appended first: without their names in `characters` the same command brings these in."""
    named(lake, "--gallery", gallery)
    whole = names(lake)
    lake.update(
        name.edits.table("characters"),
        lake.rows("characters").selectExpr("title_id", "character_id", "run_id", "CAST(NULL AS STRING) AS name"),
        ["film"],
    )
    assert names(lake) == {}
    n_edits = len(edits(lake))
    named(lake, "--gallery", gallery)
    assert (names(lake), len(edits(lake))) == (whole, n_edits)


# --- by hand, and mistakes ----------------------------------------------------------------------------------


@pytest.fixture
def known(spark, clustered, tmp_path) -> Lake:
    """The lake of alpha and beta, to be written to."""
    return Lake(spark, str(shutil.copytree(clustered, tmp_path / "known")))


def test_a_name_survives_a_new_import_with_other_track_numbers(known, given, tmp_path):
    named(known, "--titles", "alpha", "--character", "0", "Ann")
    before = dict(collected(known.rows("track_labels", ["alpha"]), "track_id", "character_id"))
    title = people.make("alpha", seed=0)
    last = title.tracks.track_id.max()
    for rows in (title.tracks, title.faces):
        rows["track_id"] = last - rows.track_id
    people.write(tmp_path / "again", title)
    sha = known.rows("titles").first()["embedder_sha256"]
    files = ["--tracks", tmp_path / "again" / "tracks", "--faces", tmp_path / "again" / "faces", "--embedder", sha]
    for job, more in ((import_tracks, [*files, "--force"]), (mine, []), (cluster, [])):
        assert job.main(["--lake", known.root, "--quiet", "--titles", "alpha", *map(str, more)], spark=known.spark) == 0
    rows = known.rows("track_labels", ["alpha"]).join(
        known.rows("characters", ["alpha"]).where("name = 'Ann'").select("title_id", "character_id"),
        ["title_id", "character_id"],
        "left_semi",
    )
    found = {last - track for (track,) in collected(rows, "track_id")}
    assert found == {track for track, character in before.items() if character == 0}


def test_people_have_the_name_that_is_longest_on_screen(known):
    named(known, "--titles", "alpha", "--character", "0", "Ann")
    reading = known.apart()
    reading.register_views()
    found = reading.spark.sql("SELECT display_name, names FROM people WHERE display_name IS NOT NULL").collect()
    assert [tuple(row) for row in found] == [("Ann", ["Ann"])]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--character", "0", "Ann"], "--titles"),
        (["--character", "0", "Ann", "--titles", "alpha", "beta"], "--titles"),
        (["--character", "nobody", "Ann", "--titles", "alpha"], "a number"),
        (["--character", "99", "Ann", "--titles", "alpha"], "characters 0 to 3"),
        (["--character", "0", "a\nb", "--titles", "alpha"], "printed"),
        (["--character", "0", "Ann", "--titles", "gamma"], "not clustered"),
        (["--gallery", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_said(known, words, said):
    version = known.version("edits")
    with pytest.raises(UsageError, match=said):
        name.main(["--lake", known.root, *words], spark=known.spark)
    assert known.version("edits") == version


def test_titles_of_unknown_models_cannot_be_compared(known, gallery):
    with pytest.raises(ModelError, match="does not have"):
        name.main(["--lake", known.root, "--gallery", str(gallery)], spark=known.spark)


def test_an_empty_gallery_says_what_is_expected(known, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UsageError, match="one folder a person"):
        name.main(["--lake", known.root, "--gallery", str(tmp_path)], spark=known.spark)
