"""A title's figures against its truth, by tracks and by boxes; the scores themselves are tested in test_scoring."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.evaluate import scoring, title
from udfs.kernels.evaluate.verification import verify_tracks


def labels_of(*characters: float) -> pd.DataFrame:
    """Tracks 0, 1, ... of 1, 2, ... seconds, without embeddings."""
    n = len(characters)
    tracks = pd.DataFrame({"track_id": range(n), "character_id": characters, "seconds": np.arange(1.0, n + 1)})
    return tracks.assign(embedding=None)


def expected_of(true: list[str], predicted: list[int], seconds: list[float]) -> dict[str, float]:
    rows = np.array(true, str), np.array(predicted, int), np.array(seconds)
    known = scoring.over_time(*(row[rows[1] >= 0] for row in rows))
    of_known = {f"known_{name}": value for name, value in known.items()}
    return scoring.score(*rows[:2]) | scoring.over_time(*rows) | of_known


def boxes(*rows: tuple) -> pd.DataFrame:
    """(track_id, frame, x) as faces of 40 x 40 pixels."""
    frame = pd.DataFrame(rows, columns=["track_id", "frame", "x"])
    return frame.assign(y=10.0, w=40.0, h=40.0).astype({"x": float})


def truth_of(*rows: tuple) -> pd.DataFrame:
    """(frame, x, label) as true boxes of 40 x 40 pixels."""
    frame = pd.DataFrame(rows, columns=["frame", "x", "label"])
    return frame.assign(y=10.0, w=40.0, h=40.0).astype({"x": float})


def test_by_tracks():
    truth = pd.DataFrame({"track_id": [3, 1, 0, 2, 9], "label": ["b", "a", "a", "b", "c"]})
    figures = title.figures_by_tracks(labels_of(0, 0, 1, 1, 1), truth)
    assert figures["missing_tracks"] == 1
    assert figures["n_tracks"] == 4
    assert figures["v_measure"] == figures["accuracy"] == 1
    mixed = title.figures_by_tracks(labels_of(0, 1, 0, np.nan), truth)
    expected = expected_of(["a", "a", "b", "b"], [0, 1, 0, -1], [1, 2, 3, 4])
    assert mixed == expected | {"missing_tracks": 1.0}
    assert mixed["unknown_share"] == 0.25


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 15))
def test_by_tracks_in_any_order(seed, n):
    rng = np.random.default_rng(seed)
    labels = labels_of(*rng.choice([0, 1, 2, np.nan], n))
    labels["embedding"] = [row / np.linalg.norm(row) for row in rng.normal(size=(n, 4))]
    truth = pd.DataFrame({"track_id": rng.permutation(n + 3)[:n], "label": rng.choice(["x", "y", "z"], n)})
    figures = title.figures_by_tracks(labels, truth)
    again = title.figures_by_tracks(labels.sample(frac=1, random_state=seed), truth.sample(frac=1, random_state=seed))
    assert figures == again
    known = {row.track_id: row.label for row in truth.itertuples() if row.track_id < n}
    predicted = [-1 if math.isnan(c) else int(c) for c in (labels.character_id[t] for t in sorted(known))]
    true = [known[t] for t in sorted(known)]
    rows = np.array([labels.embedding[t] for t in sorted(known)]).reshape(len(known), 4)
    with_one = np.array(predicted, int) >= 0
    pairs = verify_tracks(rows, true) | {
        f"known_{name}": value for name, value in verify_tracks(rows[with_one], np.array(true, str)[with_one]).items()
    }
    pairs = {name: value for name, value in pairs.items() if np.isfinite(value)}
    expected = expected_of(true, predicted, [float(t + 1) for t in sorted(known)])
    assert figures == expected | pairs | {"missing_tracks": float(n - len(known))}


def test_labels_may_be_numbers():
    truth = pd.DataFrame({"track_id": [0, 1], "label": [7, 8]})
    assert title.figures_by_tracks(labels_of(0, 1), truth)["accuracy"] == 1
    assert title.figures_by_boxes(labels_of(0), boxes((0, 0, 0)), truth_of((0, 0, 7)), 0.5)["accuracy"] == 1


def test_by_boxes():
    tracks = labels_of(0, 1, 2, np.nan)
    faces = boxes(
        (0, 0, 0), (0, 1, 2),
        (1, 0, 100), (1, 1, 102), (1, 2, 300),  # follows a, then b
        (2, 0, 500),  # nobody
        (3, 5, 100),  # b, unknown
    )  # fmt: skip
    truth = truth_of((0, 0, "a"), (1, 0, "a"), (0, 100, "b"), (1, 100, "b"), (2, 300, "a"), (5, 100, "b"), (9, 0, "b"))
    figures = title.figures_by_boxes(tracks, faces, truth, 0.5)
    counts = {"detection_recall": 6 / 7, "false_tracks": 1.0, "mixed_tracks": 1.0}
    # of seven true boxes two of a in character 0 and two of b in 1; a in 1, b unknown and the one not found are wrong
    accuracy = {"box_accuracy": 4 / 7, "known_box_accuracy": 4 / 5}
    assert figures == expected_of(["a", "b", "b"], [0, 1, -1], [1, 2, 4]) | counts | accuracy
    strict = title.figures_by_boxes(tracks, faces, truth, 0.97)
    assert strict["detection_recall"] == 4 / 7
    assert title.figures_by_boxes(tracks, faces.sample(frac=1, random_state=1), truth, 0.5) == figures


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 12))
def test_a_track_that_is_not_counted_is_as_if_it_had_no_truth(seed, n):
    rng = np.random.default_rng(seed)
    labels = labels_of(*rng.choice([0, 1, np.nan], n))
    truth = pd.DataFrame({"track_id": range(n), "label": rng.choice(["x", "y", None], n)}).astype({"label": object})
    figures = title.figures_by_tracks(labels, truth)
    assert figures == title.figures_by_tracks(labels, truth[truth.label.notna()])
    assert figures["missing_tracks"] == 0


def test_boxes_that_are_not_counted():
    """Their tracks are neither scored nor false; the other figures are those of the truth without them."""
    tracks, counted = labels_of(0, 1, 1), truth_of((0, 0, "a"), (1, 0, "a"), (0, 100, "b"), (9, 0, "b"))
    faces = boxes((0, 0, 0), (0, 1, 2), (1, 0, 100), (2, 0, 500))
    every = pd.concat([counted, truth_of((0, 500, None), (7, 500, None))])
    figures = title.figures_by_boxes(tracks, faces, every, 0.5)
    assert (figures["false_tracks"], figures["n_tracks"], figures["detection_recall"]) == (0, 2, 3 / 4)
    without = title.figures_by_boxes(tracks, faces, counted, 0.5)
    assert figures == without | {"false_tracks": 0.0}
    assert without["false_tracks"] == 1
    nobody = title.figures_by_boxes(tracks, faces, every.assign(label=None), 0.5)
    assert (nobody["n_tracks"], nobody["false_tracks"], nobody["detection_recall"]) == (0, 0, 1)


@pytest.mark.parametrize("faces", [boxes(), boxes((0, 0, 400), (1, 3, 0))])
@pytest.mark.parametrize("truth", [truth_of(), truth_of((0, 0, "a"))])
def test_nothing_matches(faces, truth):
    figures = title.figures_by_boxes(labels_of(0, np.nan), faces, truth, 0.5)
    assert figures["n_tracks"] == 0
    assert figures["false_tracks"] == faces.track_id.nunique()
    assert figures["mixed_tracks"] == 0
    assert figures["detection_recall"] == (0 if len(truth) else 1)
    assert all(math.isfinite(value) for value in figures.values())


def test_no_track_at_all():
    figures = title.figures_by_tracks(labels_of(), pd.DataFrame({"track_id": [1, 2], "label": ["a", "b"]}))
    assert figures["missing_tracks"] == 2
    assert figures["n_tracks"] == 0
    assert all(math.isfinite(value) for value in figures.values())
    assert title.figures_by_tracks(labels_of(0), pd.DataFrame({"track_id": [], "label": []}))["missing_tracks"] == 0
