"""How castmine's clustering degrades: labelled titles made worse bit by bit.

DATA as for `tests.bench.clustering`, adapted by one adapter of all titles as there. Each line changes one thing:

- wrong cannot-links: a share of a title's cannot-links is replaced by pairs of one person
- poor tracks: a share of the tracks gets noise of its own embedding's length times 1.5, as blur and profile do
- one person: tracks of others are dropped until the most frequent one has that share of the tracks
- extras: so many tracks of other titles' unnamed people, one a name; as few people play many of them, also some of
  this title, tracks count as one person's where one person plays them

V-measure, WCP and B-cubed F in percent, the number of people found and true, means over titles, and how many of all
titles' wrong and true cannot-links are doubted.

  python -m tests.bench.robustness DATA [--seed 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.bench.clustering import measured, unit
from tests.bench.labelled_titles import Title, known, load, trained

Worse = Callable[[Title, dict[str, Title], float, np.random.Generator], Title]


def wrong_links(title: Title, others: dict[str, Title], share: float, rng: np.random.Generator) -> Title:
    wrong = rng.random(len(title.cannot)) < share
    cannot = title.cannot.copy()
    for place in np.flatnonzero(wrong):
        row = cannot[place, 0]
        same = np.flatnonzero(title.label == title.label[row])
        cannot[place, 1] = rng.choice(same[same != row]) if len(same) > 1 else cannot[place, 1]
    return replace(title, cannot=cannot)


def poor_tracks(title: Title, others: dict[str, Title], share: float, rng: np.random.Generator) -> Title:
    poor = rng.random(len(title.label)) < share
    noise = 1.5 * unit(rng.normal(size=title.embedding.shape))
    return replace(title, embedding=unit(title.embedding + poor[:, None] * noise))


def one_person(title: Title, others: dict[str, Title], share: float, rng: np.random.Generator) -> Title:
    names, counts = np.unique(title.label, return_counts=True)
    most = title.label == names[counts.argmax()]
    kept = most.copy()
    rest = rng.permutation(np.flatnonzero(~most))
    kept[rest[: round(most.sum() * (1 / share - 1))] if share else rest] = True
    return _only(title, kept)


def extras(title: Title, others: dict[str, Title], number: float, rng: np.random.Generator) -> Title:
    strange = [
        (row, person)
        for _, other in sorted(others.items())
        for label in np.unique(other.label)
        if label.startswith("unknown")  # unnamed in the source
        for row, person in _one_of(other, label, rng)
    ]
    chosen = rng.permutation(len(strange))[: int(number)]
    if not len(chosen):
        return title
    rows, people = np.stack([strange[i][0] for i in chosen]), np.array([strange[i][1] for i in chosen])
    return replace(
        title, embedding=np.concatenate([title.embedding, rows]), label=np.concatenate([title.person, people])
    )


def _one_of(title: Title, label: str, rng: np.random.Generator) -> list[tuple[np.ndarray, str]]:
    rows = rng.permutation(np.flatnonzero(title.label == label))[:1]
    return [(title.embedding[row], title.person[row]) for row in rows]


def _only(title: Title, kept: np.ndarray) -> Title:
    place = np.cumsum(kept) - 1
    cannot = title.cannot[kept[title.cannot].all(axis=1)]
    label, person = title.label[kept], title.person[kept]
    return replace(title, embedding=title.embedding[kept], label=label, person=person, cannot=place[cannot])


CASES: dict[str, tuple[Worse, tuple[float, ...]]] = {
    "wrong cannot-links": (wrong_links, (0.0, 0.02, 0.05, 0.1, 0.2)),
    "poor tracks": (poor_tracks, (0.1, 0.2, 0.4)),
    "one person": (one_person, (0.4, 0.6, 0.8)),
    "extras": (extras, (25, 50, 100)),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--adapter", default="whitened_triplet")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args(argv)
    titles = load(args.data)
    adapt, _ = trained(args.adapter, titles, args.seed)
    columns = ("worse", "by", "V", "WCP", "B-cubed F", "people found, true", "doubted: wrong links, true links")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for name, (worse, levels) in CASES.items():
        for level in levels:
            found, links = [], np.zeros((2, 2), int)  # of wrong and true links: doubted, all
            for number, (of, title) in enumerate(titles.items()):
                others = {other: t for other, t in titles.items() if other != of}
                made = worse(title, others, level, np.random.default_rng([args.seed, number]))
                found.append(measured(made, unit(adapt(made.embedding)), "castmine", "found", known(adapt)))
                wrong = made.label[made.cannot[:, 0]] == made.label[made.cannot[:, 1]]
                doubted = found[-1]["doubted"]
                links += [[(doubted & which).sum(), which.sum()] for which in (wrong, ~wrong)]
            means = [f"{100 * np.mean([f[key] for f in found]):.1f}" for key in ("v_measure", "wcp", "bcubed_f")]
            people = [np.mean([f[key] for f in found]) for key in ("n_predicted", "n_true")]
            shares = ", ".join(f"{part} of {whole}" for part, whole in links)
            print(f"| {name} | {level:g} | {' | '.join(means)} | {people[0]:.0f}, {people[1]:.0f} | {shares} |")


if __name__ == "__main__":
    main()
