"""The registry of adapters: which there are, and which one a title's embeddings go through."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from conf.errors import ModelError, UsageError
from conf.places import read, settle
from jobs.lake.lake import Lake

if TYPE_CHECKING:  # torch takes a second to import; commands that only say which adapter there is do without
    from training.adapters import Adapter, Moved
    from training.finetune.adapter import TunedNetwork

Map = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (n, D) raw embeddings -> (n, D') adapted ones

TUNED = "videoclusternet"  # the method of networks of one title; others map any title's embeddings
NO_ADAPTER = "none"  # the adapter_id of raw embeddings
FOLDER = "_adapters"  # of the lake's files
REMEDY = "train it again (castmine train --force), or use --adapter none"


T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """An adapter as the registry has it.

    Attributes:
        folder: where adapters' files lie. uri: its file, as it is registered.
        sha256: of the file's bytes; other bytes are not loaded.
        scope: the title that it was trained on, `corpus` for several.
    """

    adapter_id: str
    base_embedder_sha256: str
    folder: Path
    uri: str | None
    sha256: str | None
    method: str
    scope: str
    created_at: datetime

    @property
    def is_tuned(self) -> bool:
        """Whether it is a network, whose embeddings of its title's faces lie in tables."""
        return self.method == TUNED

    def load(self) -> Adapter:
        """The adapter itself, a few MB, of one that maps embeddings.

        Raises:
            ModelError: no file of the folder, not the bytes that were registered, or no adapter.
        """
        from training.adapters import Adapter

        return self._read(Adapter.from_bytes)

    def load_network(self) -> TunedNetwork:
        """The same of a fine-tuned network."""
        from training.finetune.adapter import TunedNetwork

        return self._read(TunedNetwork.from_bytes)

    def moved(self) -> Moved | None:
        """How it changed the distances of held-out pairs, where that is known."""
        return self.load_network().card.moved if self.is_tuned else self.load().card.moved

    def _read(self, from_bytes: Callable[[bytes], T]) -> T:
        file = self.file()
        try:
            content = read(file)
        except OSError as error:
            raise ModelError(f"adapter {self.adapter_id}: {file} cannot be read: {error.strerror}; {REMEDY}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"adapter {self.adapter_id}: {file} is not the file that was registered (sha256 {found[:12]}, "
                f"registered {(self.sha256 or 'none')[:12]}); {REMEDY}"
            )
        try:
            return from_bytes(content)
        except ModelError as error:
            raise ModelError(f"adapter {self.adapter_id}: {file} is no adapter: {error}; {REMEDY}") from error

    def file(self) -> Path:
        """The file, links followed, which lies in the folder. Raises ModelError where its uri names none there."""
        given = PurePosixPath(self.uri or "")
        try:
            file, home = settle(self.folder.parent / given), settle(self.folder)
        except (OSError, RuntimeError, ValueError):  # a loop of links, NUL
            file = home = Path()
        if given.is_absolute() or ".." in given.parts or home not in file.parents:
            raise ModelError(f"adapter {self.adapter_id}: its uri {self.uri!a} is no file in {self.folder}; {REMEDY}")
        return file

    def map(self, unit: bool = True) -> Map | None:
        """What maps embeddings, with all that it needs: tasks that get it read no file of the lake.

        Args:
            unit: as in `training.adapters.apply`.
        Returns:
            None for a fine-tuned network, which sees crops.
        """
        if self.is_tuned:
            return None
        from training.adapters import apply

        return functools.partial(apply, self.load(), embedder_sha256=self.base_embedder_sha256, unit=unit)


def adapter_for(lake: Lake, wanted: str, embedder_sha256: str) -> Registered | None:
    """The adapter for embeddings of one embedder.

    Args:
        wanted: an adapter id (or the beginning of one), `newest` ready one that maps embeddings, or `none`.
    Returns:
        None for raw embeddings: where `none` is wanted, or no adapter of this embedder is ready.
    Raises:
        UsageError: no such adapter. ModelError: it is not usable, or was made for another embedder.
    """
    if wanted == NO_ADAPTER:
        return None
    adapters = lake.raw("adapters")
    if wanted == "newest":
        fits = (F.col("base_embedder_sha256") == embedder_sha256) & ~F.col("method").eqNullSafe(TUNED)
        ready = adapters.where((F.col("status") == "ready") & fits)
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


def adapters_for(lake: Lake, wanted: str, embedders: Mapping[str, str]) -> dict[str, Registered | None]:
    """title_id -> its adapter, as `adapter_for`; of a title that a network was fine-tuned on that one, where it is the
    newest.

    Args:
        embedders: title_id -> the embedder of its embeddings.
    Raises:
        UsageError, ModelError: as `adapter_for`, and where a fine-tuned network is wanted for another title than its
            own, or was fine-tuned anew since.
    """
    of_embedder = {sha: adapter_for(lake, wanted, sha) for sha in sorted(set(embedders.values()))}
    chosen = {title: of_embedder[sha] for title, sha in embedders.items()}
    if wanted == "newest":
        for title, tuned in _list_tuned(lake, sorted(embedders)).items():
            other = chosen[title]
            if tuned.base_embedder_sha256 == embedders[title] and (
                other is None or tuned.created_at >= other.created_at
            ):
                chosen[title] = tuned
    elif tuned_ones := {title: adapter for title, adapter in chosen.items() if adapter and adapter.is_tuned}:
        there = _list_tuned(lake, sorted(tuned_ones), ready=False)
        for title, adapter in tuned_ones.items():
            if adapter.scope != title:
                raise UsageError(
                    f"--adapter {wanted}: a network that was fine-tuned on {adapter.scope} is for that title alone: "
                    f"add --titles {adapter.scope}"
                )
            if title not in there or there[title].adapter_id != adapter.adapter_id:
                raise UsageError(
                    f"--adapter {wanted}: its embeddings of {title} are gone, as the title was harvested or fine-tuned "
                    "anew since: run castmine finetune again"
                )
    return chosen


def _list_tuned(lake: Lake, titles: Sequence[str], ready: bool = True) -> dict[str, Registered]:
    """title_id -> the network that was fine-tuned on it last, where its embeddings count, and it is ready."""
    mine = (F.col("method") == TUNED) & F.col("scope").isin(list(titles))
    rows = lake.raw("adapters").where(mine & (F.col("status") == "ready") if ready else mine).orderBy("created_at")
    known = {row["adapter_id"]: row for row in rows.collect()}
    if not known:
        return {}
    there = lake.rows("adapted_tracks", list(titles)).select("title_id", "adapter_id").distinct().collect()
    return {
        row["title_id"]: _open_registered(lake, known[row["adapter_id"]]) for row in there if row["adapter_id"] in known
    }


def add_adapted(
    lake: Lake, tracks: DataFrame, adapters: Mapping[str, Registered | None], more: Sequence[str] = ()
) -> DataFrame:
    """Tracks with the column `adapted` where a title has a fine-tuned network: the track's embedding by it.

    Args:
        tracks: title_id, track_id and others. adapters: by title.
        more: columns of adapted_tracks to be added, too.
    """
    tuned = {title: adapter.adapter_id for title, adapter in adapters.items() if adapter and adapter.is_tuned}
    if not tuned:
        return tracks
    rows = lake.rows("adapted_tracks", sorted(tuned)).where(F.col("adapter_id").isin(sorted(tuned.values())))
    columns = ("title_id", "track_id", F.col("embedding").alias("adapted"), *more)
    return tracks.join(rows.select(*columns), ["title_id", "track_id"], "left")


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


def maps_of(adapters: Mapping[str, Registered]) -> dict[str, Map]:
    """title_id -> what maps its embeddings, where its adapter does; each one is loaded once."""
    loaded = {adapter: adapter.map() for adapter in set(adapters.values())}
    return {title: found for title, adapter in adapters.items() if (found := loaded[adapter]) is not None}


def _open_registered(lake: Lake, row: Row) -> Registered:
    return Registered(
        row["adapter_id"],
        row["base_embedder_sha256"],
        lake.files / FOLDER,
        row["uri"],
        row["sha256"],
        row["method"],
        row["scope"],
        row["created_at"],
    )
