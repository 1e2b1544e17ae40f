"""Fine-tune a face network on one title: the paper's iterations, on one process or several (sections 3.4 to 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.collective import Alone, Collective
from training.finetune.branches import Backbone, Branch, make_head
from training.finetune.distillation import GROUPS, Distillation
from training.finetune.matching import draw_partners, match_by_cosine, match_tracks
from training.finetune.plan import FinetunePlan
from training.finetune.quality import measure_sureness, reject_unsure
from training.finetune.schedule import find_rate, follow
from training.finetune.views import KINDS, draw_views, render_views

AT_ONCE = 8  # pairs whose views are in memory together on a CPU; their gradients add up to the batch's
EMBEDDED_AT_ONCE = 64  # crops


class Crops(NamedTuple):
    """The sampled faces of one title, aligned.

    Attributes:
        pixels: (F, 112, 112, 3) uint8, red first.
        track: (F,) int64, the place of each one's track among n_tracks.
    """

    pixels: NDArray[np.uint8]
    track: NDArray[np.int64]
    n_tracks: int


@dataclass
class Model:
    """What is trained: two branches, and the centre of the teacher's outputs."""

    student: Branch
    teacher: Branch
    loss: Distillation

    @classmethod
    def start(cls, backbone: Backbone, dim: int, seed: int) -> Model:
        """Both branches begin with copies of the backbone, each with a random head of its own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            student, teacher = (Branch(backbone.copy(), make_head(dim)) for _ in range(2))
        return cls(student, teacher.requires_grad_(False), Distillation(dim))

    def to(self, device: torch.device) -> Model:
        for part in (self.student, self.teacher, self.loss):
            part.to(device, memory_format=torch.channels_last)
        return self


def fine_tune(
    crops: Crops,
    backbone: Backbone,
    plan: FinetunePlan,
    collective: Collective | None = None,
    after: Callable[[int, Model], None] | None = None,
) -> Model:
    collective = collective or Alone()
    device = torch.device(plan.device)
    model = Model.start(backbone, backbone.dim, plan.seed).to(device)
    optimiser = torch.optim.AdamW(model.student.parameters(), weight_decay=plan.weight_decay)
    for iteration in range(1, plan.iterations + 1):
        matches = match(model, crops, plan, iteration)
        for epoch in range(plan.epochs(iteration)):
            loss = run_epoch(model, crops, matches, plan, optimiser, iteration, epoch, collective)
            if after: after((iteration, epoch, loss), model)
    return model


def match(model: Model, crops: Crops, plan: FinetunePlan, iteration: int) -> NDArray[np.bool_] | None:
    if iteration == 1 or plan.matching == "none":
        return None
    found = embed(model, crops, plan)
    if plan.matching == "fixed":
        matches = match_by_cosine(found.embeddings, crops.track, crops.n_tracks, plan.cosine)
    else:
        matches = match_tracks(found.teacher, crops.track, crops.n_tracks)
    if plan.quality:
        unsure = find_unsure(model, found, crops, plan)
        matches[unsure] = matches[:, unsure] = False
    return matches


class Found(NamedTuple):
    features: Tensor
    embeddings: NDArray[np.float32]
    teacher: NDArray[np.float32]
    student: NDArray[np.float32]


@torch.no_grad()
def embed(model: Model, crops: Crops, plan: FinetunePlan) -> Found:
    model.teacher.eval(), model.student.eval()
    parts = []
    for start in range(0, len(crops.pixels), EMBEDDED_AT_ONCE):
        x = to_input(crops.pixels[start : start + EMBEDDED_AT_ONCE], torch.device(plan.device))
        with mixed(x.device):
            features = model.teacher.backbone.trunk(x)
            students = model.student.backbone(x)
        features = features.float()
        embeddings = model.teacher.backbone.last(features)
        parts.append((features, normalize(embeddings, dim=1), model.teacher.say(embeddings), model.student.say(students.float())))
    features, embeddings, teacher, student = (torch.cat(part) for part in zip(*parts, strict=True))
    return Found(features, embeddings.numpy(), teacher.numpy(), student.numpy())


def find_unsure(model, found, crops, plan):
    generator = torch.Generator().manual_seed(plan.seed)
    sure = measure_sureness(found.features, model.teacher.backbone.last, generator).numpy()
    n = np.bincount(crops.track, minlength=crops.n_tracks)
    return reject_unsure(np.bincount(crops.track, sure, minlength=crops.n_tracks) / np.maximum(n, 1))


def mixed(device):
    return torch.autocast(device.type, torch.bfloat16)


def to_input(pixels, device):
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    return ((x.float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def run_epoch(model, crops, matches, plan, optimiser, iteration, epoch, collective) -> float:
    random = np.random.default_rng((plan.seed, iteration, epoch))
    partner = draw_partners(crops.track, matches, random)
    order = random.permutation(len(partner))
    draws = draw_views(len(order), random)
    losses = []
    steps = -(-len(order) // plan.pairs)
    for step in range(steps):
        at = order[step * plan.pairs : (step + 1) * plan.pairs]
        for group in optimiser.param_groups:
            group["lr"] = find_rate(plan, iteration, epoch + step / steps)
        losses.append(take_step(model, crops, at, partner[at], draws[step * plan.pairs : (step + 1) * plan.pairs], plan, optimiser, plan.heads_alone(iteration, epoch), collective))
    return float(np.mean(losses))


def take_step(model, crops, first, second, draws, plan, optimiser, heads_alone, collective) -> float:
    model.student.train()
    optimiser.zero_grad(set_to_none=True)
    rank = slice(collective.rank, None, collective.size)
    n, total, teachers = len(first), 0.0, []
    first, second, draws = first[rank], second[rank], draws[rank]
    for start in range(0, len(first), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        views = make_views(crops, first[part], second[part], draws[part], torch.device(plan.device))
        teacher, student = answer(model, views, heads_alone)
        loss = model.loss(teacher, student) * (teacher.shape[1] / n)
        loss.backward()
        total += loss.item()
        teachers.append(teacher)
    if collective.size > 1:
        raise NotImplementedError
    nn.utils.clip_grad_norm_(model.student.parameters(), plan.clip)
    optimiser.step()
    follow(model.teacher, model.student, plan.keep)
    model.loss.follow(torch.cat(teachers, dim=1), collective)
    return total


def make_views(crops, first, second, draws, device):
    """(V, n, 3, 112, 112)"""
    v, n = len(KINDS), len(first)
    index = np.stack([first if k % 2 == 0 else second for k in range(v)])  # (V, n)
    x = to_input(crops.pixels[index.ravel()], device)
    d = torch.from_numpy(np.ascontiguousarray(draws.transpose(1, 0, 2).reshape(v * n, -1))).to(device)
    return render_views(x, d).unflatten(0, (v, n))


def answer(model, views, heads_alone):
    flat = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    with mixed(flat.device):
        with torch.no_grad():
            theirs = model.teacher.backbone(flat).float()
        if heads_alone:
            ours = theirs
        else:
            ours = model.student.backbone(flat).float()
    with torch.no_grad():
        teacher = model.teacher.say(theirs)
    student = model.student.say(ours)
    return teacher.unflatten(0, views.shape[:2]), student.unflatten(0, views.shape[:2])
