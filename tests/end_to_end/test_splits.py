"""The same film gives the same rows, however the work is split: small cases. More in test_standalone.py, faults.py."""

from __future__ import annotations

import shutil

from jobs import harvest
from tests.helpers import lakes
from tests.helpers.commands import castmine


def test_two_titles_of_the_same_bytes_in_two_commits(spark, nobody, tmp_path, monkeypatch):
    """A manifest may say that they are two."""
    monkeypatch.setattr(harvest, "PIECES_PER_CORE", 0)
    shutil.copy(nobody, tmp_path / "again.mp4")
    manifest = tmp_path / "films.csv"
    manifest.write_text(f"title_id,uri\nnobody,{nobody}\nagain,again.mp4\n")
    assert castmine("harvest", manifest, "--lake", tmp_path / "lake") == 0
    first, second = lakes.rows(tmp_path / "lake", "shots").to_pylist()
    assert {**first, "title_id": "nobody"} == second
