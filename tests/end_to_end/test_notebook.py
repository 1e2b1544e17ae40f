"""The notebook runs from top to bottom on a finished lake, and draws what it says."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[notebook.stem for notebook in NOTEBOOKS])
def test_the_notebook_runs(notebook: Path, finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CASTMINE_LAKE", str(finished))
    opened = nbformat.read(notebook, as_version=4)
    NotebookClient(
        opened, timeout=300, kernel_name="python3", resources={"metadata": {"path": notebook.parent}}
    ).execute()
    kinds = [kind for cell in opened.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert kinds.count("image/png") >= 4  # two timelines, two contact sheets and the distances
    assert not any(cell.get("outputs") for cell in nbformat.read(notebook, as_version=4).cells), (
        "commit it without output"
    )
