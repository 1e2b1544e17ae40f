"""train: mined tracklets -> an adapter of the face embedding.

Writes a pinned snapshot of the mined tables, trains on it, judges the adapter on held-out tracks against the raw
embedding, and registers it: `ready`, `not_better`, or `skipped` where there is too little to train on.

  castmine train --lake ./lake
  castmine train --lake ./lake --method whitening imptriplet       several, and a table of how they did
  castmine train --lake ./lake --method bcl --labels truth.csv     title_id, track_id, label: BCL and its rivals
  castmine train --lake ./lake --method bcl --parent ID --titles T     from a trained BCL on, by a title's own pairs
  castmine train --lake ./lake --method mvcorr --network C1 C2 C3      keeps the one of least held-out loss
  castmine train --lake ./lake --set train.launcher=horovod --set train.processes=2

Without labels: whitened_triplet (the default: a linear map, in seconds), whitening alone (in closed form), lda_triplet
(surest of the people in the titles that it learns from, less of others), and from the papers imptriplet, mvcorr, bcl on
automatic pairs, tsiam, ssiam.
With labels: bcl, cross_entropy, ldml, contrastive, triplet, prototypical. A quarter of the people is held out to stop
the training and to find the threshold of complete linkage (castmine cluster --method hac_complete). Labels that are
nobody's name (unknown, false_positive, trackswitch) are left out.

train.preset=paper has the published network and schedule, train.preset=small a linear map for some hundreds of rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.code_versions import CODE_VERSIONS
from conf.errors import TooLittleData, UsageError
from conf.ids import stable_id
from conf.places import is_in_store, send
from conf.settings import TrainingMethod, TrainSettings
from jobs.cli import command, options, program
from jobs.cli.text_table import print_table
from jobs.inputs.truth import NOBODY, read_truth
from jobs.lake import run_log, snapshots
from jobs.lake.adapters import Registered, adapter_for
from jobs.lake.lake import Lake
from training.judge import Epoch
from training.launchers.launch import launch
from training.methods.base import Parent
from training.methods.registry import LABELLED, kind, make_plan
from training.snapshot import Kind, Snapshot

CORPUS = ""  # the title_id of a run over the whole corpus
Snapshots = dict[Kind, Snapshot]  # of one call: several methods learn from one
COMPARED = ("method", "adapter", "status", "auc_raw", "auc", "close_auc_raw", "close_auc", "why not ready")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine train`."""
    parser = options.parser(__doc__ or "", "train")
    parser.add_argument(
        "--method", nargs="+", choices=get_args(TrainingMethod), metavar="NAME", help="one or several, see above"
    )
    parser.add_argument("--labels", metavar="FILE", help="csv or parquet with title_id, track_id, label")
    parser.add_argument("--parent", metavar="ID", help="adapter of bcl to go on from")
    parser.add_argument(
        "--network",
        nargs="+",
        choices=[name for name in get_args(TrainSettings.model_fields["network"].annotation) if name != "auto"],
        metavar="NAME",
        help="linear, C1, C2, C3, ball; of several the one of least held-out loss is kept (default: the preset's)",
    )
    args = parser.parse_args(argv)
    labels = _read_labels(Path(args.labels), args.titles) if args.labels else None
    with command.open_job(args, "train", spark, clock, run_id) as job:
        methods = args.method or [job.settings.train.method]
        if labels is None and (lost := [name for name in methods if name in LABELLED]):
            raise UsageError(f"--method {' '.join(lost)}: needs identities; name a truth file with --labels")
        mined = run_log.list_mined(job.lake, args.titles)
        parent = _open_parent(job, args.parent, list(mined)) if args.parent else None
        written: Snapshots = {}
        ended = []
        for method in methods:
            chosen = {"method": method, "parent": parent.adapter_id if parent else job.settings.train.parent}
            networks = args.network or [job.settings.train.network]
            candidates = [job.settings.train.model_copy(update={**chosen, "network": name}) for name in networks]
            ended += _train(job, candidates, mined, labels, parent, written)
        if len(ended) > 1 and not args.json:
            _compare(job.lake, [row["adapter_id"] for row in ended])
        summary = {"job": "train", **ended[0]} if len(ended) == 1 else {"job": "train", "adapters": ended}
        return job.finish(None, summary, f"castmine cluster --lake {args.lake}")


def _open_parent(job: command.Job, wanted: str, titles: list[str]) -> Registered:
    embedders = [row[0] for row in job.lake.rows("titles", titles).select("embedder_sha256").distinct().collect()]
    found = adapter_for(job.lake, wanted, embedders[0] if embedders else "")
    if found is None:
        raise UsageError(f"--parent {wanted}: raw embeddings are no adapter to go on from")
    return found


def _train(
    job: command.Job,
    candidates: list[TrainSettings],
    mined: dict[str, str],
    labels: snapshots.Labels | None,
    parent: Registered | None,
    written: Snapshots,
) -> list[dict[str, str | None]]:
    """Train and register one method's adapters, unless that was done before with the same tracks and settings.

    Of several candidates the one of least held-out loss is kept, as published (MvCorr, section V-B).
    """
    method, rule = candidates[0].method, job.settings.mine
    settings_hash = candidates[0].hash() if len(candidates) == 1 else stable_id(*(each.hash() for each in candidates))
    run = job.begin("train", settings_hash)
    long_enough = f"{rule.min_track_s} {rule.min_shared_s}"
    inputs = {"mine": stable_id(long_enough, *(f"{title} {made}" for title, made in mined.items()))}
    task = run_log.Task(CORPUS, {**inputs, **({"labels": labels.source} if labels else {})})
    run.claim([method], job.progress.say)  # what it writes is named after the method and its rows
    if not job.args.force and run.did_before(task):
        job.progress.say(f"train: nothing to do; {method} of these tracks and settings is registered")
        return [{"adapter_id": None, "status": "unchanged", "reason": None}]
    made = [train_adapter(job, list(mined), settings, labels, parent, written) for settings in candidates]
    rows = _keep_one([row for row, _ in made])
    with job.lake.locked(job.progress.say):
        for row, (_, curve) in zip(rows, made, strict=True):
            for name, lines in (("curves", curve), ("adapters", [row])):
                if job.lake.raw(name).where(F.col("adapter_id") == row["adapter_id"]).isEmpty():
                    job.lake.append(table(name), lines)
        run.commit([run_log.Done(task, len(rows))])
    for row in rows:
        job.progress.say(f"train: adapter {row['adapter_id']} is {row['status']}: {row['reason'] or say_metrics(row)}")
    return [{name: row[name] for name in ("adapter_id", "status", "reason")} for row in rows]


def _keep_one(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `adapters`, of which the one of least held-out loss may be used and the others are `not_chosen`."""
    losses = [json.loads(row["metrics"]).get("dev_loss", math.inf) for row in rows]
    best = losses.index(min(losses))
    return [
        row
        if place == best or row["status"] == "skipped"
        else {
            **row,
            "status": "not_chosen",
            "reason": f"held-out loss {losses[place]:.4g}; another network has {losses[best]:.4g}",
        }
        for place, row in enumerate(rows)
    ]


def _read_labels(file: Path, titles: Sequence[str] | None) -> snapshots.Labels:
    truth = read_truth(file, titles, "--labels")
    if "track_id" not in truth:
        raise UsageError(f"--labels {file}: training needs track_id; boxes on frames are for castmine evaluate")
    if truth.duplicated(["title_id", "track_id"]).any():
        raise UsageError(f"--labels {file}: a track has two labels")
    truth = truth[truth.label.notna() & ~truth.label.isin(NOBODY)]
    return snapshots.Labels(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}", truth)


def _compare(lake: Lake, adapter_ids: Sequence[str | None]) -> None:
    """A line for each adapter, in the order of their training."""
    found = {row["adapter_id"]: row for row in lake.raw("adapters").collect() if row["adapter_id"] in adapter_ids}
    rows = []
    for adapter in adapter_ids:
        if row := found.get(adapter):
            figures = json.loads(row["metrics"])
            shown = [round(figures[name], 4) if name in figures else None for name in COMPARED[3:7]]
            rows.append([row["method"], adapter, row["status"], *shown, row["reason"]])
    if rows:
        print_table(COMPARED, rows)


def adapter_id(snapshot_fingerprint: str, settings: TrainSettings) -> str:
    """The same rows, settings (with the parent) and code give the same adapter, under the same name."""
    return stable_id(snapshot_fingerprint, settings.hash(), CODE_VERSIONS["train"])


def say_metrics(row: dict[str, Any]) -> str:
    """The judgement in a few words."""
    metrics = json.loads(row["metrics"])
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()) if "auc" in name)


def train_adapter(
    job: command.Job,
    titles: list[str],
    settings: TrainSettings,
    labels: snapshots.Labels | None,
    parent: Registered | None,
    written: Snapshots,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Snapshot, train, judge: the adapter's row, and its curve's. Too little data is a result, not an error."""
    found: Snapshot | None = None
    try:
        found = written.get(kind(settings.method))
        if found is None:
            with job.progress.step("writing the training snapshot"):
                found = written[kind(settings.method)] = snapshots.write(
                    job.lake, titles, settings, job.settings.mine, labels
                )
        start = Parent(parent.adapter_id, parent.load()) if parent else None
        chosen = make_plan(settings, found, start)
    except TooLittleData as error:
        skipped = {"status": "skipped", "reason": str(error)}
        return register(job.lake, titles, settings, found, skipped, job.clock()), []
    name = adapter_id(found.fingerprint, settings)
    uri = f"_adapters/{name}.safetensors"
    job.progress.say(
        f"  {found.rows_train:,} tracks train, {found.rows_dev:,} are held out ({found.split}); "
        f"{settings.method}, preset {chosen.preset}, network {chosen.network.name}, batch {chosen.batch:,}"
    )
    with job.progress.step(f"training {settings.method}", chosen.max_epochs, "epochs at most") as done:
        result = launch(
            settings.launcher,
            found.folder,
            chosen,
            job.lake.files / uri,
            settings.processes,
            _report_epochs(done, found.rows_train, job.lake.files / uri),
            settings.reader,
            settings.kept_gb,
            parent.file() if parent else None,
        )
    if result["restarts"]:
        job.progress.say(f"  a process was lost {result['restarts']} times; training went on from its last epoch")
    reason = None if result["status"] == "ready" else result["note"]
    row = register(job.lake, titles, settings, found, {**result, "reason": reason, "uri": uri}, job.clock())
    return row, [{"adapter_id": name, **epoch} for epoch in result["curve"]]


def _report_epochs(done: Callable[[float, str], None], rows: int, adapter: Path) -> Callable[[Epoch], None]:
    """Tell of each epoch: to who waits, and as TensorBoard events in a folder beside the adapter."""
    from torch.utils.tensorboard import SummaryWriter  # a second to import

    folder = adapter.with_suffix(".events")
    scratch = tempfile.TemporaryDirectory(prefix="castmine-events-") if is_in_store(folder) else None
    here = Path(scratch.name) if scratch else folder
    events = SummaryWriter(str(here))
    before = time.monotonic()

    def tell(epoch: Epoch) -> None:
        nonlocal before
        now = time.monotonic()
        speed, before = rows / max(now - before, 1e-6), now
        done(epoch.epoch + 1, f"loss {epoch.train_loss:.4g}, held out {epoch.dev_loss:.4g}, {speed:,.0f} tracks/s")
        for name, value in (
            ("loss/train", epoch.train_loss),
            ("loss/held_out", epoch.dev_loss),
            ("tracks_per_s", speed),
        ):
            events.add_scalar(name, value, epoch.epoch)
        events.flush()
        if scratch:  # a store adds nothing to an object: it is sent anew
            for file in here.iterdir():
                send(file, folder / file.name)

    return tell


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
        "labels_from": result.get("labels_from"),
        "status": result["status"],
        "reason": result.get("reason"),
        "parent": settings.parent,
        "uri": result.get("uri"),
        "sha256": result.get("sha256"),
        "created_at": now,
    }


def source_versions(found: Snapshot | None, lake: Lake) -> dict[str, int | str]:
    """Versions of the tables that a snapshot was read from."""
    return found.source_versions if found else {name: lake.version(name) for name in snapshots.SOURCES}


if __name__ == "__main__":
    program.run(main)
