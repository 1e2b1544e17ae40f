"""name: reference photographs, or a person's word -> names of characters.

The gallery is a folder with one folder of photographs a person, named after the person: ./cast/Ingrid Bergman/1.jpg.
Whom a photograph shows must be plain: its largest face counts, one with two faces of about one size is left out, and
so are those that do not agree with the person's others. A person is at most one character of a title. Names that are
uncertain are not given but listed, each with its confidence, 0 to 1.

  castmine name --lake ./lake --gallery ./cast
  castmine name --lake ./lake --gallery ./cast --titles my_film
  castmine name --lake ./lake --titles my_film --character 3 "Ingrid Bergman"       by hand; "" takes a name away

A name given by hand counts more than one from photographs. Names are kept in the table `edits` by where their
characters are seen in the film, so they outlive clustering and harvesting again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.errors import UsageError
from jobs.cli import command, options, program
from jobs.cli.text_table import print_table
from jobs.inputs import gallery
from jobs.lake import edits, run_log
from jobs.lake.adapters import adapter_for, read_labels
from udfs import name as udfs
from udfs.kernels.name.edits import BY_GALLERY, Names
from udfs.kernels.name.gallery import Gallery
from udfs.kernels.rows import stack_rows

BY_HAND = "user"  # the author of what a person says at the command line
SHOWN = 40  # rows of a printed table
EDITED = ["title_id", "character_id", "name", "confidence"]
NOTHING_FOUND = pd.DataFrame(columns=["title_id", "character_id", "person", "confidence", "is_match"])
# columns of the printed tables, and what they are called there
NAMED = {"name": "name", "character_id": "character", "confidence": "confidence", "n_tracks": "tracks",
         "screen_time_s": "seconds"}  # fmt: skip
NAMELESS = {"character_id": "character", "n_tracks": "tracks", "screen_time_s": "seconds", "person": "nearest",
            "confidence": "confidence"}  # fmt: skip
NOWHERE = {"person": "person", "title_id": "title", "character_id": "character", "confidence": "confidence"}


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine name`."""
    parser = options.parser(__doc__ or "", "name", titles=False)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--gallery", metavar="DIR", type=options.filled, help="one folder of photographs a person")
    how.add_argument("--character", nargs=2, metavar=("N", "NAME"), help="one character of one title, by hand")
    parser.add_argument("--titles", nargs="+", metavar="ID", help="these titles only (default: all clustered ones)")
    args = parser.parse_args(argv)
    if args.character and (len(args.titles or []) != 1 or not args.character[0].isdecimal()):
        raise UsageError("--character N NAME: N is a number, and --titles says which one title it is about")
    name = gallery.person_name(args.character[1]) if args.character else ""
    if name and not gallery.is_name(name):
        raise UsageError(f"--character N {name!a}: a name is letters that can be printed")
    photographs, left = gallery.find(Path(args.gallery)) if args.gallery else ([], [])
    with command.open_job(args, "name", spark, clock, run_id) as job, job.lake.locked(job.progress.say):
        return _name(job, name, photographs, left)


def _name(job: command.Job, name: str, photographs: list[gallery.Photograph], left: list[str]) -> int:
    """Give the names, while the lake is locked: they go to the characters who are there then."""
    args = job.args
    titles = list(run_log.list_clustered(job.lake, args.titles))
    if not titles:
        raise UsageError(f"--lake {args.lake}: no title is clustered; run castmine cluster first")
    rows = job.lake.rows("characters", titles)
    characters, labels = rows.drop("embedding").toPandas(), job.lake.rows("track_labels", titles)
    before = edits.read_names(job.lake, titles, labels, rows)
    if args.gallery:
        for line in left:
            job.progress.say(f"  left alone: {line}")
        found = _match_titles(job, photographs, titles, before)
        given = found[found.is_match.astype(bool)].rename(columns={"person": "name"})
    else:
        found, given = NOTHING_FOUND, _by_hand(characters, int(args.character[0]), name)
    n_edits = edits.record(job, given, before, BY_GALLERY if args.gallery else BY_HAND)
    after = edits.read_names(job.lake, titles, labels, rows) if n_edits else before
    edits.say(job.progress, after)
    n_changed = edits.put_to_use(job.lake, characters, after)
    cast = _cast(characters, after)
    if not (args.quiet or args.json):
        _print(cast, found, sorted({photo.person for photo in photographs}))
    if n_changed:
        _say_contradictions(job)
    named = cast[cast["name"].notna()]
    job.progress.say(
        f"name: {len(named):,} of {len(cast):,} characters have a name, {n_changed:,} of them a new one; "
        f"{n_edits:,} edits written"
    )
    summary = {"job": "name", "edits": n_edits, "changed": n_changed, "named": _records(named)}
    return job.finish(None, summary, f"castmine report --lake {args.lake}")


def _by_hand(characters: pd.DataFrame, number: int, name: str) -> pd.DataFrame:
    """The one row of EDITED that was asked for."""
    meant = characters[characters.character_id == number]
    if not len(meant):
        raise UsageError(f"--character {number}: the title has {len(characters)} characters, numbered from 0")
    return meant.assign(name=name, confidence=np.nan)[EDITED]


# --- photographs --------------------------------------------------------------------------------------------


def _match_titles(
    job: command.Job, photographs: list[gallery.Photograph], titles: list[str], before: Mapping[str, Names]
) -> pd.DataFrame:
    """MATCHED of `udfs.name`: whom the photographs show in each title."""
    labels = read_labels(job.lake, titles).where("character_id IS NOT NULL")
    tracks = job.lake.rows("tracks", titles).where("embedding IS NOT NULL").select("title_id", "track_id", "embedding")
    tracks = tracks.join(labels.select("title_id", "track_id", "character_id", "adapter_id"), ["title_id", "track_id"])
    by_hand = {title: _by_persons(names.standing) for title, names in before.items()}
    made_by = job.lake.rows("titles", titles).select("title_id", "embedder_sha256")
    made_by = made_by.join(labels.select("title_id", "adapter_id").distinct(), "title_id").toPandas()
    packs = {sha: gallery.pack_of(sha) for sha in sorted(set(made_by.embedder_sha256))}  # before anything is looked at
    parts = [NOTHING_FOUND]
    for sha, pack in packs.items():
        of_it = made_by[made_by.embedder_sha256 == sha]
        galleries = _galleries(job, gallery.embed_photographs(job, photographs, pack), sha, set(of_it.adapter_id))
        match = functools.partial(udfs.match_title, galleries=galleries, by_hand=by_hand)
        with job.progress.step("comparing", len(of_it), "titles"):
            mine = tracks.where(F.col("title_id").isin(of_it.title_id.tolist())).groupBy("title_id")
            parts.append(mine.applyInPandas(match, udfs.MATCHED.schema).toPandas())
    return pd.concat([part for part in parts if len(part)] or parts)


def _galleries(job: command.Job, seen: pd.DataFrame, embedder_sha256: str, adapter_ids: set[str]) -> dict[str, Gallery]:
    """The photographs as each adapter maps them, by its id."""
    person, raw = seen.person.to_numpy(str), stack_rows(seen.embedding)
    galleries = {}
    for adapter_id in adapter_ids:
        adapter = adapter_for(job.lake, adapter_id, embedder_sha256)
        adapt = adapter.map() if adapter else None
        galleries[adapter_id] = Gallery(person, adapt(raw) if adapt else raw, adapt)
    return galleries


def _by_persons(standing: pd.DataFrame) -> dict[int, str]:
    """character_id -> the name that a person gave it, '' where they took it away."""
    rows = standing[standing.source != BY_GALLERY]
    return dict(zip(rows.character_id.tolist(), rows["name"].tolist(), strict=True))


# --- for people ---------------------------------------------------------------------------------------------


def _cast(characters: pd.DataFrame, names: Mapping[str, Names]) -> pd.DataFrame:
    """The characters, the most seen first, with what is said of each."""
    said = [found.standing.assign(title_id=title) for title, found in names.items() if len(found.standing)]
    told = pd.concat(said)[[*EDITED, "source"]] if said else pd.DataFrame(columns=[*EDITED, "source"])
    told = told[told["name"] != ""]
    whole = characters.drop(columns="name").merge(told, on=["title_id", "character_id"], how="left")
    order = ["title_id", "screen_time_s", "character_id"]
    return whole.sort_values(order, ascending=[True, False, True], ignore_index=True)


def _print(cast: pd.DataFrame, found: pd.DataFrame, people: Sequence[str]) -> None:
    """Title by title who is who and who has no name, then the people of the gallery who are nowhere."""
    best_first = found.sort_values("confidence", ascending=False, kind="stable")
    nearest = best_first.drop_duplicates(["title_id", "character_id"]).drop(columns="is_match")
    for title, rows in cast.groupby("title_id"):
        named, nameless = rows[rows["name"].notna()], rows[rows["name"].isna()]
        print(f"\n{title}: {len(named)} of {len(rows)} characters have a name")
        if len(named):
            by_gallery = named.source == BY_GALLERY
            said = named.confidence.map(_percent).where(by_gallery, "by hand")
            _print_rows(named.assign(confidence=said), NAMED)
        if len(nameless) and len(found):
            print("\nwithout a name, each with the person who is nearest")
            nameless = nameless.drop(columns="confidence").merge(nearest, on=["title_id", "character_id"], how="left")
            _print_rows(nameless.assign(confidence=nameless.confidence.map(_percent)), NAMELESS)
    nowhere = pd.DataFrame({"person": [person for person in people if person not in set(cast["name"])]})
    if len(nowhere):
        nowhere = nowhere.merge(best_first.drop_duplicates("person"), on="person", how="left")
        print("\nin the gallery and in none of these titles, each with the character who is nearest")
        _print_rows(nowhere.assign(confidence=nowhere.confidence.map(_percent)), NOWHERE)


def _print_rows(rows: pd.DataFrame, columns: Mapping[str, str]) -> None:
    shown = rows.head(SHOWN)[list(columns)].astype(object)
    print_table(list(columns.values()), shown.where(shown.notna(), None).values.tolist())
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more")


def _percent(confidence: float) -> str | None:
    return None if pd.isna(confidence) else f"{100 * confidence:.0f} %"


def _records(named: pd.DataFrame) -> list[dict[str, Any]]:
    rows = named[[*EDITED, "source"]].astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def _say_contradictions(job: command.Job) -> None:
    """Say which people have several names: titles that clustering links, and names that say otherwise."""
    several = job.lake.rows("characters").where("name IS NOT NULL AND person_id IS NOT NULL")
    several = several.groupBy("person_id").agg(F.array_sort(F.collect_set("name")).alias("names"))
    for row in several.where("size(names) > 1").orderBy("person_id").limit(SHOWN).collect():
        names = ", ".join(map(repr, row["names"]))
        job.progress.say(
            f"  person {row['person_id']} has several names: {names}; who is whom across titles is in doubt"
        )


if __name__ == "__main__":
    program.run(main)
