"""Methods: which networks see which rows, and which loss their outputs meet. One class a method, named in `METHODS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import v_measure_score
from torch import Tensor, nn
from torch.nn.functional import normalize

from conf.settings import TrainingMethod
from training import whitening
from training.collective import Collective
from training.losses.ball_cluster import BallCluster, TrackBalls
from training.losses.imptriplet import ImpTriplet
from training.losses.labelled import Contrastive, CrossEntropy, Ldml, Prototypical, Triplet
from training.losses.mvcorr import MvCorr
from training.losses.siamese import SSiam, TSiam
from training.networks import build
from training.presets import Plan
from training.readers.reader import Reader, Rows
from training.snapshot import Snapshot


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

    def threshold(self) -> float | None:
        """The squared distance of unit outputs at which complete linkage stops, where the method learns one."""
        return None

    def _one(self, x: Tensor) -> Tensor:
        """The network on the last axis of (..., D)."""
        return self.networks[0](x.flatten(0, -2)).unflatten(0, x.shape[:-1])


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


class ImpTripletMethod(Method):
    """One network for anchor, first hard positive and hard negative; batch norm runs over all three."""

    by_row = True

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = ImpTriplet(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(torch.cat([rows.views[:, :2], rows.negative[:, :1]], dim=1))


class WhiteningMethod(Method):
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
    def improve(self, number: int, raw: np.ndarray, title: np.ndarray) -> float:
        """A round on this process's tracks, (N, D) unit rows, and everybody's scatter; each has larger groups.

        Returns `score` before it, for the groups of this round.
        """
        now, dim = self._mapped(raw), raw.shape[1]
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
    def weigh(self, raw: np.ndarray, title: np.ndarray, floor: float) -> None:
        """After all rounds: each direction by what it tells of who it is, see `whitening.discriminant`."""
        now, dim = self._mapped(raw), raw.shape[1]
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

    def _mapped(self, raw: np.ndarray) -> np.ndarray:
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

    def _groups(self, embeddings: Any, title: Any, cut: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of each title, and the group of each."""
        x, titles = np.asarray(embeddings), np.asarray(title)
        for one in np.unique(titles):
            rows = np.flatnonzero(titles == one)
            rows = rows[whitening.drawn(len(rows), self.seed)]
            yield rows, whitening.groups(x[rows], cut)


def _shares(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Scatter inside the groups, and scatter in all."""
    inside, _ = whitening.within_scatter(rows, group, 1)
    whole, _ = whitening.within_scatter(rows, np.zeros(len(rows), np.int64), 1)
    return np.array([np.trace(inside), np.trace(whole)])


class WhitenedTripletMethod(ImpTripletMethod):
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


class TSiamMethod(Method):
    """Two random faces of a track, and one of a track that it is cannot-linked to."""

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        stranger = _picked(rows.negative, rows.draw[:, 2])
        return self._one(torch.cat([_two_faces(rows), stranger[:, None]], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative


class SSiamMethod(Method):
    """Random faces, two of each track, as frames of a film come; pairs come from sorted distances.

    Nothing says which two are of one track. With one face of each, most would have no other of their person in the
    batch, and the farthest nearest ones would be two people.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = SSiam(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(self.beside(rows))

    def beside(self, rows: Rows) -> Tensor:
        return _two_faces(rows)


class TrackBallsMethod(Method):
    """BCL from automatic pairs: all sampled faces of a track, and of one that it is cannot-linked to."""

    loss: TrackBalls

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        self.loss = TrackBalls(**plan.loss)

    def embed(self, rows: Rows) -> Tensor:
        return self._one(torch.stack([rows.views, rows.negative], dim=1))

    def beside(self, rows: Rows) -> Tensor:
        return rows.has_negative

    def threshold(self) -> float:
        return self.loss.ball.threshold()


class LabelledMethod(Method):
    """A random face of each track and its identity; held-out tracks by the mean of their faces (BCL, section 4).

    Kept are the weights with the best V-measure of complete linkage on the held-out tracks: at the threshold for BCL,
    at the true number of identities for its rivals, which have none.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot, collective: Collective) -> None:
        super().__init__(plan, snapshot, collective)
        identities = len(snapshot.labels)
        self.loss = {
            "bcl": lambda: BallCluster(**plan.loss),
            "cross_entropy": lambda: CrossEntropy(plan.network.out_dim, identities),
            "ldml": lambda: Ldml(**plan.loss),
            "contrastive": lambda: Contrastive(**plan.loss),
            "triplet": lambda: Triplet(**plan.loss),
            "prototypical": lambda: Prototypical(),
        }[plan.method]()

    def embed(self, rows: Rows) -> Tensor:
        faces = _picked(rows.views, rows.draw[:, 0]) if self.training else normalize(rows.views.mean(dim=1), dim=1)
        return self.networks[0](faces)[:, None]

    def beside(self, rows: Rows) -> Tensor:
        return rows.label

    def score(self, outputs: Tensor, beside: Tensor | None) -> float:
        """1 - V-measure."""
        assert beside is not None
        unit = normalize(outputs[:, 0], dim=1).double().cpu().numpy()
        threshold = self.threshold()
        cut = {"n_clusters": len(beside.unique())} if threshold is None else {"n_clusters": None}
        reach = None if threshold is None else threshold**0.5
        tree = AgglomerativeClustering(linkage="complete", distance_threshold=reach, **cut)
        return 1 - float(v_measure_score(beside.cpu().numpy(), tree.fit_predict(unit)))

    def threshold(self) -> float | None:
        return self.loss.ball.threshold() if isinstance(self.loss, BallCluster) else None


def _two_faces(rows: Rows) -> Tensor:
    """(N, 2, D): two of each row's faces, drawn."""
    first, step = rows.draw[:, 0], rows.draw[:, 1]
    second = first % rows.views.shape[1] + 1 + step % (rows.views.shape[1] - 1)  # any but the first
    return torch.stack([_picked(rows.views, first), _picked(rows.views, second)], dim=1)


def _picked(views: Tensor, number: Tensor) -> Tensor:
    """(N, D): of each row's (N, V, D) views the one that a random number names."""
    return views[torch.arange(len(views), device=views.device), number % views.shape[1]]


METHODS: dict[TrainingMethod, type[Method]] = {
    "whitened_triplet": WhitenedTripletMethod,
    "lda_triplet": WhitenedTripletMethod,
    "whitening": WhiteningMethod,
    "mvcorr": MvCorrMethod,
    "imptriplet": ImpTripletMethod,
    "tsiam": TSiamMethod,
    "ssiam": SSiamMethod,
    "bcl": LabelledMethod,
    **dict.fromkeys(("cross_entropy", "ldml", "contrastive", "triplet", "prototypical"), LabelledMethod),
}


def method_of(plan: Plan, snapshot: Snapshot, collective: Collective) -> Method:
    """The plan's method; BCL without labels is the one on automatic pairs."""
    kind = TrackBallsMethod if plan.method == "bcl" and plan.needs != "label" else METHODS[plan.method]
    return kind(plan, snapshot, collective)
