"""A title's crops as `finetune` stages them, of any pixels."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.finetune.crops import Crops
from udfs.finetune import CROP_SCHEMA, encode_crop


def stage_crops(folder: Path, crops: Crops, raw: np.ndarray, links: list[tuple[int, int]], ids: np.ndarray) -> None:
    """In two files, half of each track's faces in either."""
    folder.mkdir(parents=True, exist_ok=True)
    place = np.arange(len(crops.track)) - np.searchsorted(crops.track, crops.track)
    rows = {
        "track_id": ids[crops.track],
        "frame": 6 * place,
        "time_s": 0.25 * place,
        "good": np.ones(len(place), bool),
        "jpeg": [encode_crop(pixels[:, :, ::-1]) for pixels in crops.pixels[:]],
        "embedding": list(raw.astype(np.float32)),
    }
    table = pa.table({name: pa.array(values) for name, values in rows.items()}, schema=CROP_SCHEMA)
    for number in range(2):
        pq.write_table(table.filter(pa.array(place % 2 == number)), folder / f"crops-{number:08d}.parquet")
    both = np.array(links, np.int64).reshape(-1, 2)
    pq.write_table(pa.table({"track_a": ids[both[:, 0]], "track_b": ids[both[:, 1]]}), folder / "cannot_links.parquet")


def drawn_people(people: int, tracks: int, each: int, seed: int = 0) -> Crops:
    """Crops of drawn faces: ovals with eyes and a mouth, of a person's own colours and measures, in changing light."""
    random = np.random.default_rng(seed)
    looks = random.uniform(0.75, 1.25, (people, 6))
    colours = random.integers(60, 220, (people, 3))
    pixels = []
    for track in range(tracks):
        for _ in range(each):
            pixels.append(_draw(looks[track % people], colours[track % people], random))
    return Crops(np.stack(pixels), np.repeat(np.arange(tracks), each), tracks)


def _draw(look: np.ndarray, colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    image = np.full((112, 112, 3), random.integers(20, 120), np.uint8)
    shift, light = random.integers(-3, 4, 2), random.uniform(0.7, 1.2)
    centre = (56 + int(shift[0]), 60 + int(shift[1]))
    tint = tuple(int(value) for value in np.clip(colour * light, 0, 255))
    cv2.ellipse(image, centre, (int(34 * look[0]), int(44 * look[1])), 0, 0, 360, tint, -1)
    for side in (-1, 1):
        eye = (centre[0] + side * int(16 * look[2]), centre[1] - 10)
        cv2.circle(image, eye, math.ceil(5 * look[3]), (20, 20, 20), -1)
    cv2.ellipse(image, (centre[0], centre[1] + int(22 * look[4])), (int(13 * look[5]), 4), 0, 0, 360, (150, 40, 60), -1)
    return image
