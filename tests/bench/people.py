"""Characters of several titles linked into people, against who truly plays them.

DATA as for `tests.bench.clustering`, its truth with a column `person`: the same one in all titles. Titles are clustered
as there (castmine, number found, one adapter of all titles), their characters linked as `castmine cluster` does. Scored
over the tracks of all titles: V-measure and B-cubed F in percent; `perfect` links each character to the person whom
most of its tracks show, so what is missing there is clustering's; `apart` links nobody.

  python -m tests.bench.people DATA ... [--adapter METHOD] [--seed 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tests.bench.clustering import NONE, unit
from tests.bench.labelled_titles import Title, load, trained
from tests.bench.labelled_titles import known as known_distances
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Links
from udfs.kernels.cluster.people import Characters, find_threshold, link
from udfs.kernels.evaluate.scoring import score


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--adapter", default="whitened_triplet")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    columns = ("data", "titles", "characters", "reach", "people, true", "linked: V, B-cubed F", "perfect", "apart")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for folder in args.data:
        titles = load(folder)
        adapt, _ = trained(args.adapter, titles, args.seed)
        tracks = pd.concat([_tracks(folder, name, title, adapt) for name, title in titles.items()], ignore_index=True)
        print(f"| {folder.name} | {len(titles)} | {_shown(tracks)} |", flush=True)


def _tracks(folder: Path, name: str, title: Title, adapt) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """The tracks of a title that have a character: which, who truly plays it, the adapted mean of the character."""
    truth = pd.read_parquet(folder / "truth" / f"{name}.parquet", columns=["track_id", "label", "person"])
    person = truth[truth.label != "unknown"].sort_values("track_id").person.to_numpy(str)
    rows = unit(adapt(title.embedding))
    found = find_characters(
        Evidence(rows, np.ones(len(rows), np.int64), Links(title.cannot, NONE)), Rules(known=known_distances(adapt))
    )
    raw = unit(title.embedding)
    means = {c: raw[found.labels == c].mean(axis=0) for c in range(len(found.exemplars))}
    known = found.labels >= 0
    of = found.labels[known]
    made = {c: unit(adapt(unit(mean[None]).astype(np.float32)))[0] for c, mean in means.items()}
    return pd.DataFrame({"title": name, "character": of, "person": person[known], "mean": [made[c] for c in of]})


def _shown(tracks: pd.DataFrame) -> str:
    characters = tracks.drop_duplicates(["title", "character"]).sort_values(["title", "character"])
    cast = Characters(
        characters.title.to_numpy(str),
        np.stack(characters["mean"].to_list()),
        (characters.title + "/" + characters.character.astype(str)).to_numpy(str),
    )
    nobody = Characters(cast.title[:0], cast.embedding[:0], cast.person[:0])
    linked = dict(zip(cast.person, link(nobody, cast), strict=True))
    apart = (tracks.title + "/" + tracks.character.astype(str)).to_numpy(str)
    most = tracks.groupby(apart).person.agg(lambda who: who.mode()[0])
    cells = []
    for labels in (pd.Series(apart).map(linked), pd.Series(apart).map(most), pd.Series(apart)):
        found = score(tracks.person.to_numpy(str), pd.factorize(labels)[0].astype(np.int32))
        cells.append(f"{100 * found['v_measure']:.1f}, {100 * found['bcubed_f']:.1f}")
    people = f"{len(set(linked.values()))}, {tracks.person.nunique()}"
    return f"{len(characters)} | {find_threshold(cast.title, cast.embedding):.3f} | {people} | {' | '.join(cells)}"


if __name__ == "__main__":
    main()
