"""The weights by which glasses are told, fitted anew.

  python -m tests.bench.glasses_weights FOLDER LABELS.csv SET      as `tests.bench.quality_labels` takes them

Of the faces of SET that do not look away: as they are, three times made worse as films are (shifted, other light, out
of focus, small, noisy, JPEG), and once grainy and dark, as fitting on clean ones takes noise for lines. A logistic
regression with a strong ridge, each side of the face folded onto the other, both classes weighing the same; then in
whole numbers. Prints the weights and how many faces of each kind have more than a measure: bare ones (of all), worn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from conf.settings import HarvestSettings
from tests.bench.quality_labels import look
from udfs.face_models import face_models
from udfs.kernels.harvest.glasses import WEIGHTS, measure_lines
from udfs.kernels.harvest.networks import CROP_PX
from udfs.kernels.harvest.quality import GLASSES, PROFILE_YAW

RIDGE, STEPS = 0.03, 2  # scikit-learn's C; whole numbers to one of the regression's
WORSE = 3
MEASURES = (GLASSES - 2, GLASSES - 1, GLASSES, GLASSES + 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("set")
    parser.add_argument("--models", default="buffalo_sc")
    args = parser.parse_args(argv)
    labels = pd.read_csv(args.labels, dtype={"path": str, "set": str, "track": str})
    labels = labels[(labels.set == args.set) & labels.glasses.notna()]
    faces, crops = look(args.folder, labels, face_models(HarvestSettings(models=args.models)))
    facing = (faces.yaw.abs() <= PROFILE_YAW).to_numpy()
    crops, worn = crops[facing], (faces.glasses[facing] == 1).to_numpy()
    kinds = {
        "as they are": measure_faces(crops, lambda crop, _: crop, 1),
        "made worse": measure_faces(crops, make_worse, WORSE),
        "grainy": measure_faces(crops, make_grainy, 1),
    }
    weights = fit(np.concatenate(list(kinds.values())), np.tile(worn, 2 + WORSE))
    print(weights.tolist())
    print("| faces | measure | bare | worn |\n" + "|---" * 4 + "|")
    for kind, lines in kinds.items():
        true, found = np.tile(worn, len(lines) // len(worn)), (lines * weights).sum(axis=(1, 2, 3))
        for least in MEASURES:
            bare, wearing = found[~true] > least, found[true] > least
            print(f"| {kind} | {least:g} | {bare.sum()} of {len(bare)} | {wearing.mean():.0%} |")


def fit(lines: NDArray[np.floating], worn: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Whole numbers in WEIGHTS' shape."""
    model = LogisticRegression(C=RIDGE, class_weight="balanced", max_iter=5000)
    scale = StandardScaler()
    make_pipeline(scale, model).fit(lines.reshape(len(lines), -1), worn)
    return np.rint(STEPS * model.coef_[0] / scale.scale_).astype(int).reshape(WEIGHTS.shape)


def measure_faces(
    crops: NDArray[np.uint8], change: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]], times: int
) -> NDArray[np.floating]:
    rng = np.random.default_rng(0)
    changed = [change(crop, rng) for _ in range(times) for crop in crops]
    return measure_lines(np.array([cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) for crop in changed]))


def make_worse(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    turn = cv2.getRotationMatrix2D((56, 60), rng.normal(0, 2), np.exp(rng.normal(0, 0.03)))
    turn[:, 2] += rng.normal(0, 1.2, 2)
    moved = cv2.warpAffine(crop, turn, (CROP_PX, CROP_PX), borderMode=cv2.BORDER_REFLECT)
    lit = 255 * (moved / 255) ** rng.uniform(0.8, 1.6) * np.exp(rng.normal(-0.2, 0.35))
    seen = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.4, 1.5)) if rng.random() < 0.5 else lit
    side = min(CROP_PX, int(rng.uniform(36, 120)))
    small = cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA)
    noisy = np.clip(small + rng.normal(0, rng.uniform(0, 5), small.shape), 0, 255).astype(np.uint8)
    stored = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(35, 95))])[1]
    return cv2.resize(cv2.imdecode(stored, cv2.IMREAD_COLOR), (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR)


def make_grainy(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    grain = rng.normal(0, rng.uniform(4, 14), (*crop.shape[:2], 1))
    if rng.random() < 0.5:  # as coarse as a small picture's, about as strong
        grain = 1.8 * cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.5, 1.2))[..., None]
    return np.clip(crop * rng.uniform(0.25, 0.9) + grain, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
