"""Every way to cluster on short real films whose truth was made by hand: who appears once, and who returns.

FILMS holds NAME.mp4 and NAME_gt.json: a list of true tracks, each with `label`, `frames` and `boxes` (x1, y1, x2, y2)
on these frames; label `not_a_face` is a spot that a detector may take for a face. A true track is scored by the
castmine track that covers most of its boxes (overlap of 0.5 or more); true tracks that none covers are not scored.

`castmine` is what `castmine cluster` does with raw embeddings; `cut X` is average linkage under the same links, cut at
one cosine distance for all films; `cut, others` is the cut that is best on the other films; `cut, own` the one that is
best on the film itself (an oracle). `castmine, others` is castmine with its three numbers (temper, strictness, cut)
chosen anew from a grid by the other films alone, of equally good ones the first. `given` are told the number of people,
each track of which the truth says nothing counted as one more if it is not poor. In percent: accuracy of tracks (each
person to one character, one to one) by film, and in the mean V-measure, WCP and B-cubed F. Then by film the numbers of
people and of those of one track, true and found, tracks of no face that became a character, and cannot-links set aside.

  python -m tests.bench.films FILMS [--models buffalo_sc] [--lake LAKE]     with --lake, what is there is used
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conf.settings import ClusterSettings
from jobs import harvest, mine
from jobs.cluster import expect_distances
from jobs.lake.lake import Lake
from jobs.lake.session import borrowed_or_started
from udfs import assets
from udfs.kernels.boxes import iou_by_pair
from udfs.kernels.cluster import characters, smoothing
from udfs.kernels.cluster.characters import Characters, Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Bounds, Links
from udfs.kernels.cluster.odds import Distances
from udfs.kernels.evaluate.scoring import calibration_error, mark_pure, mark_right, score
from udfs.kernels.evaluate.title import BOX
from udfs.kernels.rows import stack_rows

CUTS = (0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90)
GRID = tuple(itertools.product((0.5, 0.7, 1.0), (2.8, 3.1, 3.4), (0.55, 0.6, 0.65)))  # temper, strictness, cut
NOT_A_FACE = "not_a_face"


@dataclass(frozen=True)
class Film:
    """The tracks of a film, as clustering takes them, and the row that each true track is scored by."""

    tracks: pd.DataFrame
    embeddings: NDArray[np.float32]
    cannot: NDArray[np.int64]
    must: NDArray[np.int64]
    label: NDArray[np.str_]
    row: NDArray[np.int64]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--models", default="buffalo_sc")
    parser.add_argument("--lake")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        films = load(args.films, args.lake or f"{folder}/lake", args.models)
    known = expect_distances(assets.registry().files[assets.pack(args.models).embedder].sha256, None)
    print(f"{args.models}\n\n| accuracy | {' | '.join(films)} | mean | least | V | WCP | B-cubed F |")
    print("|---" * (len(films) + 6) + "|")
    ours = {name: clustered(film, known) for name, film in films.items()}
    _print("castmine", films, {name: found.labels for name, found in ours.items()})
    _print("castmine, others", films, _chosen(films, _tuned(films, known)))
    by_cut = {cut: {n: clustered(f, known, "hac_average", reach=cut).labels for n, f in films.items()} for cut in CUTS}
    for cut, labels in by_cut.items():
        _print(f"cut {cut:.2f}", films, labels)
    _print("cut, others", films, _chosen(films, by_cut))
    _print("cut, own", films, {n: max((of[n] for of in by_cut.values()), key=_accuracy(films[n])) for n in films})
    for method in ("castmine", "hac_average", "finch"):
        given = {n: clustered(f, known, method, exact_k=_people_in_view(f)).labels for n, f in films.items()}
        _print(f"{method}, given", films, given)
    for method in ("finch", "hdbscan"):
        _print(method, films, {n: clustered(f, known, method).labels for n, f in films.items()})
    columns = ("castmine", "people", "of one track", "found", "of one track", "no face", "doubted links")
    print(f"\n| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for name, film in films.items():
        print(f"| {name} | {' | '.join(map(str, _counts(film, ours[name])))} |")
    confidence, own, best = (np.concatenate(part) for part in zip(*_confidences(films, ours), strict=True))
    errors = calibration_error(confidence, own), calibration_error(confidence, best)
    print(
        f"\nexpected calibration error: {errors[0]:.3f} (right: in a character that mostly shows this person), "
        f"{errors[1]:.3f} (right: in the character that this person is matched with)"
    )


def load(folder: Path, lake: str, models: str) -> dict[str, Film]:
    """The films of a folder, harvested and mined where they are not."""
    common = ["--lake", lake, "--quiet", "--set", f"harvest.models={models}"]
    with borrowed_or_started(None, "bench") as spark:
        assert harvest.main([str(folder), *common], spark=spark) == 0
        assert mine.main(common, spark=spark) == 0
        opened = Lake(spark, lake)
        columns = ["track_id", "frame", *BOX]
        return {
            file.stem: _film(
                json.loads(file.with_name(f"{file.stem}_gt.json").read_text()),
                opened.rows("tracks", [file.stem]).toPandas(),
                opened.rows("faces", [file.stem]).select(*columns).toPandas(),
                opened.rows("cannot_links", [file.stem]).toPandas(),
                opened.rows("must_links", [file.stem]).where("NOT contradicted").toPandas(),
            )
            for file in sorted(folder.glob("*.mp4"))
        }


def _film(truth: list[dict], tracks: pd.DataFrame, faces: pd.DataFrame, *links: pd.DataFrame) -> Film:  # type: ignore[type-arg]
    tracks = tracks.sort_values("track_id").reset_index(drop=True)
    there = tracks.embedding.notna()
    embeddings = np.full((len(tracks), len(tracks.embedding[there].iloc[0])), np.nan, np.float32)
    embeddings[there] = stack_rows(tracks.embedding[there])
    ids = tracks.track_id.to_numpy(np.int64)
    cannot, must = (np.searchsorted(ids, found[["track_a", "track_b"]].to_numpy(np.int64)) for found in links)
    covered = [(track["label"], covering) for track in truth if (covering := _covering(track, faces)) is not None]
    label, row = np.array([name for name, _ in covered]), np.searchsorted(ids, [track_id for _, track_id in covered])
    return Film(tracks, embeddings, cannot, must, label, row)


def _covering(track: dict, faces: pd.DataFrame) -> int | None:  # type: ignore[type-arg]
    """The castmine track that covers most boxes of a true one."""
    votes: Counter[int] = Counter()
    for frame, (x1, y1, x2, y2) in zip(track["frames"], track["boxes"], strict=True):
        here = faces[faces.frame == frame]
        true = np.tile(np.array([x1, y1, x2 - x1, y2 - y1], np.float32), (len(here), 1))
        overlap = iou_by_pair(true, here[BOX].to_numpy(np.float32))
        if len(here) and overlap.max() >= 0.5:
            votes[int(here.track_id.iloc[int(overlap.argmax())])] += 1
    return votes.most_common(1)[0][0] if votes else None


def clustered(
    film: Film, known: Distances, method: str = "castmine", reach: float | None = None, exact_k: int | None = None
) -> Characters:
    """The film's characters by a method."""
    return find_characters(
        Evidence(
            film.embeddings,
            film.tracks.n_faces.to_numpy(np.int64),
            Links(film.cannot, film.must),
            quality=film.tracks.quality.to_numpy(np.float32),
            rejected=np.array([NOT_A_FACE in flags for flags in film.tracks["flags"]], bool),
        ),
        Rules(known=known, method=method, bounds=Bounds(cut=reach, exact_k=exact_k)),
    )


def _tuned(films: dict[str, Film], known: Distances) -> dict[tuple[float, float, float], dict[str, NDArray[np.int32]]]:
    before = smoothing.TEMPER, smoothing.STRICTNESS, characters.CUT
    found = {}
    try:
        for numbers in GRID:
            smoothing.TEMPER, smoothing.STRICTNESS, characters.CUT = numbers
            found[numbers] = {name: clustered(film, known).labels for name, film in films.items()}
    finally:
        smoothing.TEMPER, smoothing.STRICTNESS, characters.CUT = before
    return found


def _chosen(films: dict[str, Film], found: dict) -> dict[str, NDArray[np.int32]]:  # type: ignore[type-arg]
    """For each film what is best in the mean of the others; of equally good ones the first."""
    accuracy = {what: {n: _accuracy(films[n])(labels[n]) for n in films} for what, labels in found.items()}
    chosen = {}
    for name in films:
        best = max(found, key=lambda what: np.mean([accuracy[what][n] for n in films if n != name]))
        chosen[name] = found[best][name]
    return chosen


def _predicted(film: Film, labels: NDArray[np.int32]) -> tuple[NDArray[np.str_], NDArray[np.int32]]:
    """Person and character of the true tracks that are faces."""
    face = film.label != NOT_A_FACE
    return film.label[face], labels[film.row[face]]


def _accuracy(film: Film) -> Callable[[NDArray[np.int32]], float]:
    return lambda labels: float(mark_right(*_predicted(film, labels)).mean() + _lone_unknown(*_predicted(film, labels)))


def _lone_unknown(person: NDArray[np.str_], labels: NDArray[np.int32]) -> float:
    """The share of unknown tracks that count as right: each is by itself, so one a person whom no character has."""
    named = set(person[mark_right(person, labels)])
    return len(set(person[labels < 0]) - named) / len(person)


def _people_in_view(film: Film) -> int:
    """People, and beside them the tracks of which the truth says nothing: each that is not poor is somebody."""
    person, _ = _predicted(film, np.zeros(len(film.tracks), np.int32))
    poor = film.tracks.quality.to_numpy() < ClusterSettings().min_quality
    return len(set(person)) + len(set(np.flatnonzero(~poor)) - set(film.row))


def _print(what: str, films: dict[str, Film], labels: dict[str, NDArray[np.int32]]) -> None:
    accuracy = [_accuracy(film)(labels[name]) for name, film in films.items()]
    scores = [score(*_predicted(film, labels[name])) for name, film in films.items()]
    means = [float(np.mean([s[key] for s in scores])) for key in ("v_measure", "wcp", "bcubed_f")]
    cells = [f"{100 * value:.1f}" for value in (*accuracy, np.mean(accuracy), min(accuracy), *means)]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def _counts(film: Film, found: Characters) -> Iterator[int]:
    person, character = _predicted(film, found.labels)
    character = np.where(character < 0, -1 - np.arange(len(character)), character)  # unknown: each by itself
    for names in (np.unique(person, return_counts=True)[1], np.unique(character, return_counts=True)[1]):
        yield len(names)
        yield int((names == 1).sum())
    yield int((found.labels[film.row[film.label == NOT_A_FACE]] >= 0).sum())
    yield int(found.doubted.sum())


def _confidences(films: dict[str, Film], ours: dict[str, Characters]) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    for name, film in films.items():
        person, labels = _predicted(film, ours[name].labels)
        known = labels >= 0
        confidence = ours[name].confidence[film.row[film.label != NOT_A_FACE]]
        yield confidence[known], mark_pure(person[known], labels[known]), mark_right(person[known], labels[known])


if __name__ == "__main__":
    main()
