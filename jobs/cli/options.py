"""The options that all commands have."""

from __future__ import annotations

import argparse


def filled(text: str) -> str:
    """An argument with something in it: an empty path would be the folder that the shell happens to be in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; is a variable not set?")
    return text


def parser(doc: str, command: str, titles: bool = True) -> argparse.ArgumentParser:
    """A command's parser with the options that all have."""
    made = argparse.ArgumentParser(
        prog=f"castmine {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = made.add_argument_group("options of all commands")
    common.add_argument(
        "--lake", type=filled, default="./lake", help="folder, s3://BUCKET/FOLDER, or catalog.schema (default: ./lake)"
    )
    common.add_argument(
        "--files", type=filled, help="folder for staged pieces, adapters, reports (default: the lake's folder)"
    )
    common.add_argument("--conf", metavar="FILE", help="YAML settings; `preset: NAME` inside starts from a preset")
    common.add_argument("--set", action="append", default=[], metavar="job.key=value", help="one setting; repeatable")
    common.add_argument("--master", help="Spark master (default: local[*]; under spark-submit: its own)")
    if titles:
        common.add_argument("--titles", nargs="+", metavar="ID", help="these titles only")
        common.add_argument("--force", action="store_true", help="do it again even where nothing changed")
    common.add_argument("--quiet", action="store_true", help="say nothing but errors")
    common.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return made
