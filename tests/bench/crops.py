"""Folders for `tests.bench.finetuning`: titles whose faces lie there as crops, too.

films: films with truth by boxes (csv: frame, x, y, w, h, label; or json as `tests.bench.films` has it), harvested,
mined and cut by castmine. Without films: the demo film and a harder one (`tests.bench.hard_film`), both made of
photographs.

composite: titles as `make_composite.py` draws them (see the data's README), the tracks of every n-th shot of each.

  python -m tests.bench.crops OUT films [FILM.mp4 TRUTH.csv ...]
  python -m tests.bench.crops OUT composite BENCH MODEL.onnx [--tracks 150] [--seed 7] [--titles bbt_s01e03 ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.settings import EvaluateSettings
from jobs import finetune, harvest, mine
from jobs.cli import command, options
from jobs.demo_film import film
from jobs.inputs.truth import read_truth
from jobs.lake import run_log
from jobs.lake.session import borrowed_or_started
from tests.bench import hard_film
from tests.bench.films import NOT_A_FACE
from udfs.evaluate import label_tracks
from udfs.finetune import CROP_SCHEMA, encode_crop
from udfs.kernels.boxes import BOX
from udfs.staging import FilmFiles


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("kind", choices=["films", "composite"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--tracks", type=int, default=150, help="of a title, about")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--titles", nargs="+")
    args = parser.parse_args(argv)
    if args.kind == "films":
        pairs = list(zip(args.files[::2], args.files[1::2], strict=True))
        from_films(args.out, pairs or [film.build(), hard_film.build()])
    else:
        from_composite(args.out, *args.files, args.tracks, args.seed, args.titles)


def write_title(out: Path, name: str, tracks: pd.DataFrame, faces: pd.DataFrame, truth: pd.DataFrame) -> None:
    for part, rows in (("tracks", tracks), ("faces", faces), ("truth", truth)):
        (out / part).mkdir(parents=True, exist_ok=True)
        rows.to_parquet(out / part / f"{name}.parquet", index=False)
    print(f"{name}: {len(tracks)} tracks, {truth.label.nunique()} people, {faces.embedding.notna().sum()} faces")


def from_films(out: Path, films: Sequence[tuple[Path, Path]]) -> None:
    """Harvest, mine and cut films in a lake that is left in `out`."""
    lake, names = str(out / "lake"), [path.stem for path, _ in films]
    with borrowed_or_started(None, "bench") as spark:
        assert harvest.main([*(str(path) for path, _ in films), "--lake", lake], spark=spark) == 0
        assert mine.main(["--lake", lake], spark=spark) == 0
        args = options.parser("", "finetune").parse_args(["--lake", lake, "--titles", *names])
        with command.open_job(args, "finetune", spark) as job:
            tasks = [run_log.Task(title, made) for title, made in run_log.list_sources(job.lake, names).items()]
            run = job.begin("finetune", "bench")
            work = finetune.FineTuning(job, run, job.settings.finetune, tasks)
            work._stage_crops()
            work._stage_links()
            assert not work.failed, work.failed
            for name, (_, truth_file) in zip(names, films, strict=True):
                shutil.copytree(FilmFiles.of(work.staging, work.keys[name]).folder, out / "crops" / name)
                faces = job.lake.rows("faces", [name]).toPandas()
                truth = read_boxes(truth_file, name)
                shows = label_tracks((name,), faces, truth, match_iou=EvaluateSettings().match_iou)
                shows = shows.rename(columns={"person": "label"})[["title_id", "track_id", "label"]]
                tracks = job.lake.rows("tracks", [name]).toPandas().dropna(subset="embedding")
                shows = shows[shows.track_id.isin(tracks.track_id)]
                tracks = tracks[tracks.track_id.isin(shows.track_id)].sort_values("track_id")
                _drop_unlabelled(out / "crops" / name, shows.track_id.to_numpy())
                faces = faces[faces.track_id.isin(shows.track_id)]
                kept = ["track_id", "frame", *BOX, "embedding"]
                write_title(out, name, tracks[["track_id", "shot_id", "embedding"]], faces[kept], shows)
                FilmFiles.of(work.staging, work.keys[name]).drop()


def read_boxes(file: Path, name: str) -> pd.DataFrame:
    """The truth of a film, without what is no face."""
    with tempfile.TemporaryDirectory() as scratch:
        if file.suffix == ".json":
            rows = [
                (frame, left, top, right - left, bottom - top, track["label"])
                for track in json.loads(file.read_text())
                if track["label"] != NOT_A_FACE
                for frame, (left, top, right, bottom) in zip(track["frames"], track["boxes"], strict=True)
            ]
            file = Path(scratch) / f"{name}.csv"
            pd.DataFrame(rows, columns=["frame", *BOX, "label"]).to_csv(file, index=False)
        return read_truth(file, [name], "TRUTH")


def _drop_unlabelled(folder: Path, tracks: np.ndarray) -> None:
    """Crops and links of tracks of which the truth says nothing."""
    for file in [*folder.glob("crops-*.parquet"), folder / "cannot_links.parquet"]:
        rows = pq.read_table(file)
        names = [name for name in ("track_id", "track_a", "track_b") if name in rows.column_names]
        there = np.all([np.isin(rows[name].to_numpy(), tracks) for name in names], axis=0)
        pq.write_table(rows.filter(pa.array(there)), file)


def from_composite(out: Path, bench: Path, model: Path, tracks: int, seed: int, titles: Sequence[str] | None) -> None:
    """Draw about so many tracks of composite titles, in every n-th shot of each, with the data's own program."""
    make = _load_module(bench / "make_composite.py")
    people = make.load_people(bench, embed := make.Embedder(model))
    for path in sorted((bench / "tracks").glob("*.parquet")):
        if titles and path.stem not in titles:
            continue
        rows = pd.read_parquet(path)
        shots = rows.groupby("track").agg(time=("time", "min"), shot=("shot", "first")).sort_values("time").shot
        some = shots.index[shots.isin(shots.unique()[:: max(1, round(len(shots) / tracks))])]
        with tempfile.TemporaryDirectory() as scratch:
            part = Path(scratch) / path.name
            rows[rows.track.isin(some)].to_parquet(part)
            name, boxes, where, vectors, truth, crops = make.make_title(part, people, embed, seed, make.SEVERITY, 6)
            make.write_title(Path(scratch), name, boxes, where, vectors, truth)
            read = {of: pd.read_parquet(Path(scratch) / of / f"{name}.parquet") for of in ("tracks", "faces", "truth")}
        known = truth[truth.label != "unknown"].track_id
        write_title(out, name, *(read[of][read[of].track_id.isin(known)] for of in ("tracks", "faces", "truth")))
        _stage(out / "crops" / name, boxes, where, vectors, crops, known.to_numpy())


def _load_module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stage(
    folder: Path, boxes: pd.DataFrame, where: np.ndarray, vectors: np.ndarray, crops: list, known: np.ndarray
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    faces = boxes.loc[where, ["track", "frame", "time"]].reset_index(drop=True)
    rows = pd.DataFrame(
        {
            "track_id": faces.track.astype("int64"),
            "frame": faces.frame.astype("int64"),
            "time_s": faces.time.astype(float),
            "good": True,
            "jpeg": [encode_crop(np.ascontiguousarray(crop[:, :, ::-1])) for crop in crops],
            "embedding": list(vectors.astype(np.float32)),
        }
    )
    rows = rows[rows.track_id.isin(known)]
    pq.write_table(
        pa.Table.from_pandas(rows, schema=CROP_SCHEMA, preserve_index=False), folder / "crops-00000000.parquet"
    )
    together = boxes[boxes.track.isin(known)].groupby("frame").track.unique()
    pairs = {(a, b) for seen in together for a in seen for b in seen if a < b}
    links = pd.DataFrame(sorted(pairs), columns=["track_a", "track_b"], dtype="int64")
    pq.write_table(pa.Table.from_pandas(links, preserve_index=False), folder / "cannot_links.parquet")


if __name__ == "__main__":
    main()
