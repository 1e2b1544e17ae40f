"""`castmine evaluate` on real lakes: rows of verdicts and errors, figures of links, and the page of each title."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from jobs import evaluate
from jobs.lake import run_log
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import cast, collected, written

pytestmark = pytest.mark.long


def truth_of(title: people.Title) -> pd.DataFrame:
    """title_id, track_id, label of the title's tracks, of which the first and one of another person are exchanged."""
    person = dict(title.person)
    other = next(track for track in person if person[track] != person[0])
    person[0], person[other] = person[other], person[0]
    return pd.DataFrame(
        {"title_id": title.title_id, "track_id": list(person), "label": [f"person {p}" for p in person.values()]}
    )


@pytest.fixture(scope="module")
def evaluated(spark, clustered, tmp_path_factory) -> Lake:
    """Alpha by tracks with two errors in its truth, and beta by tracks without one."""
    folder = tmp_path_factory.mktemp("evaluated")
    root = shutil.copytree(clustered, folder / "lake")
    beta = people.make("beta", seed=1)
    rows = {"title_id": "beta", "track_id": list(beta.person), "label": [f"person {p}" for p in beta.person.values()]}
    truth = pd.concat([truth_of(people.make("alpha", seed=0)), pd.DataFrame(rows)])
    truth.to_csv(folder / "truth.csv", index=False)
    words = ["--lake", str(root), "--quiet", "--truth", str(folder / "truth.csv")]
    assert evaluate.main(words, spark=spark) == 0
    return Lake(spark, str(root))


def metrics(lake: Lake, title: str) -> dict[str, float]:
    run = run_log.list_evaluated(lake)[title]
    return dict(collected(lake.rows("metrics", [title]).where(f"run_id = '{run}'"), "metric", "value"))


def test_verdicts_say_who_was_taken_for_whom(evaluated):
    truth = truth_of(people.make("alpha", seed=0)).set_index("track_id").label
    shown = people.make("alpha", seed=0).person
    wrong = {track for track, person in shown.items() if truth[track] != f"person {person}"}
    assert len(wrong) == 2
    rows = {row["track_id"]: row for row in evaluated.rows("verdicts", ["alpha"]).collect()}
    assert rows.keys() == shown.keys()
    for track, row in rows.items():
        assert row["person"] == truth[track]
        assert row["taken_for"] == f"person {shown[track]}"
        assert row["verdict"] == ("wrong" if track in wrong else "right")
        assert row["distance"] < 0.1
        assert (row["own_distance"] > 0.5) == (track in wrong)
        assert row["without_links"] in ("right", "wrong")
    assert {row["verdict"] for row in evaluated.rows("verdicts", ["beta"]).collect()} == {"right"}


def test_errors_add_up_and_know_nothing_of_what_was_not_imported(evaluated):
    rows = evaluated.rows("error_rates", ["alpha"]).toPandas()
    assert set(rows.property) == {"links", "person_tracks", "seconds", "shot", "status"}
    for name in ("links", "person_tracks", "seconds", "status"):
        of = rows[rows.property == name]
        assert (of.n_tracks.sum(), of.n_wrong.sum(), of.n_unknown.sum()) == (28, 2, 0)
    shots = rows[rows.property == "shot"]
    assert shots.n_wrong.sum() == 2
    assert (rows.wrong_low <= rows.share_wrong).all()
    assert (rows.share_wrong <= rows.wrong_high).all()


def test_the_figures_of_links_are_metrics(evaluated):
    found = metrics(evaluated, "alpha")
    assert found["cannot_links_known"] == 14  # a pair in each scene
    assert found["must_links_known"] == evaluated.rows("must_links", ["alpha"]).count()
    assert found["without_links_v_measure"] == pytest.approx(found["v_measure"])  # they are easy to tell apart
    assert found["links_fixed"] == found["links_broke"] == 0
    assert 0 <= found["ece"] <= 1


def test_each_title_has_a_page(evaluated):
    for title in ("alpha", "beta"):
        content = Path(evaluated.files, "reports", f"{title}.errors.html").read_text()
        assert f"<h1>{title}</h1>" in content
        assert "<script" not in content
    assert not list(Path(evaluated.files, "_staging").glob("*evaluate*"))


def test_truth_by_boxes_says_the_same_and_under_other_settings_no_links_are_tried(spark, evaluated, tmp_path, capfd):
    lake = Lake(spark, str(shutil.copytree(evaluated.root, tmp_path / "lake")))
    columns = ("track_id", "person", "character_id", "taken_for", "verdict", "split")
    before = collected(lake.rows("verdicts", ["alpha"]), *columns), collected(lake.rows("verdicts", ["beta"]), *columns)
    title = people.make("alpha", seed=0)
    boxes = title.faces[["track_id", "frame", *"xywh"]].merge(truth_of(title), on="track_id")
    boxes.drop(columns="track_id").to_parquet(tmp_path / "boxes.parquet")
    words = ["--truth", str(tmp_path / "boxes.parquet"), "--set", "cluster.characters=4"]
    assert evaluate.main(["--lake", lake.root, *words], spark=spark) == 0
    assert "1 titles were clustered under other settings than these" in capfd.readouterr().err
    assert collected(lake.rows("verdicts", ["alpha"]), *columns) == before[0]
    assert collected(lake.rows("verdicts", ["beta"]), *columns) == before[1]
    assert lake.rows("verdicts", ["alpha"]).where("without_links IS NOT NULL").isEmpty()
    assert metrics(lake, "alpha")["detection_recall"] == 1
    assert "links_fixed" not in metrics(lake, "alpha")


def test_a_title_called_script_stays_text(spark, lake, tmp_path):
    evil = "<script>alert(1)</script>"
    out = io.BytesIO()
    Image.new("RGB", (112, 112), (220, 20, 20)).save(out, "JPEG")
    tracks = [
        {"track_id": t, "start_s": float(t), "end_s": t + 1.0, "n_faces": 9, "thumbnail": out.getvalue(),
         "flags": ["profile"], "face_px": 40.0, "quality": 0.9, "shot_id": 0}
        for t in range(3)
    ]  # fmt: skip
    titles = [{"status": "ok", "embedder_sha256": "ab" * 32, "display_name": evil}]
    links = [{"track_a": 0, "track_b": 1}]
    labels = [
        {"track_id": t, "character_id": c, "confidence": 0.5, "status": "core", "method": "castmine"}
        for t, c in enumerate([0, 0, None])
    ]
    cast(lake, ["film"], [(0, 0.0, 1.0, 0)], cannot_links=links, track_labels=labels)
    written(lake, ["film"], "harvest-film", {"titles": titles, "tracks": tracks})
    cast(lake, ["empty"], [])
    written(lake, ["empty"], "harvest-empty", {"titles": titles})
    truth = {"title_id": ["film"] * 3 + ["empty"], "track_id": [0, 1, 2, 7], "label": [evil, "<img src=x>", evil, evil]}
    pd.DataFrame(truth).to_csv(tmp_path / "truth.csv", index=False)
    words = ["--lake", lake.root, "--quiet", "--truth", str(tmp_path / "truth.csv")]
    assert evaluate.main(words, spark=spark) == 0
    rows = collected(lake.rows("verdicts"), "title_id", "track_id", "person", "taken_for", "verdict")
    assert rows[2] == ("film", 2, evil, None, "unknown")
    assert {row[4] for row in rows} == {"right", "wrong", "unknown"}
    errors = lake.rows("error_rates").where("property = 'pose'")
    assert collected(errors, "title_id", "value", "n_tracks", "n_wrong", "n_unknown") == [("film", "profile", 3, 1, 1)]
    for title in ("film", "empty"):
        content = Path(lake.files, "reports", f"{title}.errors.html").read_text()
        assert "<script" not in content
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content
        assert "<img src=x" not in content
    assert 'src="data:image/jpeg;base64,' in Path(lake.files, "reports", "film.errors.html").read_text()
