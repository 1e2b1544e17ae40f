"""What stands: of each title the last run of each job, and the run whose rows count.

Rows of `runs` are in the order of their `number`, which is given while the lake is locked: no clock is asked. A title's
rows are those of the last run that wrote any, and they count once that run has ended; a run that was killed on the way
leaves a title that is not there. A film that fails now and has rows of an earlier harvest keeps them: that run wrote
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

HARVESTS = ("harvest", "import")  # both write titles, shots, tracks and faces
WRITING = "writing"  # a run's row before it replaces a title's rows; one of COMMITTED follows
UNCHANGED = "unchanged"  # a run that found a title's film as it was, under another address or time, and wrote nothing
COMMITTED = ("ok", "failed")  # a failed title's row of `titles` counts: it says why
ABOUT = {
    "mine": "harvest",
    "finetune": "harvest",
    "cluster": "harvest",
    "evaluate": "cluster",
}  # by job, the one whose rows its rows are about

Row = dict[str, Any]  # of `runs`, by column


class LastRuns(NamedTuple):
    """The runs of the jobs that write the same tables.

    Attributes:
        last: title_id -> the newest row of `runs`.
        counted: title_id -> the row that ended the run whose rows count.
    """

    last: dict[str, Row]
    counted: dict[str, Row]


def writes(job: str) -> str:
    """The job that names all those that write the same tables as `job`."""
    return "harvest" if job in HARVESTS else job


def read_last_runs(runs: DataFrame) -> dict[str, LastRuns]:
    """By what `writes` names. Reads the table `runs` once, and brings two rows a title and job to the driver."""
    of_job = F.when(F.col("job").isin(*HARVESTS), "harvest").otherwise(F.col("job")).alias("writes")
    row = F.struct(_place().alias("place"), F.struct(*runs.columns).alias("row")).alias("last")
    keys = ("writes", "title_id")
    of_run = runs.select(of_job, "title_id", "run_id", row, _rank().alias("rank")).groupBy(*keys, "run_id")
    of_run = of_run.agg(F.max("last").alias("last"), F.max("rank").alias("rank"))
    writer = F.when(F.col("rank").isNotNull(), F.struct("rank", "last"))
    of_title = of_run.groupBy(*keys).agg(F.max("last").alias("last"), F.max(writer).alias("writer"))
    found: dict[str, LastRuns] = {}
    for title in of_title.collect():
        of_title_jobs = found.setdefault(title["writes"], LastRuns({}, {}))
        of_title_jobs.last[title["title_id"]] = title["last"]["row"].asDict()
        ended = title["writer"]["last"]["row"] if title["writer"] else None
        if ended is not None and ended["status"] in COMMITTED:
            of_title_jobs.counted[title["title_id"]] = ended.asDict()
    return found


def list_counted(found: Mapping[str, LastRuns], job: str) -> dict[str, Row]:
    """title_id -> the row that ended the run of `job` whose rows count: it is the last one, and what its rows are about
    is still there. So labels of tracks that a newer harvest replaced are not shown on the new ones."""
    runs = found[writes(job)].counted if writes(job) in found else {}
    if job not in ABOUT:
        return runs
    there, mined = list_counted(found, ABOUT[job]), found["mine"].counted if "mine" in found else {}

    def still_fits(title: str, row: Row) -> bool:
        inputs = read_inputs(row)
        if ABOUT[job] in inputs or job != "cluster":
            return title in there and inputs.get(ABOUT[job]) == there[title]["run_id"]
        # an older castmine noted only how the title was mined
        return title in there and title in mined and inputs.get("mine") == mined[title]["run_id"]

    return {title: row for title, row in runs.items() if still_fits(title, row)}


def read_inputs(row: Mapping[str, Any]) -> dict[str, str]:
    """What a run had read, by job; `adapter` and `file` among them."""
    return dict(json.loads(row["input_versions"] or "{}"))


def _place() -> Column:
    """Orders rows; an older castmine gave no number: of its rows the clock decides."""
    return F.struct(_number(), _at(), "run_id", F.col("status") != WRITING)


def _rank() -> Column:
    """Orders the runs that wrote rows; null of a row that does not show that its run did.

    Who replaces rows says so before. An older castmine did not where a title was new, so there a failure may have
    written its title: it counts where nothing else does.
    """
    wrote = F.col("status").isin("ok", WRITING)
    of_older = F.col("number").isNull() & (F.col("status") == "failed")
    return F.when(wrote | of_older, F.struct(_number(), wrote, _at(), "run_id"))


def _number() -> Column:
    return F.coalesce("number", F.lit(0).cast("bigint"))


def _at() -> Column:
    return F.when(F.col("number").isNull(), F.col("ended_at"))
