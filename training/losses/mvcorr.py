"""MvCorr: make M branches agree on what the views of one track share, from positives alone (MvCorr, section IV-B)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from conf.errors import CastmineError, TooLittleData


class MvCorr(nn.Module):
    """`1 - rho`, where rho is the mean multi-view correlation of the outputs (equations 5 and 6).

    rho is the mean over D directions w of `w' R_b w / w' R_w w`, where R_w is each view's own covariance and R_b that
    between views. The directions are the generalised eigenvectors of R_b and of R_w, shrunk; the ratios are by R_w as
    it is, as in the code of the paper's authors. Ratios by the shrunk R_w would be another objective: it pays for
    outputs of equal variance, as whitening does. Without shrinkage rho is `tr(R_w^-1 R_b) / D`, the text of the paper.

    A function of the whole batch: with many processes it is evaluated on the rows of all of them.

    Args:
        shrinkage: g of the card, 0 to 1; how far R_w is pulled towards a multiple of I to find the directions.
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
        """rho of (N, M, D) outputs: a scalar, at most 1.

        The covariances are of the outputs' precision, and of float64 where that does not suffice; what follows from
        them is float64. There is no silent ridge.
        """
        for x in (outputs, outputs.double()):
            within, between = (covariance.double() for covariance in _covariances(x))
            level = within.trace() / len(within)
            ridge = level * torch.eye(len(within), dtype=within.dtype, device=within.device)
            factor, failed = torch.linalg.cholesky_ex((1 - self.shrinkage) * within + self.shrinkage * ridge)
            if failed:
                continue
            if self.shrinkage == 0:
                return (torch.cholesky_solve(between, factor).trace() / len(within)).to(outputs.dtype)
            directions = _find_directions(between, factor)
            shared, own = ((directions * (of @ directions)).sum(dim=0) for of in (between, within))
            nothing = torch.finfo(outputs.dtype).eps * level.detach()  # where outputs are constant nothing is shared
            return (shared / own.clamp(min=nothing)).mean().to(outputs.dtype)
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


def _find_directions(between: Tensor, factor: Tensor) -> Tensor:
    """(D, D) columns of unit length: the generalised eigenvectors of `between` and of factor @ factor.T."""
    half = torch.linalg.solve_triangular(factor, between, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    vectors = _Eigenvectors.apply((whitened + whitened.T) / 2)
    columns = torch.linalg.solve_triangular(factor.T, vectors, upper=True)
    return columns / columns.norm(dim=0)


class _Eigenvectors(torch.autograd.Function):
    """The eigenvectors of a symmetric matrix, with a finite gradient also where eigenvalues are equal.

    The gradient has a factor 1 / (a - b) for each pair of eigenvalues. Of two equal ones any vectors of their plane
    would do, and nothing can be learned from which are taken; so near 0 the factor goes to 0.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        return vectors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        gap = values[None] - values[:, None]
        near = torch.finfo(values.dtype).eps * values.abs().max().square()
        factor = gap / (gap.square() + near)
        return vectors @ (factor * (vectors.T @ gradients[0])) @ vectors.T
