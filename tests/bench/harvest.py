"""Frames per second of harvest beside the loop that a user would write.

That loop is cv2.VideoCapture and FaceAnalysis.get on every frame: it decodes, detects and embeds every face of every
frame on all cores. castmine finds shots, detects `harvest.detect_fps` times a second, tracks, and embeds a few faces of
each track. Both run on the same films in one process, in turn. Also: how many of the loop's faces castmine's tracks
cover (a box of a track in the same frame with IoU >= 0.5).

  python -m tests.bench.harvest [FILM ...]      default: the films of the demo
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from insightface.app import FaceAnalysis

from jobs import harvest
from jobs.cli.progress import Progress
from jobs.demo import demo_films
from jobs.inputs.films import find_films
from jobs.lake import session
from jobs.lake.lake import Lake
from udfs import assets
from udfs.kernels.harvest.tracker import iou


class Loop(NamedTuple):
    frames: int
    seconds: float
    faces: list[tuple[int, np.ndarray]]  # frame, x y w h


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="*", help="default: the films of the demo")
    args = parser.parse_args()
    clip, known = demo_films(Progress())
    films, _ = find_films(args.films or [str(clip), str(known.path)])
    spark = session.start("bench", [], None, {})
    print("| film | frames | loop fps | castmine fps | ratio | loop's faces | covered by tracks |\n" + "|---" * 7 + "|")
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder, "warm")  # the first commit of a session pays for its start
        harvest.main([films[0].uri, "--lake", str(warm), "--quiet"], spark=spark)
        for film in films:
            loop = plain_loop(Path(film.uri))
            began = time.perf_counter()
            lake = str(Path(folder, film.title_id))
            harvest.main([film.uri, "--lake", lake, "--quiet"], spark=spark)
            seconds = time.perf_counter() - began
            covered = share_covered(loop.faces, Lake(spark, lake))
            ours, theirs = loop.frames / seconds, loop.frames / loop.seconds
            print(
                f"| {film.title_id} | {loop.frames} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} | "
                f"{len(loop.faces)} | {100 * covered:.1f} % |",
                flush=True,
            )
    spark.stop()


def plain_loop(film: Path) -> Loop:
    """What a user would write, with the same models and the same detector size."""
    detector, embedder = assets.fetch_pack("buffalo_sc")
    with tempfile.TemporaryDirectory() as root:
        pack = Path(root, "models", "buffalo_sc")
        pack.mkdir(parents=True)
        for model in (detector, embedder):
            (pack / model.name).symlink_to(model)
        app = FaceAnalysis(name="buffalo_sc", root=root, providers=["CPUExecutionProvider"])
        app.prepare(ctx_id=-1, det_size=(640, 640))
        faces, frames, began = [], 0, time.perf_counter()
        capture = cv2.VideoCapture(str(film))
        while True:
            more, image = capture.read()
            if not more:
                break
            for face in app.get(image):
                x0, y0, x1, y1 = face.bbox
                faces.append((frames, np.array([x0, y0, x1 - x0, y1 - y0])))
            frames += 1
        return Loop(frames, time.perf_counter() - began, faces)


def share_covered(faces: list[tuple[int, np.ndarray]], lake: Lake) -> float:
    """Share of the loop's faces with a box of some track over them, IoU >= 0.5; 1 where the loop saw none."""
    ours = lake.rows("faces").select("frame", "x", "y", "w", "h").toPandas()
    boxes = {frame: rows[["x", "y", "w", "h"]].to_numpy() for frame, rows in ours.groupby("frame")}
    hits = [iou(box[None], boxes[frame]).max() >= 0.5 if frame in boxes else False for frame, box in faces]
    return float(np.mean(hits)) if hits else 1.0


if __name__ == "__main__":
    main()
