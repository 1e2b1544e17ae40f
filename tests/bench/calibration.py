"""How far apart tracks of one person, and of two people, lie in an embedder, and how long its embeddings are.

That is the `distances` and the `norms` of an embedder in conf/models.yml.

PHOTOGRAPHS holds a folder a person with aligned faces of 112 x 112 pixels or upright portraits of 250 x 250. Each
photograph is made a poor track: shrunk to a film's size, darkened, blurred and compressed, three times alike, and the
three embeddings are averaged. Printed are mean and standard deviation of the cosine distances of tracks of one person
(different photographs) and of two people, for all and by the size to which they were shrunk. Then the lengths of
embeddings before they are made one: of photographs of which half is missing (moved down or aside), and by size.

  python -m tests.bench.calibration PHOTOGRAPHS [--models buffalo_sc] [--per-person 12] [--seed 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from udfs import assets
from udfs.kernels.harvest.networks import open_faces

SIZES = (28, 40, 64, 100)  # pixels of the face in the film
VIEWS = 3


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--models", default="buffalo_sc")
    parser.add_argument("--per-person", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    pack = assets.pack(args.models)
    detector, embedder = (assets.fetch(name) for name in pack.files)
    faces = open_faces(detector, embedder, pack.kind)
    rng = np.random.default_rng(args.seed)
    crops, person = [], []
    for folder in sorted(path for path in args.photographs.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.jpg"))
        for index in rng.permutation(len(files))[: args.per_person]:
            crops.append(_aligned(files[index]))
            person.append(folder.name)
    who = np.array(person)
    size = rng.choice(SIZES, len(crops))
    views = [np.stack([_poor(c, s, rng) for c, s in zip(crops, size, strict=True)]) for _ in range(VIEWS)]
    embedded = [faces.embed(view) for view in views]
    tracks = _unit(np.sum([view.rows for view in embedded], axis=0))
    distance = 1.0 - tracks.astype(np.float64) @ tracks.T
    a, b = np.triu_indices(len(who), 1)
    worse, of_pair, same = np.minimum(size[a], size[b]), distance[a, b], who[a] == who[b]
    print(f"{args.models}: {len(crops)} photographs of {len(set(person))} people")
    print("| smaller face, px | same: mean, sd | different: mean, sd |\n|---|---|---|")
    for name, chosen in [("all", worse > 0), *((str(s), worse == s) for s in SIZES)]:
        cells = [f"{d.mean():.3f}, {d.std():.3f}" for d in (of_pair[chosen & same], of_pair[chosen & ~same])]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| photographs | length: 5 %, median, 95 % |\n|---|---|")
    half = np.concatenate([_moved(crops, 56, 0), _moved(crops, 0, 56)])
    lengths = {"half a face": faces.embed(half).norm}
    lengths |= {str(s): np.concatenate([view.norm[size == s] for view in embedded]) for s in SIZES}
    for name, norm in lengths.items():
        print(f"| {name} | {', '.join(f'{value:.1f}' for value in np.percentile(norm, (5, 50, 95)))} |")


def _aligned(file: Path) -> np.ndarray:
    image = cv2.imread(str(file))
    if image.shape[0] == 250:
        image = image[53:183, 60:190]
    return cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA)


def _moved(crops: list[np.ndarray], right: float, down: float) -> np.ndarray:
    by = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return np.stack([cv2.warpAffine(crop, by, (112, 112), borderMode=cv2.BORDER_REPLICATE) for crop in crops])


def _poor(crop: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A face as a film shows it: of so many pixels, out of focus, in less light, moved a little, compressed."""
    moved = np.float32([[1, 0, rng.normal(0, 1.5)], [0, 1, rng.normal(0, 1.5)]])
    image = cv2.warpAffine(crop, moved, (112, 112), borderMode=cv2.BORDER_REFLECT)
    image = cv2.GaussianBlur(image, (0, 0), 0.3 + rng.gamma(1.2, 0.8))
    image = cv2.resize(image, (int(size), int(size)), interpolation=cv2.INTER_AREA)
    dark = rng.beta(1.2, 2.5)
    image = np.clip(255 * (image / 255.0) ** (1 + dark) * (1 - 0.6 * dark) + rng.normal(0, 3, image.shape), 0, 255)
    packed = cv2.imencode(".jpg", image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1]
    return cv2.resize(cv2.imdecode(packed, cv2.IMREAD_COLOR), (112, 112), interpolation=cv2.INTER_CUBIC)


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    main()
