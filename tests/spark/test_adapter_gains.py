"""`castmine evaluate` of titles that were clustered with an adapter: right tracks before and after it, and the gain."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conf.catalog import table
from jobs import cluster, evaluate, import_tracks, mine
from jobs.lake import run_log
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import SHA256, collected
from training.adapters import Adapter, Card
from training.networks import build, small

pytestmark = pytest.mark.long

ALIKE = (2, 3)  # people of alpha whom the adapter cannot tell apart
LABELS = {0: ["frontal"], 1: ["frontal", "glasses"], 2: ["profile", "dark"], 3: ["profile"]}  # of each person's tracks


def looks(seed: int) -> np.ndarray:
    """The people of `people.make`, as it draws them."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(people.DIM, people.DIM)))[0]


def register(lake: Lake) -> None:
    """An adapter that is ready: it takes away what sets two people of alpha apart, and nothing else."""
    one, other = looks(0)[list(ALIKE)]
    between = (one - other) / np.linalg.norm(one - other)
    card = Card(
        method="bcl", settings={}, network=small(people.DIM), in_dim=people.DIM, out_dim=people.DIM,
        base_embedder_sha256=SHA256, snapshot_fingerprint="0", source_versions={},
    )  # fmt: skip
    weights = build(small(people.DIM), people.DIM).state_dict()
    for name, values in weights.items():
        whole = np.eye(people.DIM) - np.outer(between, between) if values.ndim == 2 else np.zeros(values.shape)
        weights[name] = torch.from_numpy(whole.astype(np.float32))
    made = Adapter(card, weights)
    made.save(lake.files / "_adapters" / "a.safetensors")
    row = {
        "adapter_id": "a", "base_embedder_sha256": SHA256, "status": "ready", "uri": "_adapters/a.safetensors",
        "sha256": made.sha256(), "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    lake.append(table("adapters"), [{**dict.fromkeys(table("adapters").names), **row}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What is imported, with flags and quality labels, and a truth without an error."""
    folder, truth = tmp_path_factory.mktemp("adapted"), []
    for seed, name in enumerate(("alpha", "beta")):
        title = people.make(name, seed=seed)
        labels = [LABELS[title.person[track]] for track in title.tracks.track_id]
        title.tracks["quality_labels"] = labels
        title.tracks["flags"] = [[label for label in of if label != "glasses"] for of in labels]
        people.write(folder, title)
        rows = {"title_id": name, "track_id": list(title.person)}
        truth.append(pd.DataFrame({**rows, "label": [f"person {p}" for p in title.person.values()]}))
    pd.concat(truth).to_csv(folder / "truth.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def lake(spark, folder) -> Lake:
    words = ["--lake", str(folder / "lake"), "--quiet"]
    given = ["--tracks", str(folder / "tracks"), "--faces", str(folder / "faces"), "--embedder", SHA256]
    assert import_tracks.main([*words, *given], spark=spark) == mine.main(words, spark=spark) == 0
    made = Lake(spark, str(folder / "lake"))
    register(made)
    assert cluster.main(words, spark=spark) == 0
    return made


@pytest.fixture(scope="module")
def said(spark, lake, folder) -> dict:
    """What the evaluation says as JSON."""
    out = io.StringIO()
    with redirect_stdout(out):
        words = ["--lake", lake.root, "--quiet", "--json", "--truth", str(folder / "truth.csv")]
        assert evaluate.main(words, spark=spark) == 0
    return json.loads(out.getvalue())


def test_a_verdict_says_what_it_would_be_without_the_adapter(lake, said):
    rows = lake.rows("verdicts", ["alpha"]).collect()
    assert {row["without_adapter"] for row in rows} == {"right"}, "raw, they are easy to tell apart"
    wrong = {row["person"] for row in rows if row["verdict"] == "wrong"}
    assert wrong
    assert wrong <= {f"person {p}" for p in ALIKE}
    assert {row["verdict"] for row in lake.rows("verdicts", ["beta"]).collect()} == {"right"}


def test_the_gain_and_its_interval_are_metrics(lake, said):
    run = run_log.list_evaluated(lake)["alpha"]
    found = dict(collected(lake.rows("metrics", ["alpha"]).where(f"run_id = '{run}'"), "metric", "value"))
    wrong = lake.rows("verdicts", ["alpha"]).where("verdict <> 'right'").count()
    assert found["without_adapter_accuracy"] == found["without_adapter_v_measure"] == 1
    assert (found["adapter_fixed"], found["adapter_broke"]) == (0, wrong)
    assert found["v_gain"] == pytest.approx(found["v_measure"] - 1)
    assert found["v_gain"] < 0
    assert found["v_gain_low"] <= found["v_gain"] <= found["v_gain_high"] <= 0
    assert found["v_gain_not_above_0"] == 1
    assert found["without_adapter_auc"] == 1 > found["auc"]
    assert said["figures"]["beta"]["v_gain"] == 0
    assert said["figures"]["beta"]["adapter_p"] == 1


def test_the_rates_say_for_whom_it_is_worse(lake, said):
    rows = lake.rows("error_rates", ["alpha"]).where("property = 'quality_label'").collect()
    rates = {row["value"]: row.asDict() for row in rows}
    assert set(rates) == {"frontal", "glasses", "profile", "dark"}
    wrong = lake.rows("verdicts", ["alpha"]).where("verdict <> 'right'").count()
    for value, row in rates.items():
        assert row["n_right_without_adapter"] == row["n_tracks"]
        assert row["n_right"] == row["n_tracks"] - row["n_wrong"]
        assert (row["n_fixed"], row["n_broke"]) == (0, row["n_wrong"])
        assert (row["p_value"] == 1) == (value in ("frontal", "glasses")) or value == "dark"
    assert rates["profile"]["n_broke"] == wrong
    flags = collected(lake.rows("error_rates", ["alpha"]).where("property = 'flag'"), "value", "n_broke")
    assert dict(flags)["dark"] == rates["dark"]["n_broke"]


def test_all_titles_together(lake, said):
    gains = {(row["property"], row["value"]): row for row in said["adapter_gains"]}
    every = said["adapter_gains"][0]
    assert (every["value"], every["n_tracks"], every["n_right_without_adapter"]) == ("all tracks", 56, 56)
    both = lake.rows("error_rates").where("property = 'quality_label' AND value = 'profile'").collect()
    assert gains["quality_label", "profile"]["n_tracks"] == sum(row["n_tracks"] for row in both)
    assert gains["quality_label", "profile"]["n_broke"] == every["n_broke"] == every["n_tracks"] - every["n_right"]
    assert gains["quality_label", "profile"]["share_right"] < 1 == gains["quality_label", "frontal"]["share_right"]


def test_the_page_and_the_command_say_it(spark, lake, folder, said, capfd):
    page = Path(lake.files, "reports", "alpha.errors.html").read_text()
    for text in ("What the adapter does", "100.0 % with raw embeddings", "Visual quality labels", "<path "):
        assert text in page
    words = ["--lake", lake.root, "--truth", str(folder / "truth.csv")]
    assert evaluate.main(words, spark=spark) == 0
    out, err = capfd.readouterr()
    assert "adapter: V 100.0 % with raw embeddings, " in err
    assert "right tracks of 2 titles by what makes the face hard" in out
    assert evaluate.main([*words, "--set", "cluster.adapter=none"], spark=spark) == 0
    out, err = capfd.readouterr()
    assert "other settings than these: what links and adapters do is not tried" in err
    assert "adapter: V" not in err
    assert "right tracks of" not in out
    assert lake.rows("error_rates").where("n_fixed IS NOT NULL OR p_value IS NOT NULL").isEmpty()
    assert lake.rows("error_rates").where("n_right IS NULL").isEmpty()


def test_a_threshold_that_only_the_adapter_knows_is_not_tried_raw(spark, lake, folder, monkeypatch, capfd):
    """As complete linkage at the radius that BCL has learned."""
    monkeypatch.setattr(cluster, "_choose_threshold", lambda method, adapter: 0.3 if adapter else None)
    words = ["--lake", lake.root, "--set", "cluster.method=hac_complete"]
    assert cluster.main([*words, "--quiet"], spark=spark) == 0
    assert evaluate.main([*words, "--truth", str(folder / "truth.csv")], spark=spark) == 0
    assert "raw embeddings cannot be clustered so, and what adapters do is not tried" in capfd.readouterr().err
    page = Path(lake.files, "reports", "alpha.errors.html").read_text()
    assert "or they cannot be followed without an adapter" in page
    assert lake.rows("verdicts").where("without_adapter IS NOT NULL").isEmpty()
    assert not lake.rows("verdicts").where("without_links IS NOT NULL").isEmpty()
