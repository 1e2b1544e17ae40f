"""Run by `horovodrun` or `torchrun` in every process: collectives, gradients, trainings; rank 0 prints them as JSON.

usage: two_processes.py FOLDER horovod|torch     with a snapshot in FOLDER/tracklets (of tracklets) and in FOLDER/faces
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tests.helpers.tiny_backbone import noise_crops, tiny_backbone
from training.collective import Collective
from training.finetune.loop import backward as fine_tune_backward
from training.finetune.model import Model
from training.finetune.shown import RenderedViews, embed_views
from training.finetune.views import draw_views
from training.launchers.horovod import HorovodCollective
from training.launchers.job import loopback
from training.launchers.torch_distributor import TorchCollective
from training.loop import backward, train
from training.methods.registry import LABELLED, kind, method_of
from training.networks import Network, small
from training.plan import Plan
from training.readers.reader import Rows
from training.snapshot import Snapshot

DEEP = Network(name="deep", widths=(32, 16), dropout=0.0)
LINEAR = Network(name="small", widths=(12,), layer="linear", dropout=0.0)
SQUARE = small(20)
PLAIN = Network(name="plain", widths=(16, 8), layer="relu", dropout=0.0)
# what is trained: method, whether with labels, network
CASES: dict[str, tuple[str, bool, Network]] = {
    **{f"{name} {net.name}": (name, False, net) for name in ("mvcorr", "imptriplet") for net in (DEEP, LINEAR)},
    **{f"{name} {PLAIN.name}": (name, False, PLAIN) for name in ("bcl", "tsiam", "ssiam")},
    **{name: (name, False, SQUARE) for name in ("whitening", "whitened_triplet", "lda_triplet")},
    **{f"{name} {PLAIN.name} labels": (name, True, PLAIN) for name in ("bcl", *LABELLED)},
}

WITH_GRADIENTS = [case for case in CASES if case != "whitening"]


def plan(case: str, **changes: Any) -> Plan:
    method, labelled, network = CASES[case]
    needs = "label" if labelled else "negative" if method in ("imptriplet", "tsiam", "bcl") else "all"
    values = {"method": method, "preset": "small", "network": network, "loss": {}, "batch": 64, "needs": needs}
    whitening = {"cuts": [0.3] * 5, "least": 3, "caution": 1.0}
    if method == "lda_triplet":
        whitening["floor"] = 0.5
    return Plan.model_validate({**values, "whitening": whitening, "learning_rate": 0.05, "max_epochs": 5, **changes})


def batch(snapshot: Snapshot, n: int) -> Rows:
    """The same global batch wherever it is made."""
    generator = torch.Generator().manual_seed(4)
    views = torch.randn(n, 1, 20, generator=generator) + torch.randn(n, snapshot.n_views, 20, generator=generator)
    return Rows(
        row=torch.arange(n),
        title=torch.zeros(n, dtype=torch.int64),
        views=views,
        negative=torch.randn(n, snapshot.n_partners, snapshot.n_negatives, 20, generator=generator),
        has_negative=torch.arange(n) % 4 > 0,
        label=torch.randint(5, (n,), generator=generator),
        draw=torch.randint(2**31, (n, 3), generator=generator),
    )


def gradients(case: str, snapshot: Snapshot, collective: Collective, rows: Rows) -> dict[str, Any]:
    """Loss, parameter gradients and running statistics after one batch, from one fixed start."""
    torch.manual_seed(11)
    method = method_of(plan(case), snapshot, collective)
    loss = backward(method, rows, collective)
    found = [parameter.grad for parameter in method.parameters()]
    return {"loss": loss, "gradient": flat(found), "statistics": flat(list(method.networks.buffers()))}


def flat(tensors: list[Tensor | None]) -> list[float]:
    return [value for tensor in tensors if tensor is not None for value in tensor.flatten().tolist()]


def fine_tuning(collective: Collective) -> dict[str, Any]:
    """Loss, gradient and centre after one batch of seven pairs, in single precision: bfloat16 has its own roundings."""
    crops, random = noise_crops(), np.random.default_rng(0)
    pairs = random.integers(0, len(crops.track), (7, 2))
    model = Model(tiny_backbone(), seed=3)
    with mock.patch("training.finetune.model.mix_precision", return_value=nullcontext()):
        loss = fine_tune_backward(model, RenderedViews(crops), pairs, draw_views(7, random), collective)
        embedded = embed_views(model, noise_crops(20, 4), 3, collective).embeddings  # ten parts
    gradient = flat([parameter.grad for parameter in model.student.parameters()])
    views = embedded.float().flatten().tolist()
    return {"loss": loss, "gradient": gradient, "statistics": model.loss.centre.tolist(), "views": views}


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
        "flags": collective.gather(torch.full((collective.rank + 1,), collective.rank == 0), "flags").tolist(),
    }


def main() -> None:
    torch.set_num_threads(1)
    folder, library = Path(sys.argv[1]), sys.argv[2]
    collective = HorovodCollective() if library == "horovod" else TorchCollective(loopback())
    snapshots = {name: Snapshot.open(folder / name) for name in ("tracklets", "faces")}
    found: dict[str, Any] = {"size": collective.size, "exchanged": exchanged(collective)}
    found["fine-tuning"] = fine_tuning(collective)
    for case, (method, _, _) in CASES.items():
        snapshot = snapshots[kind(method)]
        if case in WITH_GRADIENTS:
            found[case] = gradients(case, snapshot, collective, share(batch(snapshot, 60), collective))
        if library == "torch":  # whose training on executors has a test of its own
            continue
        made = train(snapshot, plan(case), collective)
        sums = collective.gather(torch.tensor([list(bytes.fromhex(made.adapter.sha256()))]), "sha256")
        found[f"{case} training"] = {
            "curve": [[epoch.train_loss, epoch.dev_loss] for epoch in made.curve],
            "auc": made.metrics["auc"],
            "equal": torch.equal(sums[0], sums[1]),
        }
    if collective.rank == 0:
        print(json.dumps(found), flush=True)
    if library == "torch":
        dist.destroy_process_group()  # left to the interpreter's end, its threads may be ended with an abort


if __name__ == "__main__":
    main()
