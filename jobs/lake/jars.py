"""The jars that Spark needs beside those of pyspark: Delta's, and those of object stores (conf/jars.toml)."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
import tempfile
import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

from conf.cache import cache_dir, make_cache
from conf.errors import CastmineError

Kind = Literal["delta", "s3"]

RESOLVE = (
    "import sys; from pyspark.sql import SparkSession\n"
    "SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
    ".config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1')"
    ".config('spark.jars.packages', sys.argv[1]).config('spark.jars.excludes', sys.argv[2])"
    ".config('spark.jars.ivy', sys.argv[3]).getOrCreate().stop()"
)


class Jars(NamedTuple):
    """What Maven calls them, and what comes with these and is not wanted; the sha256 of each file by its name."""

    packages: list[str]
    without: list[str]
    jars: dict[str, str]


@functools.cache
def known(kind: Kind) -> Jars:
    """As conf/jars.toml has them."""
    return Jars(**tomllib.loads((resources.files("conf") / "jars.toml").read_text("utf-8"))[kind])


def are_here(kind: Kind) -> bool:
    """Whether they are in the user's cache already."""
    return all((cache_dir() / "jars" / name).exists() for name in known(kind).jars)


def fetch(kind: Kind) -> list[Path]:
    """The jars, resolved by Spark's own Ivy client once and kept in the user's cache.

    Raises:
        CastmineError: they are not there, and cannot be resolved.
    """
    folder = cache_dir() / "jars"
    sums = {folder / name: sha256 for name, sha256 in known(kind).jars.items()}
    if not are_here(kind):
        _resolve(known(kind), folder)
    for jar, sha256 in sums.items():
        if not _is_right(jar, sha256):
            raise CastmineError(f"{jar}: not the jar it should be. Delete it and run: castmine doctor --fetch")
    return list(sums)


def _resolve(wanted: Jars, folder: Path) -> None:
    make_cache(folder)
    packages, without = ",".join(wanted.packages), ",".join(wanted.without)
    with tempfile.TemporaryDirectory(dir=folder) as ivy:
        words = [sys.executable, "-c", RESOLVE, packages, without, ivy]
        done = subprocess.run(words, capture_output=True, text=True)
        for name, sha256 in wanted.jars.items():
            jar = Path(ivy, "jars", name)
            if done.returncode or not jar.exists():
                raise CastmineError(
                    f"{packages} could not be resolved from Maven Central (no network?). Place the jars by hand "
                    f"into {folder}: {', '.join(wanted.jars)}\n{done.stderr[-500:]}"
                )
            if not _is_right(jar, sha256):
                raise CastmineError(f"{name}: Maven gave a jar with another checksum; not used")
            jar.replace(folder / name)


def _is_right(jar: Path, sha256: str) -> bool:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
