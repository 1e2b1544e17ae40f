"""What training needs of many processes, and the one process that needs nothing of it.

Losses that couple the rows of a batch (MvCorr) are functions of the global batch. So every process gathers the outputs
of all, evaluates the same global loss, sends the gradient back through its own rows only, and the parameter gradients
are added up (methods.md, "Batch-coupled losses and many processes").
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Collective(Protocol):
    """A fixed group of processes that all make the same calls in the same order."""

    size: int
    rank: int

    def gather(self, rows: Tensor, name: str) -> Tensor:
        """The rows of all processes in the order of their ranks; the gradient flows into this process's rows only.

        Args:
            rows: (n, ...), n may differ between processes.
        """
        ...

    def sum(self, tensor: Tensor, name: str) -> Tensor:
        """The sum over all processes; differentiable: the gradient is the sum of all processes' gradients."""
        ...

    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        """Rank 0's values, on every process; no gradient."""
        ...


class Alone:
    """One process: nothing to exchange."""

    size = 1
    rank = 0

    def gather(self, rows: Tensor, name: str) -> Tensor:
        return rows

    def sum(self, tensor: Tensor, name: str) -> Tensor:
        return tensor

    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        return tensor
