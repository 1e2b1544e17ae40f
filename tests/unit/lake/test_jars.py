"""The jars that Spark needs."""

from __future__ import annotations

import hashlib

import pytest

from conf.errors import CastmineError
from jobs.lake import jars


def test_a_jar_that_is_another_is_not_used(monkeypatch, tmp_path):
    sums = {"one.jar": hashlib.sha256(b"one").hexdigest(), "two.jar": hashlib.sha256(b"two").hexdigest()}
    monkeypatch.setattr(jars, "known", lambda _: jars.Jars([], [], sums))
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path))
    (tmp_path / "jars").mkdir()
    for name in sums:
        (tmp_path / "jars" / name).write_bytes(name.removesuffix(".jar").encode())
    assert [jar.name for jar in jars.fetch("delta")] == list(sums)
    (tmp_path / "jars" / "two.jar").write_bytes(b"three")
    with pytest.raises(CastmineError, match=r"two\.jar: not the jar it should be\. Delete it"):
        jars.fetch("delta")
