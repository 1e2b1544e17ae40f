"""What a step of fine-tuning is shown: views of pairs of crops, rendered for it, or embedded once for many steps."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.collective import Collective
from training.finetune.crops import Crops, to_inputs
from training.finetune.model import SEEN_AT_ONCE, Model, mix_precision
from training.finetune.views import KINDS, draw_views, render_views

RENDERED = {"cpu": 8, "cuda": 64}  # pairs, or crops, whose views are in memory together
KEPT = 4  # views of a crop that are embedded once, of either kind: as good as 12, in a third of the time
LOCAL = np.array([0, 0, 1, 1, 1, 1])  # whether a view of a pair is a local one


class Shown(Protocol):
    """Where the views of a step come from."""

    track: NDArray[np.int64]

    def draw(self, pairs: int, random: np.random.Generator) -> NDArray[Any]:
        """(pairs, ...) what the views of so many pairs are."""
        ...

    def trained(self, model: Model) -> list[nn.Parameter]:
        """What learns from them."""
        ...

    def at_once(self, device: torch.device) -> int:
        """How many pairs go together; the gradients of parts add up to the batch's."""
        ...

    def answer(self, model: Model, pairs: NDArray[np.int64], draws: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """The teacher's and the student's outputs, (6, n, D) each, for the views of (n, 2) pairs of crops."""
        ...


class RenderedViews:
    """Views of crops, which both backbones see."""

    def __init__(self, crops: Crops) -> None:
        self.crops, self.track = crops, crops.track

    def draw(self, pairs: int, random: np.random.Generator) -> NDArray[Any]:
        return draw_views(pairs, random)

    def trained(self, model: Model) -> list[nn.Parameter]:
        return list(model.student.parameters())

    def at_once(self, device: torch.device) -> int:
        return RENDERED[device.type]

    def answer(self, model: Model, pairs: NDArray[np.int64], draws: NDArray[Any]) -> tuple[Tensor, Tensor]:
        return model.answer(make_views(self.crops, pairs, draws, model.device))


class EmbeddedViews:
    """Views that the backbone has embedded, for as long as it stands still: only heads see them.

    Args:
        track: (F,) of the crops. embeddings: (F, 2, N, D) of N global and of N local views of each crop.
    """

    def __init__(self, track: NDArray[np.int64], embeddings: Tensor) -> None:
        self.track, self.embeddings = track, embeddings

    def draw(self, pairs: int, random: np.random.Generator) -> NDArray[Any]:
        return random.integers(self.embeddings.shape[2], size=(pairs, len(KINDS)))

    def trained(self, model: Model) -> list[nn.Parameter]:
        return list(model.student.head.parameters())

    def at_once(self, device: torch.device) -> int:
        return 1024

    def answer(self, model: Model, pairs: NDArray[np.int64], draws: NDArray[Any]) -> tuple[Tensor, Tensor]:
        of = torch.from_numpy(np.stack([find_shown(pairs), np.broadcast_to(LOCAL[:, None], draws.T.shape), draws.T]))
        return model.say(self.embeddings[tuple(of.to(self.embeddings.device))].float())


@torch.no_grad()
def embed_views(model: Model, crops: Crops, seed: int, collective: Collective) -> EmbeddedViews:
    """Render and embed KEPT views of either kind of each crop; each process does its share, in whole parts."""
    n, dim = len(crops.track), model.teacher.backbone.dim
    drawn = draw_views(n * KEPT // 2, np.random.default_rng((seed, 0)))[:, :4]  # two of either kind at a time
    draws = drawn.reshape(n, KEPT // 2, 2, 2, -1).swapaxes(1, 2).reshape(n, 2 * KEPT, -1)
    embeddings = torch.zeros(n, 2 * KEPT, dim, device=model.device)
    size = RENDERED[model.device.type]
    for number, start in enumerate(range(0, n, size)):
        if number % collective.size == collective.rank:
            part = slice(start, start + size)
            inputs = to_inputs(crops.pixels[part], model.device).repeat_interleave(2 * KEPT, dim=0)
            views = render_views(inputs, torch.from_numpy(draws[part].reshape(len(inputs), -1)).to(model.device))
            found = [_see(model, some) for some in views.split(SEEN_AT_ONCE[model.device.type])]
            embeddings[part] = normalize(torch.cat(found), dim=1).view(-1, 2 * KEPT, dim)
    if collective.size > 1:
        embeddings = collective.sum(embeddings.flatten(), "views").view(embeddings.shape)
    return EmbeddedViews(crops.track, embeddings.half().unflatten(1, (2, KEPT)))


def _see(model: Model, views: Tensor) -> Tensor:
    with mix_precision(model.device):
        return model.teacher.backbone(views.contiguous(memory_format=torch.channels_last)).float()


def find_shown(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """(6, n) the crop of each view of (n, 2) pairs: by turns the first one and the second."""
    return pairs[:, np.arange(len(KINDS)) % 2].T


def make_views(crops: Crops, pairs: NDArray[np.int64], draws: NDArray[Any], device: torch.device) -> Tensor:
    """(6, n, 3, 112, 112) views of (n, 2) pairs of crops, drawn as (n, 6, 7) say."""
    shown = find_shown(pairs)
    inputs = to_inputs(crops.pixels[shown.ravel()], device)
    drawn = torch.from_numpy(np.ascontiguousarray(draws.swapaxes(0, 1).reshape(-1, draws.shape[2]))).to(device)
    return render_views(inputs, drawn).unflatten(0, shown.shape)
