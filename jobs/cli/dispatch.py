"""castmine: films to tables of who is on screen, when.

usage: castmine COMMAND ...      (castmine COMMAND --help explains a command)
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from jobs.cli.program import DONE, WRONG_USE, run
from jobs.lake import environment

# command -> module, what it does; in the order of the work
COMMANDS = {
    "run": ("jobs.run", "everything: films to characters, contact sheets and views"),
    "harvest": ("jobs.harvest", "films -> titles, shots, tracks, faces"),
    "import": ("jobs.import_tracks", "ready-made tracks and faces in Parquet -> the same tables"),
    "mine": ("jobs.mine", "tracks -> cannot-links, must-links, tracklets, hard negatives"),
    "train": ("jobs.train", "mined tracklets -> an adapter of the face embedding"),
    "finetune": ("jobs.finetune", "films and their tracks -> a face network of each title's own"),
    "cluster": ("jobs.cluster", "tracks -> characters, their number found"),
    "name": ("jobs.name", "photographs of people, or a word -> names of characters"),
    "evaluate": ("jobs.evaluate", "characters against a truth file -> metrics, and where they go wrong"),
    "report": ("jobs.report", "a contact sheet per title: one row a character"),
    "sql": ("jobs.sql", "read-only SQL over the tables and views"),
    "status": ("jobs.status", "what is done, failed, stale"),
    "export": ("jobs.export", "appearances as csv, json or RTTM"),
    "models": ("jobs.models", "face models: licences, where they come from, which are here"),
    "show": ("jobs.show", "settings with their defaults, tables with their columns"),
    "doctor": ("jobs.doctor", "whether this machine has what castmine needs"),
    "demo": ("jobs.demo", "two films, every stage, the score against the truth"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """`castmine COMMAND ...`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(f"castmine {metadata.version('castmine')}")
        return DONE
    if words[:1] == ["help"] and words[1:2]:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if words else WRONG_USE
    if words[0] not in COMMANDS:
        print(f"castmine: no command {words[0]!r}\n\n{_help()}", file=sys.stderr)
        return WRONG_USE
    environment.drop_other_pyspark(sys.path, os.environ)
    module = importlib.import_module(COMMANDS[words[0]][0])
    return int(module.main(words[1:]))


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    exits = "exit: 0 done, 2 wrong use, 3 some titles failed, 1 cannot go on"
    return f"{(__doc__ or '').strip()}\n\ncommands\n{listed}\n\n{exits}"


def entry() -> None:
    """The console script and the wheel task."""
    run(main)
