"""What is fine-tuned: two branches of one face network, and what they answer to the crops of a title."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.finetune.branches import Backbone, Branch, TunedBranch, make_head
from training.finetune.crops import Crops, to_inputs
from training.finetune.distillation import Distillation

SEEN_AT_ONCE = {"cpu": 4, "cuda": 256}  # crops: what a CPU's cache holds takes half the time of many
SAID_AT_ONCE = 4096  # embeddings


class Model(nn.Module):
    """Student, which learns, teacher, which follows it, and the centre of the teacher's outputs (in `loss`)."""

    def __init__(self, backbone: Backbone, seed: int) -> None:
        """Both branches begin with copies of the backbone, and each with a random head of its own."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.student, self.teacher = (Branch(backbone.copy(), make_head(backbone.dim)) for _ in range(2))
        self.teacher.requires_grad_(False)
        self.loss = Distillation(backbone.dim)
        for parameter in self.parameters():
            if parameter.dim() == 4:  # of convolutions: as their inputs lie in memory
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        return self.loss.centre.device

    def has_one_backbone(self) -> bool:
        """Whether both branches still see alike, as where heads alone learn."""
        return all(map(torch.equal, self.teacher.backbone.parameters(), self.student.backbone.parameters()))

    def answer(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's and the student's outputs, (V, N, D) each, for (V, N, 3, 112, 112) views."""
        flat = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), mix_precision(flat.device):
            theirs = self.teacher.backbone(flat)
        with mix_precision(flat.device):
            ours = self.student.backbone(flat)
        with torch.no_grad():
            teacher = self.teacher.say(theirs.float())
        student = self.student.say(ours.float())
        return teacher.unflatten(0, views.shape[:2]), student.unflatten(0, views.shape[:2])

    def say(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """The same for (V, N, D) embeddings of views, of a backbone that both have as it is."""
        flat = embeddings.flatten(0, 1)
        with torch.no_grad():
            teacher = self.teacher.say(flat)
        student = self.student.say(flat)
        return teacher.unflatten(0, embeddings.shape[:2]), student.unflatten(0, embeddings.shape[:2])


def mix_precision(device: torch.device) -> torch.autocast:
    """Backbones in bfloat16; their weights, heads, the loss and the optimiser stay in float32.

    A CPU that only imitates bfloat16 takes twice as long with it, and has float32.
    """
    can = torch.cpu.get_capabilities()
    enabled = device.type != "cpu" or can.get("avx512_bf16", False) or can.get("amx_bf16", False)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@dataclass(frozen=True)
class Answers:
    """Of F crops, in evaluation mode, in memory.

    Attributes:
        features: (F, H) what goes into the last layer of the teacher's backbone.
        embeddings: (F, D) unit rows of the teacher's backbone.
        teacher, student: (F, D) outputs of both heads.
        adapted: (F, D) unit rows, the network's own embeddings: the teacher's outputs around their centre, which is
            what the loss compares.
    """

    features: Tensor
    embeddings: Tensor
    teacher: Tensor
    student: Tensor
    adapted: Tensor


class Seen(NamedTuple):
    """What both backbones see in F crops, in memory.

    Attributes:
        features: (F, H) what goes into the last layer of the teacher's.
        teacher, student: (F, D) embeddings of any length; the same where heads alone learn.
    """

    features: Tensor
    teacher: Tensor
    student: Tensor


@torch.no_grad()
def embed_crops(backbone: Backbone | TunedBranch, crops: Crops) -> Tensor:
    """(F, D) unit rows in float32, as they are harvested, in memory."""
    was_training = backbone.training
    backbone.eval()
    device = next(backbone.parameters()).device
    parts = [backbone(to_inputs(pixels, device)).cpu() for pixels in _in_parts(crops, device)]
    backbone.train(was_training)
    return normalize(torch.cat([torch.zeros(0, backbone.dim), *parts]), dim=1)


@torch.no_grad()
def see_crops(model: Model, crops: Crops, exact: bool = False) -> Seen:
    """What both backbones see in a title's crops, as they are.

    Args:
        exact: in float32, as embeddings are harvested; else as in training.
    """
    model.eval()
    dim, wide = model.teacher.backbone.dim, model.teacher.backbone.n_features
    parts = [Seen(torch.zeros(0, wide), torch.zeros(0, dim), torch.zeros(0, dim))]
    one_backbone = model.has_one_backbone()
    for pixels in _in_parts(crops, model.device):
        x = to_inputs(pixels, model.device)
        with torch.autocast(x.device.type, enabled=False) if exact else mix_precision(x.device):
            features = model.teacher.backbone.trunk(x)
            ours = None if one_backbone else model.student.backbone(x)
        theirs = model.teacher.backbone.last(features.float())
        ours = theirs if ours is None else ours
        parts.append(Seen(features.float().cpu(), theirs.cpu(), ours.float().cpu()))
    return Seen(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def answer_seen(model: Model, seen: Seen) -> Answers:
    """What both heads say of what the backbones see."""
    model.eval()
    teacher, student = _say(model.teacher, seen.teacher), _say(model.student, seen.student)
    adapted = normalize(teacher - model.loss.centre.cpu(), dim=1)
    return Answers(seen.features, normalize(seen.teacher, dim=1), teacher, student, adapted)


def _in_parts(crops: Crops, device: torch.device) -> Iterator[NDArray[np.uint8]]:
    size = SEEN_AT_ONCE[device.type]
    return (crops.pixels[start : start + size] for start in range(0, len(crops.pixels), size))


def _say(branch: Branch, embeddings: Tensor) -> Tensor:
    device = next(branch.parameters()).device
    return torch.cat([branch.say(part.to(device)).cpu() for part in embeddings.split(SAID_AT_ONCE)])


def answer_crops(model: Model, crops: Crops, exact: bool = False) -> Answers:
    """What both branches say of a title's crops; arguments as of `see_crops`."""
    return answer_seen(model, see_crops(model, crops, exact))
