"""Row groups of a snapshot through Petastorm, which deals them out to processes by their number in the file."""

from __future__ import annotations

import queue
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.snapshot import COLUMNS


def row_groups(path: Path, rank: int, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """COLUMNS of every `size`-th row group of a file, from `rank` on; lists of equal length as (rows, length) arrays.

    It is read in the thread that calls, in the order of the file; a file has `size` row groups at least.
    """
    from petastorm.arrow_reader_worker import ArrowReaderWorker  # half a second to import
    from petastorm.reader import Reader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Petastorm asks pyarrow in ways that pyarrow 14 still knows but deprecates
        # as make_batch_reader does, but that it takes a plain path and a pool
        reader = Reader(
            pa.localfs,  # the one that its way of opening files knows
            str(path),
            schema_fields=COLUMNS,
            worker_class=ArrowReaderWorker,
            reader_pool=_CallingThread(),
            shuffle_row_groups=False,
            num_epochs=1,
            cur_shard=rank,
            shard_count=size,
            is_batched_reader=True,
        )
        try:
            for group in reader:
                yield {name: np.asarray(getattr(group, name)) for name in COLUMNS}
        finally:
            reader.stop()  # a with-statement would print to the terminal at its end
            reader.join()


class _CallingThread:
    """A Petastorm pool that reads a row group when, and in the thread in which, it is asked for.

    Petastorm's ThreadPool may end before the last row groups: it looks whether all that was handed out is done before
    it looks whether all was handed out. Its DummyPool sleeps 0.1 s whenever it is ahead of the thread that hands out.
    """

    workers_count = 1

    def __init__(self) -> None:
        self._wanted: queue.Queue[dict[str, Any]] = queue.Queue()
        self._read: list[Any] = []

    def start(self, worker_class: Callable[..., Any], worker_args: Any = None, ventilator: Any = None) -> None:
        self._worker = worker_class(0, self._read.append, worker_args)
        self._ventilator = ventilator
        ventilator.start()

    def ventilate(self, **wanted: Any) -> None:
        self._wanted.put(wanted)

    def get_results(self) -> Any:
        from petastorm.workers_pool import EmptyResultError

        while not self._read:
            nothing_follows = self._ventilator.completed()  # asked first: what is put before it is set, is in the queue
            try:
                wanted = self._wanted.get(timeout=0.001)
            except queue.Empty:
                if nothing_follows:
                    raise EmptyResultError from None
                continue
            self._worker.process(**wanted)
            self._ventilator.processed_item()
        return self._read.pop(0)

    def stop(self) -> None:
        self._ventilator.stop()

    def join(self) -> None:
        """Nothing runs of its own."""
