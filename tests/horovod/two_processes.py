"""Run by `horovodrun` in every process: collectives, gradients and a training; rank 0 prints what came out as JSON.

usage: two_processes.py SNAPSHOT_FOLDER
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch import Tensor

from training.collective import Collective
from training.launchers.horovod import HorovodCollective
from training.loop import backward, train
from training.methods import METHODS
from training.networks import Network
from training.presets import Plan
from training.readers import Rows
from training.snapshot import Snapshot

DEEP = Network(name="deep", widths=(32, 16), dropout=0.0)
LINEAR = Network(name="small", widths=(12,), linear=True, dropout=0.0)
LOSS: dict[str, dict[str, float]] = {"mvcorr": {"shrinkage": 0.2}, "imptriplet": {"weight": 0.02}}


def plan(method: str, network: Network, **changes: Any) -> Plan:
    values = {"method": method, "preset": "small", "network": network, "loss": LOSS[method], "batch": 64}
    return Plan.model_validate({**values, "learning_rate": 0.05, "max_epochs": 5, **changes})


def batch(n: int, d: int = 20) -> Rows:
    """The same global batch wherever it is made."""
    generator = torch.Generator().manual_seed(4)
    views = torch.randn(n, 1, d, generator=generator) + torch.randn(n, 3, d, generator=generator)
    negative = torch.randn(n, d, generator=generator)
    return Rows(torch.arange(n), torch.zeros(n, dtype=torch.int64), views, negative, torch.ones(n, dtype=torch.bool))


def gradients(method_name: str, network: Network, collective: Collective, rows: Rows) -> dict[str, Any]:
    """Loss, parameter gradients and running statistics after one batch, from one fixed start."""
    torch.manual_seed(11)
    method = METHODS[method_name](plan(method_name, network), 20, 3, collective)
    loss = backward(method, rows, collective)
    found = [parameter.grad for parameter in method.parameters()]
    return {"loss": loss, "gradient": flat(found), "statistics": flat(list(method.buffers()))}


def flat(tensors: list[Tensor | None]) -> list[float]:
    return [value for tensor in tensors if tensor is not None for value in tensor.flatten().tolist()]


def share(rows: Rows, collective: Collective) -> Rows:
    """An uneven part, so that nothing can rest on equal ones: a third for the first of two, the rest for the second."""
    cuts = [0, len(rows) // 3, len(rows)]
    return rows[slice(cuts[collective.rank], cuts[collective.rank + 1])]


def exchanged(collective: Collective) -> dict[str, Any]:
    """What the collective's calls give, and their gradients, on numbers small enough to check by hand."""
    rank = float(collective.rank)
    x = torch.full((collective.rank + 1, 2), rank + 1, requires_grad=True)
    (collective.gather(x, "x") * torch.arange(6.0).view(3, 2)).sum().backward()
    y = torch.tensor([rank + 1], requires_grad=True)
    (collective.sum(y, "y") * (rank + 2)).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    return {
        "gathered": collective.gather(x.detach(), "x").tolist(),
        "gather_gradients": collective.gather(x.grad, "x.grad").tolist(),
        "sum": collective.sum(y.detach(), "y").tolist(),
        "sum_gradients": collective.gather(y.grad, "y.grad").tolist(),
        "broadcast": collective.broadcast(torch.tensor([rank + 5]), "z").tolist(),
    }


def main() -> None:
    torch.set_num_threads(1)
    collective = HorovodCollective()
    snapshot = Snapshot.open(sys.argv[1])
    found: dict[str, Any] = {"size": collective.size, "exchanged": exchanged(collective)}
    for method in METHODS:
        for network in (DEEP, LINEAR):
            rows = share(batch(60), collective)
            found[f"{method} {network.name}"] = gradients(method, network, collective, rows)
            made = train(snapshot, plan(method, network), collective)
            sums = collective.gather(torch.tensor([list(bytes.fromhex(made.adapter.sha256()))]), "sha256")
            found[f"{method} {network.name} training"] = {
                "curve": [[epoch.train_loss, epoch.dev_loss] for epoch in made.curve],
                "auc": made.metrics["auc"],
                "equal": torch.equal(sums[0], sums[1]),
            }
    if collective.rank == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
