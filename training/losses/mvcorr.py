"""MvCorr: make M branches agree on what the views of one track share, from positives alone (MvCorr, section IV-B)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from conf.errors import CastmineError, TooLittleData


class MvCorr(nn.Module):
    """`1 - rho`, where rho is the mean multi-view correlation of the outputs (equations 5 and 6).

    A function of the whole batch: with many processes it is evaluated on the rows of all of them.

    Args:
        shrinkage: g of the card, 0 to 1; how far the within-view covariance is pulled towards a multiple of I.
    """

    def __init__(self, shrinkage: float = 0.2) -> None:
        super().__init__()
        self.shrinkage = shrinkage

    def forward(self, outputs: Tensor) -> Tensor:
        """Scalar in [0, M/(M-1)], differentiable.

        Args:
            outputs: (N, M, D) floats; row i of every view comes from track i; M >= 2 and N > D.
        Raises:
            TooLittleData: N <= D, where covariances of D columns mean nothing.
            CastmineError: the outputs do not vary at all, or hold a number that is not finite.
        """
        n, m, d = outputs.shape
        if m < 2:
            raise ValueError(f"MvCorr compares views: it needs 2 or more, got {m}")
        if n <= d:
            raise TooLittleData(f"MvCorr with {d} outputs needs a batch of more than {d} rows; here are {n}")
        return 1 - self.correlation(outputs)

    def correlation(self, outputs: Tensor) -> Tensor:
        """rho of (N, M, D) outputs: a scalar, at most 1. In float64 where float32 does not suffice; no silent ridge."""
        for x in (outputs, outputs.double()):
            within, between = _covariances(x)
            d = len(within)
            level = within.trace() / d
            ridge = self.shrinkage * level * torch.eye(d, dtype=x.dtype, device=x.device)
            shrunk = (1 - self.shrinkage) * within + ridge
            factor, failed = torch.linalg.cholesky_ex(shrunk)
            if not failed:
                return (torch.cholesky_solve(between, factor).trace() / d).to(outputs.dtype)
        raise CastmineError(
            "MvCorr: the covariance of the outputs is singular even in float64: they are constant or not finite"
        )


def _covariances(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """R_w, each view's own covariance summed, and R_b, the mean covariance between views summed; (D, D) each."""
    n, m, d = outputs.shape
    centred = outputs - outputs.mean(dim=0)  # each view by its own mean
    flat, summed = centred.reshape(n * m, d), centred.sum(dim=1)
    within = flat.T @ flat / (n - 1)
    total = summed.T @ summed / (n - 1)
    return within, (total - within) / (m - 1)
