"""What a training method is, and what the registry knows of it. One file a family of methods beside this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from conf.errors import UsageError
from training.adapters import Adapter
from training.collective import Collective
from training.networks import build
from training.plan import Plan
from training.readers.reader import Reader, Rows
from training.snapshot import Kind, Needs, Snapshot

PAPER_BATCH = 1024  # of MvCorr and ImpTriplet

PAPER_EPOCH = 123  # its steps there: 126,435 tracks in batches of 1024

Preset = Callable[[str, int, int, int], dict[str, Any]]  # preset, in_dim, training rows, held-out rows -> of a Plan


class Method(nn.Module, ABC):
    """What the training loop asks of a method; the module holds all weights that are trained.

    Attributes:
        networks: the first becomes the adapter.
        loss: (N, ...) outputs of the global batch, or of the whole development set, and what `beside` says of its rows
            -> scalar. Its own parameters get the same gradient on every process.
        by_row: the loss is a mean over rows, each of which it could be told alone, and it has no parameters: a process
            needs no outputs of others.
    """

    networks: nn.ModuleList
    loss: nn.Module
    by_row = False

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__()
        self.networks = nn.ModuleList([build(plan.network, snapshot.dim, collective, name="shared")])

    @abstractmethod
    def embed(self, rows: Rows) -> Tensor:
        """(n, ...) outputs of the rows of this process."""

    def begin(self, reader: Reader) -> None:
        """Done once before the first epoch."""

    def beside(self, rows: Rows) -> Tensor | None:
        """(n, ...) what the loss wants to know of the rows beside their outputs."""
        return None

    def score(self, outputs: Tensor, beside: Tensor | None) -> float:
        """How far the development set is from what it should be; the weights of the lowest score are kept."""
        return self.loss_of(outputs, beside).item()

    def loss_of(self, outputs: Tensor, beside: Tensor | None) -> Tensor:
        return self.loss(outputs) if beside is None else self.loss(outputs, beside)

    def threshold(self, outputs: Tensor, beside: Tensor | None) -> float | None:
        """The squared distance at which complete linkage stops, where the method has one; of the development set."""
        return None

    def begin_from(self, parent: Adapter) -> None:
        """Begin with the weights of an adapter of the same network."""
        self.networks[0].load_state_dict(parent.layers.state_dict())

    def _one(self, x: Tensor) -> Tensor:
        """The network on the last axis of (..., D)."""
        return self.networks[0](x.flatten(0, -2)).unflatten(0, x.shape[:-1])


class RoundsMethod(Method):
    """A method whose epoch is a round in closed form that rests on the one before; no gradient is taken."""

    @abstractmethod
    def improve(self, number: int, raw: NDArray[np.float32], title: NDArray[np.int64]) -> float:
        """A round on this process's tracks, (N, D) unit rows, of these titles; the loss before it."""


class Parent(NamedTuple):
    """An adapter to start from, by name."""

    adapter_id: str
    adapter: Adapter


def no_parent(parent: Parent, made: dict[str, Any]) -> dict[str, Any]:
    """Of a method that begins at the beginning."""
    raise UsageError(f"--parent {parent.adapter_id}: only bcl goes on from an adapter, of bcl")


class Entry(NamedTuple):
    """A method as it is asked for by name.

    Attributes:
        method: what trains.
        preset: its settings, the published ones (`paper`) and those for a corpus of one or two films (`small`).
        kind: what a row of its snapshot holds of a track.
        needs: the rows that it learns from.
        labelled: what trains in its place where there are labels, and its settings; such rows are then all it learns
            from.
        loss: what it minimises, whose parameters with a default can be set.
        own_network: the method is made for its one network; no other can be chosen.
        start_from: what a plan says otherwise where training starts from an adapter; raises UsageError where it cannot.
        check: raises TooLittleData where a plan asks for more than the training and the held-out rows.
    """

    method: type[Method]
    preset: Preset
    kind: Kind
    needs: Needs
    labelled: tuple[type[Method], Preset] | None = None
    loss: type[nn.Module] = nn.Identity
    own_network: bool = False
    start_from: Callable[[Parent, dict[str, Any]], dict[str, Any]] = no_parent
    check: Callable[[Plan, int, int], None] = lambda plan, train, dev: None


def two_faces(rows: Rows) -> Tensor:
    """(N, 2, D): two of each row's faces, drawn."""
    first, step = rows.draw[:, 0], rows.draw[:, 1]
    second = first % rows.views.shape[1] + 1 + step % (rows.views.shape[1] - 1)  # any but the first
    return torch.stack([pick_views(rows.views, first), pick_views(rows.views, second)], dim=1)


def pick_views(views: Tensor, number: Tensor) -> Tensor:
    """(N, D): of each row's (N, V, D) views the one that a random number names."""
    return views[torch.arange(len(views), device=views.device), number % views.shape[1]]
