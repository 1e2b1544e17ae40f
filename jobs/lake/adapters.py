"""The registry of adapters: which there are, and which one a title's embeddings go through."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.errors import ModelError, UsageError
from jobs.lake.lake import Lake

if TYPE_CHECKING:  # torch takes a second to import; commands that only say which adapter there is do without
    from training.adapters import Adapter

NO_ADAPTER = "none"  # the adapter_id of raw embeddings


@dataclass(frozen=True)
class Registered:
    """A usable adapter: its file has the registered sum."""

    adapter_id: str
    base_embedder_sha256: str
    file: Path

    def load(self) -> Adapter:
        """The adapter itself, a few MB."""
        from training.adapters import Adapter

        return Adapter.load(self.file)

    def map(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What maps embeddings, with all that it needs: tasks that get it read no file of the lake."""
        from training.adapters import apply

        return functools.partial(apply, self.load(), embedder_sha256=self.base_embedder_sha256)


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
    rows = adapters.where(F.col("adapter_id").startswith(wanted)).collect()
    if len(rows) != 1:
        known = ", ".join(sorted(row["adapter_id"] for row in adapters.select("adapter_id").collect())) or "none"
        raise UsageError(f"--adapter {wanted}: {len(rows)} adapters of that id; there are: {known}")
    if rows[0]["base_embedder_sha256"] != embedder_sha256:
        raise ModelError(
            f"adapter {wanted} was made for embedder {rows[0]['base_embedder_sha256'][:12]}, these titles have "
            f"{embedder_sha256[:12]}: train one on them, or use --adapter none"
        )
    if rows[0]["status"] == "skipped":
        raise ModelError(f"adapter {wanted} was not trained: {rows[0]['reason']}")
    return _open_registered(lake, rows[0])


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


def _open_registered(lake: Lake, row: object) -> Registered:
    file = lake.files / row["uri"]  # type: ignore[index]
    return Registered(row["adapter_id"], row["base_embedder_sha256"], file)  # type: ignore[index]
