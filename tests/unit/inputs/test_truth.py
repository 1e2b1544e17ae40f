"""Truth files of every form that is read, made here as their documents say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from conf.errors import UsageError
from jobs.inputs.truth import BY_BOXES, BY_TRACKS, read_truth, read_truths

IDS = "CVHCI_TRACKLABELS_V1\n7 sheldon\n11 leonard\n58 unknown_e01_1\n"
MOT = "1,3,794.5,247,71,174,1,1,0.8\n1, 6, 1648.1, 119.6, 66.5, 163.25, 0, 7, 1\n40,3,10,20,30,40,1,1,1\n"


def facetracks(*tracks: tuple[list[int], list[int], str]) -> np.ndarray:
    """(frames, x, label) as the release's struct array; a box is 30 x 40 at y = 20."""
    fields = ("x", "y", "w", "h", "frames", "timestamps", "trackerId", "groundTruthIdentity")
    rows = np.empty((1, len(tracks)), [(name, object) for name in fields])
    for i, (frames, x, label) in enumerate(tracks):
        n = len(frames)
        rows[0, i] = (x, [20] * n, [30] * n, [40] * n, frames, [f / 25 for f in frames], i, label)
    return rows


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def rows(truth: pd.DataFrame) -> list[tuple]:
    return list(truth.itertuples(index=False, name=None))


def test_ids(tmp_path):
    truth = read_truth(written(tmp_path, "bbt_s01e01.ids", IDS), None)
    assert list(truth) == list(BY_TRACKS)
    assert rows(truth) == [
        ("bbt_s01e01", "sheldon", 7),
        ("bbt_s01e01", "leonard", 11),
        ("bbt_s01e01", "unknown_e01_1", 58),
    ]


@pytest.mark.parametrize("place", ["film/gt/gt.txt", "film/gt.txt", "film.txt", "film.csv"])
def test_mot_counts_from_one_and_its_ids_are_people(tmp_path, place):
    truth = read_truth(written(tmp_path, place, MOT), None)
    assert list(truth) == list(BY_BOXES)
    assert rows(truth) == [
        ("film", "3", 0, 793.5, 246.0, 71.0, 174.0),
        ("film", None, 0, 1647.1, pytest.approx(118.6), 66.5, 163.25),  # flag 0: there, but not counted
        ("film", "3", 39, 9.0, 19.0, 30.0, 40.0),
    ]


boxes = st.tuples(st.integers(1, 99), st.integers(1, 9), *[st.integers(1, 999)] * 4, st.integers(0, 1))


@given(lines=st.lists(boxes, min_size=1, max_size=20))
def test_mot_gives_what_was_written(tmp_path_factory, lines):
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    truth = read_truth(written(tmp_path_factory.mktemp("mot"), "film.txt", text), None)
    expected = [("film", str(i) if flag else None, f - 1, x - 1, y - 1, w, h) for f, i, x, y, w, h, flag in lines]
    assert rows(truth) == expected


@pytest.mark.parametrize("name", ["bbt_s01e01.facetracks.mat", "bbt_s01e01_facetracks.mat", "bbt_s01e01.mat"])
@pytest.mark.parametrize("variable", ["ft", "FaceTracks"])
def test_facetracks(tmp_path, name, variable):
    tracks = facetracks(([118, 119], [519, 517], "sheldon"), ([7], [3], "unknown"))
    savemat(tmp_path / name, {variable: tracks, "fps": 25.0})
    assert rows(read_truth(tmp_path / name, None)) == [
        ("bbt_s01e01", "sheldon", 118, 519, 20, 30, 40),
        ("bbt_s01e01", "sheldon", 119, 517, 20, 30, 40),
        ("bbt_s01e01", "unknown", 7, 3, 20, 30, 40),
    ]
    savemat(tmp_path / name, {variable: facetracks(([5], [6], "raj"))})  # MATLAB has no array of one
    assert rows(read_truth(tmp_path / name, None)) == [("bbt_s01e01", "raj", 5, 6, 20, 30, 40)]


@pytest.mark.parametrize("kind", ["csv", "parquet", "odd"])
def test_numbers_and_odd_words_are_names(tmp_path, kind):
    labels = [7, 8] if kind == "parquet" else ["None", "007"]
    table = pd.DataFrame({"title_id": ["1917", "300"], "track_id": [1, 2], "label": labels, "note": ["x", None]})
    file = tmp_path / f"truth.{kind}"
    table.to_parquet(file) if kind == "parquet" else table.to_csv(file, index=False)
    assert rows(read_truth(file, None)) == [("1917", str(labels[0]), 1), ("300", str(labels[1]), 2)]
    assert rows(read_truth(file, ["300"])) == [("300", str(labels[1]), 2)]
    table.assign(label=[7.0, 8.0]).to_parquet(tmp_path / "floats.parquet")
    assert [label for _, label, _ in rows(read_truth(tmp_path / "floats.parquet", None))] == ["7", "8"]


def test_a_folder_of_parquet_is_one_file(tmp_path):
    (tmp_path / "truth.parquet").mkdir()
    for title in ("a", "b"):
        table = pd.DataFrame({"title_id": [title], "track_id": [1], "label": ["x"]})
        table.to_parquet(tmp_path / "truth.parquet" / f"{title}.parquet")
    assert sorted(rows(read_truth(tmp_path / "truth.parquet", None))) == [("a", "x", 1), ("b", "x", 1)]


def test_a_file_is_about_the_title_of_its_name_unless_it_alone_is_about_another(tmp_path):
    one, two = (written(tmp_path, f"bbt_s01e0{n}.ids", IDS) for n in (1, 2))
    assert set(read_truths([one, two], None).title_id) == {"bbt_s01e01", "bbt_s01e02"}
    assert set(read_truths([one, two], ["bbt_s01e02"]).title_id) == {"bbt_s01e02"}
    assert set(read_truths([one], ["pilot"]).title_id) == {"pilot"}
    nameless = written(tmp_path, "truth.csv", "track_id,label\n1,x\n")
    assert set(read_truths([nameless], ["pilot"]).title_id) == {"pilot"}
    with pytest.raises(UsageError, match=r"truth.csv: has no title_id column; name its one title with --titles"):
        read_truths([nameless], None)


def test_files_that_do_not_go_together(tmp_path):
    tracks, mot = written(tmp_path, "a.ids", IDS), written(tmp_path, "b.txt", MOT)
    with pytest.raises(UsageError, match="some files are by track_id and some by boxes"):
        read_truths([tracks, mot], None)
    with pytest.raises(UsageError, match="--truth: track 7 of a is labelled twice"):
        read_truths([tracks, tracks], None)
    with pytest.raises(UsageError, match="--titles c: no truth for it; there is truth for: a"):
        read_truths([tracks, written(tmp_path, "b.ids", IDS)], ["a", "c"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "title_id,label\na,x\n", r"needs label and track_id, or label, frame, .*; missing: \['frame'"),
        ("t.csv", "title_id,track_id,label\na,1,\n", "empty values in label"),
        ("t.csv", "title_id,track_id,label\na,1.5,x\n", "track_id must be a whole number in every row"),
        ("t.csv", "title_id,label,frame,x,y,w,h\na,x,1,wide,1,1,1\n", "x must be a number in every row"),
        ("t.csv", "", "it is empty"),
        ("t.mp4", "PAR1 but no Parquet", "cannot be read as"),
        ("gt.txt", "1,2,3,4,5,6\n", "a line of MOT truth is frame, id, .*; it has 6 values"),
        ("det.txt", "1,-1,3,4,5,6,0.9,-1,-1,-1\n", r"detections without identities \(det.txt\)"),
        ("a.ids", "CVHCI_TRACKLABELS_V1\n7 sheldon cooper\n", "a line is `track_id label`; one is '7 sheldon cooper'"),
        ("a.ids", "CVHCI_TRACKLABELS_V1\nseven sheldon\n", "track_id must be a whole number"),
        ("a.mat", "MATLAB 7.3 MAT-file", "save it with -v7"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, text, said):
    file = written(tmp_path, name, text)
    with pytest.raises(UsageError, match=rf"--truth {file}: .*{said}"):
        read_truth(file, None)


def test_a_file_that_is_not_there_and_a_mat_without_tracks(tmp_path):
    with pytest.raises(UsageError, match=r"gone.csv: cannot be read .* No such file"):
        read_truth(tmp_path / "gone.csv", None)
    savemat(tmp_path / "other.mat", {"x": np.eye(3)})
    with pytest.raises(UsageError, match="holds 0 struct arrays with frames, x"):
        read_truth(tmp_path / "other.mat", None)


@pytest.mark.parametrize("row", ["A,-1,0,0,5,5", "A,0,0,0,-5,5", "A,0,0,0,5,0", "A,99999999999999999999,0,0,5,5"])
def test_boxes_that_can_be_none(tmp_path, row):
    (tmp_path / "truth.csv").write_text(f"label,frame,x,y,w,h\n{row}\n")
    with pytest.raises(UsageError, match=r"truth.csv: (box 1: frames count from 0|frame must be a whole number)"):
        read_truth(tmp_path / "truth.csv", ["film"])
