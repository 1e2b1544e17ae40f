"""Names from photographs, on titles whose people are known: how many are right, how many wrong.

  python -m tests.bench.names demo
  python -m tests.bench.names composite DATA PHOTOGRAPHS

`demo` names the 26 people of the demo film by up to five photographs each that the film does not show.

`composite` matches with the kernels alone. DATA is as for `tests.bench.adaptation`, its truth with the column `person`.
PHOTOGRAPHS is a Parquet file with a row for each title and photograph that the title does not show: title_id, person,
embedding (raw). Composite tracks are made of other photographs of the same people and sessions, so real galleries are
harder. Each title is clustered by the default method, in raw embeddings and in those of one adapter of all titles, made
without a label. The gallery holds 1, 3 or 10 photographs a person, of `all` people, most of whom are not in the title;
without `half` of the title's people; of a `few` of the title's people and nobody else; or of `strangers` alone.

Precision: of the names given, the share that is right, a character being whom most of its tracks show. Recall: of the
people who are in the gallery and are whom most tracks of some character show, the share whose name is right; `tracks`:
of the tracks of all people in the gallery, the share in characters whose name is right. Percent, over all titles and
three draws.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import cluster, harvest, mine, name
from jobs.demo_film import film
from jobs.demo_film.screenplay import whole_screenplay
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started
from tests.bench.clustering import NONE, calibration_error, unit
from tests.bench.labelled_titles import known, load, trained
from tests.helpers.photographs import not_shown, write_gallery
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Links
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.evaluate.matching import match_boxes
from udfs.kernels.evaluate.title import BOX
from udfs.kernels.name.gallery import Gallery, match
from udfs.kernels.rows import stack_rows

GALLERIES, PHOTOGRAPHS, DRAWS = ("all", "half", "few", "strangers"), (1, 3, 10), 3


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("demo")
    labelled = what.add_parser("composite")
    labelled.add_argument("data", type=Path)
    labelled.add_argument("photographs", type=Path)
    labelled.add_argument("--titles", nargs="+", help="report on these only; the adapter is of all")
    args = parser.parse_args(argv)
    if args.what == "demo":
        demo()
    else:
        composite(args.data, args.photographs, args.titles)


def demo(most: int = 5) -> None:
    """The demo film, harvested and clustered, against its truth."""
    made, title = film.build(), "castmine_demo"
    left = not_shown(whole_screenplay)
    with tempfile.TemporaryDirectory() as folder, borrowed_or_started(None, "bench") as spark:
        people = {f"person_{person:02}": numbers[:most] for person, numbers in left.items() if numbers}
        gallery, common = write_gallery(Path(folder, "gallery"), people), ["--lake", f"{folder}/lake", "--quiet"]
        for job, more in ((harvest, [str(made.path)]), (mine, []), (cluster, []), (name, ["--gallery", str(gallery)])):
            assert job.main([*more, *common], spark=spark) == 0
        lake = Lake(spark, f"{folder}/lake")
        faces = lake.rows("faces", [title]).select("track_id", "frame", *BOX).toPandas()
        labels = lake.rows("track_labels", [title]).select("track_id", "character_id").toPandas()
        names = lake.rows("characters", [title]).select("character_id", "name", "n_tracks").toPandas()
    truth = pd.read_csv(made.truth)
    columns = (rows[c].to_numpy() for rows, c in ((truth, "label"), (faces, "track_id"), (faces, "frame")))
    label, track_id, frame = columns
    shows = match_boxes(truth.frame.to_numpy(), truth[BOX].to_numpy(), label, track_id, frame, faces[BOX].to_numpy())
    tracks = labels.merge(pd.DataFrame({"track_id": shows.track_ids, "person": shows.labels}).dropna())
    tracks = tracks[tracks.character_id.notna()]
    whom = tracks.groupby("character_id").person.agg(lambda seen: seen.mode()[0])
    found = names.assign(person=names.character_id.map(whom))
    given = found[found["name"].notna()]
    right = given[given["name"] == given.person]
    print(f"gallery: {len(people)} people, {sum(map(len, people.values()))} photographs")
    print(f"{len(names)} characters of {whom.nunique()} people; the film shows {truth.label.nunique()}")
    print(f"{len(given)} names given, {len(right)} right, {len(given) - len(right)} wrong")
    print(found.sort_values("character_id").to_string(index=False))


def composite(data: Path, photographs: Path, titles: Sequence[str] | None) -> None:
    """A line for each embedding, number of photographs and gallery; then how the confidences fit."""
    every, loaded = pd.read_parquet(photographs), load(data)
    adapt = trained("whitened_triplet", loaded, 7)[0]
    chosen = {title: loaded[title] for title in titles or loaded}
    print("| embedding | photographs | gallery | given | precision | recall | tracks |\n" + "|---" * 7 + "|")
    confidence, is_right = [], []
    embeddings = (("raw", unit, known()), ("adapted", lambda x: unit(adapt(x)), known(adapt)))
    for embedding, moved, distances in embeddings:
        cast = {t: _cast(data, t, moved(of.embedding), of.cannot, distances) for t, of in chosen.items()}
        for n in PHOTOGRAPHS:
            for kind in GALLERIES:
                counts = np.zeros(6)
                for title, (rows, character, person) in cast.items():
                    for photos in _galleries(every[every.title_id == title], person, n, kind):
                        photos = Gallery(photos.person.to_numpy(str), moved(stack_rows(photos.embedding)))
                        found = match(photos, rows[character >= 0], character[character >= 0])
                        counts += _counted(found[found.is_match], photos, character, person, confidence, is_right)
                given, right, there, named, seen, of_tracks = counts
                shares = (right / given, named / there if there else np.nan, of_tracks / seen if seen else np.nan)
                print(f"| {embedding} | {n} | {kind} | {given:.0f} | " + " | ".join(f"{100 * s:.1f}" for s in shares))
    error = calibration_error(np.array(confidence), np.array(is_right, bool))
    print(f"expected calibration error of the confidences of names given: {error:.3f}")


def _cast(
    data: Path, title: str, rows: NDArray[np.float32], cannot: NDArray[np.int64], distances: Distances
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.str_]]:
    """Tracks, the character of each, and the person whom each shows."""
    truth = pd.read_parquet(data / "truth" / f"{title}.parquet").sort_values("track_id")
    person = truth[truth.label != "unknown"].person.to_numpy(str)
    return (
        rows,
        find_characters(
            Evidence(rows, np.ones(len(rows), np.int64), Links(cannot, NONE)), Rules(known=distances)
        ).labels,
        person,
    )


def _galleries(photographs: pd.DataFrame, person: NDArray[np.str_], n: int, kind: str) -> Iterator[pd.DataFrame]:
    inside, every = np.unique(person), sorted(set(photographs.person))
    for seed in range(DRAWS):
        rng = np.random.default_rng([seed, n])
        mixed = rng.permutation(inside)
        people = {
            "all": every,
            "half": sorted(set(every) - set(mixed[: len(inside) // 2])),
            "few": mixed[: max(2, len(inside) // 4)],
            "strangers": sorted(set(every) - set(inside)),
        }[kind]
        drawn = photographs[photographs.person.isin(people)].sample(frac=1, random_state=rng.integers(2**31))
        yield drawn.groupby("person").head(n)


def _counted(
    matches: pd.DataFrame,
    photos: Gallery,
    character: NDArray[np.int32],
    person: NDArray[np.str_],
    confidence: list[float],
    is_right: list[bool],
) -> NDArray[np.float64]:
    """names given, right ones; people who are there, named; tracks of people in the gallery, in rightly named ones."""
    whom = pd.Series(person[character >= 0]).groupby(character[character >= 0]).agg(lambda seen: seen.mode()[0])
    right = matches.person.to_numpy() == whom.loc[matches.character_id].to_numpy()
    confidence += matches.confidence.tolist()
    is_right += right.tolist()
    there = set(whom) & set(photos.person)
    named = matches[right]
    of_tracks = np.isin(character, named.character_id).sum()
    seen = np.isin(person, photos.person).sum()
    return np.array([len(matches), len(named), len(there), named.person.nunique(), seen, of_tracks], float)


if __name__ == "__main__":
    main()
