"""What training needs of many processes, and the one process that needs nothing of it.

Losses that couple the rows of a batch (MvCorr) are functions of the global batch. So every process gathers the outputs
of all, evaluates the same global loss, sends the gradient back through its own rows only, and the parameter gradients
are added up (methods.md, "Batch-coupled losses and many processes").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
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


class Processes(ABC):
    """Many processes: `Collective` on top of what a library's own calls give, which know nothing of gradients."""

    size: int
    rank: int

    def gather(self, rows: Tensor, name: str) -> Tensor:
        """As `Collective.gather`: the libraries' own would add up the gradients of equal losses, one per process."""
        counts = self._all_rows(torch.tensor([len(rows)]), [1] * self.size, f"{name}.counts").tolist()
        sent = rows.detach().cpu()  # Gloo exchanges what is in memory
        sent = sent.to(torch.uint8) if rows.dtype == torch.bool else sent  # Horovod knows no bool
        everyone = self._all_rows(sent, counts, name).to(rows)
        start = sum(counts[: self.rank])
        return torch.cat([everyone[:start], rows, everyone[start + len(rows) :]])

    def sum(self, tensor: Tensor, name: str) -> Tensor:
        """As `Collective.sum`."""
        return _Sum.apply(tensor, lambda part, of: self._all_sum(part.cpu(), of).to(part), name)

    @abstractmethod
    def broadcast(self, tensor: Tensor, name: str) -> Tensor:
        """As `Collective.broadcast`, of a tensor in memory."""

    @abstractmethod
    def _all_rows(self, rows: Tensor, counts: list[int], name: str) -> Tensor:
        """The rows of all, of which process i has counts[i]; without gradient."""

    @abstractmethod
    def _all_sum(self, tensor: Tensor, name: str) -> Tensor:
        """The sum over all; without gradient."""


class _Sum(torch.autograd.Function):
    """A sum over processes whose gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, all_sum: Callable[[Tensor, str], Tensor], name: str) -> Tensor:
        ctx.all_sum, ctx.name = all_sum, name
        return all_sum(tensor, name)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.all_sum(gradients[0], f"{ctx.name}.gradient"), None, None
