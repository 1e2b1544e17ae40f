"""Whether an adapter tells held-out people apart better than the raw embeddings do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.adapters import Adapter, apply
from training.methods.registry import kind
from training.readers.reader import Rows
from training.verification import Verification, measure_move, verify

AS_GOOD_AS_PERFECT = 0.999  # a few pairs of thousands; no reason to turn down an adapter
# Share of the errors among close pairs that an adapter may leave. Of 117 adapters of six methods, each judged here and
# then used to cluster another composite title, the mean gain in V is greatest for shares from 0.7 to 0.9.
ERRORS_LEFT = 0.75

Space = tuple[NDArray[np.float32], NDArray[np.float32]]  # views and negative of the same rows


@dataclass(frozen=True)
class Epoch:
    """One line of the curve; `train_loss` is the mean over the epoch's steps, `dev_loss` the method's `score`."""

    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True)
class Trained:
    """What training made. The same on every process."""

    adapter: Adapter
    status: Literal["ready", "not_better"]
    metrics: dict[str, float]
    note: str
    best_epoch: int
    curve: list[Epoch] = field(repr=False)


def judge(adapter: Adapter, held_out: Rows, curve: list[Epoch], best_epoch: int) -> Trained:
    """Compare the adapter with the raw embeddings on the held-out rows: its status, the reason, its metrics."""
    sha256 = adapter.card.base_embedder_sha256
    views, negative = held_out.views.numpy(), held_out.negative.numpy()
    if kind(adapter.card.method) == "faces":  # two halves of a track against the mean of another track's faces
        half = views.shape[1] // 2
        views = np.stack([views[:, :half].mean(axis=1), views[:, half:].mean(axis=1)], axis=1)
    negative = negative[:, 0].mean(axis=1)  # the first partner
    n, m, d = views.shape

    def mapped(unit: bool) -> Space:
        made = apply(adapter, views.reshape(-1, d), sha256, unit=unit).reshape(n, m, -1)
        return made, apply(adapter, negative, sha256, unit=unit)

    of_rows = held_out.has_negative.numpy(), held_out.title.numpy()
    before = _unit(views), _unit(negative)
    raw, adapted = (verify(*space, *of_rows) for space in (before, mapped(unit=False)))
    card = adapter.card.model_copy(update={"moved": measure_move(before, mapped(unit=True), *of_rows)})
    adapter = Adapter(card, adapter.weights())
    metrics = {"rows": float(n), "hard_negatives": float(raw.negatives), "auc_raw": raw.auc, "auc": adapted.auc}
    metrics |= {"dev_loss": curve[best_epoch].dev_loss, "epochs": float(len(curve))}
    if raw.close_auc is not None and adapted.close_auc is not None:
        metrics |= {"close_auc_raw": raw.close_auc, "close_auc": adapted.close_auc}
    status, note = decide_status(raw, adapted)
    return Trained(adapter, status, metrics, note, best_epoch, curve)


def decide_status(raw: Verification, adapted: Verification) -> tuple[Literal["ready", "not_better"], str]:
    """status and reason: `ready` when held-out tracks hold together better, and strangers are far more seldom close."""
    against = "hard negatives" if raw.negatives else "other tracks (no held-out track has a hard negative)"
    change = f"held-out AUC against {against} {raw.auc:.4f} -> {adapted.auc:.4f}"
    if adapted.auc <= raw.auc:
        return "not_better", change
    if raw.close_auc is None or adapted.close_auc is None:
        return "ready", change
    needed = min(1 - ERRORS_LEFT * (1 - raw.close_auc), AS_GOOD_AS_PERFECT)
    change += f", of the closest pairs {raw.close_auc:.4f} -> {adapted.close_auc:.4f} ({needed:.4f} needed)"
    return ("ready" if adapted.close_auc >= needed else "not_better"), change


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
