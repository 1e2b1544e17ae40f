"""A plan: everything beside a title's crops that decides how a network is fine-tuned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FinetunePlan(BaseModel):
    """It goes into the adapter's file as it is. Defaults are the paper's (appendix A.3) where it says them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(5, ge=1, description="the first within tracks, later ones over matched tracks")
    first_epochs: int = Field(30, ge=1, description="of the first iteration")
    heads_epochs: int = Field(10, ge=0, description="of these, in which the backbone stands still")
    later_epochs: int = Field(10, ge=1, description="of every later iteration")
    warm_up: int = Field(5, ge=0, description="epochs of every iteration in which the rate rises")
    crop_every_s: float = Field(0.5, gt=0, description="least seconds between two crops of a track that train")
    crops_per_track: int = Field(12, ge=2, description="crops of a track that train, at most")
    pairs: int = Field(32, ge=1, description="pairs of crops of a global batch, over all processes")
    steps: int = Field(16, ge=1, description="of an epoch, at least: few crops are shown several times in each")
    rates: tuple[float, float, float] = Field((5e-6, 1e-4, 1e-5), description="at the start, at the peak, at the end")
    weight_decay: float = Field(0.04, ge=0)
    clip: float = Field(3.0, gt=0, description="greatest length of a step's gradient")
    keep: float = Field(0.996, ge=0, lt=1, description="of the teacher, a step")
    matching: Literal["gaussian", "fixed", "none"] = Field(
        "gaussian", description="whose crops stand for whose: each track's own threshold, one for all, own tracks only"
    )
    cosine: float = Field(0.5, gt=-1, lt=1, description="of two tracks' means that match, where matching is fixed")
    quality: bool = Field(True, description="leave tracks out of whose crops the network is unsure")
    backbone: bool = Field(True, description="train the backbone, too, and not the heads alone")
    seed: int = 7
    device: Literal["cpu", "cuda"] = "cpu"

    def epochs(self, iteration: int) -> int:
        """Of an iteration, which count from 1."""
        return self.first_epochs if iteration == 1 else self.later_epochs

    def rounds(self, crops: int) -> int:
        """How often an epoch shows each of so many crops."""
        return max(1, -(-((self.steps - 1) * self.pairs + 1) // crops))

    def heads_alone(self, iteration: int, epoch: int) -> bool:
        """Whether the backbone stands still in this epoch, of which each iteration's first is 0."""
        return not self.backbone or (iteration == 1 and epoch < self.heads_epochs)
