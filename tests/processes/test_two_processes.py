"""Two processes are one: gradients, curves and adapters against a single process on the same rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.errors import CastmineError
from conf.settings import TrainSettings
from tests.helpers import two_processes as worker
from tests.helpers.snapshots import write_snapshot
from training.adapters import Adapter
from training.collective import Alone
from training.judge import Epoch
from training.launchers.horovod import horovodrun
from training.launchers.launch import launch
from training.loop import train
from training.methods.registry import kind
from training.methods.registry import make_plan as planned
from training.snapshot import Kind, Snapshot

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
WORKER = ["-m", worker.__name__]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Snapshot]:
    folder = tmp_path_factory.mktemp("horovod")
    return {"tracklets": write_snapshot(folder, "tracklets", 3, 1), "faces": write_snapshot(folder, "faces", 4, 2, 3)}


@pytest.fixture(scope="module")
def snapshot(snapshots: dict[Kind, Snapshot]) -> Snapshot:
    return snapshots["tracklets"]


@pytest.fixture(scope="module")
def two(snapshot: Snapshot) -> dict[str, Any]:
    """What two processes found with Horovod: one launch for all tests."""
    lines: list[str] = []
    horovodrun(2, [sys.executable, *WORKER, str(snapshot.folder.parent), "horovod"], lines.append)
    return json.loads(next(line for line in lines if line.startswith('{"size"')))


@pytest.fixture(scope="module")
def two_of_torch(snapshot: Snapshot) -> dict[str, Any]:
    """The same with torch.distributed, trainings aside."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, *WORKER, str(snapshot.folder.parent), "torch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(params=["two", "two_of_torch"], ids=["horovod", "torch"])
def by_any(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


def test_collectives_and_their_gradients(by_any: dict[str, Any]) -> None:
    assert by_any["size"] == 2
    assert by_any["exchanged"] == {
        "gathered": [[1, 1], [2, 2], [2, 2]],
        "gather_gradients": [[0, 1], [2, 3], [4, 5]],  # of this process's own loss, into its own rows, once
        "sum": [3],
        "sum_gradients": [5, 5],  # 2 from the one, 3 from the other
        "broadcast": [5],
        "flags": [True, False, False],
    }


@pytest.mark.parametrize("case", worker.WITH_GRADIENTS)
def test_gradients_are_those_of_one_process(by_any: dict[str, Any], snapshots: dict[Kind, Snapshot], case: str) -> None:
    snapshot = snapshots[kind(worker.CASES[case][0])]
    one = worker.gradients(case, snapshot, Alone(), worker.batch(snapshot, 60))
    assert by_any[case]["loss"] == pytest.approx(one["loss"], rel=1e-5)
    exact, found = np.array(one["gradient"]), np.array(by_any[case]["gradient"])
    assert np.linalg.norm(exact) > 1e-3
    assert np.linalg.norm(found - exact) < 1e-5 * np.linalg.norm(exact)
    np.testing.assert_allclose(by_any[case]["statistics"], one["statistics"], atol=1e-6)


def test_the_gradient_of_fine_tuning_is_that_of_one_process(by_any: dict[str, Any]) -> None:
    one, two = worker.fine_tuning(Alone()), by_any["fine-tuning"]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    exact, found = np.array(one["gradient"]), np.array(two["gradient"])
    assert np.linalg.norm(exact) > 1e-3
    assert np.linalg.norm(found - exact) < 1e-5 * np.linalg.norm(exact)
    np.testing.assert_allclose(two["statistics"], one["statistics"], atol=1e-6)
    assert two["views"] == one["views"]


def test_the_mean_of_two_losses_would_be_another_gradient(snapshot: Snapshot) -> None:
    """What gathering is for: MvCorr of each half, averaged, is not MvCorr of the whole."""
    rows = worker.batch(snapshot, 60)
    whole, left, right = (
        np.array(worker.gradients("mvcorr small", snapshot, Alone(), rows[part])["gradient"])
        for part in (slice(0, 60), slice(0, 30), slice(30, 60))
    )
    assert np.linalg.norm((left + right) / 2 - whole) > 0.05 * np.linalg.norm(whole)


@pytest.mark.parametrize("case", worker.CASES)
def test_training_follows_the_curve_of_one_process(
    two: dict[str, Any], snapshots: dict[Kind, Snapshot], case: str
) -> None:
    one = train(snapshots[kind(worker.CASES[case][0])], worker.plan(case))
    found = two[f"{case} training"]
    curve = [[epoch.train_loss, epoch.dev_loss] for epoch in one.curve]
    assert curve[0] != curve[-1]
    np.testing.assert_allclose(found["curve"], curve, rtol=1e-4, atol=1e-7)
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


def test_a_killed_process_costs_no_more_than_its_epoch(snapshot: Snapshot, tmp_path: Path) -> None:
    chosen = planned(TrainSettings(method="imptriplet", max_epochs=6), snapshot)
    heard: list[int] = []

    def kill_once(epoch: Epoch) -> None:
        heard.append(epoch.epoch)
        if heard == [0, 1, 2]:
            os.kill(process_of_rank(1), signal.SIGKILL)

    result = launch("horovod", snapshot.folder, chosen, tmp_path / "two.safetensors", 2, kill_once)
    alone = launch("local", snapshot.folder, chosen, tmp_path / "one.safetensors")
    assert result["restarts"] == 1
    assert heard[:3] == [0, 1, 2]
    assert heard[-1] == 5
    assert heard.count(0) == 1
    np.testing.assert_allclose(
        [epoch["dev_loss"] for epoch in result["curve"]], [epoch["dev_loss"] for epoch in alone["curve"]], rtol=1e-4
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.safetensors", "two.safetensors"]


def process_of_rank(rank: int) -> int:
    """The one whose launcher is this process, or a child of it."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            said = environ.read_bytes().split(b"\0")
            command = environ.with_name("cmdline").read_bytes()
            if f"HOROVOD_RANK={rank}".encode() in said and b"training.launchers.horovod" in command.split(b"\0"):
                return int(environ.parent.name)
    raise AssertionError(f"no process of rank {rank}")


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
            assert gone(int((tmp_path / f"pid{rank}").read_text()))


def gone(process: int) -> bool:
    """Whether a process that was told to end has done so within some seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
