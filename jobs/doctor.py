"""doctor: whether this machine has what castmine needs; with --fetch, gets what can be fetched.

castmine doctor
castmine doctor --fetch      Delta jars and the default face models into the user's cache
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from conf import settings
from conf.errors import CastmineError, UsageError
from jobs.cli import command
from jobs.lake import session
from udfs import assets


def main(argv: Sequence[str] | None = None) -> int:
    """`castmine doctor`."""
    parser = argparse.ArgumentParser(
        prog="castmine doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing")
    parser.add_argument("--conf", metavar="FILE", help="settings whose models are looked for")
    parser.add_argument("--set", action="append", default=[], metavar="job.key=value", help="one setting; repeatable")
    args = parser.parse_args(argv)
    harvest = settings.load(args.conf, args.set).harvest
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("Java", _java),
        ("Delta jars", lambda: _jars(args.fetch)),
        (f"face models ({harvest.models})", lambda: _models(harvest.models, args.fetch)),
        ("device", lambda: _device(harvest.device)),
    ]
    wrong = 0
    for name, check in checks:
        try:
            print(f"  ok       {name}: {check()}")
        except CastmineError as error:
            wrong += 1
            print(f"  missing  {name}: {error}")
    return command.CANNOT_GO_ON if wrong else command.DONE


def _python() -> str:
    if sys.version_info[:2] != (3, 11):
        raise UsageError(f"{sys.version.split()[0]}; castmine's pins are for Python 3.11")
    return sys.version.split()[0]


def _java() -> str:
    session.check_java()
    return session.JAVA


def _jars(fetch: bool) -> str:
    folder = assets.cache_dir() / "jars"
    if not fetch and not all((folder / name).exists() for name in session.DELTA_JARS):
        raise UsageError("not here yet: castmine doctor --fetch")
    return ", ".join(jar.name for jar in session.delta_jars())


def _models(name: str, fetch: bool) -> str:
    files = assets.pack(name).files
    if not fetch and not all(assets.present(file) for file in files):
        raise UsageError("not here yet: castmine doctor --fetch")
    return ", ".join(path.name for path in assets.fetch_pack(name))


def _device(device: str) -> str:
    if device == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise UsageError("cuda is asked for, but this onnxruntime has no CUDA: make setup GPU=1")
    return device


if __name__ == "__main__":
    command.run(main)
