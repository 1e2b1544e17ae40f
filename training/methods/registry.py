"""The training methods by name. A new one is a file beside this one, a line here and its name in conf/settings.py."""

from __future__ import annotations

import inspect

from conf.errors import TooLittleData, UsageError
from conf.settings import TrainingMethod, TrainSettings
from training.collective import Collective
from training.methods import ball_cluster, imptriplet, mvcorr, siamese, whitening
from training.methods.base import Entry, Method, Parent
from training.networks import PUBLISHED, Network, resize, small
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


def make_plan(settings: TrainSettings, snapshot: Snapshot, parent: Parent | None = None) -> Plan:
    """Choose batch, network and schedule for a snapshot.

    Args:
        parent: the adapter to start from.
    Raises:
        UsageError: the method needs labels, and the snapshot has none; it has a network of its own, no parent, or no
            such parameter.
        TooLittleData: fewer rows than the settings or the method ask for, in the training or the held-out part.
    """
    needs = _needs(settings.method, snapshot)
    what, train, dev = _in_words(needs, snapshot.kind), snapshot.rows("train", needs), snapshot.rows("dev", needs)
    if train < settings.min_rows:
        raise TooLittleData(f"{train} training {what}, {settings.min_rows} are needed (train.min_rows)")
    if dev < 2:
        raise TooLittleData(f"{dev} held-out {what}, 2 are needed to stop the training and judge the adapter")
    entry, preset = METHODS[settings.method], _choose_preset(settings, train)
    find = entry.labelled[1] if entry.labelled and needs == "label" else entry.preset
    made = find(preset, snapshot.dim, train, dev)
    _check_loss(settings, entry)
    made["network"] = _choose_network(settings, entry, made["network"], snapshot.dim)
    if settings.read_out != "auto":
        made["read_out"] = settings.read_out
    if parent is not None:
        made |= entry.start_from(parent, made)
    fixed = {
        "method": settings.method,
        "preset": preset,
        "needs": needs,
        "seed": settings.seed,
        "device": settings.device,
        "loss": {**made["loss"], **settings.loss},
        "max_epochs": min(settings.max_epochs, made.get("max_epochs", settings.max_epochs)),
    }
    plan = Plan.model_validate({**made, **fixed})
    entry.check(plan, train, dev)
    return plan


def _check_loss(settings: TrainSettings, entry: Entry) -> None:
    """Raises UsageError where the settings name a parameter that the loss does not have."""
    parameters = inspect.signature(entry.loss).parameters.values()
    known = [each.name for each in parameters if each.default is not each.empty]
    if unknown := sorted(set(settings.loss) - set(known)):
        there = ", ".join(known) or "none"
        raise UsageError(f"train.loss: {settings.method} has no {', '.join(unknown)}; its loss's parameters: {there}")


def _choose_preset(settings: TrainSettings, train: int) -> str:
    if settings.preset != "auto":
        return settings.preset
    published = settings.network not in ("auto", "linear")
    return "paper" if published or train >= settings.small_rows else "small"


def _choose_network(settings: TrainSettings, entry: Entry, network: Network, in_dim: int) -> Network:
    """The preset's network, or what the settings say in its place.

    Raises:
        UsageError: they speak of the network of a method that is made for its own.
    """
    wanted = {name: getattr(settings, name) for name in ("network", "layer", "dropout", "dim")}
    asked = [f"train.{name}={value}" for name, value in wanted.items() if value not in ("auto", None)]
    if asked and entry.own_network:
        raise UsageError(f"{', '.join(asked)}: {settings.method} has a network of its own")
    if settings.network == "linear":
        network = small(in_dim if network.layer != "linear" else network.out_dim)
    elif settings.network != "auto":
        network = PUBLISHED[settings.network]
    if settings.dim is not None:
        network = resize(network, settings.dim)
    changes = {"layer": settings.layer, "dropout": settings.dropout}
    return network.model_copy(update={name: value for name, value in changes.items() if value not in ("auto", None)})


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
    chosen = entry.labelled[0] if entry.labelled and plan.needs == "label" else entry.method
    return chosen(plan, snapshot, collective)
