"""Titles that another program wrote into a lake, and whose ids lead out of its folders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from conf.errors import LakeError
from jobs import evaluate, export, report
from tests.helpers.small import cast
from udfs.staging import stage_tables


def test_no_command_writes_outside_its_folder(lake, spark, tmp_path):
    title = "../../x"
    cast(lake, [title], [(0, 0.0, 1.0, 0), (1, 0.0, 2.0, 1)])

    def beside() -> list[Path]:
        return sorted(path for path in tmp_path.parent.rglob("*") if "lake" not in path.parts)

    truth = tmp_path / "truth.csv"
    truth.write_text(f"title_id,track_id,label\n{title},0,Ann\n{title},1,Bob\n")
    before = beside()
    words = ["--lake", lake.root, "--quiet"]
    for main, more in (
        (report.main, []),
        (evaluate.main, ["--truth", str(truth)]),
        (export.main, ["--format", "csv", "--out", str(tmp_path / "given")]),
    ):
        with pytest.raises(LakeError, match="cannot name a file") as caught:
            main([*words, *more], spark=spark)
        assert repr(title) in str(caught.value)
    assert beside() == before


def test_no_task_stages_outside_its_folder(tmp_path):
    """Neither mine nor cluster nor evaluate, whose tasks stage a title's rows here."""
    rows = pd.DataFrame({"track_a": [0], "track_b": [1]})
    for title in ("../../../x", str(tmp_path / "x")):
        with pytest.raises(LakeError, match="cannot name a file"):
            stage_tables(title, {"must_links": rows}, str(tmp_path / "staging"), "run")
    assert not list(tmp_path.rglob("x*"))
