"""Where work is staged, and in which form: the driver looks for the very files that the workers write.

A film's work lies in `<staging>/<film_key>/`, the tables of a title in `<staging>/<run_id>/<table>/`. What exists is
whole, and is not made again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conf.catalog import table
from conf.errors import LakeError
from conf.files import title_file, write_whole
from conf.places import for_arrow, is_in_store, locate, remove_folder
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
        return cls(locate(staging) / film_key)

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

    def pieces(self) -> dict[int, Path]:
        """By the first frame, in order."""
        return _by_start(self.folder, "piece")

    def crops(self, piece: int) -> Path:
        return self.folder / f"crops-{piece:08d}.parquet"

    def all_crops(self) -> dict[int, Path]:
        """By the piece, in order."""
        return _by_start(self.folder, "crops")

    @property
    def links(self) -> Path:
        return self.folder / "cannot_links.parquet"

    def drop(self) -> None:
        """Remove them, on a disk at once for whoever looks: half a folder would pass for a film with holes."""
        if is_in_store(self.folder):
            remove_folder(self.folder)
            return
        gone = self.folder.with_name(f".gone-{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(gone)
        remove_folder(gone)


def _by_start(folder: Path, what: str) -> dict[int, Path]:
    return {int(file.stem.removeprefix(f"{what}-")): file for file in sorted(folder.glob(f"{what}-*.parquet"))}


def count_staged(frames: Mapping[Path, int]) -> Callable[[], int]:
    """Counts the frames of the files that are there; looks once into each folder in which some are missing."""
    missing: dict[Path, dict[str, int]] = {}
    for file, n in frames.items():
        missing.setdefault(file.parent, {})[file.name] = n
    done = 0

    def count() -> int:
        nonlocal done
        for folder, files in list(missing.items()):
            for name in files.keys() & {file.name for file in folder.iterdir()}:
                done += files.pop(name)
            if not files:
                del missing[folder]
        return done

    return count


def write_table(file: Path, rows: pa.Table) -> None:
    """Write whole or not at all.

    Raises:
        LakeError: the place cannot be written to: that is no fault of a film.
    """
    with writing(file) as part:
        pq.write_table(rows, part, compression="zstd")


@contextlib.contextmanager
def writing(file: Path) -> Iterator[Path]:
    """As `write_whole`. Raises like `write_table`."""
    try:
        with write_whole(file) as part:
            yield part
    except OSError as error:
        raise LakeError(f"{file.parent}: cannot be written to: {error.strerror or error}") from error


def read_table(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A staged file.

    Raises:
        LakeError: it is gone, or damaged; a damaged one is removed, so that it is made again.
    """
    try:
        return pq.read_table(for_arrow(file), columns=None if columns is None else list(columns))
    except FileNotFoundError as error:
        raise LakeError(f"{file}: gone while castmine is at work; run the same command again") from error
    except (OSError, pa.ArrowInvalid) as error:
        file.unlink(missing_ok=True)
        raise LakeError(f"{file}: damaged, and removed now ({error}); run the same command again") from error


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
    found = read_table(files.index)
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
    found = read_table(file)
    last = np.frombuffer(found.schema.metadata[b"last"], np.uint8)
    opens, closes = (
        np.array(found[name].to_pylist(), np.uint8).reshape(len(found), len(last)) for name in ("opens", "closes")
    )
    return shots.Scan(found["frame"].to_numpy(), opens, closes, last)


def table_file(staging: str, run_id: str, name: str, title_id: str) -> Path:
    """Where a run stages its rows of table `name` of a title. Raises: as `title_file`."""
    return title_file(locate(staging) / run_id / name, title_id, ".parquet")


def stage_rows(file: Path, name: str, parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Stage rows of table `name`, part by part, and pass them on; a file that is there is replaced as a whole."""
    schema = table(name).arrow
    with writing(file) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        for rows in parts:
            whole = rows.reindex(columns=schema.names)
            whole = whole if len(rows) else whole.astype(object)  # no float columns where lists belong
            writer.write_table(pa.Table.from_pandas(whole, schema=schema, preserve_index=False))
            yield rows


def stage_tables(title_id: str, made: dict[str, pd.DataFrame], staging: str, run_id: str) -> pd.DataFrame:
    """Stage a title's rows of some tables -> STAGED_TABLES."""
    counts = []
    for name, rows in made.items():
        whole = iter([rows.assign(title_id=title_id, run_id=run_id)])
        n = sum(map(len, stage_rows(table_file(staging, run_id, name, title_id), name, whole)))
        counts.append((title_id, name, n))
    return pd.DataFrame(counts, columns=STAGED_TABLES.names)
