"""Readers: how a training snapshot becomes batches.

Whatever the reader and the number of processes, global batch b of epoch e holds the same rows. An epoch goes through
the windows of a snapshot (see `training.snapshot`) in a seeded order; inside one, each lane's rows are permuted and
dealt out to the window's batches in equal shares. A process reads the lanes that are its own, and nothing else. So an
epoch is one exact pass over the rows, on every process the same number of steps, and no more than two windows are
needed in memory. What fits in memory is kept there after its first reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from conf.errors import LakeError, UsageError
from conf.settings import Library
from training.snapshot import COLUMNS, LANES, NOBODY, Needs, Part, Snapshot, find_row_group

DRAWS = 3
KEPT_GB = 4.0


@dataclass(frozen=True)
class Rows:
    """Some rows of a snapshot, in memory.

    Attributes:
        row: (N,) int64, positions in the part they come from.
        title: (N,) int64, places in the part's titles.
        views: (N, V, D) float32; of tracklets the anchor first.
        negative: (N, P, Q, D) float32: Q of each of P tracks; zeros where there is none.
        has_negative: (N,) bool.
        label: (N,) int64, identities; -1 where unknown.
        draw: (N, 3) int64, 0 or more: a row's random numbers of this epoch, for a method that picks among its views.
    """

    row: Tensor
    title: Tensor
    views: Tensor
    negative: Tensor
    has_negative: Tensor
    label: Tensor
    draw: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: Tensor | slice) -> Rows:
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def to(self, device: torch.device) -> Rows:
        """The same rows there."""
        return Rows(*(getattr(self, field.name).to(device) for field in fields(self)))

    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


class Reader:
    """The rows of one snapshot for one process of a group.

    Args:
        batch: rows of a global batch, over all processes, about: batches of an epoch differ by a few rows, so that none
            is left over; not above the training rows there are.
        needs: which rows to keep, in both parts: those with a negative, with a label, or all.
        library: what reads the files: `petastorm` or `arrow` (pyarrow alone); the batches are the same.
        kept_gb: what is kept in memory of the training rows; the rest is read again in every epoch.
    Raises:
        UsageError: more processes than lanes or rows. LakeError: see `read`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        batch: int,
        seed: int,
        needs: Needs = "all",
        rank: int = 0,
        size: int = 1,
        library: Library = "petastorm",
        kept_gb: float = KEPT_GB,
    ) -> None:
        if size > min(LANES, snapshot.rows_train):
            raise UsageError(f"train.processes={size}: this snapshot feeds {min(LANES, snapshot.rows_train)} at most")
        self.snapshot, self.seed, self.needs, self.rank, self.size = snapshot, seed, needs, rank, size
        self.library, self._room = library, kept_gb * 2**30
        self._windows = len(snapshot.files("train"))
        self._steps = max(1, round(snapshot.rows("train", needs) / batch / max(1, self._windows)))
        self._kept: dict[int, Rows] = {}
        self._dev = _usable(read(snapshot, "dev", library), needs)
        self._dev = replace(self._dev, draw=_draw_numbers(np.random.default_rng(seed), len(self._dev)))

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self._steps * max(1, self._windows)

    def epoch(self, epoch: int) -> Iterator[Rows]:
        """This process's part of each global batch of an epoch; as many batches on every process."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self._windows).tolist()
        for window, rows in zip(order, self._read_ahead(order), strict=True):
            chosen, draw = self._dealt(rows, [self.seed, epoch, window])
            rows = replace(rows, draw=draw)
            for step in chosen:
                yield rows[step]

    def _dealt(self, rows: Rows, seed: list[int]) -> tuple[list[Tensor], Tensor]:
        """Which of a window's rows make each step, and every row's draws; a lane's own, whoever reads it."""
        lanes, start = np.unique(find_row_group(rows.row.numpy(), self._windows), return_index=True)
        order, step, draws = [], [], [torch.zeros(0, DRAWS, dtype=torch.int64)]
        for lane, first, stop in zip(lanes.tolist(), start, [*start[1:], len(rows)], strict=True):
            random, n = np.random.default_rng([*seed, lane]), stop - first
            order.append(first + random.permutation(n))
            step.append((np.arange(n) * self._steps // n + lane) % self._steps)  # no two lanes round alike
            draws.append(_draw_numbers(random, n))
        if not order:
            return [torch.zeros(0, dtype=torch.int64)] * self._steps, draws[0]
        by_step = np.argsort(np.concatenate(step), kind="stable")
        counts = np.bincount(np.concatenate(step), minlength=self._steps)
        ordered = torch.from_numpy(np.concatenate(order)[by_step])
        return list(ordered.split(counts.tolist())), torch.cat(draws)

    def _read_ahead(self, windows: Sequence[int]) -> Iterator[Rows]:
        """This process's rows of each window; the next is read while one is in use."""
        if all(window in self._kept for window in windows):
            yield from (self._kept[window] for window in windows)
            return
        with ThreadPoolExecutor(1) as reading:
            following = None
            for place, window in enumerate(windows):
                rows = following.result() if following else self._window(window)
                following = reading.submit(self._window, windows[place + 1]) if place + 1 < len(windows) else None
                yield rows

    def _window(self, window: int) -> Rows:
        if window not in self._kept:
            found = _read(self.snapshot, "train", self.library, [window], self.rank, self.size)
            rows = _usable(found, self.needs)
            if rows.nbytes() > self._room:
                return rows
            self._room -= rows.nbytes()
            self._kept[window] = rows
        return self._kept[window]

    def tracks(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Every `size`-th title's training tracks, beginning with this process's own: (N, D) unit means, (N,) title."""
        means, titles = [np.zeros((0, self.snapshot.dim), np.float32)], [np.zeros(0, np.int64)]
        for window in range(self._windows):
            rows = self._window(window) if self.size == 1 else _read(self.snapshot, "train", self.library, [window])
            own = _usable(rows, self.needs)
            own = own[own.title % self.size == self.rank]
            means.append(normalize(own.views.mean(dim=1), dim=1).numpy())
            titles.append(own.title.numpy())
        return np.concatenate(means), np.concatenate(titles)

    def development(self) -> Rows:
        """All held-out rows, in the order of `row`, on every process."""
        return self._dev


def read(snapshot: Snapshot, part: Part, library: Library) -> Rows:
    """All rows of one part, in the order of `row`; a part without rows gives empty arrays.

    Raises:
        LakeError: lists of another length than the manifest says, rows missing or twice.
    """
    rows = _read(snapshot, part, library, range(len(snapshot.files(part))))
    rows = rows[rows.row.argsort(stable=True)]
    expected = snapshot.rows(part)
    if not np.array_equal(rows.row, np.arange(expected)):
        raise LakeError(
            f"{snapshot.folder / part}: the rows are not numbered 0 to {expected - 1}. Run castmine train again."
        )
    return rows


def _read(
    snapshot: Snapshot, part: Part, library: Library, windows: Sequence[int], rank: int = 0, size: int = 1
) -> Rows:
    """A process's row groups of some files of a part, in their order. Raises LakeError like `read`."""
    from training.readers import arrow, petastorm  # half a second to import

    v, p, q, d = snapshot.n_views, snapshot.n_partners, snapshot.n_negatives, snapshot.dim
    files = snapshot.files(part) if snapshot.rows(part) else []
    reader = {"petastorm": petastorm, "arrow": arrow}[library]
    groups = [group for window in windows[: len(files)] for group in reader.row_groups(files[window], rank, size)]
    row, title, views, negative, has_negative, label = (
        np.concatenate([group[column] for group in groups]) if groups else np.zeros(0) for column in COLUMNS
    )
    if not groups:
        views, negative = views.reshape(0, v * d), negative.reshape(0, p * q * d)
    if views.shape[1:] != (v * d,) or negative.shape[1:] != (p * q * d,):
        raise LakeError(
            f"{snapshot.folder / part}: expected {v} views, {p * q} negatives of {d} numbers. Run castmine train again."
        )
    titles = np.array(sorted(snapshot.titles_train if part == "train" else snapshot.titles_dev), dtype=object)
    return Rows(
        torch.from_numpy(row.astype(np.int64)),
        torch.from_numpy(np.searchsorted(titles, title).astype(np.int64)),
        torch.from_numpy(views.astype(np.float32, copy=False).reshape(-1, v, d)),
        torch.from_numpy(negative.astype(np.float32, copy=False).reshape(-1, p, q, d)),
        torch.from_numpy(has_negative.astype(bool)),
        torch.from_numpy(label.astype(np.int64)),
        torch.zeros(len(row), DRAWS, dtype=torch.int64),
    )


def _usable(rows: Rows, needs: Needs) -> Rows:
    if needs == "all":
        return rows
    return rows[rows.has_negative if needs == "negative" else rows.label != NOBODY]


def _draw_numbers(random: np.random.Generator, rows: int) -> Tensor:
    """(rows, DRAWS) random numbers."""
    return torch.from_numpy(random.integers(2**31, size=(rows, DRAWS)))
