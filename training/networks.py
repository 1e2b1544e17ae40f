"""The adapter networks: C1 to C3 of MvCorr, BCL's, two that start as the identity; and a synced batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from conf.settings import Layer
from training.collective import Alone, Collective


class Network(BaseModel):
    """Shape of one branch; the input width comes from the embedder.

    A layer is a dense one and what follows it: batch norm and ReLU (`norm_relu`, as in the code that made the released
    models; also after the last layer), the two in the order of the paper's text (`relu_norm`), the same with a sigmoid,
    a ReLU between layers alone (`relu`), or nothing, not even a bias (`linear`). Dropout follows inner layers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    widths: tuple[int, ...] = Field(min_length=1, description="outputs of each dense layer")
    layer: Layer = "norm_relu"
    dropout: float = Field(0.2, ge=0, lt=1, description="share of inner outputs dropped while training")
    residual: bool = Field(False, description="the layers' output is added to their input; they start as zero")
    scaled: bool = Field(False, description="unit rows are multiplied by sqrt(D) first, so that a column varies by 1")

    @property
    def out_dim(self) -> int:
        return self.widths[-1]


# Batch norm starts at a variance of 1, weights for inputs that vary by 1, and the papers' were not of unit length.
C1 = Network(name="C1", widths=(512, 256), scaled=True)
C2 = Network(name="C2", widths=(1024, 512), scaled=True)
C3 = Network(name="C3", widths=(1024, 512, 256), scaled=True)
BALL = Network(name="ball", widths=(256, 128, 64, 64), layer="relu", dropout=0.0, scaled=True)

PUBLISHED = {network.name: network for network in (C1, C2, C3, BALL)}


def resize(network: Network, out_dim: int) -> Network:
    """The same with other outputs; hidden layers are at least as wide (BCL, Table 3)."""
    if network.name != "ball":
        return network.model_copy(update={"widths": (*network.widths[:-1], out_dim)})
    return network.model_copy(update={"widths": (*(max(width, out_dim) for width in network.widths[:-1]), out_dim)})


def small(out_dim: int) -> Network:
    """One dense layer and nothing else, for hundreds of rows.

    C1 learns 500 rows by heart from a random start. A linear map starts where the embedder ended (see `start_linear`),
    so that stopping early means staying close to it, and a map without a shift keeps the meaning of the cosine.
    """
    return Network(name="small", widths=(out_dim,), layer="linear", dropout=0.0)


def residual(in_dim: int) -> Network:
    """The embedding and a correction of it by one hidden layer; before training the correction is 0."""
    return Network(name="residual", widths=(512, in_dim), layer="relu", dropout=0.0, residual=True)


class SyncedBatchNorm(nn.Module):
    """Batch norm whose mean and variance are those of the global batch (Horovod's own works on GPUs only).

    While training, running statistics keep 0.99 of themselves per step; eps 1e-3, both as published. They lag behind
    the weights, and after few steps are still what they started as: before the network is judged or kept they are
    settled, that is found anew over rows shown to it (see `settled`). (n, D) in and out; n may differ per process.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, collective: Collective, name: str, keep: float = 0.99, eps: float = 1e-3) -> None:
        super().__init__()
        self.collective, self.name, self.keep, self.eps = collective, name, keep, eps
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.seen: float | None = None  # rows that were seen since settling began

    def forward(self, x: Tensor) -> Tensor:
        x = x.float() if x.dtype == torch.bfloat16 else x  # sums over a batch lose too much in it
        if not self.training:
            return self._scale(x, self.mean, self.variance)
        summed = self.collective.sum(torch.cat([x.sum(dim=0), x.new_tensor([float(len(x))])]), f"{self.name}.mean")
        count = summed[-1].detach()
        mean = summed[:-1] / count
        # the mean first, then the squares around it: E[x^2] - E[x]^2 loses all digits where the mean is large
        variance = self.collective.sum((x - mean).square().sum(dim=0), f"{self.name}.variance") / count
        with torch.no_grad():
            self._run(mean, variance, float(count))
        return self._scale(x, mean, variance)

    def _run(self, mean: Tensor, variance: Tensor, rows: float) -> None:
        """Take a batch's statistics into the running ones; while settling, as a share of all that was seen."""
        if self.seen is None:
            self.mean.lerp_(mean, 1 - self.keep)
            self.variance.lerp_(variance, 1 - self.keep)
            return
        self.seen += rows
        share = rows / self.seen
        between = share * (1 - share) * (mean - self.mean).square()  # Chan et al., of two parts
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share).add_(between)

    def _scale(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.scale + self.shift


@contextmanager
def settled(network: nn.Module) -> Iterator[bool]:
    """Find the statistics of all batch norms anew, over the batches that the network is shown inside.

    Gives whether there are any; where there are none nothing needs to be shown. Dropout is off meanwhile.
    """
    norms = [module for module in network.modules() if isinstance(module, SyncedBatchNorm)]
    training = [(module, module.training) for module in network.modules()]
    network.eval()
    for norm in norms:
        norm.train()
        norm.seen = 0.0
    try:
        yield bool(norms)
    finally:
        for norm in norms:
            norm.seen = None
        for module, before in training:
            module.training = before


class Layers(nn.Sequential):
    """Layers on unit rows that are multiplied first."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.factor)


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def build(network: Network, in_dim: int, collective: Collective | None = None, name: str = "") -> nn.Sequential:
    """The network's layers with a Glorot-uniform start from torch's random state.

    Args:
        in_dim: width of the base embedder.
        name: tells the batch norms of several branches apart in collective calls.
    Raises:
        ValueError: a residual network whose outputs are not as wide as its input.
    """
    if network.residual and network.out_dim != in_dim:
        raise ValueError(f"a residual network of {network.out_dim} outputs cannot be added to an input of {in_dim}")
    collective = collective or Alone()
    layers = Residual() if network.residual else Layers(in_dim**0.5 if network.scaled else 1.0)
    widths = (in_dim, *network.widths)
    for depth, (inputs, outputs) in enumerate(pairwise(widths)):
        dense = nn.Linear(inputs, outputs, bias=network.layer != "linear")
        nn.init.xavier_uniform_(dense.weight)
        if dense.bias is not None:
            nn.init.zeros_(dense.bias)
        layers.append(dense)
        last = depth == len(network.widths) - 1
        layers.extend(_after_dense(network, outputs, last, collective, f"{name}.{depth}"))
        if not last and network.dropout:
            layers.append(nn.Dropout(network.dropout))
    if network.residual:
        nn.init.zeros_(dense.weight)
    return layers


def _after_dense(network: Network, width: int, last: bool, collective: Collective, name: str) -> list[nn.Module]:
    match network.layer:
        case "norm_relu" | "norm_sigmoid":
            return [SyncedBatchNorm(width, collective, name), _activation(network.layer)]
        case "relu_norm" | "sigmoid_norm":
            return [_activation(network.layer), SyncedBatchNorm(width, collective, name)]
        case "relu":
            return [] if last else [nn.ReLU()]
        case "linear":
            return []


def _activation(layer: Layer) -> nn.Module:
    return nn.Sigmoid() if "sigmoid" in layer else nn.ReLU()


def start_linear(network: nn.Module, rows: Tensor) -> None:
    """Let a linear network begin as the raw embedding: the identity, or its principal axes where outputs are fewer.

    Args:
        network: one dense layer, `small(...)`.
        rows: (N, D) embeddings.
    """
    (dense,) = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    outputs, inputs = dense.weight.shape
    if outputs == inputs:
        axes = torch.eye(inputs)
    else:
        centred = rows.double() - rows.double().mean(dim=0)
        axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :outputs].T
        largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
        axes = axes * largest.sign()  # an axis and its opposite are equally right; take one
    with torch.no_grad():
        dense.weight.copy_(axes)
