"""A gallery of reference photographs: one folder a person, read into embeddings on Spark's workers."""

from __future__ import annotations

import functools
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conf.errors import ModelError, UsageError
from conf.text import is_control
from jobs.cli import command
from udfs import assets
from udfs import name as udfs
from udfs.kernels.name.gallery import agreeing
from udfs.kernels.rows import stack_rows

ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"}
)
HEIC = frozenset({".heic", ".heif", ".hif"})  # its decoders come under licences that castmine cannot take
LISTED = 10  # lines
AT_ONCE, A_TASK = 256, 16  # photographs between two words about progress, and in one task at most on average

DISAGREES = "does not agree with the person's other photographs"


@dataclass(frozen=True)
class Photograph:
    """One file, and whom it is said to show."""

    person: str
    path: Path


def find(folder: Path) -> tuple[list[Photograph], list[str]]:
    """The photographs of a gallery by person and name, and what was left alone with the reason.

    A person's name is that of the folder, in Unicode's composed form (NFC).

    Raises:
        UsageError: no folder, nothing in it, or two folders of one name.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"--gallery {folder}: no such folder")
    found, left, named = list[Photograph](), list[str](), dict[str, Path]()
    for entry in _visible(folder):
        if not entry.is_dir():
            left.append(f"{entry}: not in a person's folder")
            continue
        name = person_name(entry.name)
        if not is_name(name):
            left.append(f"{str(entry)!a}: not a name; rename the folder")
            continue
        if name in named:
            raise UsageError(f"--gallery {folder}: {named[name].name!a} and {entry.name!a} are one name; join them")
        named[name] = entry
        for file in _visible(entry):
            if any(map(is_control, file.name)):
                left.append(f"{str(file)!a}: not a name; rename the file")
            elif file.suffix.lower() in ENDINGS and file.is_file():
                found.append(Photograph(name, file.absolute()))
            elif file.suffix.lower() in HEIC:
                left.append(f"{file}: HEIC, which castmine does not read; export it as JPEG")
            else:
                left.append(f"{file}: no picture's ending")
    if not found:
        raise UsageError(
            f"--gallery {folder}: no photographs; expected one folder a person, named after the person, such as "
            f"{folder / 'Ingrid Bergman' / 'portrait.jpg'}"
            + "".join(f"\n  left alone: {line}" for line in left[:LISTED])
        )
    return found, left


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def is_name(text: str) -> bool:
    """Whether it can stand in a line, in whatever script: it is seen, and neither reorders the line nor breaks it."""
    return any(unicodedata.category(c)[0] not in "CMZ" for c in text) and not any(map(is_control, text))


def person_name(text: str) -> str:
    """A name as it is kept: composed, without blanks at its ends."""
    return unicodedata.normalize("NFC", text).strip()


def embed_photographs(job: command.Job, photographs: list[Photograph], pack: str) -> pd.DataFrame:
    """person and embedding of each photograph that shows its person, in the order given; why not is said of the others.

    Args:
        pack: the face models to look with, a name of conf/models.yml.
    Raises:
        UsageError: none is left.
    """
    settings = job.settings.harvest.model_copy(update={"models": pack})
    assets.fetch_pack(pack, say=job.progress.say)
    rows = [(number, photo.person, str(photo.path)) for number, photo in enumerate(photographs)]
    look = functools.partial(udfs.look_at_photographs, settings=settings)
    parts = []
    with job.progress.step("looking at the photographs", len(rows), "photographs") as done:
        for start in range(0, len(rows), AT_ONCE):
            part = job.spark.createDataFrame(rows[start : start + AT_ONCE], "number INT, person STRING, path STRING")
            spread = part.repartition(AT_ONCE // A_TASK)
            parts.append(spread.mapInPandas(look, udfs.PHOTOGRAPHS.schema).toPandas())
            done(min(start + AT_ONCE, len(rows)))
    seen = pd.concat(parts).sort_values("number", ignore_index=True)
    shows = seen.embedding.notna()
    if shows.any():
        alike = agreeing(seen.person[shows].to_numpy(str), stack_rows(seen.embedding[shows]))
        seen.loc[shows, "problem"] = [None if agrees else DISAGREES for agrees in alike]
    for row in seen[seen.problem.notna()].itertuples():
        job.progress.say(f"  left out: {row.path}: {row.problem}")
    seen = seen.loc[seen.problem.isna(), ["person", "embedding"]]
    for person in sorted({photo.person for photo in photographs} - set(seen.person)):
        job.progress.say(f"  left out: {person}: no photograph is left")
    if not len(seen):
        raise UsageError("--gallery: no photograph is left to compare with")
    return seen


def pack_of(embedder_sha256: str) -> str:
    """The face models whose embedder has that sum.

    Raises:
        ModelError: there are none.
    """
    files = assets.registry().files
    for name in assets.packs():
        if files[assets.pack(name).embedder].sha256 == embedder_sha256:
            return name
    raise ModelError(
        f"these titles were harvested with a face embedder that is not castmine's (sha256 {embedder_sha256[:12]}), so "
        f"photographs cannot be compared with them; castmine has {', '.join(assets.packs())}. Harvest the films with "
        "one of these, or name by hand: castmine name --titles ID --character N NAME"
    )
