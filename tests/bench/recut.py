"""Names given by hand, and then another cut of the film: how many stand, how many are lost, how many are wrong.

The demo film (26 people, composite) is harvested, mined and clustered, and each character gets the name of the person
whom most of its tracks show. Then the film in its place is another cut: its first seconds are gone, all of it encoded
anew. A name is right where most tracks of its new character show that person.

  python -m tests.bench.recut [SECONDS ...] [--models buffalo_sc]          default: 0.5 2 10
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from jobs import cluster, harvest, mine, name
from jobs.demo_film import film
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started
from udfs.kernels.evaluate.matching import match_boxes
from udfs.kernels.evaluate.title import BOX
from udfs.kernels.harvest import video


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="*", type=float, default=[0.5, 2.0, 10.0])
    parser.add_argument("--models", default="buffalo_sc")
    args = parser.parse_args(argv)
    known = film.build()
    truth = pd.read_csv(known.truth)
    with borrowed_or_started(None, "bench") as spark, tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "first")
        place = Path(shutil.copy(known.path, Path(folder, "film.mp4")))
        words = [f"--set=harvest.models={args.models}", "--quiet"]
        run(spark, place, first, words)
        people = show_people(Lake(spark, str(first)), truth)
        for character, person in sorted(people.items()):
            named = ["--titles", "film", "--character", str(character), person]
            name.main(["--lake", str(first), "--quiet", *named], spark=spark)
        print("seconds cut off, names, right, lost, wrong")
        for seconds in args.seconds:
            lake = Path(shutil.copytree(first, Path(folder, f"cut-{seconds}")))
            gone = cut(known.path, place, seconds)
            run(spark, place, lake, words)
            now = truth[truth.frame >= gone].assign(frame=truth.frame - gone)
            shows = show_people(Lake(spark, str(lake)), now)
            rows = Lake(spark, str(lake)).rows("characters").where("name IS NOT NULL").collect()
            right = [row["name"] for row in rows if shows.get(row["character_id"]) == row["name"]]
            wrong = [row["name"] for row in rows if shows.get(row["character_id"]) != row["name"]]
            lost = len(set(people.values())) - len({*right, *wrong})
            print(f"{seconds:g}, {len(set(people.values()))}, {len(right)}, {lost}, {len(wrong)}", flush=True)


def run(spark: SparkSession, place: Path, lake: Path, words: list[str]) -> None:
    """Harvest, mine and cluster the film."""
    common = ["--lake", str(lake), *words]
    assert harvest.main([str(place), *common], spark=spark) == 0
    assert mine.main(common, spark=spark) == 0
    assert cluster.main(common, spark=spark) == 0


def cut(source: Path, made: Path, seconds: float) -> int:
    """The film without its first seconds, encoded anew; how many frames are gone."""
    index = video.probe(source)
    gone = round(seconds * index.fps)
    film.encode((frame.image for frame in video.decode_frames(source, index, gone, index.n_frames)), made)
    return gone


def show_people(lake: Lake, truth: pd.DataFrame) -> dict[int, str]:
    """character_id -> the person whom most of its tracks show, of the characters that show one."""
    faces = lake.rows("faces").select("track_id", "frame", *BOX).toPandas()
    labels = lake.rows("track_labels").where("character_id IS NOT NULL").select("track_id", "character_id").toPandas()
    true, ours = ((rows.frame.to_numpy(np.int64), rows[BOX].to_numpy(float)) for rows in (truth, faces))
    matched = match_boxes(*true, truth.label.to_numpy(str), faces.track_id.to_numpy(np.int64), *ours)
    of_track = pd.Series(matched.labels, matched.track_ids)[matched.matched_faces > 0]
    shown = labels.assign(person=labels.track_id.map(of_track)).dropna()
    return shown.groupby("character_id").person.agg(lambda people: str(people.mode()[0])).to_dict()


if __name__ == "__main__":
    main()
