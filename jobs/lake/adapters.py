"""The registry of adapters: which there are, and which one a title's embeddings go through."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from conf.errors import ModelError, UsageError
from jobs.lake.lake import Lake

if TYPE_CHECKING:  # torch takes a second to import; commands that only say which adapter there is do without
    from training.adapters import Adapter

NO_ADAPTER = "none"  # the adapter_id of raw embeddings
FOLDER = "_adapters"  # of the lake's files
REMEDY = "train it again (castmine train --force), or use --adapter none"


@dataclass(frozen=True)
class Registered:
    """An adapter as the registry has it.

    Attributes:
        folder: where adapters' files lie. uri: its file, as it is registered.
        sha256: of the file's bytes; other bytes are not loaded.
    """

    adapter_id: str
    base_embedder_sha256: str
    folder: Path
    uri: str | None
    sha256: str | None

    def load(self) -> Adapter:
        """The adapter itself, a few MB.

        Raises:
            ModelError: no file of the folder, not the bytes that were registered, or no adapter.
        """
        from training.adapters import Adapter

        file = self.file()
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ModelError(f"adapter {self.adapter_id}: {file} cannot be read: {error.strerror}; {REMEDY}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"adapter {self.adapter_id}: {file} is not the file that was registered (sha256 {found[:12]}, "
                f"registered {(self.sha256 or 'none')[:12]}); {REMEDY}"
            )
        try:
            return Adapter.from_bytes(content)
        except ModelError as error:
            raise ModelError(f"adapter {self.adapter_id}: {file} is no adapter: {error}; {REMEDY}") from error

    def file(self) -> Path:
        """The file, links followed, which lies in the folder. Raises ModelError where its uri names none there."""
        given = PurePosixPath(self.uri or "")
        try:
            file, home = (self.folder.parent / given).resolve(), self.folder.resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, NUL
            file = home = Path()
        if given.is_absolute() or ".." in given.parts or home not in file.parents:
            raise ModelError(f"adapter {self.adapter_id}: its uri {self.uri!a} is no file in {self.folder}; {REMEDY}")
        return file

    def map(self, unit: bool = True) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What maps embeddings, with all that it needs: tasks that get it read no file of the lake.

        Args:
            unit: as in `training.adapters.apply`.
        """
        from training.adapters import apply

        return functools.partial(apply, self.load(), embedder_sha256=self.base_embedder_sha256, unit=unit)


def adapter_for(lake: Lake, wanted: str, embedder_sha256: str) -> Registered | None:
    """The adapter for embeddings of one embedder.

    Args:
        wanted: an adapter id (or the beginning of one), `newest` ready one, or `none`.
    Returns:
        None for raw embeddings: where `none` is wanted, or no adapter of this embedder is ready.
    Raises:
        UsageError: no such adapter. ModelError: it is not usable, or was made for another embedder.
    """
    if wanted == NO_ADAPTER:
        return None
    adapters = lake.raw("adapters")
    if wanted == "newest":
        ready = adapters.where((F.col("status") == "ready") & (F.col("base_embedder_sha256") == embedder_sha256))
        row = ready.orderBy(F.col("created_at").desc(), "adapter_id").first()
        return None if row is None else _open_registered(lake, row)
    in_order = adapters.where(F.col("adapter_id").startswith(wanted)).orderBy("created_at").collect()
    rows = {row["adapter_id"]: row for row in in_order}  # two jobs may have registered one at a time: the newest row
    if len(rows) != 1 and wanted not in rows:
        known = ", ".join(sorted({row["adapter_id"] for row in adapters.select("adapter_id").collect()})) or "none"
        raise UsageError(f"--adapter {wanted}: {len(rows)} adapters of that id; there are: {known}")
    row = rows.get(wanted) or next(iter(rows.values()))
    if row["base_embedder_sha256"] != embedder_sha256:
        raise ModelError(
            f"adapter {wanted} was made for embedder {str(row['base_embedder_sha256'])[:12]}, these titles have "
            f"{embedder_sha256[:12]}: train one on them, or use --adapter none"
        )
    if row["status"] == "skipped":
        raise ModelError(f"adapter {wanted} was not trained: {row['reason']}")
    return _open_registered(lake, row)


def id_of(adapter: Registered | None) -> str:
    """How options, tables and runs name it: `none` for raw embeddings."""
    return adapter.adapter_id if adapter else NO_ADAPTER


def read_labels(lake: Lake, titles: Sequence[str]) -> DataFrame:
    """The rows of track_labels that count; an older castmine left adapter_id null for raw embeddings."""
    return lake.rows("track_labels", titles).withColumn("adapter_id", F.coalesce("adapter_id", F.lit(NO_ADAPTER)))


def adapters_of(lake: Lake, adapter_ids: Mapping[str, str]) -> dict[str, Registered]:
    """title_id -> the adapter with which it was clustered, of those titles that have one.

    Args:
        adapter_ids: title_id -> adapter id.
    Raises: like `adapter_for`.
    """
    used = {title: adapter for title, adapter in adapter_ids.items() if adapter != NO_ADAPTER}
    rows = lake.rows("titles", sorted(used)).select("title_id", "embedder_sha256").collect() if used else []
    made_for = {row["title_id"]: (used[row["title_id"]], row["embedder_sha256"]) for row in rows}
    found = {key: adapter_for(lake, *key) for key in sorted(set(made_for.values()))}
    return {title: adapter for title, key in made_for.items() if (adapter := found[key]) is not None}


def maps_of(adapters: Mapping[str, Registered]) -> dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """title_id -> what maps its embeddings; each adapter is loaded once."""
    loaded = {adapter: adapter.map() for adapter in set(adapters.values())}
    return {title: loaded[adapter] for title, adapter in adapters.items()}


def _open_registered(lake: Lake, row: Row) -> Registered:
    return Registered(row["adapter_id"], row["base_embedder_sha256"], lake.files / FOLDER, row["uri"], row["sha256"])
