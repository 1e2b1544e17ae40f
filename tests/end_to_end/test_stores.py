"""Films in an object store."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import lakes, stores
from tests.helpers.commands import PIECES, castmine


def test_films_of_a_bucket_are_as_those_on_a_disk(
    bucket: str, finished: Path, clip: Path, nobody: Path, tmp_path: Path, capsys
):
    films = [clip, nobody]
    for film in films:
        stores.put(f"{bucket}/in/{film.name}", film.read_bytes())
    lake, command = tmp_path / "lake", ("harvest", f"{bucket}/in", "--lake", tmp_path / "lake", *PIECES)
    assert castmine(*command) == 0
    uris = {row["title_id"]: row["uri"] for row in lakes.rows(lake, "titles").to_pylist()}
    assert uris == {film.stem: f"{bucket}/in/{film.name}" for film in films}
    made = ("titles", "shots", "tracks", "faces")
    assert lakes.differences(lake, finished, list(uris), made, but=["titles.uri"]) == []

    stores.client().copy_object(
        Bucket=bucket[5:], Key=f"moved/{films[0].name}", CopySource=f"{bucket[5:]}/in/{films[0].name}"
    )
    stores.client().delete_object(Bucket=bucket[5:], Key=f"in/{films[0].name}")
    capsys.readouterr()
    assert castmine("harvest", f"{bucket}/in", f"{bucket}/moved", *command[2:], "--json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert (summary["harvested"], summary["unchanged"]) == ([], len(films))
    assert f"moved from {bucket}/in/{films[0].name} to {bucket}/moved/{films[0].name}" in printed.err
    assert castmine("status", "--lake", lake, "--json") == 0
    assert '"failed"' not in capsys.readouterr().out
