"""The same film gives the same rows, however the work is split."""

from __future__ import annotations

from pathlib import Path

from tests.whole import lakes
from tests.whole.conftest import PIECES, castmine


def test_seven_partitions(spark, finished: Path, films, tmp_path):
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        assert castmine("run", *films, "--lake", tmp_path / "lake", *PIECES) == 0
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert lakes.differences(tmp_path / "lake", finished) == []
