"""How clustering and linking people grow: seconds and peak memory, one process a cell of the table.

Synthetic titles: a fortieth as many people as tracks, a few of them with most of the tracks; each track its person's
look and noise, more in some tracks than in others, in a space of 128 dimensions turned into 512; half of the tracks are
seen with another. `sklearn` is AgglomerativeClustering (average linkage, cosine), `finch` castmine's own; both are told
the number of people, and know no links. Memory is what the process has beyond the data and its libraries. V in percent.
The exponent is that of the seconds from the size above.

`people` links the characters of titles of 1,000 characters each, in which a tenth of all people play.

  python -m tests.bench.scale [--tracks 1000 5000 30000 100000] [--methods castmine sklearn finch] [--people 300000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import v_measure_score

from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import Bounds, Links
from udfs.kernels.cluster.people import Characters, link

DIM, IN, SEED, CHARACTERS = 512, 128, 7, 1000
LARGEST = {"castmine": 10**9, "sklearn": 30_000, "finch": 30_000}  # what fits into 24 GiB
NONE = np.zeros((0, 2), np.int64)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", nargs="+", type=int, default=[1000, 5000, 30_000, 100_000])
    parser.add_argument("--methods", nargs="+", choices=list(LARGEST), default=list(LARGEST))
    parser.add_argument("--people", nargs="*", type=int, default=[30_000, 300_000])
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(_measured(args.one[0], int(args.one[1]))))
        return
    columns = ("what", "rows", "seconds", "exponent", "GiB", "people", "found", "V")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for method in args.methods:
        _series(method, [size for size in args.tracks if size <= LARGEST[method]])
    _series("people", args.people)


def _series(what: str, sizes: Sequence[int]) -> None:
    before: tuple[int, float] | None = None
    for size in sizes:
        command = [sys.executable, "-m", "tests.bench.scale", "--one", what, str(size)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        grown = f"{np.log(found['s'] / before[1]) / np.log(size / before[0]):.2f}" if before else "-"
        cells = [
            f"{found['s']:.1f}",
            grown,
            f"{found['gib']:.2f}",
            found["people"],
            found["found"],
            f"{found['v']:.1f}",
        ]
        print(f"| {what} | {size:,} | {' | '.join(map(str, cells))} |", flush=True)
        before = size, found["s"]


def _measured(what: str, size: int) -> dict[str, Any]:
    x, true, title = archive(size) if what == "people" else (*tracks(size), None)
    before, began = _peak(), time.perf_counter()
    if title is not None:
        nobody = Characters(title[:0], x[:0], title[:0])
        found = link(nobody, Characters(title, x, np.char.add("n", np.arange(size).astype(str))))
    elif what == "sklearn":
        found = AgglomerativeClustering(len(set(true)), metric="cosine", linkage="average").fit_predict(x)
    else:
        number = None if what == "castmine" else len(set(true))
        links = together(true) if what == "castmine" else NONE
        found = find_characters(
            Evidence(x, np.ones(size, int), Links(links, NONE)), Rules(method=what, bounds=Bounds(exact_k=number))
        ).labels
    seconds = time.perf_counter() - began
    return {
        "s": seconds,
        "gib": (_peak() - before) / 2**20,
        "people": len(set(true.tolist())),
        "found": len(set(found.tolist())),
        "v": 100 * v_measure_score(true, found),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def tracks(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, DIM) rows and (T,) who they show."""
    rng = np.random.default_rng(SEED)
    people = max(8, size // 40)
    often = 1 / np.arange(1, people + 1) ** 1.1
    true = rng.choice(people, size, p=often / often.sum())
    return _rows(rng, true, rng.lognormal(0.0, 0.35, size)), true


def together(true: np.ndarray) -> np.ndarray:
    """(P, 2) every second track with the one after it, where they show two people."""
    first = np.arange(0, len(true) - 1, 2)
    first = first[true[first] != true[first + 1]]
    return np.column_stack([first, first + 1])


def archive(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C, DIM) characters, (C,) who plays them and (C,) in which title; each plays once a title at most."""
    rng = np.random.default_rng(SEED)
    titles = -(-size // CHARACTERS)
    true = np.concatenate([rng.permutation(10 * CHARACTERS)[:CHARACTERS] for _ in range(titles)])[:size]
    title = np.char.add("t", (np.arange(size) // CHARACTERS).astype(str))
    return _rows(rng, true, np.full(size, 0.6)), true, title


def _rows(rng: np.random.Generator, true: np.ndarray, noise: np.ndarray) -> np.ndarray:
    turn = np.linalg.qr(rng.normal(size=(DIM, IN)))[0].T.astype(np.float32)
    looks = _unit(rng.normal(size=(true.max() + 1, IN)))
    rows = np.empty((len(true), DIM), np.float32)
    for start in range(0, len(true), 8192):
        part = slice(start, start + 8192)
        away = _unit(rng.normal(size=(len(true[part]), IN))) * noise[part, None]
        rows[part] = _unit(looks[true[part]] + away).astype(np.float32) @ turn
    return rows


def _unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
