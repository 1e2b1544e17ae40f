"""models: which face models there are, what their licences allow, which are here, and how to switch.

castmine models                    the list
castmine models fetch buffalo_sc   fetch ahead of the first use (a pack, or a file such as demovideo.mp4)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from conf.cache import cache_dir
from conf.errors import CastmineError, UsageError
from conf.settings import HarvestSettings
from jobs.cli.text_table import print_table
from udfs import assets


def main(argv: Sequence[str] | None = None) -> int:
    """Lists the packs of conf/models.yml, or fetches what is named. 0 when all is well, else the error's exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.action == "fetch":
            _fetch(args.names, quiet=args.json)
    except CastmineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    listed = [_describe(name) for name in assets.packs()]
    if args.json:
        print(json.dumps({"cache": str(cache_dir()), "packs": listed}, indent=2))
    else:
        _print(listed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="castmine models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=["list", "fetch"], default="list", help="default: list")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to fetch: {', '.join(_list_known())}")
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    return parser


def _list_known() -> list[str]:
    return [*assets.packs(), *assets.registry().files]


def _fetch(names: Sequence[str], quiet: bool) -> None:
    def say(line: str) -> None:
        print(line, file=sys.stderr if quiet else sys.stdout)

    unknown = [name for name in names if name not in _list_known()]
    if unknown or not names:
        wrong = f"no such model or asset: {', '.join(unknown)}" if unknown else "name what to fetch"
        raise UsageError(f"castmine models fetch: {wrong}; there are {', '.join(_list_known())}")
    for name in names:
        for file in assets.pack(name).files if name in assets.packs() else [name]:
            say(f"{assets.fetch(file, say=say)}: present, sum checked")


def _describe(name: str) -> dict[str, Any]:
    pack, known = assets.pack(name), assets.registry()
    files = [known.files[file] for file in pack.files]
    licences = [known.licences[key] for key in dict.fromkeys(file.licence for file in files)]
    return {
        "name": name,
        "default": name == HarvestSettings().models,
        "summary": pack.summary,
        "commercial_use": all(licence.commercial for licence in licences),
        "licences": [licence.model_dump() for licence in licences],
        "embedding_dim": pack.embedding_dim,
        "size_bytes": sum(file.size for file in files),
        "present": all(assets.present(file) for file in pack.files),
        "tried": all(file.tried for file in files),
        "files": list(pack.files),
        "switch": f"--set harvest.models={name}",
    }


def _print(packs: list[dict[str, Any]]) -> None:
    """The packs for reading: one line of figures each, then what they are and what their licences say."""
    rows = [
        [
            pack["name"] + (" *" if pack["default"] else ""),
            *("yes" if pack[key] else "no" for key in ("commercial_use", "present")),
            pack["embedding_dim"],
            f"{pack['size_bytes'] / 1e6:.0f} MB",
            pack["switch"],
        ]
        for pack in packs
    ]
    print_table(["models", "commercial use", "here", "embedding", "size", "switch with"], rows)
    for pack in packs:
        print(f"\n{pack['name']}: {pack['summary']}" + ("" if pack["tried"] else "; its address has not been tried"))
        for licence in pack["licences"]:
            print(f"  {licence['name']}: {licence['summary']} {licence['link']}")
    print(f"\n* the default. Kept in {assets.files_dir()}")


def entry() -> None:
    """Console and wheel entry point."""
    if code := main():
        raise SystemExit(code)


if __name__ == "__main__":
    entry()
