"""How to train: the published settings of each method, and settings for a corpus of one or two films."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from conf.errors import TooLittleData
from conf.settings import TrainSettings
from training.networks import C1, C2, Network, small
from training.snapshot import Snapshot

PAPER_BATCH = 1024


class Plan(BaseModel):
    """Everything beside the snapshot that decides a training run; it goes into the adapter's file as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["mvcorr", "imptriplet"]
    preset: Literal["paper", "small"]
    network: Network
    loss: dict[str, Any] = Field(description="parameters of the loss")
    batch: int = Field(ge=1, description="rows of a global batch, over all processes")
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    decay: float = Field(1e-6, ge=0, description="the rate of step t is learning_rate / (1 + decay t)")
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(5, ge=1, description="epochs without progress after which training stops")
    min_delta: float = Field(1e-3, ge=0, description="fall of the development loss that counts as progress")
    seed: int = 7


def plan(settings: TrainSettings, snapshot: Snapshot) -> Plan:
    """Choose batch, network and schedule for a snapshot.

    Raises:
        TooLittleData: fewer rows than the settings or the method ask for, in the training or the held-out part.
    """
    needs, train, dev = _usable(settings.method, snapshot)
    if train < settings.min_rows:
        raise TooLittleData(f"{train} training {needs}, {settings.min_rows} are needed (train.min_rows)")
    if dev < 2:
        raise TooLittleData(f"{dev} held-out {needs}, 2 are needed to stop the training and judge the adapter")
    preset = settings.preset
    if preset == "auto":
        preset = "small" if train < settings.small_rows else "paper"
    made = (_mvcorr if settings.method == "mvcorr" else _imptriplet)(preset, snapshot.dim, train, dev)
    return made.model_copy(update={"max_epochs": settings.max_epochs, "seed": settings.seed})


def _usable(method: str, snapshot: Snapshot) -> tuple[str, int, int]:
    """What a row must be for a method, in words, and how many there are to train and held out."""
    if method == "imptriplet":
        return "tracks with a hard negative", snapshot.triplets("train"), snapshot.triplets("dev")
    return "tracks with hard positives", snapshot.rows_train, snapshot.rows_dev


def _mvcorr(preset: Literal["paper", "small"], in_dim: int, train: int, dev: int) -> Plan:
    """Published: C1, rate 0.01. Small: as many outputs, up to 64, as the covariances of both parts can bear."""
    network, rate = (C1, 0.01) if preset == "paper" else (small(_outputs(train, dev, in_dim)), 1.0)
    batch = min(PAPER_BATCH, train)
    if min(batch, dev) <= network.out_dim:
        raise TooLittleData(
            f"MvCorr with {network.out_dim} outputs needs more than {network.out_dim} tracks with hard positives in "
            f"each part; there are {train} to train and {dev} held out"
        )
    loss = {"shrinkage": 0.2}
    return Plan(method="mvcorr", preset=preset, network=network, loss=loss, batch=batch, learning_rate=rate)


def _outputs(train: int, dev: int, in_dim: int) -> int:
    """The largest power of two up to 64 with four training rows and one held-out row more than outputs; 8 at least."""
    bound = min(64, in_dim, train // 4, dev - 1)
    return max(min(8, in_dim), 1 << max(bound, 1).bit_length() - 1)


def _imptriplet(preset: Literal["paper", "small"], in_dim: int, train: int, dev: int) -> Plan:
    """Published: C2, rate 0.001. Small: a square map that starts as the identity; the rate is for unit rows."""
    network, rate = (C2, 0.001) if preset == "paper" else (small(in_dim), 0.1)
    loss = {"margin": 1.0, "pull": 0.1, "weight": 0.02}
    batch = min(PAPER_BATCH, train)
    return Plan(method="imptriplet", preset=preset, network=network, loss=loss, batch=batch, learning_rate=rate)
