"""The same face across titles: characters linked into people, without a threshold to set and without a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

FALSE_LINKS = 0.002  # of pairs that are two people, the share that may lie within reach
LARGEST_REACH = 0.5  # where titles are few, the pairs in them say little about how alike strangers can look
_FAR = 4.0  # more than any cosine distance


class Cast(NamedTuple):
    """Characters of any titles.

    Attributes:
        title: (C,) str. embedding: (C, D) unit rows. person: (C,) str.
    """

    title: NDArray[np.str_]
    embedding: NDArray[np.floating]
    person: NDArray[np.str_]


def reach(title: NDArray[np.str_], embedding: NDArray[np.floating]) -> float:
    """The cosine distance within which two characters of different titles are one person.

    Characters of one title are two people (clustering has said so), and their distances show how near strangers come:
    all but 2 in 1,000 of them are farther apart than the reach, which is never more than 0.5.

    Args:
        title: (C,). embedding: (C, D) unit rows.
    """
    apart = [_distances(embedding[title == name]) for name in np.unique(title)]
    strangers = np.concatenate([np.zeros(0), *apart])
    if not len(strangers):
        return LARGEST_REACH
    return round(min(LARGEST_REACH, float(np.quantile(strangers, FALSE_LINKS))), 6)


def link(known: Cast, new: Cast) -> NDArray[np.str_]:
    """The person of each new character: one who is known, or its own `new.person`.

    Title by title, in the order of their names, characters are matched one to one with the people within reach, so that
    the distances to the people's means are least in sum. Who is left is a new person. What is known keeps its person;
    so who is whom can depend on the order in which titles arrive, and on nothing else.

    Args:
        known: characters that have a person already. Those of a title that is linked anew may be among them: so its
            characters find their own people again.
        new: characters to link; `person` is the id that each takes if it is a new person.

    Returns:
        (N,) in the order of `new`. No two characters of one title have one person. Cost O(N P D) for P people.
    """
    stays = ~np.isin(known.title, new.title)  # a title's old characters are no strangers to its new ones
    every = _stacked(known.embedding[stays], new.embedding)
    within = reach(np.concatenate([known.title[stays], new.title]), every)
    people = _People(len(set(known.person.tolist())) + len(new.title), every.shape[1])
    for row in np.lexsort((known.person, known.title)):
        people.add(str(known.person[row]), known.embedding[row])
    found = new.person.astype(object)
    for name in np.unique(new.title):
        rows = np.flatnonzero(new.title == name)
        matched = dict(people.matched(new.embedding[rows], within))
        for place, row in enumerate(rows):
            found[row] = matched.get(place) or people.unused(str(new.person[row]))
            people.add(str(found[row]), new.embedding[row])
    return np.asarray(found, dtype=str) if len(found) else np.zeros(0, "<U1")


class _People:
    """The people so far, and the mean of each one's characters."""

    def __init__(self, most: int, dim: int) -> None:
        self._names: list[str] = []
        self._row: dict[str, int] = {}
        self._sums = np.zeros((most, dim))
        self._means = np.zeros((most, dim), np.float32)

    def add(self, person: str, embedding: NDArray[np.floating]) -> None:
        """One more character of a person, who may be new."""
        row = self._row.setdefault(person, len(self._names))
        if row == len(self._names):
            self._names.append(person)
        self._sums[row] += embedding
        self._means[row] = self._sums[row] / max(float(np.linalg.norm(self._sums[row])), 1e-12)

    def unused(self, person: str) -> str:
        """That id, or with a number behind it where somebody has it."""
        number, free = 1, person
        while free in self._row:
            number += 1
            free = f"{person}-{number}"
        return free

    def matched(self, embedding: NDArray[np.floating], within: float) -> Sequence[tuple[int, str]]:
        """(row, person) of the rows of one title that are within reach of somebody, one to one."""
        distance = np.round(1.0 - embedding.astype(np.float64) @ self._means[: len(self._names)].T, 6)
        near = np.flatnonzero((distance <= within).any(axis=0))
        near = near[np.argsort(np.array(self._names)[near])] if len(near) else near
        distance = distance[:, near]
        rows, columns = linear_sum_assignment(np.where(distance <= within, distance, _FAR))
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(row, self._names[near[column]]) for row, column in pairs if distance[row, column] <= within]


def _stacked(*parts: NDArray[np.floating]) -> NDArray[np.floating]:
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if filled else np.zeros((0, 1))


def _distances(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine distances of all pairs of rows."""
    a, b = np.triu_indices(len(x), 1)
    return np.asarray((1.0 - x.astype(np.float64) @ x.astype(np.float64).T)[a, b])
