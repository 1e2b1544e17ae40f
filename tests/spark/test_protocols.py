"""castmine evaluate under the rules of a published benchmark, on lakes with the benchmark's titles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conf.errors import UsageError
from jobs import evaluate
from jobs.lake.lake import Lake
from tests.helpers.small import cast, collected

pytestmark = pytest.mark.long

TITLES = ["bbt_s01e01", "bbt_s01e02", "composite-bbt_s01e01", "film"]
CHARACTERS = [0, 0, 1, None]
TRACKS = [(track, float(track), track + 1.0, character) for track, character in enumerate(CHARACTERS)]
LABELS = [
    {"track_id": t, "character_id": c, "method": "castmine", "status": "unknown" if c is None else "core"}
    for t, c in enumerate(CHARACTERS)
]
FACES = [
    {"track_id": t, "frame": f, "x": 100.0 * t, "y": 9.0, "w": 30.0, "h": 40.0} for t in range(4) for f in range(3)
]
IDS = "CVHCI_TRACKLABELS_V1\n0 sheldon\n1 sheldon\n2 unknown_e01_1\n3 leonard\n9 leonard\n"


@pytest.fixture(scope="module")
def lake(spark, empty, tmp_path_factory) -> Lake:
    """Four tracks of two characters, the last one unknown; the same in every title."""
    lake = Lake(spark, shutil.copytree(empty, tmp_path_factory.mktemp("protocols") / "lake").as_posix())
    cast(lake, TITLES, TRACKS, track_labels=LABELS, faces=FACES)
    return lake


@pytest.fixture
def ids(tmp_path: Path):
    """The release's label file of a title."""

    def written(title: str) -> str:
        (tmp_path / f"{title}.ids").write_text(IDS)
        return str(tmp_path / f"{title}.ids")

    return written


@pytest.fixture
def evaluated(lake, spark, capsys):
    """What `castmine evaluate` prints, and its metrics: title_id, protocol, metric -> value."""

    def run(*words: str) -> tuple[str, dict[tuple[str, str, str], float]]:
        run_id = f"run{lake.version('metrics')}"
        capsys.readouterr()
        assert evaluate.main(["--lake", lake.root, *words], spark=spark, run_id=run_id) == 0
        rows = lake.rows("metrics").where(f"run_id = '{run_id}'")
        found = collected(rows, "title_id", "protocol", "metric", "value")
        return capsys.readouterr().out, {row[:3]: row[3] for row in found}

    return run


def test_castmine_stands_above_the_papers_numbers(evaluated, ids):
    said, metrics = evaluated("--truth", ids("bbt_s01e02"), ids("bbt_s01e01"), "--protocol", "bbt")
    assert {protocol for _, protocol, _ in metrics} == {"bbt"}
    one = {metric: value for (title, _, metric), value in metrics.items() if title == "bbt_s01e01"}
    assert (one["n_tracks"], one["missing_tracks"], one["n_true"], one["n_predicted"]) == (4, 1, 3, 2)
    assert (one["wcp"], one["known_wcp"], one["v_measure"]) == (0.75, 1, 1)
    assert "PARTIAL: 4 of 6 titles are missing: bbt_s01e03, bbt_s01e04, bbt_s01e05, bbt_s01e06" in said
    assert "PARTIAL: other tracks than the paper's in bbt_s01e01, bbt_s01e02" in said
    table = said.partition("WCP, %; published: Table 5\n")[2].splitlines()
    assert table[0].split()[-3:] == ["2", "of", "six"]
    assert table[2].split() == ["castmine", "75", "75", "75"]
    assert table[3].split() == ["castmine,", "known", "only", "100", "100", "100"]
    assert table[9].split() == ["BCL", "98.63", "98.54", "90.61", "86.95", "89.12", "81.07", "89.36", "82.81"]


@pytest.fixture
def series(spark, empty, tmp_path) -> Lake:
    """Two episodes each of two series; person p of each is in both episodes, the third track of all is unknown."""
    lake = Lake(spark, shutil.copytree(empty, tmp_path / "lake").as_posix())
    for title in ("bbt_s01e01", "bbt_s01e02", "buffy_s05e01", "buffy_s05e02"):
        people = [{"character_id": 0, "person_id": title[:3]}, {"character_id": 1, "person_id": title}]
        cast(lake, [title], TRACKS, track_labels=LABELS, characters=people)
    return lake


def test_the_episodes_of_a_series_and_of_both_as_one_set_of_tracks(series, spark, ids, capsys):
    """Tracks 0 and 1 are p of both, 2 a person of each episode, 3 unknown: whom they show is p, p, x, y."""

    def combined(protocol: str, *titles: str) -> tuple[dict, dict]:
        words = ["--lake", series.root, "--protocol", protocol, "--json", "--truth", *map(ids, titles)]
        assert evaluate.main(words, spark=spark) == 0
        said = json.loads(capsys.readouterr().out)["protocol"]
        return said["combined"], said["metrics"]

    made, metrics = combined("bbt", "bbt_s01e01", "bbt_s01e02")
    assert made.keys() == {"2 of six"}
    assert made["2 of six"]["titles"] == ["bbt_s01e01", "bbt_s01e02"]
    assert "person_id, the view `people`" in made["2 of six"]["how"]
    # labels: sheldon 4 tracks, unknown_e01_1 2, leonard 2; clusters: bbt 4, one each of the episodes, two unknown
    assert (made["2 of six"]["tracks"], made["2 of six"]["characters"], made["2 of six"]["characters_found"]) == (
        8,
        3,
        3,
    )
    assert metrics["WCP"]["castmine"]["castmine"]["2 of six"] == 75.0
    assert metrics["WCP"]["castmine"]["castmine, known only"]["2 of six"] == 100.0
    assert metrics["WCP"]["castmine"]["castmine"]["all six"] is None

    made, metrics = combined("buffy", "buffy_s05e01")
    assert made.keys() == {"3 of twelve"}, "one episode of its own, and two that were evaluated before"
    assert made["3 of twelve"]["titles"] == ["buffy_s05e01", "bbt_s01e01", "bbt_s01e02"]
    assert (made["3 of twelve"]["characters"], made["3 of twelve"]["characters_found"]) == (6, 5)
    assert metrics["#Cl"]["castmine"]["castmine"]["3 of twelve"] == 5

    made, _ = combined("bbt_named", "bbt_s01e01")
    assert made == {}, "the other episode was not evaluated under this protocol"
    made, _ = combined("bbt", "bbt_s01e02")
    assert made.keys() == {"2 of twelve"}, "the newest evaluation of episode 1 was under another protocol"


def test_named_people_only_of_a_composite_title(evaluated, ids):
    """Scored like another, and no published number comes with it."""
    said, metrics = evaluated("--truth", ids("composite-bbt_s01e01"), "--protocol", "bbt_named", "--json")
    assert metrics["composite-bbt_s01e01", "bbt_named", "n_tracks"] == 3
    (line,) = said.splitlines()
    told = json.loads(line)
    assert told["figures"]["composite-bbt_s01e01"]["wcp"] == pytest.approx(2 / 3)
    assert told["protocol"]["composite"]
    found = told["protocol"]["metrics"]["WCP"]
    assert found["castmine"]["castmine"]["composite-bbt_s01e01"] == 66.67
    assert found["castmine"]["castmine, known only"]["composite-bbt_s01e01"] == 100
    assert found["published"] == {}
    size = told["protocol"]["titles"]["composite-bbt_s01e01"]
    assert (size["tracks"], size["tracks_in_paper"], size["tracks_not_in_lake"]) == (3, 647, 1)


def test_mot_truth_is_matched_by_boxes(evaluated, tmp_path):
    """Tracks 0 and 1 follow person 5, track 2 person 6; the person of track 3 is flagged as not counted."""
    people = [5, 5, 6, 7]
    lines = [
        f"{frame + 1},{person},{100 * t + 1},10,30,40,{int(person != 7)},1,1"
        for t, person in enumerate(people)
        for frame in range(3)
    ]
    truth = tmp_path / "film" / "gt" / "gt.txt"
    truth.parent.mkdir(parents=True)
    truth.write_text("\n".join(lines))
    said, metrics = evaluated("--truth", str(truth), "--quiet")
    assert said == ""
    found = {metric: value for (title, _, metric), value in metrics.items() if title == "film"}
    assert metrics["film", "boxes", "v_measure"] == 1
    assert (found["n_tracks"], found["false_tracks"], found["n_true"], found["unknown_share"]) == (3, 0, 2, 0)
    assert (found["detection_recall"], found["box_accuracy"], found["mixed_tracks"]) == (1, 1, 0)


def test_wrong_use_is_said_before_anything_starts(ids, tmp_path):
    with pytest.raises(UsageError, match="--protocol bbt: film: not its titles"):
        evaluate.main(["--lake", str(tmp_path / "no"), "--truth", ids("film"), "--protocol", "bbt"])
    with pytest.raises(UsageError, match="--titles b: no truth for it; there is truth for: a"):
        evaluate.main(["--lake", str(tmp_path / "no"), "--truth", ids("a"), ids("c"), "--titles", "a", "b"])


def test_truth_of_a_title_that_is_not_clustered(lake, spark, ids):
    with pytest.raises(UsageError, match=r"bbt_s01e06: not clustered .*; there are: bbt_s01e01"):
        evaluate.main(["--lake", lake.root, "--truth", ids("bbt_s01e06"), "--quiet"], spark=spark)


def test_truth_that_fits_nothing_is_no_perfect_score(lake, spark, tmp_path, capsys):
    """Of another film, or another harvest: nothing was scored, so there is no score."""
    before = lake.version("metrics")
    for text in ("label,track_id\nA,77\n", "label,frame,x,y,w,h\nA,0,900,900,5,5\n"):
        (tmp_path / "truth.csv").write_text(text)
        with pytest.raises(UsageError, match=r"--truth: none of its 1 (tracks|boxes) of film is among the tracks"):
            evaluate.main(
                ["--lake", lake.root, "--truth", str(tmp_path / "truth.csv"), "--titles", "film"], spark=spark
            )
    assert lake.version("metrics") == before
    (tmp_path / "truth.csv").write_text("title_id,label,track_id\nanother,A,0\n")
    with pytest.raises(UsageError, match="--truth: title_id another: not clustered"):
        evaluate.main(["--lake", lake.root, "--truth", str(tmp_path / "truth.csv")], spark=spark)


def test_true_tracks_that_are_not_there_are_said(lake, spark, tmp_path, capsys):
    (tmp_path / "truth.csv").write_text("label,track_id\nA,0\nA,1\nB,77\n")
    evaluate.main(["--lake", lake.root, "--truth", str(tmp_path / "truth.csv"), "--titles", "film"], spark=spark)
    assert "film: 1 of 3 true tracks are not there, and not scored" in capsys.readouterr().err
