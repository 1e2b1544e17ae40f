"""castmine status: what is done, failed and stale, and how much there is."""

from __future__ import annotations

import json
import shutil

import pytest

from conf.catalog import table
from conf.settings import Settings
from jobs import status
from jobs.inputs.films import stamp_of
from jobs.lake import run_log
from jobs.lake.lake import Lake
from tests.helpers.small import SHA256, cast, clock, finished
from udfs import assets

DONE = {"state": "done", "reason": None}


@pytest.fixture
def told(spark, clustered, capsys):
    """`castmine status --json` of the imported lake of known people."""

    def asked(*options: str, lake: object = clustered) -> dict:
        assert status.main(["--lake", str(lake), "--json", *options], spark=spark) == 0
        return json.loads(capsys.readouterr().out)

    return asked


def test_what_is_done_and_how_much_there_is(told):
    found = told()
    counts = {"faces": 560, "tracks": 28, "unknown": 0, "characters": 4}
    done = {"harvest": DONE, "mine": DONE, "cluster": DONE}
    assert found["titles"] == {"alpha": {**done, **counts}, "beta": {**done, **counts}}
    totals = {"faces": 1120, "tracks": 56, "unknown": 0, "characters": 8, "titles": 2, "hours": 0.0}
    assert found["totals"] == {**totals, **{stage: {"done": 2} for stage in status.STAGES}}
    assert found["adapters"] == []


def test_other_settings_make_a_stage_and_what_follows_stale(told):
    found = told("--set", "mine.tracklets=4")["titles"]["alpha"]
    assert found["harvest"] == DONE  # an import has no settings
    assert found["mine"] == {"state": "stale", "reason": "made with other settings"}
    assert found["cluster"] == {"state": "stale", "reason": "made from what is not done"}


def test_a_newer_adapter_makes_clusters_stale(spark, clustered, told, tmp_path):
    root = shutil.copytree(clustered, tmp_path / "copied")
    adapter = {
        "adapter_id": "ad1",
        "method": "mvcorr",
        "base_embedder_sha256": SHA256,
        "uri": "_adapters/ad1",
        "reason": None,
    }
    row = {**adapter, "status": "ready", "metrics": '{"auc": 0.9, "loss": 1}', "created_at": clock()}
    Lake(spark, str(root)).append(table("adapters"), [row])
    found = told(lake=root)
    assert found["titles"]["beta"]["cluster"] == {"state": "stale", "reason": "its input changed"}
    assert found["adapters"][0]["adapter_id"] == "ad1"
    assert (
        told("--set", "cluster.adapter=none", lake=root)["titles"]["beta"]["cluster"]["reason"]
        == "made with other settings"
    )


def test_harvests(lake, told, tmp_path):
    settings = Settings()
    version = assets.harvest_hash(settings.harvest)
    films = {name: tmp_path / f"{name}.mp4" for name in ("same", "changed", "gone", "broken")}
    for name, film in films.items():
        film.write_text(name)
        inputs = {"file": stamp_of(str(film))}
        run = run_log.begin(lake, "harvest", version, clock, f"harvest-{name}")
        run.commit([run_log.Done(run_log.Task(name, inputs), error="no video stream" if name == "broken" else None)])
    run = run_log.begin(lake, "mine", settings.mine.hash(), clock)
    run.commit([run_log.Done(run_log.Task(name, {"harvest": f"harvest-{name}"})) for name in films])
    rows = [
        {"title_id": name, "uri": str(film), "run_id": f"harvest-{name}", "duration_s": 900.0}
        for name, film in films.items()
    ]
    made = table("titles")
    data = [tuple({**row, "status": "ok"}.get(column) for column in made.names) for row in rows]
    lake.replace(made, lake.spark.createDataFrame(data, made.schema), list(films))
    films["changed"].write_text("another film")
    films["gone"].unlink()

    found = told(lake=lake.root)
    stages = {
        title: (said["harvest"], said["mine"], said["cluster"]["state"]) for title, said in found["titles"].items()
    }
    after = {"state": "stale", "reason": "made from what is not done"}
    assert stages == {
        "same": (DONE, DONE, "missing"),
        "changed": ({"state": "stale", "reason": "its input changed"}, after, "missing"),
        "gone": (DONE, DONE, "missing"),  # its rows are there; whether the film changed, nobody can say
        "broken": ({"state": "failed", "reason": "no video stream"}, after, "missing"),
    }
    assert found["totals"]["hours"] == 1.0
    assert found["totals"]["harvest"] == {"done": 2, "stale": 1, "failed": 1}


def test_for_people(spark, lake, capsys):
    cast(lake, ["a"], [(0, 0.0, 1.0, 0), (1, 0.0, 1.0, None)])
    finished(lake, "harvest", "b", {}, error="cannot be decoded")
    lake.append(table("adapters"), [{"adapter_id": "ad1", "method": "mvcorr", "status": "skipped", "reason": "2 rows"}])
    assert status.main(["--lake", lake.root], spark=spark) == 0
    titles, adapters, totals = capsys.readouterr().out.split("\n\n")
    lines = titles.splitlines()
    assert lines[0].split() == ["title", *status.STAGES, *status.COUNTS]
    assert lines[2].split()[-4:] == ["2", "2", "1", "1"]
    assert "failed: cannot be decoded" in lines[3]
    assert adapters.splitlines()[2].split() == ["ad1", "mvcorr", "skipped", "2", "rows"]
    assert totals == "2 titles, 0.0 hours of film; 2 faces, 2 tracks, 1 characters\n"
