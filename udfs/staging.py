"""Where work is staged, and in which form: the driver looks for the very files that the workers write.

A film's work lies in `<staging>/<film_key>/`, the tables of a title in `<staging>/<run_id>/<table>/`. What exists is
whole, and is not made again.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.catalog import table
from conf.files import write_whole
from conf.table import unwritten
from udfs.kernels.harvest import shots, video
from udfs.kernels.harvest.container import Shape
from udfs.kernels.harvest.packets import FrameIndex

STAGED_TABLES = unwritten(title_id="STRING", table="STRING", rows="BIGINT")


@dataclass(frozen=True)
class FilmFiles:
    """The staged files of one film. A range of frames is named by the frame that it starts at."""

    folder: Path

    @classmethod
    def of(cls, staging: str, film_key: str) -> FilmFiles:
        return cls(Path(staging, film_key))

    @property
    def index(self) -> Path:
        return self.folder / "index.parquet"

    @property
    def shots(self) -> Path:
        return self.folder / "shots.parquet"

    def scan(self, start: int) -> Path:
        return self.folder / f"scan-{start:08d}.parquet"

    def piece(self, start: int) -> Path:
        return self.folder / f"piece-{start:08d}.parquet"

    def scans(self) -> dict[int, Path]:
        """By the first frame, in order."""
        return _by_start(self.folder, "scan")

    def pieces(self) -> dict[int, Path]:
        """By the first frame, in order."""
        return _by_start(self.folder, "piece")


def _by_start(folder: Path, what: str) -> dict[int, Path]:
    return {int(file.stem.removeprefix(f"{what}-")): file for file in sorted(folder.glob(f"{what}-*.parquet"))}


def write_table(file: Path, rows: pa.Table) -> None:
    """Write whole or not at all."""
    with write_whole(file) as part:
        pq.write_table(rows, part, compression="zstd")


def write_index(files: FilmFiles, film: video.Film) -> None:
    """Stage the index of a film's frames."""
    said = {
        "codec": film.codec,
        "shape": film.shape._asdict(),
        "end_s": film.duration_s,
        **{name: getattr(film, name) for name in ("warm_up", "start_s", "max_pixels", "missing", "warning")},
    }
    columns = {**film.index._asdict(), "time_s": film.times[:-1]}
    write_table(files.index, pa.table(columns).replace_schema_metadata({"film": json.dumps(said)}))


@functools.lru_cache(maxsize=4)
def read_index(files: FilmFiles) -> video.Film:
    """The index of a film's frames, as it was staged."""
    found = pq.read_table(files.index)
    said = json.loads(found.schema.metadata[b"film"])
    index = FrameIndex(*(found[name].to_numpy() for name in FrameIndex._fields))
    times = np.append(found["time_s"].to_numpy(), said.pop("end_s"))
    return video.Film(said.pop("codec"), Shape(**said.pop("shape")), times, index, **said)


def write_scan(file: Path, scan: shots.Scan) -> None:
    """Stage what the cut detector saw in a range."""
    columns = {"frame": scan.frame, "opens": list(scan.opens), "closes": list(scan.closes)}
    types = [("frame", pa.int32()), ("opens", pa.list_(pa.uint8())), ("closes", pa.list_(pa.uint8()))]
    found = pa.table(columns, schema=pa.schema(types)).replace_schema_metadata({"last": scan.last.tobytes()})
    write_table(file, found)


def read_scan(file: Path) -> shots.Scan:
    """What `write_scan` staged."""
    found = pq.read_table(file)
    last = np.frombuffer(found.schema.metadata[b"last"], np.uint8)
    opens, closes = (
        np.array(found[name].to_pylist(), np.uint8).reshape(len(found), len(last)) for name in ("opens", "closes")
    )
    return shots.Scan(found["frame"].to_numpy(), opens, closes, last)


def table_file(staging: str, run_id: str, name: str, title_id: str) -> Path:
    """Where a run stages its rows of table `name` of a title."""
    return Path(staging, run_id, name, f"{title_id}.parquet")


def stage_rows(file: Path, name: str, rows: pd.DataFrame) -> None:
    """Stage rows of table `name`; a file that is there is replaced as a whole."""
    schema = table(name).arrow
    whole = rows.reindex(columns=schema.names)
    whole = whole if len(rows) else whole.astype(object)  # no float columns where lists belong
    write_table(file, pa.Table.from_pandas(whole, schema=schema, preserve_index=False))


def stage_tables(title_id: str, made: dict[str, pd.DataFrame], staging: str, run_id: str) -> pd.DataFrame:
    """Stage a title's rows of some tables -> STAGED_TABLES."""
    for name, rows in made.items():
        whole = rows.assign(title_id=title_id, run_id=run_id)
        stage_rows(table_file(staging, run_id, name, title_id), name, whole)
    counts = [(title_id, name, len(rows)) for name, rows in made.items()]
    return pd.DataFrame(counts, columns=STAGED_TABLES.names)
