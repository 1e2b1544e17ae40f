"""What `report` runs in executors: a title's characters to its contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conf.files import title_file, write_whole
from udfs.kernels.report.contact_sheet import Row, draw_sheet


def draw_title(
    key: tuple[str], tracks: pd.DataFrame, characters: pd.DataFrame, *, folder: str, columns: int, blur: bool
) -> pd.DataFrame:
    """A title's labelled tracks and its characters -> its contact sheet, and how many rows it has.

    A title without tracks comes as one row without a track_id.
    """
    name, tracks = str(tracks.display_name.iloc[0]), tracks[tracks.track_id.notna()]
    rows = [_character_row(row, tracks, columns) for row in characters.sort_values("character_id").itertuples()]
    unknown = tracks[tracks.character_id.isna()].sort_values("start_s")
    if len(unknown):
        faces = _spread(unknown, columns)
        rows.append(Row("unknown", [f"{len(unknown)} tracks without", "enough evidence"], faces))
    n_known = len(tracks) - len(unknown)
    subtitle = f"{len(characters)} characters in {n_known} tracks, {len(unknown)} tracks unknown"
    with write_whole(sheet_file(folder, key[0])) as file:
        file.write_bytes(draw_sheet(name, subtitle, rows, columns, blur))
    return pd.DataFrame([(key[0], len(rows))], columns=["title_id", "rows"])


def sheet_file(folder: str, title_id: str) -> Path:
    """Where a title's contact sheet lies. Raises: as `title_file`."""
    return title_file(folder, title_id, ".png")


def _character_row(character: Any, tracks: pd.DataFrame, columns: int) -> Row:
    mine = tracks[tracks.character_id == character.character_id].sort_values("start_s")
    exemplar = mine[mine.track_id == character.exemplar_track_id]
    others = _spread(mine.drop(exemplar.index), columns - 1)
    minutes, seconds = divmod(int(character.first_s), 60)
    said = [
        f"{character.screen_time_s:.1f} s on screen",
        f"{character.n_tracks} track{'s' if character.n_tracks != 1 else ''}",
        f"first seen {minutes}:{seconds:02d}",
    ]
    title = character.name or f"character {character.character_id}"
    return Row(title, said, [*exemplar.thumbnail, *others])


def _spread(tracks: pd.DataFrame, wanted: int) -> list[bytes | None]:
    """Thumbnails of `wanted` tracks spread evenly over the film."""
    chosen = np.unique(np.linspace(0, len(tracks) - 1, min(wanted, len(tracks))).round().astype(int))
    return list(tracks.thumbnail.iloc[chosen]) if len(tracks) else []
