"""The methods that whiten, castmine's own: in closed form, and triplets that begin where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from training import whitening
from training.collective import Collective
from training.losses.imptriplet import ImpTriplet
from training.methods import imptriplet
from training.methods.base import Entry, RoundsMethod
from training.networks import small
from training.plan import Plan
from training.readers.reader import Reader, Rows
from training.snapshot import Snapshot

WHITENING: dict[str, Any] = {"cuts": [0.3, 0.4, 0.5], "least": 3, "caution": 3.0}
FLOOR = 0.5  # of lda_triplet; see `whitening.discriminant`
TRIPLET_STEPS = 40


class WhiteningMethod(RoundsMethod):
    """A square map found in closed form, a round at a time (see `training.whitening`)."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = nn.Identity()
        self.cuts, self.least, self.caution = (plan.whitening[name] for name in ("cuts", "least", "caution"))
        self.seed, self.collective = plan.seed, collective

    def embed(self, rows: Rows) -> Tensor:
        return normalize(self.networks[0](normalize(rows.views.mean(dim=1), dim=1)), dim=1)

    def beside(self, rows: Rows) -> Tensor:
        return rows.title

    @torch.no_grad()
    def improve(self, number: int, raw: NDArray[np.float32], title: NDArray[np.int64]) -> float:
        """A round on this process's tracks, (N, D) unit rows, and everybody's scatter; each has larger groups.

        Returns `score` before it, for the groups of this round.
        """
        now, dim = self._map(raw), raw.shape[1]
        total, n, share = np.zeros((dim, dim)), 0, np.zeros(2)
        for chosen, group in self._groups(now, title, self.cuts[number]):
            scatter, counted = whitening.within_scatter(raw[chosen], group, self.least)
            total, n = total + scatter, n + counted
            share += _shares(now[chosen], group)
        found = np.concatenate([total.ravel(), [n], share])
        summed = self.collective.sum(torch.from_numpy(found), "scatter").numpy()
        total, (n, inside, whole) = summed[:-3].reshape(dim, dim), summed[-3:]
        next(self.networks.parameters()).copy_(torch.from_numpy(whitening.whitener(total, int(n), self.caution)))
        return float(inside / max(whole, 1e-12))

    @torch.no_grad()
    def weigh(self, raw: NDArray[np.float32], title: NDArray[np.int64], floor: float) -> None:
        """After all rounds: each direction by what it tells of who it is, see `whitening.discriminant`."""
        now, dim = self._map(raw), raw.shape[1]
        within, between, counts = np.zeros((dim, dim)), np.zeros((dim, dim)), np.zeros(4)
        for chosen, group in self._groups(now, title, self.cuts[-1]):
            apart, groups, inverse_sizes = whitening.between_scatter(now[chosen], group, self.least)
            if groups:
                inside, rows = whitening.within_scatter(now[chosen], group, self.least)
                within, between = within + inside, between + apart
                counts += [rows, groups, inverse_sizes, 1]
        found = np.concatenate([within.ravel(), between.ravel(), counts])
        summed = self.collective.sum(torch.from_numpy(found), "discriminant").numpy()
        within, between = summed[:-4].reshape(2, dim, dim)
        rows, groups, inverse_sizes, titles = summed[-4:]
        if titles:  # with two groups or more
            covariances = within / max(rows - groups, 1), between / (groups - titles)
            weighed = whitening.discriminant(*covariances, inverse_sizes / groups, floor)
            weight = next(self.networks.parameters())
            weight.copy_(torch.from_numpy(weighed @ weight.double().numpy()))

    def _map(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) unit rows as the network sees them now."""
        return normalize(self.networks[0](torch.from_numpy(raw)), dim=1).numpy()

    def score(self, outputs: Tensor, beside: Tensor | None) -> float:
        """The share of the tracks' scatter that lies inside the smallest groups: how tight they are, not how right."""
        assert beside is not None
        shares = [
            _shares(outputs[chosen].numpy(), group) for chosen, group in self._groups(outputs, beside, self.cuts[0])
        ]
        inside, whole = np.sum(shares, axis=0)
        return float(inside / max(whole, 1e-12))

    def _groups(self, embeddings: Any, title: Any, cut: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows of each title, and the group of each."""
        x, titles = np.asarray(embeddings), np.asarray(title)
        for one in np.unique(titles):
            rows = np.flatnonzero(titles == one)
            rows = rows[whitening.draw_pairs(len(rows), self.seed)]
            yield rows, whitening.group_tracks(x[rows], cut)


def _shares(rows: NDArray[np.floating], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scatter inside the groups, and scatter in all."""
    inside, _ = whitening.within_scatter(rows, group, 1)
    whole, _ = whitening.within_scatter(rows, np.zeros(len(rows), np.int64), 1)
    return np.array([np.trace(inside), np.trace(whole)])


class WhitenedTripletMethod(imptriplet.ImpTripletMethod):
    """ImpTriplet that begins where whitening ends, on a square linear map; of lda_triplet, its directions weighed.

    Whitening learns how the tracks of one person differ, whoever it is; the triplets, which people here look alike. A
    track without a hard negative takes part in the whitening alone; where no track has one, whitening is all there is.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        first = WhiteningMethod(plan, snapshot, collective)
        first.networks = self.networks
        self._first = (first,)  # in a tuple its module is no part of this one
        self._floor = plan.whitening.get("floor")

    def begin(self, reader: Reader) -> None:
        (first,), tracks = self._first, reader.tracks()
        for number in range(len(first.cuts)):
            first.improve(number, *tracks)
        if self._floor is not None:
            first.weigh(*tracks, self._floor)

    def embed(self, rows: Rows) -> Tensor:
        return super().embed(rows[rows.has_negative])


def _whitening(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours, chosen on composite titles: three rounds, whatever the size of the corpus."""
    fixed = {"network": small(in_dim), "loss": {}, "whitening": WHITENING}
    return {**fixed, "batch": train, "learning_rate": 1.0, "max_epochs": len(WHITENING["cuts"])}


def _whitened_triplet(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours, whatever the size of the corpus: few small steps, as what triplets teach holds for the people in them.

    On composite titles 40 steps gain most of what 200 do where people come back, and lose nothing on people never seen,
    where 200 steps end below the raw embedding.
    """
    made = imptriplet.preset("small", in_dim, train, dev)
    epochs = max(1, TRIPLET_STEPS * made["batch"] // train)  # a small corpus is one batch
    return {**made, "whitening": WHITENING, "learning_rate": 0.01, "max_epochs": epochs, "min_delta": 0.0}


def _lda_triplet(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours. On composite titles it tells the people of the training titles apart best of all, others less well."""
    return {**_whitened_triplet(preset, in_dim, train, dev), "whitening": {**WHITENING, "floor": FLOOR}}


METHODS = {
    "whitened_triplet": Entry(
        WhitenedTripletMethod, _whitened_triplet, "tracklets", "all", loss=ImpTriplet, own_network=True
    ),
    "lda_triplet": Entry(WhitenedTripletMethod, _lda_triplet, "tracklets", "all", loss=ImpTriplet, own_network=True),
    "whitening": Entry(WhiteningMethod, _whitening, "tracklets", "all", own_network=True),
}
