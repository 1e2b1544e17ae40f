"""The tracks of one title to its characters: strong tracks are clustered, weak ones attached, the rest left unknown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from udfs.kernels.clustering.cut import Cut, find_cut
from udfs.kernels.clustering.hac import average_linkage_twice
from udfs.kernels.clustering.neighbours import drawn_to_neighbours
from udfs.kernels.clustering.partition import Method

CASTMINE = Method(average_linkage_twice, drawn=True)
_STEEPNESS = 8.0  # about what fits the share of right tracks on labelled titles, in several embeddings


class Characters(NamedTuple):
    """Who is who in a title of T tracks and K characters.

    Attributes:
        labels: (T,) int32, the character, 0 to K - 1; -1 where there is none.
        status: (T,) str: `core` (clustered on its own evidence), `uncertain` (clustered with too small a margin, or
            attached afterwards), `unknown`, `rejected` (not a face).
        confidence: (T,) float32, 0 to 1, see `confidence_of`; 0 where there is no character.
        second_labels: (T,) int32, the nearest other character that no cannot-link rules out; -1 where there is none.
        margin: (T,) float32, how much nearer its own character is than the second, in mean cosine distance; negative
            where the second is nearer; NaN where there is no character.
        exemplars: (K,) int64, the row of each character's most central clustered track, of the tracks as they are.
        cut: the cut between the rows that were clustered, and what it rests on.
    """

    labels: NDArray[np.int32]
    status: NDArray[np.str_]
    confidence: NDArray[np.float32]
    second_labels: NDArray[np.int32]
    margin: NDArray[np.float32]
    exemplars: NDArray[np.int64]
    cut: Cut


def find_characters(
    embeddings: NDArray[np.floating],
    n_faces: NDArray[np.integer],
    cannot: NDArray[np.integer],
    must: NDArray[np.integer],
    *,
    quality: NDArray[np.floating] | None = None,
    rejected: NDArray[np.bool_] | None = None,
    method: Method = CASTMINE,
    reach: float | None = None,
    min_quality: float = 0.25,
    attach_margin: float = 0.05,
    exact_k: int | None = None,
    min_k: int | None = None,
    max_k: int | None = None,
) -> Characters:
    """Cluster the strong tracks of a title, drawn to their neighbours, then attach the weak ones where that is clear.

    Weak is a track of low quality, unless must-links join it to one that is not, and one that `method` leaves as noise.
    From the nearest weak track to the farthest, each goes to the nearest character that no cannot-link rules out, if
    that lies within the cut and leads the next one by `attach_margin`; else it is unknown. A track without an embedding
    is unknown. Characters are numbered by their number of faces, the largest first, then by their first row.

    Distances of a track to a character are mean cosine distances to its clustered tracks, without the track itself:
    between tracks drawn to their neighbours (`drawn_to_neighbours`) if it is clustered itself, else between tracks as
    they are. A character of one track counts as a cut away from it. Where no second character is left, the margin is
    taken against the far end of the cut, where other people typically lie.

    Args:
        embeddings: (T, D) unit rows; a row that is not finite has no embedding.
        n_faces: (T,) faces in each track.
        cannot, must: (P, 2) and (Q, 2) row indices, see `hac.average_linkage`; links of tracks that are not clustered
            are heeded when they are attached (cannot) or left out (must).
        quality: (T,) 0 to 1, NaN where it is not known; such tracks are strong, all of them where it is None.
        rejected: (T,) True where a track is not a face.
        method: how the strong tracks are clustered.
        reach: the cut for `method`, in cosine distance; found in the title where not given.
        min_quality: strong tracks have at least this.
        attach_margin: cosine distance, see above.
        exact_k, min_k, max_k: bounds on the number of characters; clamped to the strong tracks.

    Returns:
        T = 0, and titles without a strong track, have no characters. Cost: that of `method` and O(T K D).

    Raises:
        ValueError: clashing bounds, links outside of the rows.
    """
    tracks = len(embeddings)
    apart, together = (np.asarray(links, np.int64).reshape(-1, 2) for links in (cannot, must))
    for name, links in (("cannot", apart), ("must", together)):
        if links.size and not 0 <= links.min() <= links.max() < tracks:
            raise ValueError(f"{name} links rows {links.min()} to {links.max()}, but there are {tracks} tracks")
    not_a_face = np.zeros(tracks, bool) if rejected is None else rejected.astype(bool)
    usable = np.isfinite(embeddings).all(axis=1) & ~not_a_face
    weak = np.zeros(tracks, bool) if quality is None else quality < min_quality
    weak[_linked_to_strong(usable & ~weak, together[usable[together].all(axis=1)])] = False
    strong = np.flatnonzero(usable & ~weak)

    strong_apart, strong_together = _among(strong, apart, tracks), _among(strong, together, tracks)
    plain_cut = find_cut(embeddings[strong], strong_apart)
    rows, cut = embeddings[strong], plain_cut
    if method.drawn:
        rows = drawn_to_neighbours(rows, strong_apart, plain_cut)
        cut = find_cut(rows, strong_apart)
    found = method.cluster(
        rows,
        strong_apart,
        strong_together,
        cut=cut.distance if reach is None else reach,
        exact_k=exact_k,
        min_k=min_k,
        max_k=max_k,
    )
    labels = np.full(tracks, -1, np.int32)
    labels[strong] = found.labels
    clustered = labels >= 0

    # a weak track is not drawn to anybody: it would soon look like one of two whom it resembles alike
    plain = _distances(embeddings, labels, found.k_found, plain_cut.distance)
    distance = plain.copy()
    distance[strong] = _distances(rows, labels[strong], found.k_found, cut.distance)
    distance[~usable] = np.inf
    _rule_out(distance, labels, apart)
    _attach(labels, distance, usable & ~clustered, apart, plain_cut, attach_margin)

    renamed = _by_faces(labels, n_faces, found.k_found)
    new = np.argsort(renamed[:-1])
    labels, distance, plain = renamed[labels], distance[:, new], plain[:, new]
    far, near = (np.where(clustered, getattr(cut, end), getattr(plain_cut, end)) for end in ("far", "near"))
    second, margin = _rivals(labels, distance, far)
    status = np.full(tracks, "unknown", dtype="<U9")
    status[not_a_face] = "rejected"
    status[labels >= 0] = "uncertain"
    status[clustered & (margin >= attach_margin)] = "core"
    return Characters(
        labels=labels,
        status=status,
        confidence=confidence_of(margin, far - near),
        second_labels=second,
        margin=margin,
        exemplars=_exemplars(labels, plain, clustered),
        cut=cut,
    )


def confidence_of(margin: NDArray[np.floating], scale: NDArray[np.floating]) -> NDArray[np.float32]:
    """A logistic of the margin in units of the title's own scale, far - near of its cut: 0.5 where both characters are
    equally near, rising with the margin; 0 where the margin is NaN.
    """
    confidence = expit(_STEEPNESS * margin.astype(np.float64) / np.maximum(scale, 1e-3))
    return np.nan_to_num(confidence, nan=0.0).astype(np.float32)


def _linked_to_strong(strong: NDArray[np.bool_], must: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(T,) True where a chain of must-links reaches a strong track."""
    graph = coo_array((np.ones(len(must), bool), (must[:, 0], must[:, 1])), shape=(len(strong), len(strong)))
    group = connected_components(graph, directed=False)[1]
    return np.isin(group, group[strong])


def _among(rows: NDArray[np.int64], links: NDArray[np.int64], tracks: int) -> NDArray[np.int64]:
    """The links between the given rows, as positions among them."""
    position = np.full(tracks, -1)
    position[rows] = np.arange(len(rows))
    inside = position[links]
    return inside[(inside >= 0).all(axis=1)]


def _distances(
    embeddings: NDArray[np.floating], labels: NDArray[np.int32], characters: int, of_single: float
) -> NDArray[np.float64]:
    """(T, K) mean distance of each track to the clustered tracks of each character, itself left out."""
    x = np.nan_to_num(embeddings.astype(np.float64), posinf=0.0, neginf=0.0)
    member = np.flatnonzero(labels >= 0)
    sums, count = np.zeros((characters, x.shape[1])), np.bincount(labels[member], minlength=characters)
    np.add.at(sums, labels[member], x[member])
    similarity = x @ sums.T
    own, others = labels[member], count[labels[member]] - 1
    in_company = others > 0
    loo = (similarity[member, own] - (x[member] ** 2).sum(axis=1)) / np.maximum(others, 1)
    distance = 1.0 - similarity / np.maximum(count, 1)
    distance[member, own] = np.where(in_company, 1.0 - loo, of_single)
    return np.round(distance, 6)  # the last digits depend on the threads of the matrix product


def _rule_out(distance: NDArray[np.float64], labels: NDArray[np.int32], cannot: NDArray[np.int64]) -> None:
    """Put every character that holds a cannot-linked partner of a track out of that track's reach."""
    for one, other in ((cannot[:, 0], cannot[:, 1]), (cannot[:, 1], cannot[:, 0])):
        held = labels[other] >= 0
        distance[one[held], labels[other[held]]] = np.inf


def _attach(
    labels: NDArray[np.int32],
    distance: NDArray[np.float64],
    open_tracks: NDArray[np.bool_],
    cannot: NDArray[np.int64],
    cut: Cut,
    attach_margin: float,
) -> None:
    """Give the open tracks their nearest character, the nearest track first; what one takes its partners cannot."""
    if not distance.shape[1]:
        return
    rows = np.flatnonzero(open_tracks)
    for row in rows[np.argsort(distance[rows].min(axis=1), kind="stable")]:
        nearest = int(distance[row].argmin())
        rival = np.delete(distance[row], nearest).min(initial=np.inf)
        lead = (rival if np.isfinite(rival) else cut.far) - distance[row, nearest]
        if distance[row, nearest] <= cut.distance and lead >= attach_margin:
            labels[row] = nearest
            partners = cannot[(cannot == row).any(axis=1)].ravel()
            distance[partners[partners != row], nearest] = np.inf


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
    labels: NDArray[np.int32], distance: NDArray[np.float64], far: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(T,) second characters and (T,) margins; -1 and NaN for tracks without a character."""
    second, margin = np.full(len(labels), -1, np.int32), np.full(len(labels), np.nan, np.float32)
    held = np.flatnonzero(labels >= 0)
    if held.size:
        own = distance[held, labels[held]]
        others = distance[held].copy()
        others[np.arange(held.size), labels[held]] = np.inf
        nearest, rival = others.argmin(axis=1), others.min(axis=1)
        second[held] = np.where(np.isfinite(rival), nearest, -1)
        margin[held] = np.where(np.isfinite(rival), rival, far[held]) - own
    return second, margin


def _exemplars(
    labels: NDArray[np.int32], distance: NDArray[np.float64], clustered: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(K,) the clustered row nearest to the rest of its character, ties by row."""
    rows = np.flatnonzero(clustered)
    ordered = rows[np.lexsort((rows, distance[rows, labels[rows]], labels[rows]))]
    return ordered[np.unique(labels[ordered], return_index=True)[1]]
