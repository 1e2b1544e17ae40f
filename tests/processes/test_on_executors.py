"""Training on Spark's executors: the same adapter as in one process, and words for what keeps it from starting."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from conf.errors import LakeError, UsageError
from conf.settings import Launcher, TrainSettings
from tests.helpers.snapshots import write_snapshot
from training.adapters import Adapter
from training.collective import Alone
from training.judge import Epoch
from training.launchers import executors
from training.launchers.launch import launch
from training.methods.registry import make_plan
from training.snapshot import Snapshot

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
LAUNCHERS: list[Launcher] = ["torch_distributor", "horovod_spark"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return write_snapshot(tmp_path_factory.mktemp("executors"), "tracklets", 3, 1)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_executor_processes_are_one(
    launcher: Launcher, spark: SparkSession, snapshot: Snapshot, tmp_path: Path
) -> None:
    chosen = make_plan(TrainSettings(method="mvcorr", max_epochs=3), snapshot)
    before = sorted(snapshot.folder.iterdir())
    heard: list[Epoch] = []
    result = launch(launcher, snapshot.folder, chosen, tmp_path / "two.safetensors", 2, heard.append)
    alone = launch("local", snapshot.folder, chosen, tmp_path / "one.safetensors")
    assert result["processes"] == 2
    assert [vars(epoch) for epoch in heard] == result["curve"]
    assert Adapter.load(tmp_path / "two.safetensors").sha256() == result["sha256"]
    two, one = ([(epoch["train_loss"], epoch["dev_loss"]) for epoch in made["curve"]] for made in (result, alone))
    assert one[0] != one[-1]
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert sorted(snapshot.folder.iterdir()) == before


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_more_processes_than_slots(launcher: Launcher, spark: SparkSession, snapshot: Snapshot, tmp_path: Path) -> None:
    chosen = make_plan(TrainSettings(), snapshot)
    with pytest.raises(UsageError, match=r"train\.processes=3: .* 2 task slots here\..*'local\[3\]"):
        launch(launcher, snapshot.folder, chosen, tmp_path / "a", 3)


def test_a_worker_that_does_not_see_the_snapshot_is_named(snapshot: Snapshot, tmp_path: Path) -> None:
    executors.check_seen_by_all(snapshot.folder / "snapshot.json", "train", Alone())
    with pytest.raises(LakeError, match=rf"{tmp_path}: .* not there on {socket.gethostname()}\. Give --files"):
        executors.check_seen_by_all(tmp_path / "snapshot.json", "train", Alone())


@pytest.mark.parametrize("failing", [False, True])
def test_ctrl_c_that_a_library_took_comes_through(failing: bool) -> None:
    """Horovod's way: it sets handlers of its own, and a signal becomes an error."""

    @executors.signals_kept()
    def train() -> None:
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)
        if failing:
            raise RuntimeError("a process ended")

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_without_a_signal_errors_are_what_they_were() -> None:
    @executors.signals_kept()
    def train() -> None:
        raise RuntimeError("a process ended")

    with pytest.raises(RuntimeError, match="a process ended"):
        train()
