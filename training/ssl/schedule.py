"""VideoClusterNet's schedules: epochs, rates, and how the teacher follows (appendix A.3)."""

from __future__ import annotations

import math

import torch
from torch import nn

FIRST, LATER, HEADS_ALONE, WARM_UP = 30, 10, 10, 5  # epochs: iteration 0, each later one, of these, of each iteration
LOWEST, HIGHEST, LAST = 5e-6, 1e-4, 1e-5  # rates: where warming up begins, where it ends, where the cosine ends
KEEP = 0.996  # of the teacher, a step


def epochs_of(iteration: int) -> int:
    return FIRST if iteration == 0 else LATER


def heads_alone(iteration: int, epoch: int) -> bool:
    """Whether the backbone stands still."""
    return iteration == 0 and epoch < HEADS_ALONE


def rate(iteration: int, progress: float) -> float:
    """The rate after so many epochs of an iteration, a part of one included: up in a line, then down along a cosine."""
    if progress < WARM_UP:
        return LOWEST + (HIGHEST - LOWEST) * progress / WARM_UP
    share = (progress - WARM_UP) / (epochs_of(iteration) - WARM_UP)
    return LAST + (HIGHEST - LAST) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, keep: float = KEEP) -> None:
    """Move the teacher's weights a step towards the student's; batch norms' statistics are copied."""
    for theirs, ours in zip(teacher.parameters(), student.parameters(), strict=True):
        theirs.lerp_(ours, 1 - keep)
    for theirs, ours in zip(teacher.buffers(), student.buffers(), strict=True):
        theirs.copy_(ours)
