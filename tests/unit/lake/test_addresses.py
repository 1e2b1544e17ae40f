"""Which addresses can be a lake, and what is said of the others."""

from __future__ import annotations

import os

import pytest

from conf.errors import UsageError
from jobs.lake.lake import Lake


@pytest.mark.parametrize(("address", "said"), [
    ("file", "not a folder"), ("link", "not a folder"), ("/dev/null", "not a folder"),
    ("file://nas/lake", "of file: addresses those of this machine"), ("file:lake", "of file: addresses"),
    ("a\udcffb", "no Unicode"), ("no.lake", r"a folder of that name is ./no.lake"),
])  # fmt: skip
def test_what_can_be_no_lake(tmp_path, monkeypatch, address, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.symlink("gone", tmp_path / "link")
    with pytest.raises(UsageError, match=said):
        Lake(None, address)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
