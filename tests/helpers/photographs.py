"""Galleries of the demo's photographs, such as a film made of them does not show."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from jobs.demo_film import film
from jobs.demo_film.screenplay import DRAWINGS, FIRST_PICTURE, PICTURES, Cast, Picture
from udfs import assets
from udfs.kernels.harvest.networks import open_faces

PEOPLE = range(1, len(FIRST_PICTURE))


def numbers_of(person: int) -> list[int]:
    """The numbers of a person's photographs."""
    first, end = FIRST_PICTURE[person - 1 : person + 1]
    return [number for number in range(first, end) if number not in DRAWINGS]


def photograph(number: int) -> bytes:
    """The file."""
    with zipfile.ZipFile(assets.fetch(PICTURES)) as archive:
        return archive.read(f"faces_images/image_{number:04}.jpg")


def not_shown(screenplay: Callable[[Cast], object]) -> dict[int, list[int]]:
    """The numbers of each person's photographs that a screenplay does not ask for."""
    detector = open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", min_score=0.3)
    cast = _Watched(assets.fetch(PICTURES), detector, film.SEED)
    screenplay(cast)
    return {person: [n for n in numbers_of(person) if n not in cast.asked_for] for person in PEOPLE}


class _Watched(Cast):
    """A cast that remembers which photographs were looked at."""

    def __init__(self, *args: object) -> None:
        self.asked_for: set[int] = set()
        super().__init__(*args)

    def _read(self, number: int, person: int) -> Picture | None:
        self.asked_for.add(int(number))
        return super()._read(number, person)


def write_gallery(folder: Path, people: Mapping[str, Iterable[int]]) -> Path:
    """folder/NAME/NUMBER.jpg of each person's photographs."""
    for name, numbers in people.items():
        (folder / name).mkdir(parents=True)
        for number in numbers:
            (folder / name / f"{number}.jpg").write_bytes(photograph(number))
    return folder
