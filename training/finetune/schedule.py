"""VideoClusterNet's schedules: the rate, and how the teacher follows (appendix A.3)."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.finetune.plan import FinetunePlan


def find_rate(plan: FinetunePlan, iteration: int, progress: float) -> float:
    """The rate after so many epochs of an iteration, a part of one included: up in a line, then down along a cosine."""
    start, peak, end = plan.rates
    warm_up = min(plan.warm_up, plan.epochs(iteration) / 2)
    if progress < warm_up:
        return start + (peak - start) * progress / warm_up
    share = (progress - warm_up) / (plan.epochs(iteration) - warm_up)
    return end + (peak - end) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """Move the teacher's weights a step towards the student's; batch norms' statistics are copied."""
    for theirs, ours in zip(teacher.parameters(), student.parameters(), strict=True):
        theirs.lerp_(ours, 1 - keep)
    for copied, statistics in zip(teacher.buffers(), student.buffers(), strict=True):
        copied.copy_(statistics)
