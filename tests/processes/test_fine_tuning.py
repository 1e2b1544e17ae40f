"""Fine-tuning in processes of its own: killed and gone on with, and two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.staged_crops import drawn_people, stage_crops
from training.finetune.adapter import TunedNetwork
from training.finetune.branches import open_backbone
from training.finetune.model import embed_crops
from training.finetune.plan import FinetunePlan
from training.finetune.task import count_epochs, tune_title
from training.finetune.title import read_title
from udfs import assets

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
WEIGHTS = assets.files_dir() / assets.pack("buffalo_sc").embedder  # set-up has fetched it
PLAN = FinetunePlan(
    iterations=2, first_epochs=2, heads_epochs=1, later_epochs=3, warm_up=1, pairs=8, steps=1, crop_every_s=0.25
)
IDS = np.arange(6)
WORK = """
import sys
from pathlib import Path
from training.finetune.plan import FinetunePlan
from training.finetune.task import tune_title
folder, weights, out, plan = sys.argv[1:]
tune_title("a film", Path(folder), Path(weights), Path(out), plan=FinetunePlan.model_validate_json(plan))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("title")
    crops = drawn_people(3, 6, 3)
    stage_crops(made, crops, np.zeros((18, 512)), [(0, 1), (1, 2)], IDS)
    raw = embed_crops(open_backbone(WEIGHTS), read_title(made).crops).numpy()
    stage_crops(made, crops, raw, [(0, 1), (1, 2)], IDS)
    return made


def test_killed_in_an_iteration_and_begun_again_it_makes_the_same_backbone(folder: Path, tmp_path: Path) -> None:
    whole, _ = tune_title("a film", folder, WEIGHTS, tmp_path / "whole.safetensors", plan=PLAN)
    (folder / "epochs").unlink()
    out = tmp_path / "killed.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder), str(WEIGHTS), str(out), PLAN.model_dump_json()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    while count_epochs(folder) < 3 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    assert out.with_suffix(".checkpoint").exists()
    again, _ = tune_title("a film", folder, WEIGHTS, out, plan=PLAN)
    assert again["sha256"] == whole["sha256"]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert again["curve"] == whole["curve"]
    assert not out.with_suffix(".checkpoint").exists()


def test_two_processes_come_to_one_backbone(folder: Path, tmp_path: Path) -> None:
    two, answers = tune_title(
        "a film", folder, WEIGHTS, tmp_path / "two.safetensors", plan=PLAN, launcher="horovod", processes=2
    )
    one, of_one = tune_title("a film", folder, WEIGHTS, tmp_path / "one.safetensors", plan=PLAN)
    assert two["processes"] == 2
    assert TunedNetwork.load(tmp_path / "two.safetensors").sha256() == two["sha256"]
    losses = [[epoch["loss"] for epoch in made["curve"]] for made in (two, one)]
    np.testing.assert_allclose(*losses, rtol=0.02)  # of bfloat16, in parts of other sizes
    assert (answers.embedding * of_one.embedding).sum(axis=1).min() > 0.99
