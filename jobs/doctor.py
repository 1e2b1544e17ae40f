"""doctor: whether this machine has what castmine needs; with --fetch, gets what can be fetched.

castmine doctor
castmine doctor --fetch      Delta jars, the default face models and Java's classes, kept, into the user's cache

Needs nothing itself: where castmine's packages are missing, `python -m jobs.doctor` in a checkout says which.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from conf.cache import cache_dir, make_cache
from conf.errors import CastmineError, UsageError
from jobs.cli import program
from jobs.lake import class_archive, environment, jars, jvm

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"  # of a checkout; an installed castmine knows its needs itself
INSTEAD = {"onnxruntime": "onnxruntime-gpu"}  # what may be there in the place of a package


def main(argv: Sequence[str] | None = None) -> int:
    """`castmine doctor`."""
    parser = argparse.ArgumentParser(
        prog="castmine doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing")
    parser.add_argument("--conf", metavar="FILE", help="settings whose models are looked for")
    parser.add_argument("--set", action="append", default=[], metavar="job.key=value", help="one setting; repeatable")
    args = parser.parse_args(argv)
    checks: dict[str, Callable[[], str]] = {
        "Python": _python,
        "shell": environment.describe,
        "cache": _cache,
        "packages": _packages,
        "Java": _java,
        "Delta jars": lambda: _jars(args.fetch),
        "Java classes": lambda: _classes(args.fetch),
        "face models": lambda: _models(args),
        "device": lambda: _device(args),
    }
    wrong = 0
    for name, check in checks.items():
        try:
            print(f"  ok       {name}: {check()}")
        except ModuleNotFoundError as error:
            wrong += 1
            print(f"  missing  {name}: cannot be looked at without the package {error.name}")
        except CastmineError as error:
            wrong += 1
            print(f"  missing  {name}: {error}")
    return program.CANNOT_GO_ON if wrong else program.DONE


def _python() -> str:
    if sys.version_info[:2] != (3, 11):
        raise UsageError(f"{sys.version.split()[0]}; castmine's pins are for Python 3.11")
    return sys.version.split()[0]


def _cache() -> str:
    folder = make_cache(cache_dir())
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder}: cannot be written to: set CASTMINE_CACHE to a folder for models and jars")
    return str(folder)


def _packages() -> str:
    """All that castmine depends on, in the versions that it is tried with."""
    found = {package: _version(package) or _version(INSTEAD.get(package, package)) for package, _ in _list_needed()}
    if missing := [f"{package} {wanted}" for package, wanted in _list_needed() if found[package] is None]:
        raise UsageError(f"not installed: {', '.join(missing)}. make setup, or pip install castmine, gets them")
    others = [
        f"{name} {found[name]} (castmine is tried with {pin})" for name, pin in _list_needed() if found[name] != pin
    ]
    return ", ".join([f"all {len(found)} are there", *others])


def _list_needed() -> list[tuple[str, str]]:
    """name and version of each package that castmine cannot do without."""
    if PYPROJECT.exists():
        wanted = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    else:
        wanted = [need for need in importlib.metadata.requires("castmine") or [] if "extra ==" not in need]
    pinned = (re.fullmatch(r"([\w.-]+)==([\w.]+)", need.partition(";")[0].strip()) for need in wanted)
    return [(pin[1], pin[2]) for pin in pinned if pin]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java() -> str:
    home = jvm.find_java()
    given = os.environ.get("JAVA_HOME")
    instead = f" (JAVA_HOME={given} is none, and is not used)" if given and str(home) != given else ""
    return f"{jvm.JAVA}, {home or 'that on the PATH'}{instead}"


def _jars(fetch: bool) -> str:
    if not fetch and not jars.are_here("delta"):
        raise UsageError("not here yet: castmine doctor --fetch")
    return ", ".join(jar.name for jar in jars.fetch("delta"))


def _classes(fetch: bool) -> str:
    """Nothing fails without them; every command starts some seconds later."""
    home = jvm.find_java()
    try:
        if fetch:
            class_archive.make(home)
    except CastmineError as error:
        return f"not kept, commands start slower: {error}"
    kept = class_archive.path(home).exists()
    return "kept for a quick start" if kept else "not kept yet, commands start slower: castmine doctor --fetch"


def _models(args: argparse.Namespace) -> str:
    from conf import settings
    from udfs import assets

    name = settings.load(args.conf, args.set).harvest.models
    files = assets.pack(name).files
    if not args.fetch and not all(assets.present(file) for file in files):
        raise UsageError(f"{name}: not here yet: castmine doctor --fetch")
    return f"{name} ({', '.join(path.name for path in assets.fetch_pack(name))})"


def _device(args: argparse.Namespace) -> str:
    from conf import settings

    device = settings.load(args.conf, args.set).harvest.device
    if device == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise UsageError("cuda is asked for, but this onnxruntime has no CUDA: make setup GPU=1")
    return str(device)


if __name__ == "__main__":
    program.run(main)
