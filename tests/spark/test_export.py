"""castmine export: csv, json and RTTM of who is on screen, when."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from conf.errors import UsageError
from jobs import export
from jobs.lake.lake import Lake
from tests.helpers.small import SHA256, cast, finished

TRACKS = [(0, 0.0, 2.0, 0), (1, 2.5, 4.0, 0), (2, 1.0, 3.0, 1), (3, 8.0, 9.0, None), (4, 5.0, 5.0004, 1)]
LABELS = [
    *({"track_id": t, "character_id": c, "confidence": 0.5, "status": "core"} for t, *_, c in TRACKS if c is not None),
    *({"track_id": t, "status": "unknown"} for t, *_, c in TRACKS if c is None),
]


@pytest.fixture(scope="module")
def root(spark, empty, tmp_path_factory):
    """A lake with `film`, with `nobody`, in which no face was found, and with `late`, whose picture begins late."""
    root = shutil.copytree(empty, tmp_path_factory.mktemp("export") / "lake")
    lake = Lake(spark, str(root))
    characters = [{"character_id": 0, "name": "Mary Ann"}, {"character_id": 1, "name": "=1+1"}]
    cast(lake, ["film"], TRACKS, characters=characters, track_labels=LABELS)
    cast(lake, ["nobody"], [])
    late = {"status": "ok", "embedder_sha256": SHA256, "embedding_dim": 2, "duration_s": 100.0, "start_s": 2.25}
    cast(lake, ["late"], TRACKS, characters=characters, track_labels=LABELS, titles=[late])
    return root


@pytest.fixture
def exported(spark, root, tmp_path):
    """The text of a title's exported file."""

    def written(kind: str, *options: str, title: str = "film") -> str:
        out = tmp_path / "out"
        words = ["--lake", str(root), "--quiet", "--format", kind, "--out", str(out), *options]
        assert export.main(words, spark=spark) == 0
        return (out / f"{title}.{kind}").read_text()

    return written


def test_csv_has_an_appearance_a_line(exported):
    rows = list(csv.DictReader(exported("csv").splitlines()))
    assert list(rows[0]) == list(export.COLUMNS)
    found = [(r["title_id"], r["character_id"], r["name"], float(r["start_s"]), float(r["end_s"])) for r in rows]
    assert found == [
        ("film", "0", "Mary Ann", 0.0, 4.0),  # half a second between its tracks
        ("film", "1", "'=1+1", 1.0, 3.0),  # no formula
        ("film", "1", "'=1+1", 5.0, 5.0004),
    ]


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("options", [(), ("--tracks",)])
def test_times_are_those_of_a_player(exported, kind, options):
    """A picture that begins 2.25 s after the sound."""

    def times(title: str) -> list[tuple[float, float]]:
        text = exported(kind, *options, title=title)
        rows = json.loads(text) if kind == "json" else list(csv.DictReader(text.splitlines()))
        return [(float(row["start_s"]), float(row["end_s"])) for row in rows]

    assert times("late") == [(round(a + 2.25, 6), round(b + 2.25, 6)) for a, b in times("film")]


def test_rttm_has_the_clock_of_the_sound(exported):
    assert exported("rttm", title="late").splitlines()[0] == ("SPEAKER late 1 2.250 2.000 <NA> <NA> Mary_Ann <NA> <NA>")


def test_json_tells_the_same_with_names_as_they_are(exported):
    rows = json.loads(exported("json"))
    assert [tuple(row) for row in rows] == [export.COLUMNS] * 3
    assert (rows[0]["n_tracks"], rows[0]["confidence"], rows[0]["first_track_id"]) == (2, 0.5, 0)
    assert rows[1]["name"] == "=1+1"


def test_rttm_merges_nothing_over_a_gap_and_leaves_out_what_rounds_to_nothing(exported):
    assert exported("rttm") == (
        "SPEAKER film 1 0.000 2.000 <NA> <NA> Mary_Ann <NA> <NA>\n"
        "SPEAKER film 1 1.000 2.000 <NA> <NA> =1+1 <NA> <NA>\n"
        "SPEAKER film 1 2.500 1.500 <NA> <NA> Mary_Ann <NA> <NA>\n"
    )


def test_unknown_tracks_are_exported_each_alone_where_asked(exported):
    assert exported("rttm", "--unknown").splitlines()[-1] == "SPEAKER film 1 8.000 1.000 <NA> <NA> unknown_3 <NA> <NA>"
    last = json.loads(exported("json", "--unknown"))[-1]
    assert (last["character_id"], last["name"], last["first_track_id"]) == (None, None, 3)


def test_the_gap_can_be_set(exported):
    assert len(json.loads(exported("json", "--gap", "0"))) == 4
    assert len(json.loads(exported("json", "--gap", "2.5"))) == 2


def test_tracks_as_they_are(exported):
    rows = json.loads(exported("json", "--tracks", "--unknown"))
    assert [tuple(row) for row in rows] == [export.TRACK_COLUMNS] * 5
    assert [row["track_id"] for row in rows] == [0, 2, 1, 4, 3]
    assert (rows[-1]["status"], rows[-1]["character_id"]) == ("unknown", None)


def test_a_title_in_which_nobody_appears_has_an_empty_file(exported):
    assert exported("csv", title="nobody") == ",".join(export.COLUMNS) + "\n"
    assert exported("json", title="nobody") == "[]\n"
    assert exported("rttm", title="nobody") == ""


def test_only_titles_that_are_clustered(spark, root, tmp_path, capsys):
    copied = shutil.copytree(root, tmp_path / "copied")
    finished(
        Lake(spark, str(copied)), "harvest", "film", {"titles": [{"status": "ok"}]}
    )  # its labels are of old tracks
    words = ["--lake", str(copied), "--format", "csv", "--out", str(tmp_path / "out"), "--json"]
    assert export.main(words, spark=spark) == 0
    files = [str(tmp_path / "out" / f"{title}.csv") for title in ("late", "nobody")]
    assert json.loads(capsys.readouterr().out)["files"] == files
    with pytest.raises(UsageError, match="--titles film: not clustered"):
        export.main([*words, "--titles", "film"], spark=spark)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tracks", "--format", "rttm"], "--tracks"),
        (["--tracks", "--gap", "1", "--format", "csv"], "--tracks"),
        (["--gap", "-1", "--format", "csv"], "--gap -1"),
        (["--gap", "nan", "--format", "csv"], "--gap nan"),
    ],
)
def test_wrong_options_are_said_before_anything_starts(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        export.main(["--lake", str(tmp_path / "none"), "--out", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_one_label_is_one_character():
    def labels(*names: str | None) -> list[str]:
        return export.rttm_labels([{"character_id": i, "name": name} for i, name in enumerate(names)])

    assert labels("Ann", None, "Bob; x", "  ") == ["Ann", "character_1", "Bob;_x", "character_3"]
    assert labels("Ann", "Ann", "Bob") == ["Ann_0", "Ann_1", "Bob"]
    assert labels("character_1", None) == ["character_0", "character_1"]
    assert labels("Zoë", "李") == ["Zoë", "李"]
    thai, hindi, persian = "น้ำฝน", "प्रियंका चोपड़ा", "می\u200cخوش"
    assert labels(thai, hindi, persian) == [thai, hindi.replace(" ", "_"), persian]
    assert labels("e\u0301a", "a\u2028b\u3000c\x85d\x1be\u202ff", " _x_ ") == ["e\u0301a", "a_b_c_d_e_f", "_x_"]
    assert labels("<NA>", "a/b(c)") == ["character_0", "a/b(c)"]


def test_touching_intervals_touch_after_rounding():
    rows = [
        {"title_id": "a", "character_id": 0, "name": None, "start_s": 0.0, "end_s": 1.0005},
        {"title_id": "a", "character_id": 1, "name": None, "start_s": 1.0005, "end_s": 2.0015},
    ]
    fields = [line.split() for line in export.as_rttm(rows, ()).splitlines()]
    assert float(fields[0][3]) + float(fields[0][4]) == pytest.approx(float(fields[1][3]), abs=1e-9)
    assert {len(line) for line in fields} == {10}
