"""Face tracks of people who are easy to tell apart: scenes of two people at a time, who sit left and right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

FPS, STRIDE, DETECTIONS, EMBED_EVERY = 24.0, 2, 20, 3
DIM, NOISE = 32, 0.03  # of unit vectors: two faces of one person have a cosine of about 0.97
LEFT, RIGHT = (100.0, 80.0, 60.0, 60.0), (400.0, 90.0, 64.0, 64.0)


@dataclass(frozen=True)
class Title:
    """Tables as `castmine import` takes them, and who each track shows."""

    title_id: str
    tracks: pd.DataFrame
    faces: pd.DataFrame
    person: dict[int, int]


def make(title_id: str, seed: int, n_people: int = 4, n_scenes: int = 14) -> Title:
    """A title of scenes; person 0 is in most of them, so that characters have an order."""
    random = np.random.default_rng(seed)
    faces_of = np.linalg.qr(random.normal(size=(DIM, DIM)))[0][:n_people]
    tracks, faces, person = [], [], {}
    for scene in range(n_scenes):
        first = scene * DETECTIONS * STRIDE * 2
        others = random.choice(np.arange(1, n_people), size=2, replace=False)
        pair = (0, int(others[0])) if scene % 3 else tuple(map(int, others))
        for who, box in zip(pair, (LEFT, RIGHT), strict=True):
            track_id = len(tracks)
            person[track_id] = who
            frames = first + STRIDE * np.arange(DETECTIONS)
            seen = unit(faces_of[who] + NOISE * random.normal(size=(DETECTIONS, DIM)))
            sampled = np.arange(DETECTIONS) % EMBED_EVERY == 0
            faces += [
                {
                    **{
                        "title_id": title_id,
                        "track_id": track_id,
                        "frame": int(f),
                        "time_s": f / FPS,
                        "score": np.float32(0.9),
                    },
                    **dict(zip("xywh", np.float32(box), strict=True)),
                    "embedding": seen[i].astype(np.float32) if sampled[i] else None,
                }
                for i, f in enumerate(frames)
            ]
            end = int(frames[-1]) + STRIDE
            tracks.append(
                {
                    **{"title_id": title_id, "track_id": track_id, "shot_id": scene, "n_faces": DETECTIONS},
                    **{"start_frame": first, "end_frame": end, "start_s": first / FPS, "end_s": end / FPS},
                    "embedding": unit(seen[sampled].mean(axis=0)).astype(np.float32),
                }
            )
    return Title(title_id, pd.DataFrame(tracks), pd.DataFrame(faces), person)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write(folder: Path, title: Title) -> None:
    """As Parquet: folder/tracks/ID.parquet and folder/faces/ID.parquet."""
    for name in ("tracks", "faces"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        getattr(title, name).to_parquet(folder / name / f"{title.title_id}.parquet", index=False)
