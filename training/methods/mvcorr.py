"""MvCorr: branches that agree on what the views of one track share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from conf.errors import TooLittleData
from training.collective import Collective
from training.losses.mvcorr import MvCorr
from training.methods.base import PAPER_BATCH, PAPER_EPOCH, Entry, Method
from training.networks import C1, build, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot


class MvCorrMethod(Method):
    """M branches that share no weights, one per view; the anchor's becomes the adapter."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        branches = (
            build(plan.network, snapshot.dim, collective, name=f"branch{view}") for view in range(snapshot.n_views)
        )
        self.networks = nn.ModuleList(branches)
        self.loss = MvCorr(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return torch.stack([branch(rows.views[:, view]) for view, branch in enumerate(self.networks)], dim=1)


def _mvcorr(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published: C1, rate 0.01; Nesterov's momentum as in the authors' code. Small: a linear map to 32 outputs.

    The loss does not heed where the outputs' origin lies, so they are read out centred. On composite titles 32 outputs
    did better than 16 or 64, a rate of 0.3 than of 1, and a least fall of 1e-4 (the authors' code) no worse than of
    1e-3 (the paper).
    """
    fixed = {"loss": {"shrinkage": 0.2}, "batch": min(PAPER_BATCH, train), "decay": 1e-6, "read_out": "centred"}
    if preset == "paper":
        return {**fixed, "network": C1, "learning_rate": 0.01, "nesterov": True, "epoch_steps": PAPER_EPOCH}
    slow = {"min_delta": 1e-4, "patience": 20}
    return {**fixed, **slow, "network": small(_outputs(train, dev, in_dim)), "learning_rate": 0.3}


def check(plan: Plan, train: int, dev: int) -> None:
    """Raises TooLittleData where covariances of so many outputs would be singular in either part."""
    outputs = plan.network.out_dim
    if min(plan.batch, dev) <= outputs:
        raise TooLittleData(
            f"MvCorr with {outputs} outputs needs more than {outputs} tracks with hard positives in each part; there "
            f"are {train} to train and {dev} held out"
        )


def _outputs(train: int, dev: int, in_dim: int) -> int:
    """The largest power of two up to 32 with four training rows and one held-out row more than outputs; 8 at least."""
    bound = min(32, in_dim, train // 4, dev - 1)
    return max(min(8, in_dim), 1 << max(bound, 1).bit_length() - 1)


METHODS = {"mvcorr": Entry(MvCorrMethod, _mvcorr, "tracklets", "all", loss=MvCorr, check=check)}
