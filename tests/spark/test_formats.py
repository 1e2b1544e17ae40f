"""Lakes of other castmines: older ones are read as they are, and completed before they are written to; newer refused.

tests/data holds a lake of each format, of one title with a name given by hand: what `castmine import`, `mine`,
`cluster` and `name` of that time left.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from conf.catalog import all_tables, table
from conf.code_versions import FORMAT
from conf.errors import LakeError
from conf.table import FORMAT_PROPERTY
from conf.views import VIEWS
from jobs import cluster, mine, sql, status
from jobs.lake.lake import Lake
from tests.helpers import lakes
from tests.helpers.small import collected

DATA = Path(__file__).parents[1] / "data"
FORMATS = sorted(int(file.name.split("_")[-1].split(".")[0]) for file in DATA.glob("lake_format_*.tar.xz"))


@pytest.fixture(params=FORMATS)
def frozen(spark, tmp_path, request) -> Lake:
    with tarfile.open(DATA / f"lake_format_{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return Lake(spark, str(tmp_path / "lake"))


def call(job, lake: Lake, *words: str) -> int:
    return int(job.main(["--lake", lake.root, *words], spark=lake.spark))


def test_every_format_has_its_lake():
    assert list(range(1, FORMAT + 1)) == FORMATS


def test_it_is_read_as_it_is(frozen, capsys):
    before = lakes.versions(Path(frozen.root))
    shutil.rmtree(Path(frozen.root, "verdicts"))  # as where a table came later
    for view in ("tracks", "verdicts", *VIEWS):
        if frozen.read_format() < FORMAT or view != "verdicts":
            assert call(sql, frozen, f"select count(*) as n from {view}", "--format", "csv") == 0
    assert call(status, frozen) == 0
    said = capsys.readouterr().out
    assert "old_film" in said
    assert "failed" not in said
    after = lakes.versions(Path(frozen.root))
    assert {**after, "verdicts": 0} == {**before, "verdicts": 0}


@pytest.mark.parametrize("frozen", FORMATS[:-1], indirect=True)
def test_it_is_completed_before_it_is_written_to_and_nothing_is_lost(frozen):
    columns = {made.name: _plain(made.name, frozen) for made in all_tables() if frozen.exists(made.name)}
    rows = {name: collected(frozen.raw(name), *chosen) for name, chosen in columns.items()}
    format_before = frozen.read_format()
    shutil.rmtree(Path(frozen.root, "verdicts"))  # it has no rows
    said: list[str] = []
    frozen.open(said.append)
    assert f"brought from format {format_before} to {FORMAT}" in "\n".join(said)
    assert frozen.read_format() == FORMAT
    for made in all_tables():
        assert set(frozen.spark.table(frozen.address(made.name)).columns) == set(made.names)
    assert {name: collected(frozen.raw(name), *chosen) for name, chosen in columns.items()} == rows
    assert collected(frozen.rows("characters").where("name IS NOT NULL"), "character_id", "name") == [(0, "Ada")]
    assert call(mine, frozen, "--quiet") == call(cluster, frozen, "--force", "--quiet") == 0
    assert collected(frozen.rows("characters").where("name IS NOT NULL"), "character_id", "name") == [(0, "Ada")]
    assert frozen.rows("track_labels").count() == frozen.rows("tracks").count() == 8


def test_a_lake_of_a_newer_castmine_is_refused(two):
    statement = f"ALTER TABLE {two.address('runs')} SET TBLPROPERTIES ('{FORMAT_PROPERTY}' = '{FORMAT + 1}')"
    two.spark.sql(statement)
    before = lakes.versions(Path(two.root))
    for job, words in ((mine, ()), (sql, ("select 1",)), (status, ())):
        with pytest.raises(LakeError, match=f"a lake of format {FORMAT + 1}, made by a newer castmine"):
            call(job, two, *words)
    assert lakes.versions(Path(two.root)) == before


def _plain(name: str, lake: Lake) -> list[str]:
    there = lake.spark.table(lake.address(name)).columns
    return [c.name for c in table(name).columns if c.name in there and not c.type.startswith(("ARRAY", "BINARY"))]
