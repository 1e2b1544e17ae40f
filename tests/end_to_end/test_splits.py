"""The same film gives the same rows, however the work is split: small cases. More in test_standalone.py, faults.py."""

from __future__ import annotations

import shutil

from jobs import harvest
from tests.helpers import lakes
from tests.helpers.commands import castmine


def test_two_titles_of_the_same_bytes_in_two_commits(spark, nobody, tmp_path, monkeypatch):
    monkeypatch.setattr(harvest, "COMMIT_TITLES", 1)
    shutil.copy(nobody, tmp_path / "again.mp4")
    assert castmine("harvest", nobody, tmp_path / "again.mp4", "--lake", tmp_path / "lake") == 0
    first, second = lakes.rows(tmp_path / "lake", "shots").to_pylist()
    assert {**first, "title_id": "nobody"} == second
