"""The training loop: one optimiser, stopping rule and judgement for every method, reader and number of processes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from conf.errors import CastmineError, GpuUnavailable
from conf.settings import Library
from training.adapters import CENTRE, Adapter, Card
from training.checkpoint import Checkpoint
from training.collective import Alone, Collective
from training.judge import Epoch, Trained, judge
from training.methods.base import Method, RoundsMethod
from training.methods.registry import method_of
from training.networks import settled, start_linear
from training.plan import Plan
from training.readers.reader import KEPT_GB, Reader, Rows
from training.snapshot import Snapshot

DROP_EPOCHS = 10  # after so many the rate falls, where a plan says by how much
EVALUATION_ROWS = 4096  # rows of the development set embedded at a time
SETTLING_STEPS = 64  # batches at most over which batch norms are settled

Progress = Callable[[Epoch], None]


class EarlyStopping:
    """Stop when the loss has not fallen `min_delta` below its best for `patience` epochs in a row."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.waited = float("inf"), 0

    def take(self, loss: float) -> None:
        """Take the loss of one more epoch."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1

    @property
    def now(self) -> bool:
        """Whether to stop after the epochs that were taken."""
        return self.waited >= self.patience


def train(
    snapshot: Snapshot,
    plan: Plan,
    collective: Collective | None = None,
    progress: Progress | None = None,
    library: Library = "petastorm",
    kept_gb: float = KEPT_GB,
    checkpoint: Path | None = None,
    parent: Adapter | None = None,
) -> Trained:
    """Train an adapter: bitwise the same for the same snapshot and plan, the same curve for any number of processes.

    The development loss is that of the whole held-out part; the weights of its lowest value are kept.

    Args:
        collective: this process's group; None for one process alone.
        progress: called after every epoch, on every process.
        library, kept_gb: what reads the snapshot's files, and how much of them each process keeps in memory; they
            make no difference to the adapter.
        checkpoint: a file to write after every epoch, and to go on from where it is of the same plan and rows.
        parent: an adapter of the plan's network to start from.
    Raises:
        LakeError: the snapshot cannot be read.
        GpuUnavailable: the plan says cuda, and torch sees no GPU.
        CastmineError: the loss is no longer a finite number.
    """
    collective = collective or Alone()
    device = _device(plan, collective.rank)
    with _reproducible(plan.seed):
        share = (collective.rank, collective.size)
        reader = Reader(snapshot, plan.batch, plan.seed, plan.needs, *share, library, kept_gb)
        method = method_of(plan, snapshot, collective)
        _start(method, plan, reader, collective, parent)
        method.to(device)
        kept = Checkpoint(checkpoint, f"{snapshot.fingerprint} {plan.model_dump_json()}", collective)
        curve, best_epoch = fit_epochs(method, plan, reader, collective, progress, kept)
        weights = {**method.networks[0].state_dict()}
        if plan.read_out == "centred":
            weights[CENTRE] = _find_centre(method, reader, collective)
        held_out = reader.development().to(device)
        threshold = method.threshold(*_development_outputs(method, held_out))
    adapter = Adapter(make_card(snapshot, plan, threshold), weights)
    return judge(adapter, reader.development(), curve, best_epoch)


def _device(plan: Plan, rank: int) -> torch.device:
    """Where this process computes. What is found in closed form needs no GPU."""
    if plan.device == "cpu" or plan.method == "whitening":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise GpuUnavailable("train.device is cuda, but torch sees no GPU here: mend that, or --set train.device=cpu")
    return torch.device("cuda", rank % torch.cuda.device_count())


def _mix_precision(device: torch.device) -> torch.autocast:
    """Networks in bfloat16 on a GPU; their weights, all losses and the optimiser stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread and a seeded random state of our own; the caller's are put back."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)  # sums are split by threads, and rounding with them
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _start(method: Method, plan: Plan, reader: Reader, collective: Collective, parent: Adapter | None = None) -> None:
    """Linear networks start from the first batch's principal axes, and methods from what they make of all rows.

    Where there is a parent, its weights are the start. Then every process starts from rank 0's weights.
    """
    if parent is not None:
        method.begin_from(parent)
    elif plan.network.layer == "linear":
        views = next(reader.epoch(0)).views
        if plan.network.out_dim != views.shape[2]:  # a square one starts as the identity, which needs no rows
            views = collective.gather(views, "start.views")
        for network in method.networks:
            start_linear(network, views.flatten(0, 1))
    if parent is None:
        method.begin(reader)
    with torch.no_grad():
        for name, tensor in method.state_dict().items():
            tensor.copy_(collective.broadcast(tensor, f"start.{name}"))


def fit_epochs(
    method: Method,
    plan: Plan,
    reader: Reader,
    collective: Collective,
    progress: Progress | None,
    checkpoint: Checkpoint,
) -> tuple[list[Epoch], int]:
    """Train until the development loss stops falling and leave the weights of its lowest value in `method`."""
    device = next(method.parameters()).device
    held_out = reader.development().to(device)
    groups = [{"params": list(part.parameters())} for part in (method.networks, method.loss)]
    optimiser = torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, nesterov=plan.nesterov)
    passes = max(1, round(plan.epoch_steps / reader.steps))
    stop = EarlyStopping(plan.patience, plan.min_delta)
    steps, curve = 0, list[Epoch]()
    lowest, best_epoch, best = float("inf"), -1, method.state_dict()
    if before := checkpoint.load():
        method.load_state_dict(before["method"])
        optimiser.load_state_dict(before["optimiser"])
        stop.best, stop.waited = before["stop"]
        steps, curve = before["steps"], [Epoch(*epoch) for epoch in before["curve"]]
        lowest, best_epoch, best = before["lowest"], before["best_epoch"], before["best"]
    for number in range(len(curve), plan.max_epochs):
        if stop.now:
            break
        torch.manual_seed(_seed(plan.seed, number, collective.rank))  # dropout draws of each epoch's and process's own
        losses = []
        if isinstance(method, RoundsMethod):
            losses.append(method.improve(number, *reader.tracks()))
        else:
            for rows in _show(reader, number, passes):
                _set_rates(optimiser, plan, number, steps)
                losses.append(_step(method, rows.to(device), optimiser, collective))
                steps += 1
            _settle(method, reader, number * passes, device)
        dev_loss = _development_score(method, held_out, collective)
        epoch = Epoch(number, train_loss=float(np.mean(losses)), dev_loss=dev_loss)
        if not np.isfinite([epoch.train_loss, epoch.dev_loss]).all():
            raise CastmineError(f"training diverged: the loss of epoch {number} is not a finite number")
        curve.append(epoch)
        stop.take(epoch.dev_loss)
        if epoch.dev_loss < lowest or isinstance(method, RoundsMethod):  # a round rests on the one before
            lowest, best_epoch, best = epoch.dev_loss, number, copy.deepcopy(method.state_dict())
        checkpoint.save(
            {
                "method": method.state_dict(),
                "optimiser": optimiser.state_dict(),
                "steps": steps,
                "stop": [stop.best, stop.waited],
                "curve": [list(astuple(epoch)) for epoch in curve],
                "lowest": lowest,
                "best_epoch": best_epoch,
                "best": best,
            }
        )
        if progress is not None:
            progress(epoch)
    method.load_state_dict(best)
    return curve, best_epoch


def _show(reader: Reader, epoch: int, passes: int) -> Iterator[Rows]:
    """The batches of one epoch."""
    for number in range(epoch * passes, (epoch + 1) * passes):
        yield from reader.epoch(number)


@torch.no_grad()
def _settle(method: Method, reader: Reader, number: int, device: torch.device) -> None:
    """Give the batch norms the statistics of the training rows under the weights as they are now."""
    with settled(method.networks) as needed:
        for rows in islice(reader.epoch(number), SETTLING_STEPS if needed else 0):
            _embed(method, rows.to(device))


@torch.no_grad()
def _find_centre(method: Method, reader: Reader, collective: Collective) -> Tensor:
    """(D,) float32 mean of the outputs of all training tracks."""
    network = copy.deepcopy(method.networks[0]).cpu().double().eval()
    means = reader.tracks()[0]
    outputs = network(torch.from_numpy(means).double())
    summed = collective.sum(torch.cat([outputs.sum(dim=0), torch.tensor([float(len(means))]).double()]), "centre")
    return (summed[:-1] / summed[-1]).float()


def _seed(*of: int) -> int:
    return int(np.random.SeedSequence(of).generate_state(1)[0])


def _set_rates(optimiser: torch.optim.Optimizer, plan: Plan, epoch: int, steps: int) -> None:
    """The rates of the networks' and of the loss's parameters in this epoch, after so many steps in all."""
    rate = plan.learning_rate / (1 + plan.decay * steps) * plan.drop ** (epoch // DROP_EPOCHS)
    networks, loss = optimiser.param_groups
    networks["lr"] = rate
    loss["lr"] = 0.0 if epoch < plan.loss_waits else rate * plan.loss_rate


def _step(method: Method, rows: Rows, optimiser: torch.optim.Optimizer, collective: Collective) -> float:
    """One step on one global batch, of which `rows` is this process's part; returns the global loss."""
    method.train()
    optimiser.zero_grad()
    loss = backward(method, rows, collective)
    optimiser.step()
    return loss


def backward(method: Method, rows: Rows, collective: Collective) -> float:
    """Leave the gradient of the global batch's loss in the parameters, on every process; returns that loss."""
    outputs = _embed(method, rows)
    if method.by_row:  # each process its own rows, as a share of all
        n = collective.sum(torch.tensor([len(outputs)], dtype=torch.float32), "rows").item()
        loss = method.loss_of(outputs, None) * (len(outputs) / max(n, 1))
    else:
        loss = method.loss_of(collective.gather(outputs, "outputs"), _beside(method, rows, collective))
    loss.backward()
    # those of the loss's own parameters are the global ones already: everyone evaluates the same loss
    gradients = [parameter.grad for parameter in method.networks.parameters() if parameter.grad is not None]
    sent = torch.cat([*(gradient.flatten() for gradient in gradients), loss.detach().view(1)])
    *added, losses = collective.sum(sent, "gradients").split([*(gradient.numel() for gradient in gradients), 1])
    for gradient, total in zip(gradients, added, strict=True):
        gradient.copy_(total.view_as(gradient))
    return losses.item() if method.by_row else loss.item()


def _embed(method: Method, rows: Rows) -> Tensor:
    with _mix_precision(rows.views.device):
        outputs = method.embed(rows)
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs


def _beside(method: Method, rows: Rows, collective: Collective) -> Tensor | None:
    beside = method.beside(rows)
    return None if beside is None else collective.gather(beside, "beside")


@torch.no_grad()
def _development_score(method: Method, rows: Rows, collective: Collective) -> float:
    """Score of the whole held-out part; rank 0's, so that all processes stop at the same epoch."""
    score = method.score(*_development_outputs(method, rows))
    return collective.broadcast(torch.tensor([score], dtype=torch.float64), "development").item()


@torch.no_grad()
def _development_outputs(method: Method, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """Outputs of the whole held-out part, and what the loss wants to know of its rows."""
    method.eval()
    starts = range(0, len(rows), EVALUATION_ROWS)
    outputs = torch.cat([_embed(method, rows[start : start + EVALUATION_ROWS]) for start in starts])
    return outputs, method.beside(rows)


def make_card(snapshot: Snapshot, plan: Plan, threshold: float | None) -> Card:
    return Card(
        method=plan.method,
        settings=plan.model_dump(mode="json"),
        network=plan.network,
        in_dim=snapshot.dim,
        out_dim=plan.network.out_dim,
        base_embedder_sha256=snapshot.base_embedder_sha256,
        snapshot_fingerprint=snapshot.fingerprint,
        source_versions=snapshot.source_versions,
        labels_from=snapshot.labels_from if plan.needs == "label" else None,
        read_out=plan.read_out,
        threshold=threshold,
    )
