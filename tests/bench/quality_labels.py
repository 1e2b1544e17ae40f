"""How often `glasses` and `occluded` are right, on faces that somebody looked at.

  python -m tests.bench.quality_labels FOLDER LABELS.csv [--models buffalo_sc]

LABELS has a row a face: `path` (in FOLDER) of a picture, or of a film with the `frame` counted from 0; `glasses` and
`occluded`, 1 or 0, empty where it cannot be said; `set`, any word, figures are by set. It may have `x y w h`, the box
of the face that is meant (else the one nearest the middle), and `track`, of which faces a track has several.

The first table: faces (that the detector finds), those that have it, those said to have it, the right ones of these,
precision and recall. Where nothing is said, as in profile, counts as missed. The second: tracks by the same figures,
said of one where at least one face has it (`quality_labels`) and where most have (`flags`); a track has it where any of
its labelled faces does, and has it not where all are labelled so. The third: bare faces of pictures behind a disc that
reaches in from one of four sides, as deep as the share of the crop says: the share that is found, by the disc's colour:
any dull one, white, blue, black, or the face's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.settings import HarvestSettings
from udfs.face_models import face_models
from udfs.kernels.boxes import BOX, iou
from udfs.kernels.harvest import quality, video
from udfs.kernels.harvest.networks import CROP_PX, Detections, Faces, align
from udfs.kernels.name.pictures import read_picture

LABELS = ("glasses", "occluded")
LONGEST = 4096
SAME_FACE = 0.5  # overlap of a given box and a found one
DEPTHS = (0.2, 0.3, 0.4, 0.5)
COLOURS = {"any": None, "white": (225, 225, 225), "blue": (190, 150, 90), "black": (25, 25, 25), "own": None}
RADIUS, EDGE = 70, 2.0  # of the disc and its soft edge, pixels of the crop


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--models", default="buffalo_sc")
    args = parser.parse_args(argv)
    labels = pd.read_csv(args.labels, dtype={"path": str, "set": str, "track": str})
    models = face_models(HarvestSettings(models=args.models))
    faces, crops = look(args.folder, labels, models)
    print("| set | label | faces | have it | said | right | precision | recall |\n" + "|---" * 8 + "|")
    for name, of_set in faces.groupby("set", sort=True):
        for label in LABELS:
            known = of_set[of_set[label].notna()]
            print(f"| {name} | {label} | {_figures(known[label] == 1, known[f'said_{label}'])}")
    print_tracks(faces)
    print_covered(faces, crops)


def look(folder: Path, labels: pd.DataFrame, models: Faces) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """The rows whose face is found, with yaw, said_glasses and said_occluded; and their crops."""
    found: list[pd.Series] = []
    crops: list[NDArray[np.uint8]] = []
    for row, picture in _pictures(folder, labels):
        seen = _choose(row, picture, _detect(picture, models))
        if len(seen.boxes):
            crop = align(picture, seen.landmarks)
            measures = quality.measure_faces(crop, seen.boxes, seen.landmarks, seen.scores, picture.shape[:2])
            said = {"said_glasses": measures.glasses[0] > quality.GLASSES, "said_occluded": measures.occluded[0]}
            found.append(pd.concat([row, pd.Series(said | {"yaw": measures.yaw[0]})]))
            crops.append(crop[0])
    return pd.DataFrame(found).reset_index(drop=True), np.array(crops)


def _pictures(folder: Path, labels: pd.DataFrame) -> Iterator[tuple[pd.Series, NDArray[np.uint8]]]:
    for path, rows in labels.groupby("path", sort=True):
        if "frame" not in rows or rows.frame.isna().any():
            picture = read_picture((folder / str(path)).read_bytes(), LONGEST)
            yield from ((row, picture) for _, row in rows.iterrows())
            continue
        film, wanted = video.probe(folder / str(path)), np.unique(rows.frame.to_numpy(int))
        for frame in video.decode_frames(folder / str(path), film, 0, film.n_frames, wanted):
            yield from ((row, frame.image) for _, row in rows[rows.frame == frame.number].iterrows())


def _detect(picture: NDArray[np.uint8], models: Faces) -> Detections:
    """Its faces; a small picture may be a face cut out closely, which is found where there is room around it."""
    margin = max(picture.shape[:2]) // 2 if max(picture.shape[:2]) <= 3 * CROP_PX else 0
    (seen,) = models.detect([cv2.copyMakeBorder(picture, *(margin,) * 4, cv2.BORDER_CONSTANT)])
    return Detections(seen.boxes - (margin, margin, 0, 0), seen.scores, seen.landmarks - margin)


def _choose(row: pd.Series, picture: NDArray[np.uint8], seen: Detections) -> Detections:
    """The face that a row means, alone; none where it is not found."""
    if not len(seen.boxes):
        return seen
    if "x" in row and not pd.isna(row.x):
        overlap = iou(row[BOX].to_numpy(float)[None], seen.boxes)[0]
        best, there = int(overlap.argmax()), overlap.max() >= SAME_FACE
    else:
        middle = np.array(picture.shape[1::-1]) / 2
        away = np.linalg.norm(seen.boxes[:, :2] + seen.boxes[:, 2:] / 2 - middle, axis=1)
        best, there = int(away.argmin()), True
    return Detections(*(part[best : best + 1] if there else part[:0] for part in seen))


def print_tracks(faces: pd.DataFrame) -> None:
    tracks = faces[faces.track.notna()] if "track" in faces else faces[:0]
    if not len(tracks):
        return
    print("\n| set | label | by | tracks | have it | said | right | precision | recall |\n" + "|---" * 9 + "|")
    for name, of_set in tracks.groupby("set", sort=True):
        for label in LABELS:
            of_track = of_set.groupby(["path", "track"])
            has = of_track[label].max() == 1
            known = has | (of_track[label].count() == of_track.size())
            share = of_track[f"said_{label}"].mean()
            for how, said in (("at least one", share > 0), ("most", share > 0.5)):
                print(f"| {name} | {label} | {how} | {_figures(has[known], said[known])}")


def _figures(true: pd.Series, said: pd.Series) -> str:
    """n, true, said, right, precision and recall in percent, as cells."""
    right = int((true & said.astype(bool)).sum())
    shares = (f"{100 * right / n:.0f}" if n else "-" for n in (int(said.sum()), int(true.sum())))
    return " | ".join([*map(str, (len(true), int(true.sum()), int(said.sum()), right)), *shares]) + " |"


def print_covered(faces: pd.DataFrame, crops: NDArray[np.uint8]) -> None:
    bare = faces[(faces.occluded == 0) & (faces.yaw.abs() <= quality.PROFILE_YAW)]
    bare = bare[bare.frame.isna()] if "frame" in bare else bare
    if not len(bare):
        return
    depths = " | ".join(f"{depth:.0%}" for depth in DEPTHS)
    print(f"\n| set | disc | {depths} |\n" + "|---" * (2 + len(DEPTHS)) + "|")
    for name, of_set in bare.groupby("set", sort=True):
        for colour in COLOURS:
            rng = np.random.default_rng(7)
            found = [
                quality.measure_foreign(np.array([cover(crops[i], depth, colour, rng) for i in of_set.index]))
                for depth in DEPTHS
            ]
            shares = [f"{(foreign > quality.FOREIGN).mean():.0%}" for foreign in found]
            print(f"| {name} | {colour} | " + " | ".join(shares) + " |")


def cover(crop: NDArray[np.uint8], depth: float, colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The crop behind a disc of RADIUS that reaches in by `depth` of a side, from below, left, right or above."""
    place, reach = rng.uniform(20, 90), depth * CROP_PX - RADIUS
    middle = ((place, CROP_PX - reach), (reach, place), (CROP_PX - reach, place), (place, reach))[rng.integers(4)]
    mask = cv2.circle(np.zeros(crop.shape[:2], np.float32), np.round(middle).astype(int).tolist(), RADIUS, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), EDGE)[..., None]
    flat = COLOURS[colour]
    if colour == "any":
        flat = tuple(rng.uniform(15, 170) * np.exp(rng.normal(0, 0.15, 3)))
    elif colour == "own":
        flat = tuple(crop[56:88, 32:80].mean(axis=(0, 1)))
    cloth = cv2.GaussianBlur(rng.normal(0, 50, crop.shape[:2]).astype(np.float32), (0, 0), 3)[..., None]
    return np.clip(crop * (1 - mask) + mask * (np.array(flat, np.float32) + cloth), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
