"""The table `edits`: what was said about a title's people, written, found again in today's tracks, and put to use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from conf.catalog import table
from conf.errors import LakeError
from conf.ids import stable_id
from jobs.cli import command
from jobs.cli.progress import Progress
from jobs.lake.lake import Lake
from udfs.kernels.boxes import BOX
from udfs.kernels.name import edits as kernel

ANCHORS = 5  # of an edit: tracks that must be lost or go elsewhere before it is
EDIT = ["edit_id", "title_id", "name", "confidence", "source", "replaces", "made_at"]
ANCHOR = ["title_id", "edit_id", "frame", *BOX]
CHARACTER = ["title_id", "character_id"]


def read_names(lake: Lake, titles: Sequence[str], labels: DataFrame) -> dict[str, kernel.Names]:
    """What the name edits of each title come to; titles without one are left out.

    Args:
        labels: title_id, track_id and character_id of the tracks, as they are or are about to be.
    """
    said, anchors = _list_recorded(lake, titles)
    if not len(said):
        return {}
    faces = _faces_at(lake, anchors, labels)
    of_title = {title: rows for title, rows in faces.groupby("title_id")}
    return {
        str(title): kernel.resolve_names(rows, anchors[anchors.title_id == title], of_title.get(title, faces.iloc[:0]))
        for title, rows in said.groupby("title_id")
    }


def _list_recorded(lake: Lake, titles: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The name edits of some titles, with the columns EDIT, and their anchors, with the columns ANCHOR."""
    rows = lake.raw("edits").where((F.col("kind") == "name") & F.col("title_id").isin(list(titles))).collect()
    said, anchors = [], []
    for row in rows:
        payload = json.loads(row["payload"])
        said.append([row["edit_id"], row["title_id"], *map(payload.get, EDIT[2:6]), row["made_at"]])
        for anchor in json.loads(row["anchors"]):
            anchors.append([row["title_id"], row["edit_id"], anchor["frame"], *anchor["box"]])
    whole = pd.DataFrame(said, columns=EDIT).astype({"confidence": "float64"})
    return whole, pd.DataFrame(anchors, columns=ANCHOR)


def _faces_at(lake: Lake, anchors: pd.DataFrame, labels: DataFrame) -> pd.DataFrame:
    """The faces in the anchors' frames, each with the character of its track."""
    frames = anchors[["title_id", "frame"]].drop_duplicates()
    wanted = lake.spark.createDataFrame(frames.values.tolist(), "title_id STRING, frame INT")
    faces = lake.rows("faces", sorted(set(frames.title_id))).select("title_id", "track_id", "frame", *BOX)
    faces = faces.join(F.broadcast(wanted), ["title_id", "frame"], "left_semi")
    labels = labels.select("title_id", "track_id", "character_id")
    return faces.join(labels, ["title_id", "track_id"], "left").toPandas()


def anchors(lake: Lake, characters: pd.DataFrame) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The anchors of edits about some characters (title_id, character_id): the best face of each of ANCHORS tracks.

    Tracks that are sure (`core`) come first, of them the long ones; of a track the detected face of the best quality.
    """
    if not len(characters):
        return {}
    titles = sorted(set(characters.title_id))
    rows = characters[CHARACTER].drop_duplicates().values.tolist()
    wanted = lake.spark.createDataFrame(rows, "title_id STRING, character_id INT")
    labels = lake.rows("track_labels", titles).select(*CHARACTER, "track_id", "status")
    tracks = lake.rows("tracks", titles).select("title_id", "track_id", "n_faces")
    tracks = tracks.join(labels.join(F.broadcast(wanted), CHARACTER, "left_semi"), ["title_id", "track_id"])
    surest = (F.col("status") == "core").desc(), F.col("n_faces").desc(), "track_id"
    rank = F.row_number().over(Window.partitionBy(*CHARACTER).orderBy(*surest))
    tracks = tracks.withColumn("rank", rank).where(F.col("rank") <= ANCHORS)
    faces = lake.rows("faces", titles).where("detected")
    faces = faces.join(F.broadcast(tracks.select(*CHARACTER, "track_id", "rank")), ["title_id", "track_id"])
    best = F.col("quality").desc_nulls_last(), F.col("score").desc_nulls_last(), "frame"
    place = F.row_number().over(Window.partitionBy("title_id", "track_id").orderBy(*best))
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for face in faces.withColumn("place", place).where("place = 1").orderBy(*CHARACTER, "rank").collect():
        box = [round(float(face[side]), 1) for side in BOX]
        found.setdefault((face["title_id"], face["character_id"]), []).append({"frame": face["frame"], "box": box})
    return found


def record(job: command.Job, names: pd.DataFrame, now: dict[str, kernel.Names], source: str) -> int:
    """Append a name edit for each row of `read_names` that says something new; how many those are.

    Args:
        names: title_id, character_id, name (empty: none), confidence (NaN where not known).
        now: what is said already, see `read_names`. A name that stands is not said again, unless by a person whose word
            then counts from now on.
    """
    standing = {
        (title, row.character_id): row for title, said in now.items() for row in said.standing.itertuples(index=False)
    }
    is_new = [_is_new(row, standing.get((row.title_id, row.character_id)), source) for row in _rows(names)]
    new = names[np.array(is_new, bool)]
    seen = anchors(job.lake, new)
    if unseen := [key for key in new[CHARACTER].itertuples(index=False, name=None) if key not in seen]:
        raise LakeError(
            f"{unseen[0][0]}: character {unseen[0][1]} has no face in the lake to know it by; harvest again"
        )
    made_at, rows = job.clock(), list[dict[str, Any]]()
    for row in _rows(new):
        before = standing.get((row.title_id, row.character_id))
        payload = {"name": row.name, "source": source}
        payload |= {} if pd.isna(row.confidence) else {"confidence": round(float(row.confidence), 3)}
        payload |= {} if before is None else {"replaces": before.edit_id}
        told = {
            "title_id": row.title_id,
            "kind": "name",
            "anchors": json.dumps(seen[row.title_id, row.character_id]),
            "payload": json.dumps(payload, ensure_ascii=False, sort_keys=True),
            "author": source,
        }
        rows.append({"edit_id": stable_id(*told.values()), **told, "made_at": made_at})
    job.lake.append(table("edits"), rows)
    return len(rows)


def _rows(names: pd.DataFrame) -> Iterator[Any]:
    return names.itertuples(index=False)


def _is_new(row: Any, before: Any, source: str) -> bool:
    if before is None:
        return bool(row.name)
    return row.name != before.name or (source != kernel.BY_GALLERY and before.source == kernel.BY_GALLERY)


def put_to_use(lake: Lake, characters: pd.DataFrame, names: dict[str, kernel.Names]) -> int:
    """Make the names of these rows of `characters` what the standing edits say, in one commit; how many change.

    The rows keep their run_id, so they stay those of the run that committed them.
    """
    given = name_characters(names)
    rows = [
        [row.title_id, row.character_id, row.run_id, given.get((row.title_id, row.character_id))]
        for row in characters.itertuples(index=False)
        if (row.name or None) != given.get((row.title_id, row.character_id))
    ]
    if rows:
        schema = "title_id STRING, character_id INT, run_id STRING, name STRING"
        lake.update(table("characters"), lake.spark.createDataFrame(rows, schema), sorted({row[0] for row in rows}))
    return len(rows)


def say(progress: Progress, found: dict[str, kernel.Names]) -> None:
    """Say which names contradict one another, and which find nobody."""
    for title, said in sorted(found.items()):
        for row in said.overruled.itertuples(index=False):
            wanted, instead = (f"named {name!r}" if name else "without a name" for name in (row.name, row.instead))
            progress.say(f"  {title}: character {row.character_id} is {instead}; it was also {wanted}")
        for row in said.lost[said.lost["name"] != ""].itertuples(index=False):
            progress.say(f"  {title}: the name {row.name!r} finds no character; its tracks are gone or unknown")


def name_characters(names: dict[str, kernel.Names]) -> dict[tuple[str, int], str]:
    """(title_id, character_id) -> name, of the characters that have one."""
    return {
        (title, int(row.character_id)): row.name
        for title, found in names.items()
        for row in found.standing.itertuples(index=False)
        if row.name
    }
