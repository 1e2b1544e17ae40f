"""A film that is hard to cluster, of the demo film's photographs: small, dark, blurred and turned faces.

Twenty people in shots of one to four, each shot in a difficulty of its own; about five minutes, 640 x 360. What turns a
face is a cylinder around the head: the far side narrows and is lost behind the nose, as in profile.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from conf.cache import cache_dir
from jobs.demo_film import screenplay
from jobs.demo_film.camera import render, truth, write_truth
from jobs.demo_film.film import Film, encode
from jobs.demo_film.screenplay import MOVES, PICTURES, Cast, Part, Picture, Shot
from udfs import assets
from udfs.kernels.harvest.networks import open_faces

SEED, SHOTS, PEOPLE = 5, 110, 20
HEAD = 0.8  # radius of a head's cylinder, of the face box's width
TURNS = (25.0, 40.0, 55.0)  # degrees
NAME = "castmine_hard_film"


def build(folder: Path | None = None) -> Film:
    """The film and its truth, built once and found again."""
    folder = folder or cache_dir() / "films"
    sources = [assets.fetch(name) for name in (PICTURES, *assets.pack("buffalo_sc").files)]
    code = [Path(file).read_bytes() for file in (__file__, screenplay.__file__)]
    home = folder / f"{NAME}-{hashlib.sha256(b''.join(code)).hexdigest()[:12]}"
    made = Film(home / f"{NAME}.mp4", home / f"{NAME}.truth.csv")
    if home.is_dir():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
        part = Path(scratch) / "made"
        part.mkdir()
        cast = Cast(sources[0], open_faces(sources[1], sources[2], "insightface", min_score=0.3), SEED)
        shots = list(hard_screenplay(cast))
        encode(render(shots), part / made.path.name)
        write_truth(truth(shots), part / made.truth.name)
        os.replace(part, home)
    return made


def hard_screenplay(cast: Cast) -> Iterator[Shot]:
    """Shots in which everybody is drawn again and again, leads more often, never the same two pictures in a row."""
    random = np.random.default_rng(SEED)
    weight = 1 / np.arange(1, PEOPLE + 1) ** 0.7
    for _ in range(SHOTS):
        people = (
            1 + random.choice(PEOPLE, random.choice([1, 2, 3], p=[0.4, 0.4, 0.2]), False, weight / weight.sum())
        ).tolist()
        seconds, hard = float(random.uniform(1.6, 3.6)), random.choice(["plain", "small", "dark", "blurred", "turned"])
        if hard == "small":
            yield screenplay.screens(cast, people, seconds)
            continue
        shot = (
            screenplay.together(cast, people, seconds)
            if len(people) > 1
            else screenplay.alone(cast, people[0], str(random.choice(list(MOVES))), seconds)
        )
        if hard == "dark":
            shot = shot._replace(gain=float(random.uniform(0.12, 0.25)), noise=5.0)
        elif hard == "blurred":
            shot = shot._replace(blur_px=float(random.uniform(3.0, 5.5)))
        elif hard == "turned":
            shot = shot._replace(parts=tuple(_turn(part, random) for part in shot.parts))
        yield shot


def _turn(part: Part, random: np.random.Generator) -> Part:
    yaw = float(random.choice(TURNS)) * float(random.choice([-1, 1]))
    return part._replace(picture=turn_head(part.picture, yaw))


def turn_head(picture: Picture, yaw: float) -> Picture:
    """The photograph with its head turned by `yaw` degrees on a cylinder."""
    high, wide = picture.image.shape[:2]
    left, _, box_wide, _ = picture.box
    radius, centre = HEAD * box_wide, left + box_wide / 2
    across = (np.arange(wide) - centre) / radius
    angle = np.arcsin(np.clip(across, -1, 1)) + np.deg2rad(yaw) * np.sqrt(np.maximum(1 - across**2, 0))
    source = np.where(
        np.abs(across) < 1, centre + radius * np.sin(np.clip(angle, -np.pi / 2, np.pi / 2)), np.arange(wide)
    )
    columns = np.repeat(source[None].astype(np.float32), high, axis=0)
    rows = np.repeat(np.arange(high, dtype=np.float32)[:, None], wide, axis=1)
    return picture._replace(
        image=cv2.remap(picture.image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )
