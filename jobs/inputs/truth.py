"""Truth files: who is who, as somebody labelled it.

What a file is, its first bytes say:

  csv, Parquet   label and track_id, or label and frame, x, y, w, h; with title_id where it is of several titles
  MOT            gt.txt of the MOTChallenge (motchallenge.net/instructions): frame, id, left, top, width, height, flag,
                 and what may follow. Frames and pixels count from 1 there and from 0 here; ids are people. A row with
                 flag 0 is not counted
  .ids           CVHCI_TRACKLABELS_V1, then `track_id label` a line, as Ball Cluster Learning released its labels of The
                 Big Bang Theory and Buffy (github.com/makarandtapaswi/BallClustering_ICCV2019, data/ids)
  .mat           MATLAB 5 face tracks of the same episodes, as KIT released them with StoryGraphs
                 (github.com/makarandtapaswi/StoryGraphs_CVPR2014, data/facetracks): a struct array with frames, x, y,
                 w, h, groundTruthIdentity. Frames are taken as they are numbered there. Fewer tracks than in .ids, and
                 of The Big Bang Theory the files of episodes 3 to 5 there hold episode 2

The last three are of one title, which is the file's name (gt.txt: the folder above gt/).
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

from conf.errors import UsageError
from jobs.inputs.sheets import read_sheet
from udfs.kernels.boxes import BOX

BY_TRACKS = {"title_id": "STRING", "label": "STRING", "track_id": "BIGINT"}
BY_BOXES = {"title_id": "STRING", "label": "STRING", "frame": "BIGINT", **dict.fromkeys(BOX, "DOUBLE")}
MOT = ["frame", "id", *BOX, "flag"]
NOBODY = ("unknown", "false_positive", "trackswitch")  # labels of the BBT and Buffy releases that are no identity
NOT_COUNTED = "not counted"  # a column of what a reader gives, where its format has such rows
FACETRACKS = ["frames", *BOX, "groundTruthIdentity"]


def read_truths(files: Sequence[Path], titles: Sequence[str] | None) -> pd.DataFrame:
    """Truth files as one: all by track, or all by boxes. Columns as in `read_truth`.

    Raises:
        UsageError: what a file lacks, files of both kinds, a track labelled twice, a wanted title without truth.
    """
    read = [read_truth(file, titles, alone=len(files) == 1) for file in files]
    if len({tuple(truth.columns) for truth in read}) > 1:
        raise UsageError("--truth: some files are by track_id and some by boxes; evaluate them one after the other")
    truth = pd.concat(read, ignore_index=True)
    if missing := sorted(set(titles or ()) - set(truth.title_id)):
        there = ", ".join(sorted(set(truth.title_id))[:20]) or "none of them"
        raise UsageError(f"--titles {' '.join(missing)}: no truth for it; there is truth for: {there}")
    if "track_id" in truth and (twice := truth.duplicated(["title_id", "track_id"])).any():
        row = truth[twice].iloc[0]
        raise UsageError(f"--truth: track {row.track_id} of {row.title_id} is labelled twice")
    return truth


def read_truth(file: Path, titles: Sequence[str] | None, option: str = "--truth", alone: bool = True) -> pd.DataFrame:
    """A truth file with the columns of BY_TRACKS or BY_BOXES, in their types; a label is null where it is not counted.

    Args:
        titles: those that are wanted; all of the file where None.
        option: of the command line, for messages.
        alone: whether it is the only file, so that --titles may name its title.
    Raises:
        UsageError: what the file lacks.
    """
    try:
        read, by_name = _form(file)
        truth = read(file)
    except UsageError as error:
        raise UsageError(f"{option} {file}: {error}") from error
    except Exception as error:  # a reader's errors are of many kinds, and all mean the same here
        raise UsageError(
            f"{option} {file}: cannot be read as csv, Parquet, MOT, .ids or MATLAB 5 face tracks: {error}"
        ) from error
    if "title_id" not in truth:
        truth = truth.assign(title_id=_title(file, titles, by_name, alone, option))
    columns = BY_TRACKS if "track_id" in truth else BY_BOXES
    if missing := [name for name in columns if name not in truth]:
        raise UsageError(f"{option} {file}: needs label and track_id, or label, frame, x, y, w, h; missing: {missing}")
    if bad := [name for name in columns if truth[name].isna().any()]:
        raise UsageError(f"{option} {file}: empty values in {', '.join(bad)}")
    typed = {
        name: _text(truth[name]) if kind == "STRING" else _numbers(truth[name], kind, f"{option} {file}: {name}")
        for name, kind in columns.items()
    }
    if "frame" in typed and (wrong := (typed["frame"] < 0) | (typed["w"] <= 0) | (typed["h"] <= 0)).any():
        row = int(np.flatnonzero(wrong)[0]) + 1
        raise UsageError(f"{option} {file}: box {row}: frames count from 0, and w and h are more than 0")
    if NOT_COUNTED in truth:
        typed["label"] = typed["label"].mask(truth[NOT_COUNTED], None)
    truth = pd.DataFrame(typed)
    return truth if titles is None else truth[truth.title_id.isin(titles)]


def _form(file: Path) -> tuple[Callable[[Path], pd.DataFrame], bool]:
    """The reader of a file, and whether its title is the file's name."""
    if file.is_dir():
        return pd.read_parquet, False
    with file.open("rb") as opened:
        line = opened.readline(1000).removeprefix(BOM_UTF8)
    if line.startswith(b"PAR1"):
        return pd.read_parquet, False
    if line.startswith(b"MATLAB"):
        return _read_facetracks, True
    if line.startswith(b"CVHCI_TRACKLABELS_V1"):
        return _read_ids, True
    return (_read_mot, True) if _are_numbers(line.split(b",")) else (_read_csv, False)


def _are_numbers(cells: Sequence[bytes]) -> bool:
    try:
        return all(np.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False


def _read_csv(file: Path) -> pd.DataFrame:
    """Names stay as they are written: a film may be called 1917, and somebody None."""
    head, lines = read_sheet(file, {**BY_TRACKS, **BY_BOXES})
    wanted = [name for name in {**BY_TRACKS, **BY_BOXES} if name in head]
    columns = {name: [line.cells[head.index(name)] or None for line in lines] for name in wanted}
    return pd.DataFrame(columns, dtype=object)


def _read_mot(file: Path) -> pd.DataFrame:
    rows = pd.read_csv(file, header=None, skipinitialspace=True, encoding="utf-8-sig")
    if len(rows.columns) < len(MOT):
        raise UsageError(f"a line of MOT truth is {', '.join(MOT)}, ...; it has {len(rows.columns)} values")
    rows = rows[range(len(MOT))].set_axis(MOT, axis=1)
    if (rows.id == -1).any():
        raise UsageError("ids of -1 are detections without identities (det.txt); the truth is gt.txt")
    found = {"label": rows.id, "frame": rows.frame - 1, "x": rows.x - 1, "y": rows.y - 1, "w": rows.w, "h": rows.h}
    return pd.DataFrame({**found, NOT_COUNTED: rows.flag == 0})


def _read_ids(file: Path) -> pd.DataFrame:
    lines = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines()[1:] if line.strip()]
    if wrong := [" ".join(line) for line in lines if len(line) != 2]:
        raise UsageError(f"a line is `track_id label`; one is {wrong[0]!r}")
    return pd.DataFrame(lines, columns=["track_id", "label"])


def _read_facetracks(file: Path) -> pd.DataFrame:
    """Every box of every track, with the track's label."""
    if file.read_bytes()[:11] == b"MATLAB 7.3 ":
        raise UsageError("MATLAB 7.3 is another format; save it with -v7")
    arrays = loadmat(file, squeeze_me=True, chars_as_strings=True).values()
    found = [a for a in arrays if isinstance(a, np.ndarray) and set(FACETRACKS) <= set(a.dtype.names or ())]
    if len(found) != 1:
        raise UsageError(f"holds {len(found)} struct arrays with {', '.join(FACETRACKS)}; one is needed")
    tracks = np.atleast_1d(found[0])
    boxes = {name: np.concatenate([np.atleast_1d(row) for row in tracks[name]]) for name in ("frames", *BOX)}
    labels = np.array([label if isinstance(label, str) else None for label in tracks["groundTruthIdentity"]], object)
    of_box = np.repeat(labels, [np.size(row) for row in tracks["frames"]])
    return pd.DataFrame(boxes).rename(columns={"frames": "frame"}).assign(label=of_box)


def _title(file: Path, titles: Sequence[str] | None, by_name: bool, alone: bool, option: str) -> str:
    """The one title of a file that names none."""
    if titles is not None and len(titles) == 1 and (alone or not by_name):
        return titles[0]
    if not by_name:
        raise UsageError(f"{option} {file}: has no title_id column; name its one title with --titles ID")
    file = file.resolve()
    if file.name == "gt.txt":
        return file.parent.parent.name if file.parent.name == "gt" else file.parent.name
    return file.stem.removesuffix("facetracks").rstrip("._")


def _text(values: pd.Series) -> pd.Series:
    """Names; one that is held as 7.0 is 7."""
    whole = values.dtype.kind == "f" and bool((values % 1 == 0).all())
    return (values.astype(np.int64) if whole else values).astype(str)


def _numbers(values: pd.Series, kind: str, where: str) -> pd.Series:
    whole, numbers = kind == "BIGINT", pd.to_numeric(values, errors="coerce")
    if not np.isfinite(numbers).all() or (whole and ((numbers % 1 != 0) | (numbers.abs() >= 2**53)).any()):
        raise UsageError(f"{where} must be a {'whole ' if whole else ''}number in every row")
    return numbers.astype(np.int64 if whole else np.float64)
