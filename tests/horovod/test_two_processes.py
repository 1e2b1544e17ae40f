"""Two processes are one: gradients, curves and adapters of Horovod against a single process on the same rows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conf.errors import CastmineError
from conf.settings import TrainSettings
from training.adapters import Adapter
from training.collective import Alone
from training.launchers import launch
from training.launchers.horovod import horovodrun
from training.loop import Epoch, train
from training.presets import plan as planned
from training.snapshot import Snapshot, write_rows

sys.path.insert(0, str(Path(__file__).parent))
import two_processes as worker

CASES = [f"{method} {network.name}" for method in worker.LOSS for network in (worker.DEEP, worker.LINEAR)]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("horovod")
    rng = np.random.default_rng(0)
    for part, n in (("train", 200), ("dev", 80)):
        track = rng.normal(size=(n, 1, 20))
        views = track + 0.7 * rng.normal(size=(n, 3, 20))
        negative = track[:, 0] * 0.3 + rng.normal(size=(n, 20))
        table = pa.table(
            {
                "title_id": ["film"] * n,
                "track_id": np.arange(n),
                "row": np.arange(n),
                "views": list((views / np.linalg.norm(views, axis=2, keepdims=True)).reshape(n, -1)),
                "negative": list(negative / np.linalg.norm(negative, axis=1, keepdims=True)),
                "has_negative": np.arange(n) % 5 != 0,
            }
        )
        write_rows(folder / part / "0.parquet", table, 50)
    Snapshot(
        folder=folder,
        fingerprint="f" * 16,
        n_tracklets=3,
        dim=20,
        base_embedder_sha256="a" * 64,
        rows_train=200,
        rows_dev=80,
        split="shots",
        titles_train=("film",),
        titles_dev=("film",),
        source_versions={"tracklets": 1},
    ).save()
    return Snapshot.open(folder)


@pytest.fixture(scope="module")
def two(snapshot: Snapshot) -> dict[str, Any]:
    """What two processes found: one launch for all tests."""
    lines: list[str] = []
    horovodrun(2, [sys.executable, str(worker.__file__), str(snapshot.folder)], lines.append)
    return json.loads(next(line for line in lines if line.startswith('{"size"')))


def test_collectives_and_their_gradients(two: dict[str, Any]) -> None:
    assert two["size"] == 2
    assert two["exchanged"] == {
        "gathered": [[1, 1], [2, 2], [2, 2]],
        "gather_gradients": [[0, 1], [2, 3], [4, 5]],  # of this process's own loss, into its own rows, once
        "sum": [3],
        "sum_gradients": [5, 5],  # 2 from the one, 3 from the other
        "broadcast": [5],
    }


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_one_process(two: dict[str, Any], case: str) -> None:
    method, name = case.split()
    network = worker.DEEP if name == "deep" else worker.LINEAR
    one = worker.gradients(method, network, Alone(), worker.batch(60))
    assert two[case]["loss"] == pytest.approx(one["loss"], rel=1e-5)
    exact, found = np.array(one["gradient"]), np.array(two[case]["gradient"])
    assert np.linalg.norm(exact) > 1e-3
    assert np.linalg.norm(found - exact) < 1e-5 * np.linalg.norm(exact)
    np.testing.assert_allclose(two[case]["statistics"], one["statistics"], atol=1e-6)


def test_the_mean_of_two_losses_would_be_another_gradient() -> None:
    """What gathering is for: MvCorr of each half, averaged, is not MvCorr of the whole."""
    rows = worker.batch(60)
    whole, left, right = (
        np.array(worker.gradients("mvcorr", worker.LINEAR, Alone(), rows[part])["gradient"])
        for part in (slice(0, 60), slice(0, 30), slice(30, 60))
    )
    assert np.linalg.norm((left + right) / 2 - whole) > 0.05 * np.linalg.norm(whole)


@pytest.mark.parametrize("case", CASES)
def test_training_follows_the_curve_of_one_process(two: dict[str, Any], snapshot: Snapshot, case: str) -> None:
    method, name = case.split()
    one = train(snapshot, worker.plan(method, worker.DEEP if name == "deep" else worker.LINEAR))
    found = two[f"{case} training"]
    curve = [[epoch.train_loss, epoch.dev_loss] for epoch in one.curve]
    assert curve[0] != curve[-1]
    np.testing.assert_allclose(found["curve"], curve, rtol=1e-4)
    assert found["auc"] == pytest.approx(one.metrics["auc"], abs=2e-3)
    assert found["equal"]


def test_launch_trains_and_writes_once(snapshot: Snapshot, tmp_path: Path) -> None:
    chosen = planned(TrainSettings(max_epochs=3), snapshot)
    heard: list[Epoch] = []
    result = launch("horovod", snapshot.folder, chosen, tmp_path / "two.safetensors", 2, heard.append)
    alone = launch("local", snapshot.folder, chosen, tmp_path / "one.safetensors")
    assert result["processes"] == 2
    assert result["curve"] == [vars(epoch) for epoch in heard]
    assert Adapter.load(tmp_path / "two.safetensors").sha256() == result["sha256"]
    np.testing.assert_allclose(
        [epoch["dev_loss"] for epoch in result["curve"]], [epoch["dev_loss"] for epoch in alone["curve"]], rtol=1e-4
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.safetensors", "two.safetensors"]


def test_a_process_that_fails_ends_the_others(tmp_path: Path) -> None:
    """Rank 0 fails while rank 1 would wait for it for ever; neither imports torch, so this is quick."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, sys, time\n"
        "rank = os.environ['HOROVOD_RANK']\n"
        "open(sys.argv[1] + rank, 'w').write(str(os.getpid()))\n"
        "time.sleep(600) if rank == '1' else sys.exit('the disk is full')\n"
    )
    with pytest.raises(CastmineError, match=r"training in 2 processes failed[\s\S]*the disk is full"):
        horovodrun(2, [sys.executable, str(script), str(tmp_path / "pid")])
    for rank in "01":
        if (tmp_path / f"pid{rank}").exists():  # rank 1 may have been ended before it came so far
            with pytest.raises(ProcessLookupError):
                os.kill(int((tmp_path / f"pid{rank}").read_text()), 0)
