"""The one interface of all clusterers: embeddings and links in, a partition out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Clustering(NamedTuple):
    """A partition of T rows.

    Attributes:
        labels: (T,) int32, numbered in order of first appearance; -1 = noise, of methods that know noise.
        k_found: the number of clusters, which can differ from the number asked for.
        heights: (M,) float64, distances of the merges in the order they were made; empty for methods without merges.
    """

    labels: NDArray[np.int32]
    k_found: int
    heights: NDArray[np.float64]


@dataclass(frozen=True)
class Links:
    """Pairs of rows that are known of.

    Attributes:
        cannot: (P, 2) row indices of pairs that are two people; repeats and either order do no harm.
        must: (Q, 2) row indices of pairs that are one person, in the order in which they are to be followed.
    """

    cannot: NDArray[np.int64]
    must: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("cannot", "must"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64).reshape(-1, 2))

    def check(self, rows: int) -> None:
        """Raises ValueError where a link names a row that is not there."""
        for name, links in (("cannot", self.cannot), ("must", self.must)):
            if links.size and not 0 <= links.min() <= links.max() < rows:
                raise ValueError(f"{name} links rows {links.min()} to {links.max()}, but there are {rows} rows")

    def among(self, rows: NDArray[np.integer], count: int) -> Links:
        """The links between the given rows of `count`, as positions among them."""
        position = np.full(count, -1)
        position[rows] = np.arange(len(rows))
        inside = (position[links] for links in (self.cannot, self.must))
        return Links(*(links[(links >= 0).all(axis=1)] for links in inside))


@dataclass(frozen=True)
class Bounds:
    """Where merging ends.

    Attributes:
        cut: the largest distance at which two clusters are one person; None for any.
        exact_k, min_k, max_k: bounds on the number of clusters, clamped to what there is; `exact_k` is both others.
    """

    cut: float | None = None
    exact_k: int | None = None
    min_k: int | None = None
    max_k: int | None = None

    @property
    def on_number(self) -> bool:
        """Whether the number of clusters is given or bounded."""
        return (self.exact_k, self.min_k, self.max_k) != (None, None, None)

    def of(self, rows: int) -> tuple[int, int]:
        """The least and the greatest number of clusters that so many rows may make.

        Returns:
            (least, greatest), both `rows` at most; (0, 0) for no rows; (1, rows) where nothing is asked for.

        Raises:
            ValueError: a bound below 1, min_k above max_k, or exact_k outside of them.
        """
        numbers = {"exact_k": self.exact_k, "min_k": self.min_k, "max_k": self.max_k}
        asked = {name: k for name, k in numbers.items() if k is not None}
        given = ", ".join(f"{name}={k}" for name, k in asked.items())
        if min(asked.values(), default=1) < 1:
            raise ValueError(f"{given}: the number of clusters is at least 1")
        least = max((k for name, k in asked.items() if name != "max_k"), default=1)
        greatest = min((k for name, k in asked.items() if name != "min_k"), default=max(rows, least))
        if least > greatest:
            raise ValueError(f"{given}: no number of clusters is within these bounds")
        return min(least, rows), min(greatest, rows)


NO_LINKS = Links(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64))
UNBOUNDED = Bounds()


class Clusterer(Protocol):
    """A way to cluster the tracks of one title.

    It may ignore the cut, but it obeys the bounds where it can, and no cluster it returns holds a cannot-linked pair.
    Must-linked rows are in one cluster unless cannot-links forbid it. The same rows in another order give the same
    partition, exact ties and random starts aside.
    """

    def __call__(
        self, embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
    ) -> Clustering:
        """Of (T, D) finite unit rows."""
        ...


class FaceSets(NamedTuple):
    """What the faces of T tracks say beyond their mean.

    Attributes:
        intra_track: (T,) mean cosine distance of the pairs of a track's faces; NaN where it has fewer than two.
        n: (T,) how many faces each mean is of.
    """

    intra_track: NDArray[np.floating]
    n: NDArray[np.integer]

    def among(self, rows: NDArray[np.integer]) -> FaceSets:
        """Those of some tracks."""
        return FaceSets(self.intra_track[rows], self.n[rows])


class OfFaces(Protocol):
    """What the faces of tracks say beyond their mean embedding, for a method that goes by it."""

    def among(self, rows: NDArray[np.integer]) -> Self:
        """That of some tracks."""
        ...


class Method(NamedTuple):
    """A clusterer, and what it is to be given.

    Attributes:
        cluster: the clusterer; None where it is made by `by_faces`.
        number: whether the number of clusters must be given, cannot be (it is always found), or either.
        drawn: whether its rows are drawn to their neighbours first, and links that these doubt are set aside.
        by_faces: the clusterer of tracks of whose faces this is known, for a method that goes by more than their means.
        by_answers: what it goes by are the answers of a network that was fine-tuned on the title.
        any_length: whether it goes by Euclidean distances, and so takes rows of any length.
    """

    cluster: Clusterer | None
    number: Literal["given", "found", "either"] = "either"
    smoothed: bool = False
    by_faces: Callable[[Any], Clusterer] | None = None
    by_answers: bool = False
    any_length: bool = False

    def clusterer(self, faces: OfFaces | None) -> Clusterer:
        """Raises ValueError where a method goes by faces and there are none."""
        if self.cluster is not None:
            return self.cluster
        if self.by_faces is None or faces is None:
            raise ValueError("this method goes by more of each track's faces than their mean, which is not known")
        return self.by_faces(faces)

    def check(self, name: str, bounds: Bounds) -> None:
        """Raises ValueError where the number of clusters is missing or cannot be obeyed; `name` is the method's."""
        if self.number == "given" and bounds.exact_k is None and bounds.cut is None:
            raise ValueError(f"{name} cannot find the number of characters: give it, or take another method")
        if self.number == "found" and bounds.on_number:
            raise ValueError(f"{name} finds the number of characters by itself and cannot be given one")


class Mergeable(Protocol):
    """Clusters on their way from many to few."""

    count: int

    def closest(self) -> tuple[int, int, float]:
        """The two clusters to merge next and their distance, infinite where no two may merge."""
        ...

    def merge(self, a: int, b: int) -> None:
        """Make one cluster of two."""
        ...


def merge_down(clusters: Mergeable, cut: float | None, least: int, greatest: int) -> list[float]:
    """Merge the closest two again and again, up to the cut down to `least` clusters, above it down to `greatest`.

    Returns:
        The distances of the merges.
    """
    heights = []
    while clusters.count > least:
        a, b, height = clusters.closest()
        above = cut is not None and height > cut
        if np.isinf(height) or (above and clusters.count <= greatest):
            break
        clusters.merge(a, b)
        heights.append(height)
    return heights


def in_order_of_appearance(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Rename (T,) labels to 0, 1, ... in the order in which they first appear; int32. T = 0 gives an empty array."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]


def join_must_links(tracks: int, links: Links) -> NDArray[np.int64]:
    """(T,) the groups that must-links make, each named by its first row.

    Links are followed in the order given; one between groups that are cannot-linked by then is passed over.
    """
    root, cannot_linked = list(range(tracks)), _partners(links.cannot)

    def group_of(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for row, other in links.must.tolist():
        a, b = sorted((group_of(row), group_of(other)))
        if a == b or b in cannot_linked.get(a, ()):
            continue
        root[b] = a
        for partner in cannot_linked.pop(b, ()):
            cannot_linked[partner].discard(b)
            cannot_linked[partner].add(a)
            cannot_linked.setdefault(a, set()).add(partner)
    return np.array([group_of(row) for row in range(tracks)], np.int64)


def _partners(cannot: NDArray[np.integer]) -> dict[int, set[int]]:
    cannot_linked: dict[int, set[int]] = {}
    for row, other in np.asarray(cannot, np.int64).tolist():
        cannot_linked.setdefault(row, set()).add(other)
        cannot_linked.setdefault(other, set()).add(row)
    return cannot_linked
