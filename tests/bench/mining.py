"""Mining of a synthetic corpus (see corpus.py) by castmine, and by the plain script that a user would write.

For each share of the full corpus: wall seconds, peak memory of the largest Python worker and of the JVM, bytes
shuffled, rows of each table, and how time grows with size. Beside it, where asked for, the plain script: one process,
NumPy and a scikit-learn KD-tree for every track, Parquet in and Parquet out. The kernels alone are measured beside the
same work of that script, on films in memory, in turn.

  python -m tests.bench.mining 0.01 0.03 0.1            shares of the full corpus; --plain runs the script as well
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession

from jobs import mine
from jobs.lake import session
from tests.bench import corpus
from udfs.kernels.mine.title import mine_title_tables

TABLES = ("cannot_links", "tracklets", "hard_negatives")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shares", nargs="+", type=float)
    parser.add_argument("--plain", action="store_true", help="run the plain script on the same corpus, too")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the corpus is made; 2.3 kB a face")
    args = parser.parse_args()
    if args.plain:
        print(_alone("--kernels") + "\n")
    print("| share | tracks | faces | castmine s | worker MiB | JVM MiB | shuffled MiB | plain s | ratio |")
    print("|---" * 9 + "|")
    measured = []
    for share in args.shares:
        folder = Path(tempfile.mkdtemp(dir=args.folder, prefix="castmine-bench-"))
        try:
            found = json.loads(_alone("--one", str(share), str(folder)))
            if args.plain:
                found["plain_s"] = json.loads(_alone("--script", str(folder)))["seconds"]
        finally:
            shutil.rmtree(folder)
        measured.append(found)
        plain = found.get("plain_s")
        ratio = f"{plain:.0f} | {plain / found['seconds']:.2f}" if plain else "- | -"
        memory = f"{found['worker_mib']:.0f} | {found['jvm_mib']:.0f} | {found['shuffled'] / 2**20:.1f}"
        size = f"{share} | {found['tracks']:,} | {found['faces']:,}"
        print(f"| {size} | {found['seconds']:.0f} | {memory} | {ratio} |", flush=True)
    if len(measured) > 1:
        faces, seconds = (np.log([found[name] for found in measured]) for name in ("faces", "seconds"))
        print(f"\ntime grows with faces to the power {np.polyfit(faces, seconds, 1)[0]:.2f}")
    print(json.dumps([found["rows"] for found in measured]))


def _alone(*words: str) -> str:
    """The last line that this file prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.mining", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def one(share: float, folder: Path) -> None:
    """Build a corpus and mine it; print what was measured as JSON."""
    spark = session.start("bench", [], None, {})
    lake = corpus.build(spark, folder, share)
    faces, tracks = lake.rows("faces").count(), lake.rows("tracks").count()
    watch = _Watch()
    began = time.perf_counter()
    assert mine.main(["--lake", str(folder), "--quiet"], spark=spark) == 0
    seconds = time.perf_counter() - began
    worker, jvm = watch.stop()
    rows = {name: lake.rows(name).count() for name in TABLES}
    measured = {"seconds": seconds, "worker_mib": worker, "jvm_mib": jvm, "shuffled": _shuffled(spark)}
    print(json.dumps({"share": share, "faces": faces, "tracks": tracks, "rows": rows, **measured}))


class _Watch(threading.Thread):
    """The largest memory that a Python worker and the JVM held, MiB, looked at every half second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker = self.jvm = 0.0
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(0.5):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    said, command = status.read_text(), status.with_name("cmdline").read_bytes()
                except OSError:
                    continue
                size = next((int(line.split()[1]) / 1024 for line in said.splitlines() if "VmRSS" in line), 0.0)
                if b"pyspark.daemon" in command:
                    self.worker = max(self.worker, size)
                elif b"org.apache.spark" in command:
                    self.jvm = max(self.jvm, size)

    def stop(self) -> tuple[float, float]:
        self.stopped.set()
        self.join()
        return self.worker, self.jvm


def _shuffled(spark: SparkSession) -> int:
    """Bytes that all stages of this session wrote for a shuffle."""
    java = spark.sparkContext._gateway
    nothing = java.jvm.java.util.ArrayList()
    store = spark.sparkContext._jsc.sc().statusStore()
    stages = store.stageList(nothing, False, False, java.new_array(java.jvm.double, 0), nothing)
    return sum(stages.apply(i).shuffleWriteBytes() for i in range(stages.size()))


def kernels(films: int = 6) -> None:
    """castmine's kernels and the plain script's work, one thread each, in turn on the same films in memory."""
    ours, theirs, n_faces = [], [], 0
    rules = {"n_tracklets": 3, "duplicate_iou": 0.5, "must_link_cosine": 0.6, "must_link_iou": 0.2}
    for film in range(films):
        faces, embedding = corpus.faces_of(film, corpus.tracks_a_film(7)[film], 7)
        track, frame = faces.track_id.to_numpy(), faces.frame.to_numpy()
        began = time.perf_counter()
        made = mine_title_tables(faces, embedding, seconds_per_detection=1 / corpus.FPS, **rules)
        between = time.perf_counter()
        links, tracklets, _ = _plain(track, frame, embedding)
        ended = time.perf_counter()
        assert len(made["cannot_links"]) == len(links)
        assert len(made["tracklets"]) == 3 * len(tracklets)
        ours.append(between - began)
        theirs.append(ended - between)
        n_faces += len(faces)
    ratios = np.array(theirs) / np.array(ours)
    print(
        f"kernels alone, {films} films, {n_faces:,} faces: {sum(ours):.1f} s, the plain script's {sum(theirs):.1f} s; "
        f"{np.median(ratios):.1f} times as fast ({ratios.min():.1f} to {ratios.max():.1f} by film)"
    )


def script(folder: Path) -> None:
    """The plain script: every title in turn, all its faces in memory."""
    import pandas as pd
    import pyarrow.parquet as pq

    began = time.perf_counter()
    for path in sorted((folder / "faces").glob("title_id=*/*.parquet")):
        read = pq.read_table(path, columns=["track_id", "frame", "embedding"])
        track, frame = read["track_id"].to_numpy(), read["frame"].to_numpy()
        embedding = read["embedding"].combine_chunks().flatten().to_numpy().reshape(len(track), -1)
        links, tracklets, negatives = _plain(track, frame, embedding)
        out = folder / "plain" / path.parent.name
        out.mkdir(parents=True)
        pd.DataFrame(links, columns=["a", "b", "shared"]).to_parquet(out / "links.parquet")
        ids, vectors = np.repeat(sorted(tracklets), 3), [v for t in sorted(tracklets) for v in tracklets[t]]
        views = pd.DataFrame({"track_id": ids, "embedding": vectors})
        views.to_parquet(out / "tracklets.parquet")
        pd.DataFrame(negatives, columns=["track_id", "negative", "distance"]).to_parquet(out / "negatives.parquet")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "mib": peak}))


Links, Negatives = list[tuple[int, int, int]], list[tuple[int, int, float]]


def _plain(
    track: np.ndarray, frame: np.ndarray, embedding: np.ndarray
) -> tuple[Links, dict[int, np.ndarray], Negatives]:
    """One title, as a user would write it."""
    from sklearn.neighbors import KDTree

    frames = {int(t): set(frame[track == t].tolist()) for t in np.unique(track)}
    ids = sorted(frames)
    links = [(a, b, len(shared)) for i, a in enumerate(ids) for b in ids[i + 1 :] if (shared := frames[a] & frames[b])]
    tracklets = {t: _segment(embedding[track == t], 3, KDTree) for t in ids}
    partners: dict[int, list[int]] = {}
    for a, b, _ in links:
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    negatives = []
    for t, others in sorted(partners.items()):
        tree = KDTree(np.concatenate([tracklets[o] for o in others]))
        distance, place = tree.query(tracklets[t][:1], 1)
        negatives.append((t, others[place[0, 0] // 3], float(distance[0, 0])))
    return links, tracklets, negatives


def _segment(rows: np.ndarray, m: int, tree: type) -> np.ndarray:
    """Algorithm 1 as printed, with a KD-tree of what is left in every round."""
    k, left, made = len(rows) // m, np.arange(len(rows)), []
    apart = ((rows[:, None] - rows[None]) ** 2).sum(axis=2) if len(rows) <= 64 else 2 - 2 * rows @ rows.T
    anchor = int(np.unravel_index(apart.argmax(), apart.shape)[0])
    for rank in range(m):
        query = anchor if rank == 0 else int(left[((rows[left] - rows[anchor]) ** 2).sum(axis=1).argmax()])
        near = tree(rows[left]).query(rows[query][None], k)[1][0]
        mean = rows[left[near]].mean(axis=0)
        made.append(mean / np.linalg.norm(mean))
        left = np.delete(left, near)
    return np.stack(made)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1] == "--one":
        one(float(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1] == "--script":
        script(Path(sys.argv[2]))
    elif sys.argv[1] == "--kernels":
        kernels()
    else:
        main()
