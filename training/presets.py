"""How to train: the published settings of each method, and settings for a corpus of one or two films."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from conf.errors import TooLittleData, UsageError
from conf.settings import TrainingMethod, TrainSettings
from training.networks import BALL, C1, C2, Network, small
from training.snapshot import Kind, Needs, Snapshot

PAPER_BATCH = 1024
WHITENING: dict[str, Any] = {"cuts": [0.3, 0.4, 0.5], "least": 3, "caution": 3.0}
FLOOR = 0.5  # of lda_triplet; see `whitening.discriminant`
TRIPLET_STEPS = 40
WHITENED: tuple[TrainingMethod, ...] = ("whitened_triplet", "lda_triplet", "whitening")
LABELLED: tuple[TrainingMethod, ...] = ("cross_entropy", "ldml", "contrastive", "triplet", "prototypical")


class Plan(BaseModel):
    """Everything beside the snapshot that decides a training run; it goes into the adapter's file as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: TrainingMethod
    preset: Literal["paper", "small"]
    needs: Needs = Field("all", description="rows that it learns from: those with a negative, a label, or all")
    network: Network
    loss: dict[str, Any] = Field(description="parameters of the loss")
    whitening: dict[str, Any] = Field({}, description="parameters of the methods that whiten")
    batch: int = Field(ge=1, description="rows of a global batch, over all processes")
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    decay: float = Field(0.0, ge=0, description="the rate of step t is learning_rate / (1 + decay t)")
    drop: float = Field(1.0, gt=0, le=1, description="factor on the rate after every 10 epochs")
    loss_rate: float = Field(1.0, ge=0, description="rate of the loss's own parameters, as a share of learning_rate")
    loss_waits: int = Field(0, ge=0, description="epochs in which the loss's own parameters stand still")
    max_epochs: int = Field(200, ge=1)
    patience: int = Field(5, ge=1, description="epochs without progress after which training stops")
    min_delta: float = Field(1e-3, ge=0, description="fall of the development score that counts as progress")
    seed: int = 7
    device: Literal["cpu", "cuda"] = "cpu"


def kind(method: TrainingMethod) -> Kind:
    """What a method's snapshot holds of each track."""
    return "tracklets" if method in (*WHITENED, "mvcorr", "imptriplet") else "faces"


def plan(settings: TrainSettings, snapshot: Snapshot) -> Plan:
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
    made = _MADE[settings.method](preset, snapshot.dim, train, dev)
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
    if method in LABELLED or (method == "bcl" and snapshot.labels):
        if not snapshot.labels:
            raise UsageError(f"train.method={method} learns from identities: name a truth file with --labels")
        return "label"
    return "all" if method in (*WHITENED, "mvcorr", "ssiam") else "negative"


def _in_words(needs: Needs, kind: Kind) -> str:
    """What a row must be for a method, in words."""
    if needs == "negative":
        return f"tracks with {'a hard negative' if kind == 'tracklets' else 'a cannot-linked track'}"
    if needs == "label":
        return "tracks with a label"
    return "tracks with hard positives" if kind == "tracklets" else "tracks"


def _whitening(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours, chosen on composite titles: three rounds, whatever the size of the corpus."""
    fixed = {"network": small(in_dim), "loss": {}, "whitening": WHITENING}
    return {**fixed, "batch": train, "learning_rate": 1.0, "max_epochs": len(WHITENING["cuts"])}


def _whitened_triplet(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours, whatever the size of the corpus: few small steps, as what triplets teach holds for the people in them.

    On composite titles 40 steps gain most of what 200 do where people come back, and lose nothing on people never seen,
    where 200 steps end below the raw embedding.
    """
    made = _imptriplet("small", in_dim, train, dev)
    epochs = max(1, TRIPLET_STEPS * made["batch"] // train)  # a small corpus is one batch
    return {**made, "whitening": WHITENING, "learning_rate": 0.01, "max_epochs": epochs, "min_delta": 0.0}


def _lda_triplet(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Ours. On composite titles it tells the people of the training titles apart best of all, others less well."""
    return {**_whitened_triplet(preset, in_dim, train, dev), "whitening": {**WHITENING, "floor": FLOOR}}


def _mvcorr(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published: C1, rate 0.01. Small: as many outputs, up to 64, as the covariances of both parts can bear."""
    network, rate = (C1, 0.01) if preset == "paper" else (small(_outputs(train, dev, in_dim)), 1.0)
    batch = min(PAPER_BATCH, train)
    if min(batch, dev) <= network.out_dim:
        raise TooLittleData(
            f"MvCorr with {network.out_dim} outputs needs more than {network.out_dim} tracks with hard positives in "
            f"each part; there are {train} to train and {dev} held out"
        )
    return {"network": network, "loss": {"shrinkage": 0.2}, "batch": batch, "learning_rate": rate, "decay": 1e-6}


def _outputs(train: int, dev: int, in_dim: int) -> int:
    """The largest power of two up to 64 with four training rows and one held-out row more than outputs; 8 at least."""
    bound = min(64, in_dim, train // 4, dev - 1)
    return max(min(8, in_dim), 1 << max(bound, 1).bit_length() - 1)


def _imptriplet(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published: C2, rate 0.001. Small: a square map that starts as the identity; the rate is for unit rows."""
    network, rate = (C2, 0.001) if preset == "paper" else (small(in_dim), 0.1)
    loss = {"margin": 1.0, "pull": 0.1, "weight": 0.02}
    return {
        "network": network,
        "loss": loss,
        "batch": min(PAPER_BATCH, train),
        "learning_rate": rate,
        "decay": 1e-6,
    }


def _bcl(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Published (BCL): batch 2000, rate 0.003, times 0.9 every 10 epochs; h waits 5 epochs, then a tenth of it."""
    schedule = {"drop": 0.9, "loss_rate": 0.1, "loss_waits": 5, "patience": 30}
    network, rate = (BALL, 0.003) if preset == "paper" else (small(in_dim), 0.1)
    return {"network": network, "loss": {}, "batch": min(2000, train), "learning_rate": rate, **schedule}


def _rival(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """BCL's five rivals have its data, network and schedule, their own parameters the full rate."""
    return {**_bcl(preset, in_dim, train, dev), "loss_rate": 1.0, "loss_waits": 0}


def _tsiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """As rerun in the VideoClusterNet paper: batch 32, 100 epochs; head and rate are ours."""
    return _siamese(preset, in_dim, min(32 if preset == "paper" else PAPER_BATCH, train))


def _ssiam(preset: str, in_dim: int, train: int, dev: int) -> dict[str, Any]:
    """Sorted lists of batches of 1000 faces, two of each track."""
    return _siamese(preset, in_dim, min(500, train))


def _siamese(preset: str, in_dim: int, batch: int) -> dict[str, Any]:
    """The margin of the small preset lies beyond the distance of strangers, 1.41; below it nothing would push."""
    head = Network(name="head", widths=(256,), layer="relu", dropout=0.0)
    network, rate, margin = (head, 0.01, 1.0) if preset == "paper" else (small(in_dim), 0.1, 1.5)
    return {
        "network": network,
        "loss": {"margin": margin},
        "batch": batch,
        "learning_rate": rate,
        "max_epochs": 100,
        "min_delta": 1e-4,
    }


_MADE = {
    "whitened_triplet": _whitened_triplet,
    "lda_triplet": _lda_triplet,
    "whitening": _whitening,
    "mvcorr": _mvcorr,
    "imptriplet": _imptriplet,
    "bcl": _bcl,
    "tsiam": _tsiam,
    "ssiam": _ssiam,
    **dict.fromkeys(LABELLED, _rival),
}
