"""A film that is hard to cluster, of the demo film's photographs: small, dark, blurred and turned faces.

Twenty-six people in shots of one to five; a shot has none of the four difficulties, or one, or several at once; about
five minutes, 640 x 360. How hard they are was set by the raw embeddings alone: average linkage at the true number of
people finds V = 85.0, as on feature films. What turns a face is a cylinder around the head: the far side narrows and is
lost behind the nose, as in profile.
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

SEED, SHOTS, PEOPLE = 5, 110, 26
HEAD = 0.8  # radius of a head's cylinder, of the face box's width
OFTEN = 0.5  # how often a shot has each difficulty
TURN, GAIN, BLUR = (25.0, 50.0), (0.08, 0.3), (0.025, 0.05)  # degrees; of the light; of a face's height
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
    """Shots in which everybody is drawn again and again, leads more often."""
    random = np.random.default_rng(SEED)
    weight = 1 / np.arange(1, PEOPLE + 1) ** 0.7
    for _ in range(SHOTS):
        small, dark, blurred, turned = random.random(4) < OFTEN
        n = random.choice([2, 3, 4, 5]) if small else random.choice([1, 2, 3], p=[0.5, 0.35, 0.15])
        people = (1 + random.choice(PEOPLE, n, False, weight / weight.sum())).tolist()
        seconds = float(random.uniform(1.6, 3.2))
        if small:
            shot = screenplay.screens(cast, people, seconds)
        elif n > 1:
            shot = screenplay.together(cast, people, seconds)
        else:
            shot = screenplay.alone(cast, people[0], str(random.choice(list(MOVES))), seconds)
        if turned:
            shot = shot._replace(parts=tuple(_turn(part, random) for part in shot.parts))
        if blurred:
            least = min(part.start.face for part in shot.parts) * screenplay.HEIGHT
            shot = shot._replace(blur_px=float(random.uniform(*BLUR)) * least)
        if dark:
            shot = shot._replace(gain=float(random.uniform(*GAIN)), noise=3.0)
        yield shot


def _turn(part: Part, random: np.random.Generator) -> Part:
    yaw = float(random.uniform(*TURN)) * float(random.choice([-1, 1]))
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
