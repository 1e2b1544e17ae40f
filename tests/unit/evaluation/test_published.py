"""The protocols' data: whole, and in agreement with what else the papers print."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from conf.errors import UsageError
from conf.protocol import Protocol, list_protocols, read_protocol
from jobs.evaluation.combined import Combined
from jobs.evaluation.published import compare, select_counted, show
from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.verification import verify_tracks

TOTALS = {  # tracks; of BCL's Table 5, of VideoClusterNet's Tables 9 and 2, and our sum of MvCorr's Table I
    **{"bbt": 3908, "buffy": 5832, "bbt_named": 3504, "buffy_named": 5477},
    **{"movie_face_cluster": 3619, "sail_mcb": 9773},
}
KNOWN = {**scoring.score(["a", "b"], np.array([0, 1])), **verify_tracks(np.eye(3), ["a", "a", "b"])}


@pytest.fixture(params=list_protocols())
def rules(request) -> Protocol:
    return read_protocol(request.param)


def test_there_is_a_total_to_check_every_protocol_by():
    assert {
        name: sum(title.tracks for title in read_protocol(name).titles.values()) for name in list_protocols()
    } == TOTALS


def test_every_number_has_a_column_and_every_metric_a_figure(rules):
    assert rules.published.keys() == rules.metrics.keys()
    for metric, methods in rules.published.items():
        assert rules.metrics[metric].figure in KNOWN
        for numbers in methods.values():
            assert len(numbers) == len(rules.columns)
            assert all(0 <= number <= 400 for number in numbers if number is not None)
            assert rules.metrics[metric].percent <= (max(n for n in numbers if n is not None) <= 100)


@pytest.mark.parametrize(("one", "other"), [("bbt", "buffy"), ("buffy", "bbt")])
def test_both_twelve_are_those_of_both_protocols(one, other):
    ours, theirs = read_protocol(one), read_protocol(other)
    assert ours.both_with == other
    size = ours.last_columns["both twelve"]
    assert size == theirs.last_columns["both twelve"]
    assert size.tracks == TOTALS[one] + TOTALS[other]
    assert size.characters == sum(made.last_columns["all six"].characters for made in (ours, theirs))
    for metric, methods in ours.published.items():
        assert {name: numbers[-1] for name, numbers in methods.items()} == {
            name: numbers[-1] for name, numbers in theirs.published[metric].items()
        }


def test_all_six_have_the_tracks_of_their_titles(rules):
    if size := rules.last_columns.get("all six"):
        assert size.tracks == sum(title.tracks for title in rules.titles.values())


def test_the_means_of_the_mvcorr_paper_are_the_means_of_its_titles():
    for *titles, mean in read_protocol("sail_mcb").published["V-measure"].values():
        assert mean == pytest.approx(np.mean(titles), abs=0.051)


def truth(*labels: str | None, title: str = "bbt_s01e01") -> pd.DataFrame:
    return pd.DataFrame({"title_id": title, "label": labels, "track_id": range(len(labels))})


@pytest.mark.parametrize(
    ("name", "title", "left"),
    [
        ("bbt", "bbt_s01e01", ["sheldon", "unknown_e01_1", None, None, None]),
        ("bbt", "composite-bbt_s01e01", ["sheldon", "unknown_e01_1", None, None, None]),
        ("bbt_named", "bbt_s01e01", ["sheldon", None, None, None, None]),
        ("movie_face_cluster", "the_fortress", ["sheldon", "unknown_e01_1", "unknown", "false_positive", None]),
    ],
)
def test_which_labels_count(name, title, left):
    given = truth("sheldon", "unknown_e01_1", "unknown", "false_positive", None, title=title)
    found = select_counted(given, name)
    assert [None if pd.isna(label) else label for label in found.label] == left
    assert found.drop(columns="label").equals(given.drop(columns="label"))


def test_titles_that_are_not_the_protocols():
    with pytest.raises(UsageError, match="--protocol bbt: film: not its titles, whose title_ids are bbt_s01e01, "):
        select_counted(truth("x", title="film"), "bbt")
    both = pd.concat([truth("x"), truth("x", title="composite-bbt_s01e02")])
    with pytest.raises(UsageError, match="evaluate composite titles apart from others: composite-bbt_s01e02"):
        select_counted(both, "bbt")


def figures(*values: float, n: int = 634) -> dict[str, float]:
    """V-measure and over-clustering index, over all tracks and over the known ones."""
    names = ("v_measure", "known_v_measure", "cluster_ratio", "known_cluster_ratio")
    return {**dict(zip(names, values, strict=True)), "n_tracks": n, "n_true": 12.0, "n_predicted": 12.0}


def test_a_mean_needs_every_title():
    rules = read_protocol("sail_mcb")
    some = {"BFF": figures(0.9, 0.95, 1, 1)}
    row = compare("sail_mcb", some)["metrics"]["V-measure"]["castmine"]["castmine"]
    assert row == {"BFF": 90.0} | dict.fromkeys(["ALN", "DD2", "HF", "MT", "NH", "mean"])
    every = {title: figures(0.8 + i / 100, 1, 1.5, 1.5) for i, title in enumerate(rules.titles)}
    found = compare("sail_mcb", every)["metrics"]
    assert found["V-measure"]["castmine"]["castmine"]["mean"] == 82.5
    assert found["OCI"]["castmine"]["castmine"]["mean"] == 1.5  # a ratio is no share
    assert found["V-measure"]["published"]["HAC + MvCorr"]["mean"] == 88.1
    assert found["TPR at 0.1 FPR"]["castmine"]["castmine"]["mean"] is None  # no figure of it: no pairs of tracks


def pooled(titles: list[str], wanted: int) -> Combined:
    return Combined(titles, wanted, {"v_measure": 0.75, "known_v_measure": 0.8, "wcp": 0.5, "known_wcp": 0.625}
                    | {"n_predicted": 9.0, "known_n_predicted": 9.0, "n_true": 8.0, "n_tracks": 700.0})  # fmt: skip


def test_what_is_combined_stands_in_the_papers_column_only_where_it_is_whole(capsys):
    six = list(read_protocol("bbt").titles)
    some = {title: {"v_measure": 0.9, "wcp": 0.9, "n_predicted": 3.0, "n_true": 3.0, "n_tracks": 5.0} for title in six}
    said = compare("bbt", some, {"all six": pooled(six, 6), "both twelve": pooled([*six, "buffy_s05e01"], 12)})
    row = said["metrics"]["NMI"]["castmine"]["castmine"]
    assert (row["all six"], row["both twelve"], row["7 of twelve"]) == (75.0, None, 75.0)
    assert said["metrics"]["WCP"]["castmine"]["castmine, known only"]["all six"] == 62.5
    assert said["metrics"]["NMI"]["published"]["BCL"]["both twelve"] == 75.32
    assert said["combined"]["all six"]["tracks_in_paper"] == 3908
    assert said["combined"]["7 of twelve"]["tracks_in_paper"] is None
    assert said["combined"]["7 of twelve"]["titles"] == [*six, "buffy_s05e01"]
    show(said)
    printed = capsys.readouterr().out
    assert "castmine clusters each episode by itself" in printed
    table = printed.partition("NMI, %; published: Table 5\n")[2].splitlines()
    assert table[0].split() == [*six, *["all", "six", "both", "twelve", "7", "of", "twelve"]]
    assert table[2].split() == ["castmine", *["90"] * 6, "75", "75"]
    assert table[9].split()[-2:] == ["73.22", "75.32"]


def test_what_is_printed(capsys):
    show(compare("sail_mcb", {"BFF": figures(0.9, 0.95, 1, 1)}))
    said = capsys.readouterr().out
    assert "PARTIAL: 5 of 6 titles are missing: ALN, DD2, HF, MT, NH" in said
    assert "other tracks than the paper's" not in said
    assert "NUMBER NOT GIVEN" not in said
    table = said.partition("V-measure, %; published: Table V\n")[2].splitlines()
    assert table[0].split() == ["ALN", "BFF", "DD2", "HF", "MT", "NH", "mean"]
    assert table[2].split() == ["castmine", "90"]
    assert table[6].split() == ["HAC", "+", "MvCorr", "86.8", "97.6", "85.7", "82.2", "92.1", "84", "88.1"]

    table = said.partition("accuracy, %; published: Table VI\n")[2].splitlines()
    assert table[0].split() == ["BFF", "NH"]  # the others have no number

    odd = figures(0.9, 0.95, 1, 1, n=600) | {"n_predicted": 13.0}
    show(compare("sail_mcb", {"BFF": odd}))
    said = capsys.readouterr().out
    assert "PARTIAL: other tracks than the paper's in BFF" in said
    assert "NUMBER NOT GIVEN" in said
    assert "castmine cluster --titles ID --characters N" in said


def test_no_published_number_stands_beside_a_composite_title(capsys):
    said = compare("sail_mcb", {"composite-BFF": figures(0.9, 0.95, 1, 1)})
    assert all(not found["published"] for found in said["metrics"].values())
    assert said["metrics"]["V-measure"]["castmine"]["castmine"]["composite-BFF"] == 90
    show(said)
    printed = capsys.readouterr().out
    assert "COMPOSITE: the faces of composite-BFF are not the film's" in printed
    assert "must not be put beside published ones" in printed
    for known in ("MvCorr", "97.6", "Table V", " BFF "):
        assert known not in printed
