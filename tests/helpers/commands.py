"""Commands as a user gives them, in this process, and films cut short for them."""

from __future__ import annotations

from pathlib import Path

from jobs.cli import dispatch, program
from jobs.demo_film import film
from udfs.kernels.harvest import video

# Short pieces, so that a film of some seconds has several. The screenplay's shots are shorter: no cut goes through one.
PIECES = ("--set", "harvest.piece_s=2")


def castmine(*words: object) -> int:
    """`castmine WORDS` in this process and its Spark session, errors told as the program tells them."""
    try:
        program.run(lambda: dispatch.main([str(word) for word in words]))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def cut(source: Path, made: Path, seconds: float) -> None:
    """The first `seconds` of a film, encoded anew, with a key frame every two seconds."""
    index = video.probe(source)
    frames = video.decode_frames(source, index, 0, round(seconds * index.fps))
    film.encode((frame.image for frame in frames), made, fps=round(index.fps))
