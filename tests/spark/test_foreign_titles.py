"""Titles that another program wrote into a lake, and whose ids lead out of its folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.errors import LakeError
from jobs import evaluate, export, mine, report
from jobs.cli import program
from tests.helpers.small import cast

FACES = [
    {"track_id": t, "frame": f, "x": 0.0, "y": 0.0, "w": 9.0, "h": 9.0, "detected": True, "embedding": [1.0, 0.0]}
    for t in (0, 1)
    for f in range(3)
]


def test_no_command_writes_outside_its_folder(lake, spark, tmp_path, capsys):
    title, shots = "../../x", [{"shot_id": 0, "thread_id": 0, "start_frame": 0, "end_frame": 24}]
    cast(lake, [title], [(0, 0.0, 1.0, 0), (1, 0.0, 2.0, 1)], faces=FACES, shots=shots)

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
    with pytest.raises(SystemExit) as ended:
        program.run(lambda: mine.main([*words, "--force"], spark=spark))
    assert ended.value.code == program.CANNOT_GO_ON
    assert f"castmine: title {title!r} cannot name a file" in capsys.readouterr().err
    assert beside() == before
