"""VideoClusterNet's loss: the student says of one view what the teacher says of another (section 3.4, eq. 2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax

from training.collective import Collective

GROUPS = ((0, 1), (2, 3, 4, 5))  # views of a pair of crops: two global ones, four local ones (appendix A.3)


class Distillation(nn.Module):
    """`l(x, y) = -sum softmax((t(x) - c) / tau_t) ln softmax(s(y) / tau_s)`, the mean over pairs of views of a group.

    c, the centre, is the teacher's mean output over the batches so far, of which the last weighs a tenth; without it
    all could agree on one answer. It is a part of the model that is trained, and of the distance that clusters by it.

    Args:
        dim: D.
        teacher, student: the temperatures. One that is lower for the teacher makes its answer the sharper one.
        keep: of the centre, a step.
    """

    centre: Tensor

    def __init__(self, dim: int, teacher: float = 0.04, student: float = 0.1, keep: float = 0.9) -> None:
        super().__init__()
        self.teacher, self.student, self.keep = teacher, student, keep
        self.register_buffer("centre", torch.zeros(dim))

    def forward(self, teacher: Tensor, student: Tensor, groups: Sequence[Sequence[int]] = GROUPS) -> Tensor:
        """Scalar, above 0. No gradient flows into the teacher.

        Args:
            teacher, student: (V, N, D) outputs of both for the same views, unnormalised.
            groups: views that are compared, each with every other one of its group, both ways.
        """
        p, log_q = self.say(teacher.detach()), self.guess(student)
        total, pairs = log_q.new_zeros(()), 0
        for group in groups:
            views = list(group)
            all_pairs = (p[views].sum(dim=0) * log_q[views].sum(dim=0)).sum()
            total = total - all_pairs + (p[views] * log_q[views]).sum()  # a view is not compared with itself
            pairs += len(views) * (len(views) - 1)
        return total / (pairs * max(teacher.shape[1], 1))

    def copy(self) -> Distillation:
        """The same in memory, in double precision, which does not move any more."""
        return copy.deepcopy(self).cpu().double()

    def say(self, teacher: Tensor) -> Tensor:
        """(..., D) the teacher's answer: its outputs, centred and sharpened, as a distribution."""
        return softmax((teacher - self.centre) / self.teacher, dim=-1)

    def guess(self, student: Tensor) -> Tensor:
        """(..., D) the student's answer, in logarithms."""
        return log_softmax(student / self.student, dim=-1)

    @torch.no_grad()
    def follow(self, teacher: Tensor, collective: Collective) -> None:
        """Move the centre towards the mean of a batch of (V, n, D) teacher outputs, over all processes."""
        summed = torch.cat([teacher.sum(dim=(0, 1)), teacher.new_tensor([float(teacher.shape[0] * teacher.shape[1])])])
        summed = collective.sum(summed, "centre")
        self.centre.lerp_(summed[:-1] / summed[-1], 1 - self.keep)
