"""The table `edits`: what was said about a title's people, written, found again in today's tracks, and put to use."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from conf.catalog import table
from conf.errors import LakeError
from conf.ids import stable_id
from jobs.cli import command
from jobs.cli.progress import Progress
from jobs.lake.lake import Lake
from jobs.lake.last_runs import HARVESTS
from udfs import assets
from udfs.kernels.boxes import BOX
from udfs.kernels.name import edits as kernel
from udfs.kernels.rows import fill_gaps, stack_rows

ANCHORS = 5  # of an edit: tracks that must be lost or go elsewhere before it is
EDIT = [
    "edit_id",
    "title_id",
    "name",
    "confidence",
    "source",
    "replaces",
    "film",
    "embedder_sha256",
    "embedding",
    "made_at",
]
ANCHOR = ["title_id", "edit_id", "frame", *BOX]
CHARACTER = ["title_id", "character_id"]
NOBODY_KNOWN = kernel.People(np.zeros(0, np.int64), np.zeros((0, 1), np.float32), 0.0)


def read_names(lake: Lake, titles: Sequence[str], labels: DataFrame, characters: DataFrame) -> dict[str, kernel.Names]:
    """What the name edits of each title come to; titles without one are left out.

    Args:
        labels: title_id, track_id and character_id of the tracks, as they are or are about to be.
        characters: title_id, character_id and embedding, likewise.
    """
    said, anchors = _list_recorded(lake, titles)
    if not len(said):
        return {}
    films = _list_films(lake, sorted(set(said.title_id)))
    said = _compare_versions(lake, said, films)
    faces = _faces_at(lake, anchors, labels)
    of_title = {title: rows for title, rows in faces.groupby("title_id")}
    people = _list_people(characters, sorted(set(said.title_id[~said.is_same_film])), films)
    return {
        str(title): kernel.resolve_names(
            rows,
            anchors[anchors.title_id == title],
            of_title.get(title, faces.iloc[:0]),
            people.get(str(title), NOBODY_KNOWN),
        )
        for title, rows in said.groupby("title_id")
    }


def _list_recorded(lake: Lake, titles: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The name edits of some titles, with the columns EDIT, and their anchors, with the columns ANCHOR."""
    rows = lake.raw("edits").where((F.col("kind") == "name") & F.col("title_id").isin(list(titles))).collect()
    said, anchors = [], []
    for row in rows:
        payload = json.loads(row["payload"])
        said.append([row["edit_id"], row["title_id"], *map(payload.get, EDIT[2:-1]), row["made_at"]])
        for anchor in json.loads(row["anchors"]):
            anchors.append([row["title_id"], row["edit_id"], anchor["frame"], *anchor["box"]])
    whole = pd.DataFrame(said, columns=EDIT).astype({"confidence": "float64"})
    return whole, pd.DataFrame(anchors, columns=ANCHOR)


def _list_films(lake: Lake, titles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """title_id -> the version of its film that is there now, and the embedder of its faces."""
    films = lake.rows("titles", titles).select("title_id", _film().alias("film"), "embedder_sha256")
    return {row["title_id"]: row.asDict() for row in films.collect()}


def _compare_versions(lake: Lake, said: pd.DataFrame, films: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The edits with is_same_film, and of the embeddings those that can be compared with today's."""
    is_same, embeddings = [], []
    for row in _rows(said):
        now = films.get(row.title_id, {})
        then = row.film or _version_then(lake, row.title_id, row.made_at)
        is_same.append(then is not None and then == now.get("film"))
        comparable = row.embedding and row.embedder_sha256 == now.get("embedder_sha256")
        embeddings.append(np.frombuffer(base64.b64decode(row.embedding), "<f4") if comparable else None)
    return said.assign(is_same_film=is_same, embedding=pd.Series(embeddings, said.index, dtype=object))


def _film() -> Column:
    """Which version of a film; of imported tracks nothing is known but who imported them."""
    return F.coalesce("content_hash", "run_id")


def _version_then(lake: Lake, title_id: str, made_at: datetime) -> str | None:
    """The version of a film when an older castmine wrote an edit and did not say which it was."""
    runs = lake.raw("runs").where((F.col("title_id") == title_id) & F.col("job").isin(*HARVESTS))
    row = runs.where((F.col("status") == "ok") & (F.col("ended_at") <= F.lit(made_at))).orderBy(F.desc("ended_at"))
    found = row.select(_film().alias("film")).first()
    return found["film"] if found else None


def _list_people(characters: DataFrame, titles: Sequence[str], films: Mapping[str, Any]) -> dict[str, kernel.People]:
    """The characters of some titles, by title_id."""
    if not titles:
        return {}
    rows = characters.where(F.col("title_id").isin(list(titles))).select(*CHARACTER, "embedding").toPandas()
    people = {}
    for title, of_title in rows.sort_values(CHARACTER).groupby("title_id"):
        there = of_title.embedding.notna().to_numpy()
        measured = assets.distances(films[title]["embedder_sha256"])
        people[str(title)] = kernel.People(
            of_title.character_id.to_numpy(np.int64),
            fill_gaps(stack_rows(of_title.embedding[there]), there)
            if there.any()
            else np.full((len(there), 1), np.nan),
            kernel.choose_far(*measured.different) if measured else kernel.FAR_UNMEASURED,
        )
    return people


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
    known = _describe(job.lake, new)
    made_at, rows = job.clock(), list[dict[str, Any]]()
    for row in _rows(new):
        before = standing.get((row.title_id, row.character_id))
        payload = {"name": row.name, "source": source, **known[row.title_id, row.character_id]}
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


def _describe(lake: Lake, characters: pd.DataFrame) -> dict[tuple[str, int], dict[str, str]]:
    """What some characters (title_id, character_id) are known by in another version of their film, as in `edits`."""
    if not len(characters):
        return {}
    titles = sorted(set(characters.title_id))
    films = _list_films(lake, titles)
    found = {}
    wanted = set(characters[CHARACTER].itertuples(index=False, name=None))
    numbers = F.col("character_id").isin(sorted({number for _, number in wanted}))
    for row in lake.rows("characters", titles).where(numbers).select(*CHARACTER, "embedding").collect():
        film = films[row["title_id"]]
        said = {"film": film["film"]}
        if row["embedding"]:
            letters = base64.b64encode(np.array(row["embedding"], "<f4").tobytes()).decode()
            said |= {"embedder_sha256": film["embedder_sha256"], "embedding": letters}
        found[row["title_id"], row["character_id"]] = said
    return found


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
            progress.say(f"  {title}: the name {row.name!r} finds nobody in this film; say it again where it belongs")


def name_characters(names: dict[str, kernel.Names]) -> dict[tuple[str, int], str]:
    """(title_id, character_id) -> name, of the characters that have one."""
    return {
        (title, int(row.character_id)): row.name
        for title, found in names.items()
        for row in found.standing.itertuples(index=False)
        if row.name
    }
