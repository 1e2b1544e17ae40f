"""Whether a fine-tuned network still tells crops apart. One that gives all the same answer has the lowest loss."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from training.finetune.distillation import Distillation

FEWEST_ANSWERS = 1.05
RANK_LEFT = 0.25  # of what it was before


class Health(NamedTuple):
    """How much a network's answers depend on the crop.

    Attributes:
        answers: how many different ones there are, `exp(H(mean p) - mean H(p))` of the teacher's distributions p: 1
            where all crops get the same, whether that is a sure one or none at all.
        rank: of the embeddings around their mean, `exp` of the entropy of their variances along principal axes.
    """

    answers: float
    rank: float

    def is_collapse_of(self, before: Health) -> bool:
        """Whether a network that was like `before` tells hardly any crops apart now."""
        return self.answers < FEWEST_ANSWERS or self.rank < RANK_LEFT * before.rank

    def say(self) -> str:
        return f"{self.answers:.1f} different answers of the teacher, effective rank {self.rank:.1f} of the embeddings"


@torch.no_grad()
def measure_health(loss: Distillation, teacher: Tensor, embeddings: Tensor) -> Health:
    """Of (F, D) outputs of the teacher and (F, D) embeddings of the same crops, F at least 2."""
    p = loss.say(teacher.double())
    answers = math.exp(_entropy(p.mean(dim=0)).item() - _entropy(p).mean().item())
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    variances = torch.linalg.svdvals(centred).square()
    return Health(answers, math.exp(_entropy(variances / variances.sum().clamp(min=1e-12)).item()))


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(dim=-1)
