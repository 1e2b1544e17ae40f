"""Face models and demo assets: fetched once, checked by sha256, kept in one cache folder. The list is conf/models.yml.

A file is either whole and of the right sum in the cache, or not there at all: downloads go to a temporary name in the
same folder and are renamed only after the check. With the file present no network is needed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal

import requests
import yaml
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field

from conf.cache import cache_dir, make_cache
from conf.errors import ModelError, UsageError
from conf.ids import stable_id
from conf.settings import HarvestSettings

CONNECT_S, READ_S = 5, 20  # reaching an address; waiting for its next bytes
PACKAGE_S = 900  # the whole of a pip download
PROGRESS_BYTES = 50_000_000

Say = Callable[[str], None]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(_Entry):
    """What may be done with a file, in one plain sentence."""

    name: str
    summary: str
    link: str
    commercial: bool


class Official(_Entry):
    """Where the maker offers a file; `member` where it is inside a zip."""

    url: str
    member: str | None = None
    same_bytes: bool = True


class Fallback(_Entry):
    """A package that carries the same bytes, for networks where the official address cannot be reached."""

    package: str
    version: str
    member: str


class Measured(_Entry):
    """Mean and standard deviation of an embedder's cosine distances: tracks of one person, tracks of two people."""

    same: tuple[float, float]
    different: tuple[float, float]


class File(_Entry):
    """One model or asset.

    Attributes:
        size: bytes.
        tried: false where nobody has fetched it by this entry yet.
        distances: of an embedder, None where not measured: how far apart tracks of one person and of two lie.
        norms: of an embedder, None where not measured: the lengths of embeddings worth nothing, and everything.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int
    licence: str
    tried: bool = True
    official: Official
    fallback: Fallback | None = None
    distances: Measured | None = None
    norms: tuple[float, float] | None = None


class Pack(_Entry):
    """A detector and an embedder that belong together, by their names in `files`."""

    summary: str
    kind: Literal["insightface", "opencv"]
    detector: str
    embedder: str
    embedding_dim: int

    @property
    def files(self) -> tuple[str, str]:
        return self.detector, self.embedder


class Registry(_Entry):
    """All of conf/models.yml."""

    licences: dict[str, Licence]
    packs: dict[str, Pack]
    files: dict[str, File]


class _SourceError(Exception):
    """One source did not give the file; the next one is asked."""


@functools.cache
def registry() -> Registry:
    """conf/models.yml, read once per process."""
    return Registry.model_validate(yaml.safe_load((resources.files("conf") / "models.yml").read_text()))


def pack(name: str) -> Pack:
    """The face models called `name`.

    Raises:
        UsageError: no such pack; the message lists those there are.
    """
    try:
        return registry().packs[name]
    except KeyError:
        raise UsageError(f"harvest.models: no face models called {name!r}; there are {', '.join(packs())}") from None


def packs() -> list[str]:
    """Names of all packs, the default one first."""
    return list(registry().packs)


def embedder(pack_name: str) -> File:
    """The embedder of a pack."""
    return registry().files[pack(pack_name).embedder]


def file_of(sha256: str | None) -> str | None:
    """The name in conf/models.yml of the file with this sum; None where it is none of them."""
    return next((name for name, file in registry().files.items() if file.sha256 == sha256), None)


def harvest_hash(settings: HarvestSettings) -> str:
    """The settings_hash of a harvest: the settings and the very models, what its rows depend on beside the film."""
    return stable_id(settings.hash(), *(registry().files[name].sha256 for name in pack(settings.models).files))


def distances(embedder_sha256: str | None) -> Measured | None:
    """What is known of the distances in an embedder's space; None where nobody has measured it."""
    known = {file.sha256: file.distances for file in registry().files.values()}
    return known.get(embedder_sha256 or "")


def files_dir() -> Path:
    """The folder of the cache that holds the files themselves, where one may also be placed by hand."""
    return cache_dir() / "files"


def present(name: str) -> bool:
    """Whether the file is in the cache, its sum unchecked; `fetch` checks it."""
    _file(name)
    return (files_dir() / name).is_file()


def fetch_pack(name: str, *, say: Say = print) -> tuple[Path, Path]:
    """Paths of a pack's detector and embedder, fetched where they are missing. Raises like `pack` and `fetch`."""
    detector, embedder = (fetch(file, say=say) for file in pack(name).files)
    return detector, embedder


def fetch(name: str, *, say: Say = print) -> Path:
    """Path of a checked file of conf/models.yml, fetched where it is missing.

    The licence is shown through `say` once per cache folder, before the file's first use. Processes that want files at
    the same time wait for one another. The other missing files of a downloaded archive are kept too.

    Raises:
        UsageError: no such file in conf/models.yml.
        ModelError: the file has another sum, or no source could give it; the message says what to do.
    """
    file, path = _file(name), files_dir() / name
    _show_licence(file.licence, say)
    if _is_verified(path, file):
        return path
    with _alone():
        if not _is_verified(path, file):
            _download(name, file, say)
    return path


def _file(name: str) -> File:
    try:
        return registry().files[name]
    except KeyError:
        known = ", ".join(registry().files)
        raise UsageError(f"{name}: no such file in conf/models.yml; there are {known}") from None


def _show_licence(key: str, say: Say) -> None:
    marker = cache_dir() / "licences_shown" / key
    if marker.exists():
        return
    licence = registry().licences[key]
    say(f"Licence ({licence.name}): {licence.summary} {licence.link}")
    with contextlib.suppress(OSError):  # a cache that cannot be written to shows it every time
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


# --- checking -------------------------------------------------------------------------------------------------------


def _is_verified(path: Path, file: File) -> bool:
    """False where the file is missing; true where it has its sum. A note beside it saves hashing an unchanged file."""
    try:
        fingerprint = _fingerprint(path, file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    with contextlib.suppress(OSError, ValueError):
        if json.loads(_note(path).read_text()) == fingerprint:
            return True
    if (found := _sha256(path)) != file.sha256:
        raise ModelError(
            f"{path}: not the file it should be\n  expected sha256 {file.sha256}\n  found    sha256 {found}\n"
            f"Delete it and run: castmine models fetch {path.name}"
        )
    with contextlib.suppress(OSError):
        _note(path).write_text(json.dumps(fingerprint))
    return True


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _fingerprint(path: Path, file: File) -> list[str | int]:
    stat = path.stat()
    return [file.sha256, stat.st_size, stat.st_mtime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- fetching -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Holds the cache's lock, so that two workers do not fetch the same file at once."""
    try:
        make_cache(files_dir())
        lock = FileLock(files_dir() / ".lock")
        lock.acquire()
    except OSError as error:
        raise ModelError(
            f"{files_dir()}: cannot be written to ({error.strerror}); set CASTMINE_CACHE to a folder that can"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _download(name: str, file: File, say: Say) -> None:
    """Puts the file into the cache from the first source that has it."""
    problems: list[str] = []
    sources = [_from_official, _from_package]
    if not file.official.same_bytes:
        problems.append(f"{file.official.url} offers it in other bytes, so it was not asked")
        sources.remove(_from_official)
    for source in sources:
        with tempfile.TemporaryDirectory(dir=files_dir(), prefix=".fetch-") as folder:
            try:
                return source(name, file, Path(folder), say)
            except _SourceError as problem:
                problems.append(str(problem))
                say(f"{name}: {problem}")
    tried = "\n".join(f"  {problem}" for problem in problems)
    raise ModelError(
        f"{name}: could not be fetched\n{tried}\n"
        f"Place the file (sha256 {file.sha256}) into {files_dir()} by hand, or set CASTMINE_CACHE to a folder whose "
        f"`files` has it, and run again; then no network is needed."
    )


def _from_official(name: str, file: File, folder: Path, say: Say) -> None:
    official = file.official
    say(f"{name}: asking {official.url}")
    got = folder / "official"
    try:
        with requests.get(official.url, stream=True, timeout=(CONNECT_S, READ_S)) as answer, got.open("wb") as out:
            answer.raise_for_status()
            done = 0
            for chunk in answer.iter_content(1 << 20):
                out.write(chunk)
                if (done + len(chunk)) // PROGRESS_BYTES > done // PROGRESS_BYTES:
                    say(f"{name}: {(done + len(chunk)) / 1e6:.0f} MB")
                done += len(chunk)
    except (requests.RequestException, OSError) as error:
        raise _SourceError(f"{official.url} gave no answer ({type(error).__name__})") from error
    if official.member is None:
        _keep(name, file, got, official.url)
    else:
        wanted = {
            other: entry.official.member
            for other, entry in registry().files.items()
            if entry.official.url == official.url and entry.official.same_bytes and entry.official.member
        }
        _keep_members(name, got, wanted, official.url)


def _from_package(name: str, file: File, folder: Path, say: Say) -> None:
    fallback = file.fallback
    if fallback is None:
        raise _SourceError("no package is known to carry it")
    package = f"{fallback.package}=={fallback.version}"
    say(f"{name}: fetching it inside the package {package}")
    only_wheels = ["--no-deps", "--only-binary", ":all:"]  # nothing of the package is installed, built or run
    command = [sys.executable, "-m", "pip", "download", "--quiet", *only_wheels, "--dest", str(folder), package]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PACKAGE_S)
        (wheel,) = folder.glob("*.whl")
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise _SourceError(f"package {package}: pip could not download it: {reason}") from error
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        raise _SourceError(f"package {package}: pip could not download it ({type(error).__name__})") from error
    wanted = {
        other: entry.fallback.member
        for other, entry in registry().files.items()
        if entry.fallback and (entry.fallback.package, entry.fallback.version) == (fallback.package, fallback.version)
    }
    _keep_members(name, wheel, wanted, f"package {package}")


def _keep_members(name: str, archive: Path, wanted: dict[str, str], source: str) -> None:
    """Keeps `name` and the other `wanted` (file name -> member) that the archive holds and the cache lacks."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = set(opened.namelist())
            for other in sorted(wanted, key=lambda other: other != name):
                if other != name and ((files_dir() / other).exists() or wanted[other] not in members):
                    continue
                part = archive.with_name("member")
                with opened.open(wanted[other]) as packed, part.open("wb") as out:
                    shutil.copyfileobj(packed, out)
                try:
                    _keep(other, registry().files[other], part, source)
                except _SourceError:
                    if other == name:
                        raise
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise _SourceError(f"{source}: {error}") from error


def _keep(name: str, file: File, part: Path, source: str) -> None:
    """Moves a downloaded file of the right sum into the cache, in one step."""
    if (found := _sha256(part)) != file.sha256:
        raise _SourceError(f"{source} gave another file: expected sha256 {file.sha256}, found {found}")
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    path = files_dir() / name
    os.replace(part, path)
    _note(path).write_text(json.dumps(_fingerprint(path, file)))
