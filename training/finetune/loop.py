"""Fine-tune a face network on one title: the paper's iterations, on one process or several (sections 3.4 to 3.6)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from conf.errors import CastmineError, GpuUnavailable
from training.checkpoint import Checkpoint
from training.collective import Alone, Collective
from training.finetune.branches import Backbone
from training.finetune.crops import Crops
from training.finetune.health import Health, measure_health
from training.finetune.matching import draw_partners, match_by_cosine, match_tracks
from training.finetune.model import Answers, Model, Seen, answer_seen, see_crops
from training.finetune.plan import FinetunePlan
from training.finetune.quality import measure_sureness, reject_unsure
from training.finetune.schedule import find_rate, follow
from training.finetune.shown import EmbeddedViews, RenderedViews, Shown, embed_views
from training.finetune.views import KINDS

MOVED = 0.01  # share of the matches, and of tracks' nearest ones; where fewer change in an iteration, nothing moves

Matches = NDArray[np.bool_]  # (T, T), see `match_tracks`
Nearest = NDArray[np.int64]  # (T,), see `find_nearest`


@dataclass(frozen=True)
class Epoch:
    """One line of the curve; iterations count from 1, epochs from 0 through all of them."""

    iteration: int
    epoch: int
    loss: float


@dataclass
class State:
    """Where fine-tuning stands after an epoch.

    Attributes:
        iteration, done: the one at work, and how many of its epochs are done.
        matches: what its partners are drawn from; None within tracks.
        unsure: (T,) tracks that were left out of it.
        nearest: (T,) each track's nearest one, after the iteration before it.
        healths: before the first iteration, and after each that is done.
    """

    iteration: int = 1
    done: int = 0
    matches: Matches | None = None
    unsure: NDArray[np.bool_] | None = None
    nearest: Nearest | None = None
    curve: list[Epoch] = field(default_factory=list)
    healths: list[Health] = field(default_factory=list)

    def arrays(self) -> dict[str, Any]:
        """What there is by track."""
        return {"matches": self.matches, "unsure": self.unsure, "nearest": self.nearest}


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning made.

    Attributes:
        model: after the last iteration.
        unsure: (T,) tracks whose crops the network is unsure of, as it is now.
        healths: before the first iteration, and after each.
    """

    model: Model
    unsure: NDArray[np.bool_]
    curve: list[Epoch]
    healths: list[Health]

    @property
    def collapsed(self) -> bool:
        """Whether the network is of no use: it tells hardly any crops apart."""
        return self.healths[-1].is_collapse_of(self.healths[0])


Tell = Callable[[Epoch, Model], None]


def fine_tune(
    crops: Crops,
    backbone: Backbone,
    plan: FinetunePlan,
    collective: Collective | None = None,
    tell: Tell | None = None,
    checkpoint: Checkpoint | None = None,
    gpu: int | None = None,
) -> FineTuned:
    """Fine-tune copies of a backbone on a title's crops: bitwise the same for the same crops and plan.

    It ends after the plan's iterations, when matches and nearest tracks stay as they are, or when it collapses.

    Args:
        collective: this process's group; None for one process alone.
        tell: called after every epoch, on every process.
        checkpoint: what to write to after every epoch, and to go on from.
        gpu: the one to use, where the plan says cuda; None for one by this process's rank.
    Raises:
        GpuUnavailable: the plan says cuda, and torch sees no GPU.
        CastmineError: the loss is no longer a finite number.
    """
    collective, checkpoint = collective or Alone(), checkpoint or Checkpoint(None, "", collective or Alone())
    with _one_thread():
        model = Model(backbone, plan.seed).to(_device(plan, collective.rank if gpu is None else gpu))
        optimiser = make_optimiser(model, plan)
        seen = see_crops(model, crops)
        state = _resume(checkpoint, model, optimiser) or State(healths=[_examine(model, answer_seen(model, seen))])
        embedded: EmbeddedViews | None = None
        while state.iteration <= plan.iterations:
            for epoch in range(state.done, plan.epochs(state.iteration)):
                shown: Shown = RenderedViews(crops)
                if plan.heads_alone(state.iteration, epoch):
                    shown = embedded = embedded or embed_views(model, crops, plan.seed, collective)
                loss = run_epoch(model, shown, state, epoch, plan, optimiser, collective)
                state.curve.append(Epoch(state.iteration, len(state.curve), loss))
                state.done = epoch + 1
                checkpoint.save(_dump(state, model, optimiser))
                if tell is not None:
                    tell(state.curve[-1], model)
            seen = see_crops(model, crops) if plan.backbone else seen
            if not _go_on(model, crops, seen, state, plan):
                break
        unsure = state.unsure if state.unsure is not None else np.zeros(crops.n_tracks, bool)
    return FineTuned(model, unsure, state.curve, state.healths)


def _device(plan: FinetunePlan, gpu: int) -> torch.device:
    if plan.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise GpuUnavailable(
            "finetune.device is cuda, but torch sees no GPU here: mend that, or --set finetune.device=cpu"
        )
    return torch.device("cuda", gpu % torch.cuda.device_count())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are split by threads, and rounding with them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def make_optimiser(model: Model, plan: FinetunePlan) -> torch.optim.AdamW:
    """Biases and slopes do not decay (as in iBOT, to which the paper refers)."""
    matrices = [p for p in model.student.parameters() if p.squeeze().dim() > 1]
    rest = [p for p in model.student.parameters() if p.squeeze().dim() <= 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rates[0])


def _go_on(model: Model, crops: Crops, seen: Seen, state: State, plan: FinetunePlan) -> bool:
    """End an iteration: whether there is another one, whose partners are then drawn from new matches."""
    answers = answer_seen(model, seen)
    state.healths.append(_examine(model, answers))
    before = state.matches, state.nearest
    state.unsure = find_unsure(model, answers, crops, plan)
    state.matches = find_matches(answers, crops, plan, state.unsure)
    state.nearest = find_nearest(answers, crops)
    state.iteration, state.done = state.iteration + 1, 0
    return not state.healths[-1].is_collapse_of(state.healths[0]) and _moved(before, (state.matches, state.nearest))


def _examine(model: Model, answers: Answers) -> Health:
    return measure_health(model.loss.copy(), answers.teacher, answers.embeddings)


def _moved(before: tuple[Matches | None, Nearest | None], now: tuple[Matches | None, Nearest]) -> bool:
    """Whether matches, or tracks' nearest tracks, are others than an iteration before. Matches alone do not tell: where
    they are few, they stay for long, while the network learns from them."""
    (matched, nearest), (matches, near) = before, now
    if nearest is None or (nearest != near).mean() > MOVED:
        return True
    if matched is None or matches is None:
        return False
    return int((matched != matches).sum()) > MOVED * int((matched | matches).sum())


def find_nearest(answers: Answers, crops: Crops) -> Nearest:
    """(T,) each track's nearest other one, by their mean embeddings; 0 of a track without crops, which is nobody's."""
    sums = np.zeros((crops.n_tracks, answers.adapted.shape[1]))
    np.add.at(sums, crops.track, answers.adapted.double().numpy())
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    alike = np.round(means @ means.T, 9)
    np.fill_diagonal(alike, -1.0)
    alike[:, np.bincount(crops.track, minlength=crops.n_tracks) == 0] = -1.0
    return alike.argmax(axis=1)


def find_unsure(model: Model, answers: Answers, crops: Crops, plan: FinetunePlan) -> NDArray[np.bool_]:
    """(T,) tracks of whose crops the network is unsure (section 3.6); those without crops are not."""
    if not plan.quality:
        return np.zeros(crops.n_tracks, bool)
    last = model.teacher.backbone.copy_last()
    sureness = measure_sureness(answers.features, last, torch.Generator().manual_seed(plan.seed)).numpy()
    counts = np.bincount(crops.track, minlength=crops.n_tracks)
    unsure = np.zeros(crops.n_tracks, bool)
    total = np.bincount(crops.track, sureness, minlength=crops.n_tracks)
    unsure[counts > 0] = reject_unsure((total / np.maximum(counts, 1))[counts > 0])
    return unsure


def find_matches(answers: Answers, crops: Crops, plan: FinetunePlan, unsure: NDArray[np.bool_]) -> Matches | None:
    """Whose crops may stand for whose (section 3.5); unsure tracks match nobody, and nobody them."""
    if plan.matching == "none":
        return None
    if plan.matching == "fixed":
        matches = match_by_cosine(answers.embeddings.numpy(), crops.track, crops.n_tracks, plan.cosine)
    else:
        matches = match_tracks(answers.teacher.numpy(), crops.track, crops.n_tracks)
    matches[unsure], matches[:, unsure] = False, False
    return matches


def run_epoch(
    model: Model,
    shown: Shown,
    state: State,
    epoch: int,
    plan: FinetunePlan,
    optimiser: torch.optim.Optimizer,
    collective: Collective,
) -> float:
    """One pair for each crop, or several, in batches; the mean loss. What is drawn is drawn alike by every process."""
    random = np.random.default_rng((plan.seed, state.iteration, epoch))
    rounds = plan.rounds(len(shown.track))
    pairs = np.concatenate([draw_pairs(shown.track, state.matches, random) for _ in range(rounds)])
    draws, total = shown.draw(len(pairs), random), 0.0
    for start in range(0, len(pairs), plan.pairs):
        for group in optimiser.param_groups:
            group["lr"] = find_rate(plan, state.iteration, epoch + start / len(pairs))
        batch = slice(start, start + plan.pairs)
        loss = backward(model, shown, pairs[batch], draws[batch], collective)
        if not np.isfinite(loss):
            raise CastmineError(f"fine-tuning diverged: the loss of epoch {len(state.curve)} is not a finite number")
        nn.utils.clip_grad_norm_(model.student.parameters(), plan.clip)
        optimiser.step()
        follow(model.teacher, model.student, plan.keep)
        total += loss * len(pairs[batch])
    return total / len(pairs)


def draw_pairs(track: NDArray[np.int64], matches: Matches | None, random: np.random.Generator) -> NDArray[np.int64]:
    """(F, 2) each crop and its partner, in random order."""
    partner = draw_partners(track, matches, random)
    first = random.permutation(len(partner))
    return np.stack([first, partner[first]], axis=1)


def backward(
    model: Model, shown: Shown, pairs: NDArray[np.int64], draws: NDArray[Any], collective: Collective
) -> float:
    """Leave the gradient of a global batch's loss in the student's parameters, on every process, and move the centre.

    Args:
        pairs: (n, 2) crops of the whole batch; each process takes every size-th. draws: (n, ...) their views.
    Returns:
        The loss, a mean over the batch's pairs.
    """
    model.train()
    trained = shown.trained(model)
    for parameter in model.student.parameters():
        parameter.grad = None
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    mine, loss = slice(collective.rank, None, collective.size), torch.zeros((), device=model.device)
    outputs, size = (
        [torch.zeros(len(KINDS), 0, len(model.loss.centre), device=model.device)],
        shown.at_once(model.device),
    )
    for start in range(0, len(pairs[mine]), size):
        part = slice(start, start + size)
        teacher, student = shown.answer(model, pairs[mine][part], draws[mine][part])
        share = model.loss(teacher, student) * (teacher.shape[1] / len(pairs))
        share.backward()
        loss += share.detach()
        outputs.append(teacher)
    if collective.size > 1:
        loss = _add_gradients(trained, loss, collective)
    model.loss.follow(torch.cat(outputs, dim=1), collective)
    return loss.item()


def _add_gradients(trained: list[nn.Parameter], loss: Tensor, collective: Collective) -> Tensor:
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    sent = torch.cat([*(gradient.flatten() for gradient in gradients), loss.view(1)])
    *added, total = collective.sum(sent, "gradients").split([*(gradient.numel() for gradient in gradients), 1])
    for gradient, summed in zip(gradients, added, strict=True):
        gradient.copy_(summed.view_as(gradient))
    return total.squeeze()


def _dump(state: State, model: Model, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "iteration": state.iteration,
        "done": state.done,
        **{name: None if rows is None else torch.from_numpy(rows) for name, rows in state.arrays().items()},
        "curve": [[epoch.iteration, epoch.epoch, epoch.loss] for epoch in state.curve],
        "healths": [list(health) for health in state.healths],
    }


def _resume(checkpoint: Checkpoint, model: Model, optimiser: torch.optim.Optimizer) -> State | None:
    before = checkpoint.load()
    if before is None:
        return None
    model.load_state_dict(before["model"])
    optimiser.load_state_dict(before["optimiser"])
    arrays = {name: None if before[name] is None else before[name].numpy() for name in State().arrays()}
    curve, healths = [Epoch(*epoch) for epoch in before["curve"]], [Health(*health) for health in before["healths"]]
    return State(before["iteration"], before["done"], **arrays, curve=curve, healths=healths)
