"""The tracks of one title to its characters: strong tracks are clustered, weak ones attached, the rest left unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from conf.settings import ClusterSettings
from udfs.kernels.cluster.interface import NO_LINKS, UNBOUNDED, Bounds, Links, OfFaces
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.nearest import Partners
from udfs.kernels.cluster.odds import UNMEASURED, Distances, Odds, fit_odds
from udfs.kernels.cluster.smoothing import find_doubted, smooth_by_neighbours
from udfs.kernels.rows import dot_by_group, sum_by_group

CUT = 0.6  # of the distance at which two people lie, between tracks drawn to their neighbours; at most the threshold
_BLOCK = 1024  # tracks whose distances to all characters are held at a time
_DISTANCES = 2**23  # of pairs of tracks, held at a time
# what fits the share of right tracks on labelled films and titles, in two embedders and adapted: see confidence_of
_STEEPNESS, _EVEN, _ALONE = 7.0, 0.6, 1.5
DEFAULTS = ClusterSettings()


class Characters(NamedTuple):
    """Who is who in a title of T tracks and K characters.

    Attributes:
        labels: (T,) int32, the character, 0 to K - 1; -1 where there is none.
        status: (T,) str: `core` (clustered on its own evidence), `uncertain` (clustered with too small a margin, or
            attached afterwards), `unknown`, `rejected` (not a face).
        reason: (T,) str, why a track has no character: `not_a_face`, `no_embedding`, `poor` (of low quality, and not
            clearly anybody's), `noise` (to a method that knows noise); empty where it has one.
        confidence: (T,) float32, 0 to 1, see `confidence_of`; 0 where there is no character.
        second_labels: (T,) int32, the nearest other character that no cannot-link rules out; -1 where there is none.
        margin: (T,) float32, how much nearer its own character is than the second, in mean cosine distance; negative
            where the second is nearer; NaN where there is no character.
        exemplars: (K,) int64, the row of each character's most central clustered track, of the tracks as they are.
        doubted: (P,) bool, the cannot-links that were set aside, see `smoothing.find_doubted`.
        odds: of the title's strong tracks as they are.
    """

    labels: NDArray[np.int32]
    status: NDArray[np.str_]
    reason: NDArray[np.str_]
    confidence: NDArray[np.float32]
    second_labels: NDArray[np.int32]
    margin: NDArray[np.float32]
    exemplars: NDArray[np.int64]
    doubted: NDArray[np.bool_]
    odds: Odds


@dataclass(frozen=True)
class Evidence:
    """What is known of the T tracks of a title.

    Attributes:
        embeddings: (T, D) unit rows; a row that is not finite has no embedding.
        n_faces: (T,) faces in each track.
        links: between tracks; those of tracks that are not clustered are heeded when they are attached (cannot) or
            left out (must).
        quality: (T,) 0 to 1, NaN where it is not known; such tracks are strong, all of them where it is None.
        rejected: (T,) True where a track is not a face.
        faces: of the tracks, for a method that goes by them.
        outputs: (T, D') rows of any length, which a method that takes such clusters in the place of the unit rows; what
            else is said of the tracks goes by those.
    """

    embeddings: NDArray[np.floating]
    n_faces: NDArray[np.integer]
    links: Links = NO_LINKS
    quality: NDArray[np.floating] | None = None
    rejected: NDArray[np.bool_] | None = None
    faces: OfFaces | None = None
    outputs: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Rules:
    """How the tracks of a title are clustered.

    Attributes:
        method: of `METHODS`, for the strong tracks.
        bounds: on the number of characters, clamped to the strong tracks; the cut is found in the title where there is
            none.
        known: how far apart tracks of one and of two people lie in this embedding.
        min_quality: strong tracks have at least this.
        attach_margin: least lead over the second character, in cosine distance, with which a weak track is attached.
        links: whether links are obeyed. If not, no step knows of them, whatever the method.
    """

    method: str = "castmine"
    bounds: Bounds = UNBOUNDED
    known: Distances = UNMEASURED
    min_quality: float = DEFAULTS.min_quality
    attach_margin: float = DEFAULTS.attach_margin
    links: bool = True

    @property
    def name(self) -> str:
        """The method, as tables have it."""
        return self.method if self.links else f"{self.method}, no links"


DEFAULT = Rules()


def find_characters(evidence: Evidence, rules: Rules = DEFAULT) -> Characters:
    """Cluster the strong tracks of a title, drawn to their neighbours, then attach the weak ones where that is clear.

    How near is near follows from the title's own distances and what is known of the embedding, see `odds.fit_odds`.
    Cannot-links that the tracks' neighbours doubt are set aside by a method that draws tracks to them.

    Weak is a track of low quality, unless must-links join it to one that is not, and one that `method` leaves as noise:
    the back of a head, a dark blur, a logo are like nobody, or like each other, and nobody to look for. They decide
    nothing, also where they are many. From the nearest weak track to the farthest, each goes to the nearest character
    that no cannot-link rules out, if it lies within the cut and, as it is, nearer than to any other character by
    `attach_margin`: what resembles two people alike would soon look like one of them, drawn to whom it saw more of.
    Else it is unknown. A track without an embedding is unknown. Characters are numbered by their number of faces, the
    largest first, then by their first row.

    Distances of a track to a character are mean cosine distances to its clustered tracks, without the track itself,
    between tracks as `method` sees them (drawn to their strong neighbours, or as they are). A character of one track
    counts as the cut away from it. Where no second character is left, the margin is taken against where two people
    typically lie.

    Returns:
        T = 0, and titles without a strong track, have no characters. Cost: that of `method` and O(T K D), in memory
        O(T D) and a block of 1,024 tracks by K.

    Raises:
        ValueError: clashing bounds, links outside of the rows, a method that goes by faces without them.
    """
    embeddings, method, tracks = evidence.embeddings, METHODS[rules.method], len(evidence.embeddings)
    evidence.links.check(tracks)
    links = evidence.links if rules.links else NO_LINKS
    not_a_face = np.zeros(tracks, bool) if evidence.rejected is None else evidence.rejected.astype(bool)
    embedded = np.isfinite(embeddings).all(axis=1)
    usable = embedded & ~not_a_face
    weak = np.zeros(tracks, bool) if evidence.quality is None else evidence.quality < rules.min_quality
    weak[_find_linked_to_strong(usable & ~weak, links.must[usable[links.must].all(axis=1)])] = False
    strong = np.flatnonzero(usable & ~weak)

    rows, cut, odds, doubts = _weigh_up(embeddings, strong, np.flatnonzero(usable), links, rules.known, method.smoothed)
    links = Links(links.cannot[~doubts], links.must)
    faces = None if evidence.faces is None else evidence.faces.among(strong)
    bounds = rules.bounds if rules.bounds.cut is not None else replace(rules.bounds, cut=cut)
    compared = evidence.outputs if method.any_length and evidence.outputs is not None else rows
    found = method.clusterer(faces)(compared[strong], links.among(strong, tracks), bounds)
    labels = np.full(tracks, -1, np.int32)
    labels[strong] = found.labels
    clustered = labels >= 0

    partners, far = Partners(links.cannot, tracks), odds.different.mean
    spaces = (rows, cut), (embeddings, odds.threshold)
    near, as_it_is = (_Nearness(x, labels, found.k_found, of_single) for x, of_single in spaces)
    _attach(labels, near, as_it_is, np.flatnonzero(usable & ~clustered), partners, cut, far, rules.attach_margin)

    labels = _by_faces(labels, evidence.n_faces, found.k_found)[labels]
    own, held = np.where(clustered, labels, -1), np.flatnonzero(labels >= 0)
    near, as_it_is = (_Nearness(x, own, found.k_found, of_single) for x, of_single in spaces)
    second, margin = np.full(tracks, -1, np.int32), np.full(tracks, np.nan, np.float32)
    second[held], margin[held] = _rivals(labels, held, near, partners, far)
    confidence = confidence_of(margin / far)
    single = np.flatnonzero(clustered & (np.bincount(labels[labels >= 0], minlength=1)[labels] == 1))
    confidence[single] = expit(_ALONE - odds.log_odds(_to_nearest(embeddings, single, strong, partners)))
    status = np.full(tracks, "unknown", dtype="<U9")
    status[not_a_face] = "rejected"
    status[labels >= 0] = "uncertain"
    status[clustered & (margin >= rules.attach_margin)] = "core"
    return Characters(
        labels=labels,
        status=status,
        reason=_reasons(labels, not_a_face, embedded, weak),
        confidence=confidence,
        second_labels=second,
        margin=margin,
        exemplars=_exemplars(own, as_it_is),
        doubted=doubts if rules.links else np.zeros(len(evidence.links.cannot), bool),
        odds=odds,
    )


def _weigh_up(
    embeddings: NDArray[np.floating],
    strong: NDArray[np.int64],
    usable: NDArray[np.int64],
    links: Links,
    known: Distances,
    draw: bool,
) -> tuple[NDArray[np.floating], float, Odds, NDArray[np.bool_]]:
    """Rows as they are to be compared, where to cut between them, the odds of the strong ones, (P,) links set aside."""
    cannot, among_strong = links.cannot, links.among(strong, len(embeddings)).cannot
    odds, doubts = fit_odds(embeddings[strong], among_strong, known), np.zeros(len(cannot), bool)
    if not draw:
        return embeddings, odds.threshold, odds, doubts
    of_strong = find_doubted(embeddings[strong], among_strong, odds)
    if of_strong.any():
        odds = fit_odds(embeddings[strong], among_strong[~of_strong], known)
        doubts[np.isin(cannot, strong).all(axis=1)] = of_strong
    rows = np.array(embeddings, np.float32)
    left = Links(cannot[~doubts], links.must).among(usable, len(embeddings)).cannot
    rows[usable] = smooth_by_neighbours(embeddings[usable], left, odds, drawing=np.isin(usable, strong)).rows
    return rows, min(CUT * odds.different.mean, odds.threshold), odds, doubts


def confidence_of(margin: NDArray[np.floating]) -> NDArray[np.float32]:
    """How likely a track belongs to its character, by its margin in units of the distance at which two people lie.

    A logistic, fitted to the share of tracks that show the person whom most of their character shows; 0 where the
    margin is NaN: such a track has no character, and `cluster_title` leaves its confidence null. A track that is a
    character by itself has no margin to speak of: `find_characters` takes the title's own odds that its nearest track
    is another person, a little more (fitted, too), as most characters have been told apart by more than two tracks.
    """
    confidence = expit(_STEEPNESS * margin.astype(np.float64) + _EVEN)
    return np.nan_to_num(confidence, nan=0.0).astype(np.float32)


def _to_nearest(
    x: NDArray[np.floating], rows: NDArray[np.int64], others: NDArray[np.int64], partners: Partners
) -> NDArray[np.float64]:
    """(n,) distances of some rows to the nearest of others (ascending) that no link forbids; 2 where there is none."""
    found, among = np.full(len(rows), 2.0), x[others]
    at_once = max(1, _DISTANCES // max(len(others), 1))
    for start in range(0, len(rows), at_once):
        block = rows[start : start + at_once]
        distance = np.round(1.0 - (x[block] @ among.T).astype(np.float64), 5)  # float32: the last digits are noise
        distance[partners.find_in_block(block, others)] = 2.0
        found[start : start + at_once] = distance.min(axis=1, initial=2.0)
    return found


def _reasons(
    labels: NDArray[np.int32], not_a_face: NDArray[np.bool_], embedded: NDArray[np.bool_], weak: NDArray[np.bool_]
) -> NDArray[np.str_]:
    why = {"": labels >= 0, "not_a_face": not_a_face, "no_embedding": ~embedded, "poor": weak}
    return np.select(list(why.values()), list(why), "noise")


def _find_linked_to_strong(strong: NDArray[np.bool_], must: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(T,) True where a chain of must-links reaches a strong track."""
    graph = coo_array((np.ones(len(must), bool), (must[:, 0], must[:, 1])), shape=(len(strong), len(strong)))
    group = connected_components(graph, directed=False)[1]
    return np.isin(group, group[strong])


class _Nearness:
    """Mean distances of tracks to the clustered tracks of each character, the track itself left out."""

    def __init__(self, x: NDArray[np.floating], labels: NDArray[np.int32], characters: int, of_single: float) -> None:
        """Of (T, D) rows, clustered where `labels` is not negative; to a character of one track it is `of_single`."""
        self._x, self.labels, self._of_single = x, labels, of_single
        member = np.flatnonzero(labels >= 0)
        self._sums = sum_by_group(x[member], labels[member], characters)
        self._count = np.bincount(labels[member], minlength=characters)

    def to_all(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, K) distances of a block of rows to every character."""
        distance = 1.0 - self._x[rows].astype(np.float64) @ self._sums.T / np.maximum(self._count, 1)
        member = np.flatnonzero(self.labels[rows] >= 0)
        distance[member, self.labels[rows[member]]] = self.to_own(rows[member])
        return np.round(distance, 6)  # the last digits depend on the threads of the matrix product

    def to_own(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) distances of clustered rows to their own character."""
        own, x = self.labels[rows], self._x[rows]
        others = self._count[own] - 1
        loo = (dot_by_group(self._sums, own, x) - dot_by_group(x, np.arange(len(x)), x)) / np.maximum(others, 1)
        return np.round(np.where(others > 0, 1.0 - loo, self._of_single), 6)

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """`to_all`, some rows at a time, and which these are."""
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield block, self.to_all(rows[block])


def _rule_out(
    distance: NDArray[np.float64], labels: NDArray[np.int32], rows: NDArray[np.int64], partners: Partners
) -> None:
    """Put every character that holds a cannot-linked partner of a row out of that row's reach."""
    place, partner = partners.of(rows)
    held = labels[partner] >= 0
    distance[place[held], labels[partner[held]]] = np.inf


def _attach(
    labels: NDArray[np.int32],
    near: _Nearness,
    as_it_is: _Nearness,
    rows: NDArray[np.int64],
    partners: Partners,
    cut: float,
    far: float,
    attach_margin: float,
) -> None:
    """Give these rows their nearest character, the nearest row first; what one takes its partners cannot."""
    least = np.full(len(rows), np.inf)
    for block, distance in near.blocks(rows):
        _rule_out(distance, labels, rows[block], partners)
        least[block] = distance.min(axis=1, initial=np.inf)
    rows = rows[np.argsort(least, kind="stable")][: int((least <= cut).sum())]
    for block, distance in near.blocks(rows):
        plain = as_it_is.to_all(rows[block])
        for place, row in enumerate(rows[block]):
            of_row, rivals = distance[place : place + 1], plain[place : place + 1]
            for seen in (of_row, rivals):
                _rule_out(seen, labels, rows[block][place : place + 1], partners)
            nearest = int(of_row[0].argmin())
            rival = np.delete(rivals[0], nearest).min(initial=np.inf)
            lead = (rival if np.isfinite(rival) else far) - rivals[0, nearest]
            if of_row[0, nearest] <= cut and lead >= attach_margin:
                labels[row] = nearest


def _by_faces(labels: NDArray[np.int32], n_faces: NDArray[np.integer], characters: int) -> NDArray[np.int32]:
    """(K + 1,) new numbers of the characters, most faces first; -1 (the last entry) stays -1."""
    held = np.flatnonzero(labels >= 0)
    faces = np.bincount(labels[held], weights=n_faces[held], minlength=characters)
    first = np.full(characters, len(labels))
    np.minimum.at(first, labels[held], held)
    renamed = np.full(characters + 1, -1, np.int32)
    renamed[np.lexsort((first, -faces))] = np.arange(characters, dtype=np.int32)
    return renamed


def _rivals(
    labels: NDArray[np.int32], rows: NDArray[np.int64], near: _Nearness, partners: Partners, far: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n,) second characters and (n,) margins of rows with a character."""
    second, margin = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
    for block, distance in near.blocks(rows):
        _rule_out(distance, labels, rows[block], partners)
        every = np.arange(len(rows[block]))
        own = distance[every, labels[rows[block]]].copy()
        distance[every, labels[rows[block]]] = np.inf
        rival = distance.min(axis=1)
        second[block] = np.where(np.isfinite(rival), distance.argmin(axis=1), -1)
        margin[block] = np.where(np.isfinite(rival), rival, far) - own
    return second, margin


def _exemplars(own: NDArray[np.int32], near: _Nearness) -> NDArray[np.int64]:
    """(K,) the clustered row nearest to the rest of its character, ties by row."""
    rows = np.flatnonzero(own >= 0)
    ordered = rows[np.lexsort((rows, near.to_own(rows), own[rows]))]
    return np.asarray(ordered[np.unique(own[ordered], return_index=True)[1]], np.int64)
