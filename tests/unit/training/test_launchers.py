"""The way in: one function, a launcher by name, plain results."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from conf.errors import UsageError
from conf.settings import TrainSettings
from training.adapters import Adapter
from training.judge import Epoch
from training.launchers.launch import launch
from training.methods.registry import make_plan
from training.snapshot import Snapshot


def test_local_training_writes_the_adapter_it_tells_of(snapshot: Snapshot, tmp_path: Path) -> None:
    chosen = make_plan(TrainSettings(max_epochs=2), snapshot)
    heard: list[Epoch] = []
    result = launch("local", snapshot.folder, chosen, tmp_path / "a.safetensors", progress=heard.append)
    content = (tmp_path / "a.safetensors").read_bytes()
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert result["curve"] == [vars(epoch) for epoch in heard]
    assert result["settings"] == chosen.model_dump(mode="json")
    assert result["status"] in ("ready", "not_better")
    assert (result["processes"], result["in_dim"]) == (1, 24)
    assert json.loads(json.dumps(result)) == result
    assert Adapter.load(tmp_path / "a.safetensors").card.model_dump(mode="json").items() <= result.items()


def test_local_training_is_one_process(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.launcher=horovod"):
        launch("local", snapshot.folder, make_plan(TrainSettings(), snapshot), tmp_path / "a", processes=2)


def test_without_horovod_the_way_out_is_named(
    snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed. `make test` builds it, .*castmine\[horovod\]"):
        launch("horovod", snapshot.folder, make_plan(TrainSettings(), snapshot), tmp_path / "a", processes=2)


def test_everything_is_imported_without_horovod_or_spark() -> None:
    code = """if True:
        import sys
        sys.modules["horovod"] = sys.modules["pyspark"] = None
        import pkgutil, importlib, training
        for module in pkgutil.walk_packages(training.__path__, "training."):
            importlib.import_module(module.name)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
