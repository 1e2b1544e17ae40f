"""Who of a gallery of photographs the characters of a title are, by how near strangers come.

Nearly all pairs of a photographed person and a character are strangers to each other. Their cosine distances are close
to normal, so the centre and the spread of all pairs, found without knowing who is who, say which pair is nearer than
strangers are. Distances are told in spreads: z = (centre - distance) / spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from scipy.stats import norm

from udfs.kernels.cluster.people import FALSE_LINKS
from udfs.kernels.rows import unit_means

GIVEN = 0.75  # the least confidence of a match
LEAST = 0.01  # the least confidence of a guess that is told
FALSE_MATCHES = 0.01  # pairs of strangers that are expected within reach, of all pairs of a title
_STEEPNESS = 2.0  # about what fits the share of right names on labelled titles, raw and adapted
_STRANGERS = (0.99, 0.07, 10)  # where few pairs are known: centre and spread of raw embeddings, as if of 10 more pairs


class Gallery(NamedTuple):
    """Photographs in the embedding in which a title was clustered.

    Attributes:
        person: (N,) str, whom each photograph shows. embedding: (N, D) float32 unit rows.
        adapt: what maps the harvested embeddings of tracks into it, (n, D') to (n, D); None for what they are.
    """

    person: NDArray[np.str_]
    embedding: NDArray[np.float32]
    adapt: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None


def agreeing(person: NDArray[np.str_], embedding: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) which photographs show the person whom most of that person's photographs show.

    Two photographs agree that are nearer than 998 of 1,000 strangers, or that a chain of such joins. Where no group of
    a person's photographs is larger than the others, none agrees. A single photograph is believed.

    Args:
        person: (N,). embedding: (N, D) unit rows, as the embedder makes them.
    """
    x = embedding.astype(np.float64)
    names, of_photo = np.unique(person, return_inverse=True)
    distance = 1.0 - x @ unit_means(x, of_photo, len(names)).T
    centre, spread = _measure_strangers(distance[of_photo[:, None] != np.arange(len(names))])
    threshold = centre - norm.isf(FALSE_LINKS) * spread
    agrees = np.zeros(len(x), bool)
    for number in range(len(names)):
        mine = np.flatnonzero(of_photo == number)
        group = connected_components(np.round(1.0 - x[mine] @ x[mine].T, 6) <= threshold, directed=False)[1]
        sizes = np.bincount(group)
        if (sizes == sizes.max()).sum() == 1:
            agrees[mine] = group == sizes.argmax()
    return agrees


def match(
    gallery: Gallery,
    embedding: NDArray[np.floating],
    character: NDArray[np.integer],
    by_hand: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Match the people of a gallery and the characters of a title one to one, as far as that is certain.

    A person is the mean of the photographs, a character the mean of its tracks. (Of a character's tracks only those
    that are most like the person find some more people, and take more strangers for them.) The reach of a title is the
    z beyond which 1 in 100 pairs of strangers is expected among all its pairs. Confidence is a logistic of how far z is
    beyond the reach and beyond that of the second person for this character, whichever is less: 0.5 at the reach and
    where two people are equally near. A match has a confidence of 0.75 or more, so no character has two; of those of a
    person the nearest is the match.

    Args:
        embedding: (T, D) unit rows, mapped as the gallery's are. character: (T,) of each track.
        by_hand: character -> name: they and people of these names are matched already, and with nobody else.

    Returns:
        character_id, person, confidence and is_match: all matches, and of each character and each person the nearest,
        where the confidence is at least 0.01. T = 0 or N = 0 gives no row. Cost O((P + C) P D) for P people.
    """
    characters, of_track = np.unique(character, return_inverse=True)
    people, of_photo = np.unique(gallery.person, return_inverse=True)
    if not len(characters) or not len(people):
        return pd.DataFrame({"character_id": [], "person": [], "confidence": [], "is_match": []})
    photographed = unit_means(gallery.embedding.astype(np.float64), of_photo, len(people))
    distance = 1.0 - photographed @ unit_means(embedding.astype(np.float64), of_track, len(characters)).T
    among_people = (1.0 - photographed @ photographed.T)[np.triu_indices(len(people), 1)]
    centre, spread = _measure_strangers(np.concatenate([distance.ravel(), among_people]))
    z = np.round((centre - distance) / spread, 6)  # the last digits depend on the threads of the matrix product
    confidence = expit(_STEEPNESS * np.minimum(z - norm.isf(FALSE_MATCHES / z.size), z - _rivals(z)))

    taken = by_hand or {}
    is_open = ~np.isin(people, list(taken.values()))[:, None] & ~np.isin(characters, list(taken))
    candidate = np.where(is_open & (confidence >= GIVEN), z, -np.inf)
    rows, nearest = np.arange(len(people)), candidate.argmax(axis=1)
    is_match = np.zeros(z.shape, bool)
    is_match[rows, nearest] = np.isfinite(candidate[rows, nearest])
    told = is_match.copy()
    told[z.argmax(axis=0), np.arange(len(characters))] = True
    told[rows, z.argmax(axis=1)] = True
    p, c = np.nonzero(told & (confidence >= LEAST))
    found = {"character_id": characters[c], "person": people[p], "confidence": confidence[p, c]}
    return pd.DataFrame({**found, "is_match": is_match[p, c]})


def _measure_strangers(distances: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and spread of the strangers among these: the median, and the root mean square beyond it.

    Who is no stranger lies on the near side of the median, so the far side alone says how wide strangers are spread.
    """
    usual_centre, usual_spread, usual_n = _STRANGERS
    if not len(distances):
        return usual_centre, usual_spread
    centre = float(np.median(distances))
    spread = float(np.sqrt(np.mean((distances[distances >= centre] - centre) ** 2)))
    n = len(distances) + usual_n
    return (
        (centre * len(distances) + usual_centre * usual_n) / n,
        (spread * len(distances) + usual_spread * usual_n) / n,
    )


def _rivals(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, C) the greatest of each column without the row itself; minus infinity where there is no other row."""
    order = np.sort(np.vstack([z, np.full(z.shape[1], -np.inf)]), axis=0)
    is_best = np.arange(len(z))[:, None] == z.argmax(axis=0)
    return np.where(is_best, order[-2], order[-1])
