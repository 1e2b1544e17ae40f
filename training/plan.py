"""A plan: everything beside the snapshot that decides a training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from conf.settings import ReadOut, TrainingMethod
from training.networks import Network
from training.snapshot import Needs


class Plan(BaseModel):
    """Everything beside the snapshot that decides a training run; it goes into the adapter's file as it is.

    An epoch is as many passes over the rows as make `epoch_steps` steps, at least one. So what counts in epochs has the
    papers' numbers, whatever the size of the corpus: an epoch of theirs was a pass of so many steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: TrainingMethod
    preset: Literal["paper", "small"]
    needs: Needs = Field("all", description="rows that it learns from: those with a negative, a label, or all")
    network: Network
    read_out: ReadOut = Field("cosine", description="how outputs are compared, see conf/settings.py")
    loss: dict[str, Any] = Field(description="parameters of the loss")
    whitening: dict[str, Any] = Field({}, description="parameters of the methods that whiten")
    samples: Literal["faces", "tracks"] = Field("faces", description="what labels teach on: random faces, track means")
    parent: str | None = Field(None, description="adapter whose weights it starts from")
    batch: int = Field(ge=1, description="rows of a global batch, over all processes")
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    decay: float = Field(0.0, ge=0, description="the rate of step t is learning_rate / (1 + decay t)")
    drop: float = Field(1.0, gt=0, le=1, description="factor on the rate after every 10 epochs")
    loss_rate: float = Field(1.0, ge=0, description="rate of the loss's own parameters, as a share of learning_rate")
    loss_waits: int = Field(0, ge=0, description="epochs in which the loss's own parameters stand still")
    epoch_steps: int = Field(1, ge=1, description="least steps of an epoch, about")
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(5, ge=1, description="epochs without progress after which training stops")
    min_delta: float = Field(1e-3, ge=0, description="fall of the development score that counts as progress")
    seed: int = 7
    device: Literal["cpu", "cuda"] = "cpu"
