"""Whether a fine-tuned network serves its title better than before: by cannot-links, of which it knows nothing."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.adapters import Moved
from training.finetune.title import TitleCrops
from training.verification import Verification, measure_change, verify_likeness


class Comparison(NamedTuple):
    """A title's tracks in two spaces, and how distances moved from the one to the other."""

    raw: Verification
    adapted: Verification
    moved: Moved


def compare(title: TitleCrops, adapted: NDArray[np.float32]) -> Comparison:
    """Judge (F, D) adapted unit rows against the raw ones.

    Of one person are the two halves of a track, of two people two tracks that are cannot-linked. Fine-tuning pairs the
    crops of a track, and so brings its halves together; of the cannot-links it knows nothing, and in their absence any
    two tracks stand in for them.

    Raises:
        ValueError: fewer than two tracks, or no track of two faces.
    """
    before, after = (_measure_likeness(title, x) for x in (title.raw, adapted))
    moved = measure_change(*((1 + each.halves, 1 + each.different) for each in (before, after)))
    raw, tuned = (verify_likeness(each.halves, each.linked, each.pairs) for each in (before, after))
    return Comparison(raw, tuned, moved)


def decide_status(found: Comparison) -> tuple[Literal["ready", "not_better"], str]:
    """status and reason: `not_better` where halves of tracks, or the closest pairs of tracks, are told from two people
    worse than before."""
    raw, adapted = found.raw, found.adapted
    against = "cannot-linked tracks" if raw.negatives else "all pairs of tracks (there are no cannot-links)"
    said = f"AUC of tracks' halves against {against} {raw.auc:.4f} -> {adapted.auc:.4f}"
    better = adapted.auc >= raw.auc
    if raw.close_auc is not None and adapted.close_auc is not None:
        said += f", of the closest pairs {raw.close_auc:.4f} -> {adapted.close_auc:.4f}"
        better = better and adapted.close_auc >= raw.close_auc
    return "ready" if better else "not_better", said


class _Likeness(NamedTuple):
    """Cosines less 1: of the halves of tracks, of cannot-linked tracks, of all pairs of tracks."""

    halves: NDArray[np.float64]
    linked: NDArray[np.float64]
    pairs: NDArray[np.float64]

    @property
    def different(self) -> NDArray[np.float64]:
        return self.linked if len(self.linked) else self.pairs


def _measure_likeness(title: TitleCrops, x: NDArray[np.float32]) -> _Likeness:
    track, n = title.crops.track, len(title.track_ids)
    counts = np.bincount(track, minlength=n)
    if n < 2 or counts.max() < 2:
        raise ValueError(f"{n} track(s) of {counts.max(initial=0)} face(s) at most make no pairs to judge by")
    second = np.arange(len(track)) - np.searchsorted(track, track) >= (counts[track] + 1) // 2
    halves = np.zeros((n, 2, x.shape[1]))
    np.add.at(halves, (track, second.astype(int)), x)
    first, rest = (_unit(halves[counts >= 2, half]) for half in range(2))
    means = _unit(halves.sum(axis=1))
    alike = means @ means.T - 1
    return _Likeness((first * rest).sum(axis=1) - 1, alike[tuple(title.cannot.T)], alike[np.triu_indices(n, 1)])


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
