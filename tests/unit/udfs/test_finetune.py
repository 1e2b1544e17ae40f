"""What a title's answers are summed up to, and crops as they are encoded."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from udfs.finetune import encode_crop, summarise_title
from udfs.kernels.cluster.videoclusternet import Answers, summarise_tracks

TRACK_ID = np.array([3, 3, 3, 8, 20, 20])


@pytest.fixture
def answers():
    random = np.random.default_rng(0)
    rows = {name: random.normal(size=(6, 5)).astype(np.float32) for name in ("embedding", "teacher", "student")}
    rows["embedding"] /= np.linalg.norm(rows["embedding"], axis=1, keepdims=True)
    alone = {f"alone_{side}": random.normal(size=(1, 5)).astype(np.float32) for side in ("teacher", "student")}
    fixed = {"centre": np.linspace(0, 0.1, 5), "temperatures": np.array([0.04, 0.1])}
    return SimpleNamespace(
        track_id=TRACK_ID, frame=np.arange(6), unsure=np.array([False, True, False]), **rows, **alone, **fixed
    )


def test_a_row_for_each_track(answers):
    found = summarise_title(answers)
    assert found.track_id.tolist() == [3, 8, 20]
    assert found.n_faces.tolist() == [3, 1, 2]
    assert found.unsure.tolist() == [False, True, False]
    for row, of in zip(found.itertuples(), (slice(0, 3), slice(3, 4), slice(4, 6)), strict=True):
        mean = answers.embedding[of].mean(axis=0)
        np.testing.assert_allclose(row.embedding, mean / np.linalg.norm(mean), atol=1e-6)


def test_distances_are_those_of_the_answers(answers):
    found = summarise_title(answers)
    fixed = answers.centre, tuple(answers.temperatures)
    expected = summarise_tracks(
        Answers(answers.teacher, answers.student, *fixed),
        Answers(answers.alone_teacher, answers.alone_student, *fixed),
        np.array([0, 0, 0, 1, 2, 2]),
        3,
    )
    for name, rows in expected._asdict().items():
        np.testing.assert_allclose(np.stack(found[name].to_list()), rows, rtol=1e-6)


def test_a_crop_keeps_its_colours():
    crop = np.full((112, 112, 3), (200, 90, 30), np.uint8)
    again = cv2.imdecode(np.frombuffer(encode_crop(crop), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(again.astype(int) - crop).max() <= 2
