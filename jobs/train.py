"""train: mined tracklets -> an adapter of the face embedding.

Writes a pinned snapshot of the mined tables, trains on it, judges the adapter on held-out tracks against the raw
embedding, and registers it: `ready`, `not_better`, or `skipped` where there is too little to train on.

  castmine train --lake ./lake [--set train.method=imptriplet]
  castmine train --lake ./lake --set train.launcher=horovod --set train.processes=2
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.errors import TooLittleData
from conf.ids import stable_id
from conf.settings import TrainSettings
from conf.tables import table
from jobs import cli, runs, snapshot
from jobs.lake import Lake
from training.launchers import launch
from training.presets import plan
from training.snapshot import Snapshot

CODE_VERSION = 1  # raise it when the same snapshot and settings give another adapter
CORPUS = ""  # the title_id of a run over the whole corpus


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: runs.Clock = runs.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine train`."""
    args = cli.parser(__doc__ or "", "train").parse_args(argv)
    with cli.opened(args, "train", spark, clock, run_id) as job:
        settings = job.settings.train
        run = job.begin("train", settings.hash(), CODE_VERSION)
        mined = runs.mined(job.lake, args.titles)
        task = runs.Task(CORPUS, {"mine": stable_id(*(f"{title} {made}" for title, made in mined.items()))})
        if not run.to_do([task], args.force):
            job.progress.say("train: nothing to do; the adapter of these tracks and settings is registered")
            return job.finish(run, {"job": "train", "adapter_id": None, "status": "unchanged"})
        row = _trained(job, list(mined), settings)
        known = job.lake.raw("adapters").where(F.col("adapter_id") == row["adapter_id"]).count()
        if not known:
            job.lake.append(table("adapters"), [row])
        run.commit([runs.Done(task, 1)])
        job.progress.say(f"train: adapter {row['adapter_id']} is {row['status']}: {row['reason'] or said(row)}")
        summary = {"job": "train", "adapter_id": row["adapter_id"], "status": row["status"], "reason": row["reason"]}
        return job.finish(run, summary, f"castmine cluster --lake {args.lake}")


def adapter_id(snapshot_fingerprint: str, settings: TrainSettings) -> str:
    """The same rows, settings and code give the same adapter, under the same name."""
    return stable_id(snapshot_fingerprint, settings.hash(), CODE_VERSION)


def said(row: dict[str, Any]) -> str:
    """The judgement in a few words."""
    metrics = json.loads(row["metrics"])
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()) if "auc" in name)


def _trained(job: cli.Job, titles: list[str], settings: TrainSettings) -> dict[str, Any]:
    """Snapshot, train, judge; too little data is a result, not an error."""
    found: Snapshot | None = None
    try:
        with job.progress.step("writing the training snapshot"):
            found = snapshot.write(job.lake, titles, settings)
        chosen = plan(settings, found)
    except TooLittleData as error:
        return register(job.lake, titles, settings, found, {"status": "skipped", "reason": str(error)}, job.clock())
    name = adapter_id(found.fingerprint, settings)
    uri = f"_adapters/{name}.safetensors"
    job.progress.say(
        f"  {found.rows_train:,} tracks train, {found.rows_dev:,} are held out ({found.split}); "
        f"{settings.method}, preset {chosen.preset}, batch {chosen.batch:,}"
    )
    with job.progress.step(f"training {settings.method}", chosen.max_epochs, "epochs at most") as done:
        result = launch(
            settings.launcher, found.folder, chosen, job.lake.files / uri, settings.processes, lambda e: done(e.epoch)
        )
    reason = None if result["status"] == "ready" else result["note"]
    return register(job.lake, titles, settings, found, {**result, "reason": reason, "uri": uri}, job.clock())


def register(
    lake: Lake,
    titles: Sequence[str],
    settings: TrainSettings,
    found: Snapshot | None,
    result: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """The adapter's row of `adapters`."""
    marked = found.fingerprint if found else stable_id(*sorted(titles))
    held_out = {"by": found.split, "titles_dev": found.titles_dev} if found else {}
    return {
        "adapter_id": adapter_id(marked, settings),
        "method": settings.method,
        "settings": json.dumps(result.get("settings") or settings.model_dump(mode="json"), sort_keys=True),
        "snapshot_fingerprint": marked,
        "source_versions": json.dumps(source_versions(found, lake), sort_keys=True),
        "base_embedder_sha256": found.base_embedder_sha256 if found else None,
        "in_dim": found.dim if found else None,
        "out_dim": result.get("out_dim"),
        "scope": "corpus" if len(titles) != 1 else titles[0],
        "split": json.dumps(held_out, sort_keys=True),
        "metrics": json.dumps(result.get("metrics") or {}, sort_keys=True),
        "status": result["status"],
        "reason": result.get("reason"),
        "uri": result.get("uri"),
        "sha256": result.get("sha256"),
        "parent": None,
        "created_at": now,
    }


def source_versions(found: Snapshot | None, lake: Lake) -> dict[str, int | str]:
    """Versions of the tables that a snapshot was read from."""
    return found.source_versions if found else {name: lake.version(name) for name in snapshot.SOURCES}


if __name__ == "__main__":
    cli.run(main)
