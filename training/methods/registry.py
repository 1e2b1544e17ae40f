"""The training methods by name. A new one is a file beside this one, a line here and its name in conf/settings.py."""

from __future__ import annotations

from conf.errors import TooLittleData, UsageError
from conf.settings import TrainingMethod, TrainSettings
from training.collective import Collective
from training.methods import ball_cluster, imptriplet, mvcorr, siamese, whitening
from training.methods.base import Entry, Method
from training.plan import Plan
from training.snapshot import Kind, Needs, Snapshot

METHODS: dict[str, Entry] = {
    **whitening.METHODS,
    **imptriplet.METHODS,
    **mvcorr.METHODS,
    **ball_cluster.METHODS,
    **siamese.METHODS,
}
LABELLED = tuple(name for name, entry in METHODS.items() if entry.needs == "label")  # that learn from labels alone


def kind(method: str) -> Kind:
    """What a method's snapshot holds of each track."""
    return METHODS[method].kind


def make_plan(settings: TrainSettings, snapshot: Snapshot) -> Plan:
    """Choose batch, network and schedule for a snapshot.

    Raises:
        UsageError: the method needs labels, and the snapshot has none.
        TooLittleData: fewer rows than the settings or the method ask for, in the training or the held-out part.
    """
    needs = _needs(settings.method, snapshot)
    what, train, dev = _in_words(needs, snapshot.kind), snapshot.rows("train", needs), snapshot.rows("dev", needs)
    if train < settings.min_rows:
        raise TooLittleData(f"{train} training {what}, {settings.min_rows} are needed (train.min_rows)")
    if dev < 2:
        raise TooLittleData(f"{dev} held-out {what}, 2 are needed to stop the training and judge the adapter")
    preset = settings.preset
    if preset == "auto":
        preset = "small" if train < settings.small_rows else "paper"
    made = METHODS[settings.method].preset(preset, snapshot.dim, train, dev)
    max_epochs = min(settings.max_epochs, made["max_epochs"]) if "max_epochs" in made else settings.max_epochs
    fixed = {
        "method": settings.method,
        "preset": preset,
        "needs": needs,
        "seed": settings.seed,
        "device": settings.device,
    }
    return Plan.model_validate({**made, **fixed, "max_epochs": max_epochs})


def _needs(method: TrainingMethod, snapshot: Snapshot) -> Needs:
    entry = METHODS[method]
    if entry.needs == "label" and not snapshot.labels:
        raise UsageError(f"train.method={method} learns from identities: name a truth file with --labels")
    return "label" if entry.labelled and snapshot.labels else entry.needs


def _in_words(needs: Needs, kind: Kind) -> str:
    """What a row must be for a method, in words."""
    if needs == "negative":
        return f"tracks with {'a hard negative' if kind == 'tracklets' else 'a cannot-linked track'}"
    if needs == "label":
        return "tracks with a label"
    return "tracks with hard positives" if kind == "tracklets" else "tracks"


def method_of(plan: Plan, snapshot: Snapshot, collective: Collective) -> Method:
    """What trains by this plan."""
    entry = METHODS[plan.method]
    chosen = entry.labelled if entry.labelled and plan.needs == "label" else entry.method
    return chosen(plan, snapshot, collective)
