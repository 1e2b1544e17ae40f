"""Truth files: who is who, as somebody labelled it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from conf.errors import UsageError
from jobs.films import MANIFESTS


def read_truth(file: Path, titles: Sequence[str] | None, option: str = "--truth") -> pd.DataFrame:
    """A truth file as title_id, label and track_id or frame, x, y, w, h.

    Args:
        titles: those that are wanted; all of the file where None.
        option: of the command line, for messages.
    Raises:
        UsageError: what the file lacks.
    """
    if file.suffix.lower() not in MANIFESTS:
        raise UsageError(f"{option} {file}: a truth file ends in .csv or .parquet")
    try:
        truth = MANIFESTS[file.suffix.lower()](file)
    except Exception as error:  # a reader's errors are of many kinds, and all mean the same here
        raise UsageError(f"{option} {file}: cannot be read: {error}") from error
    if "title_id" not in truth:
        if titles is None or len(titles) != 1:
            raise UsageError(f"{option} {file}: has no title_id column; name its one title with --titles ID")
        truth = truth.assign(title_id=titles[0])
    needed = ["title_id", "label", "track_id"] if "track_id" in truth else ["title_id", "label", "frame", *"xywh"]
    if missing := [name for name in needed if name not in truth]:
        raise UsageError(f"{option} {file}: needs label and track_id, or label, frame, x, y, w, h; missing: {missing}")
    if bad := [name for name in needed if truth[name].isna().any()]:
        raise UsageError(f"{option} {file}: empty values in {', '.join(bad)}")
    return truth[needed] if titles is None else truth.loc[truth.title_id.isin(titles), needed]
