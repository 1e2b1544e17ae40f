"""The same face across titles: characters linked into people, without a threshold to set and without a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from udfs.kernels.cluster.nearest import EXACT, nearest

FALSE_LINKS = 0.002  # of pairs that are two people, the share that may lie within reach
LARGEST_REACH = 0.5  # where titles are few, the pairs in them say little about how alike strangers can look
NEIGHBOURS = 30
_FAR = 4.0  # more than any cosine distance
_STEPS, _BLOCK = 10_000, 1024


class Characters(NamedTuple):
    """Characters of any titles.

    Attributes:
        title: (C,) str. embedding: (C, D) unit rows. person: (C,) str.
    """

    title: NDArray[np.str_]
    embedding: NDArray[np.floating]
    person: NDArray[np.str_]


def find_threshold(title: NDArray[np.str_], embedding: NDArray[np.floating]) -> float:
    """The cosine distance within which two characters of different titles are one person.

    Characters of one title are two people (clustering has said so), and their distances show how near strangers come:
    all but 2 in 1,000 of them are farther apart than the reach, which is never more than 0.5. To 4 digits.

    Args:
        title: (C,). embedding: (C, D) unit rows.
    """
    counts = np.zeros(2 * _STEPS + 2, np.int64)  # of distances: pairs are too many to keep
    order = np.argsort(title, kind="stable")
    for rows in np.split(order, np.unique(title[order], return_index=True)[1][1:]):
        x = embedding[rows].astype(np.float64)
        for start in range(0, len(rows), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(rows)))
            distance = 1.0 - x[block] @ x.T
            later = np.arange(len(rows)) > block[:, None]
            step = np.clip(np.floor(np.round(distance[later], 9) * _STEPS), 0, 2 * _STEPS + 1).astype(np.int64)
            counts += np.bincount(step, minlength=len(counts))
    if not counts.any():
        return LARGEST_REACH
    return min(LARGEST_REACH, int(np.argmax(counts.cumsum() > FALSE_LINKS * counts.sum())) / _STEPS)


def link(known: Characters, new: Characters) -> NDArray[np.str_]:
    """The person_id of each new character: that of one who is known, or its own `new.person`.

    Title by title, in the order of their names, characters are matched one to one with the people within reach, so that
    the distances to the people's means are least in sum. Who is left is a new person. What is known keeps its person;
    so who is whom can depend on the order in which titles arrive, and on nothing else.

    Args:
        known: characters that have a person already. Those of a title that is linked anew may be among them: so its
            characters find their own people again.
        new: characters to link; `person` is the id that each takes if it is a new person.

    Returns:
        (N,) in the order of `new`. No two characters of one title have one person. Up to 4,096 characters each is
        compared with all people, above with those of its 30 nearest characters, so that cost is near O(N D).
    """
    stays = ~np.isin(known.title, new.title)  # a title's old characters are no strangers to its new ones
    threshold = find_threshold(
        np.concatenate([known.title[stays], new.title]), _stack(known.embedding[stays], new.embedding)
    )
    people = _People(known, new)
    for name in np.unique(new.title):
        people.take_in(np.flatnonzero(new.title == name), threshold)
    return people.of_new()


class _People:
    """The people so far, the mean of each one's characters, and who is near to each character."""

    def __init__(self, known: Characters, new: Characters) -> None:
        self._first, self._wanted = len(known.title), new.person
        self._rows = _stack(known.embedding, new.embedding)
        self._person = np.full(len(self._rows), -1)  # of each character
        self._names: list[str] = []
        self._number: dict[str, int] = {}
        self._sums = np.zeros((len(set(known.person.tolist())) + len(new.title), self._rows.shape[1]))
        self._near = None
        if len(self._rows) > EXACT:
            self._near = nearest(self._rows, NEIGHBOURS, np.zeros((0, 2), np.int64)).row
        for row in np.lexsort((known.person, known.title)):
            self._add(row, str(known.person[row]))

    def take_in(self, new: NDArray[np.int64], threshold: float) -> None:
        """Find or make the person of each of these new characters, all of one title."""
        rows = new + self._first
        people = self._candidates(rows)
        means = self._sums[people] / np.maximum(np.linalg.norm(self._sums[people], axis=1, keepdims=True), 1e-12)
        distance = np.round(1.0 - self._rows[rows].astype(np.float64) @ means.T, 6)
        matched = dict(_one_to_one(distance, threshold))
        for place, row in enumerate(rows):
            at = matched.get(place)
            self._add(row, self._pick_unused(str(self._wanted[new[place]])) if at is None else self._names[people[at]])

    def of_new(self) -> NDArray[np.str_]:
        """The people of all new characters."""
        return np.array([self._names[number] for number in self._person[self._first :]], dtype=str)

    def _candidates(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The people that these characters may be, by name."""
        if self._near is None:
            found = np.arange(len(self._names))
        else:
            near = self._near[rows]
            found = np.unique(self._person[near[near >= 0]])
            found = found[found >= 0]
        return found[np.argsort(np.array([self._names[number] for number in found], dtype=str))]

    def _add(self, row: int, person: str) -> None:
        """One more character of a person, who may be new."""
        number = self._number.setdefault(person, len(self._names))
        if number == len(self._names):
            self._names.append(person)
        self._sums[number] += self._rows[row]
        self._person[row] = number

    def _pick_unused(self, person: str) -> str:
        """That id, or with a number behind it where somebody has it."""
        number, free = 1, person
        while free in self._number:
            number += 1
            free = f"{person}-{number}"
        return free


def _one_to_one(distance: NDArray[np.float64], threshold: float) -> Iterator[tuple[int, int]]:
    """(row, column) of pairs within reach, one to one, as many as there can be and of least distance in sum.

    Rows and columns that no pair connects are matched apart: among many few are near each other.
    """
    rows, columns = np.nonzero(distance <= threshold)
    size = sum(distance.shape)
    near = coo_array((np.ones(len(rows), bool), (rows, columns + len(distance))), shape=(size, size))
    group = connected_components(near, directed=False)[1]
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.unique(group[order], return_index=True)[1][1:]):
        mine, others = members[members < len(distance)], members[members >= len(distance)] - len(distance)
        part = distance[np.ix_(mine, others)]
        for row, column in zip(*linear_sum_assignment(np.where(part <= threshold, part, _FAR)), strict=True):
            if part[row, column] <= threshold:
                yield int(mine[row]), int(others[column])


def _stack(*parts: NDArray[np.floating]) -> NDArray[np.floating]:
    filled = [part for part in parts if len(part)]
    return np.concatenate(filled) if filled else np.zeros((0, 1))
