"""The two branches that VideoClusterNet trains, student and teacher: a face network with a head of its own each."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import normalize

from conf.errors import ModelError

WIDER = 2  # times the embedding are a head's hidden layers; the paper says three layers and leaves their width open


class Backbone(nn.Module):
    """A recognition network: `trunk` makes features of crops, `last` embeddings of features.

    Its one batch norm that is left (the others are folded into convolutions) keeps its statistics while all else
    trains: those of 32 faces of one title would move the embeddings by more than a training does.
    """

    def __init__(self, trunk: nn.Module, last: nn.Sequential) -> None:
        super().__init__()
        self.trunk, self.last = trunk, last
        self.train()

    @property
    def dim(self) -> int:
        """D, numbers of an embedding."""
        return self._dense.out_features

    @property
    def _dense(self) -> nn.Linear:
        return next(module for module in self.last.children() if isinstance(module, nn.Linear))

    @property
    def n_features(self) -> int:
        """H, numbers that an embedding is made of."""
        return self._dense.in_features

    def copy(self) -> Backbone:
        """Another one that starts with the same weights."""
        return copy.deepcopy(self)

    def copy_last(self) -> nn.Module:
        """What makes embeddings of features, in memory."""
        return copy.deepcopy(self.last).cpu().eval()

    def forward(self, crops: Tensor) -> Tensor:
        """(N, D) embeddings, of any length, of (N, 3, 112, 112) crops from -1 to 1, red first."""
        return self.last(self.trunk(crops))

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def open_backbone(file: str | Path) -> Backbone:
    """The network of an ONNX file, as torch modules that can be trained.

    Raises:
        ModelError: no such file, or a network of another kind: it must end in features, a dense layer and, at most, a
            batch norm.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx2torch import convert  # a second to import
        from onnx2torch.node_converters.activations import OnnxPReLU

        try:
            graph = convert(onnx.load(str(file)))
        except (OSError, NotImplementedError, onnx.checker.ValidationError) as error:
            raise ModelError(f"{file}: cannot be trained: {error}") from error
    for name, module in list(graph.named_modules()):
        if isinstance(module, OnnxPReLU):
            graph.set_submodule(name, _Slopes())
    nodes = [node for node in graph.graph.nodes if node.op == "call_module"]
    dense = [place for place, node in enumerate(nodes) if isinstance(graph.get_submodule(node.target), nn.Linear)]
    if len(dense) != 1:
        raise ModelError(f"{file}: cannot be trained: {len(dense)} dense layers, where one makes the embedding")
    last = nn.Sequential(*(graph.get_submodule(node.target) for node in nodes[dense[0] :]))
    return Backbone(_up_to(graph, nodes[dense[0] - 1]), last)


class _Slopes(nn.Module):
    """PReLU in steps whose gradients are quick to find: a half of a backward pass on a CPU went into torch's own."""

    def forward(self, x: Tensor, slopes: Tensor) -> Tensor:
        above = torch.relu(x)
        return torch.addcmul(above, x - above, slopes.to(x.dtype))


def _up_to(graph: fx.GraphModule, end: fx.Node) -> fx.GraphModule:
    """The same that ends with this node."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    output.args = (end,)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


def make_head(dim: int) -> nn.Sequential:
    """Three layers with GELU between, as wide at the end as at the start."""
    wide = WIDER * dim
    return nn.Sequential(nn.Linear(dim, wide), nn.GELU(), nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, dim))


class Branch(nn.Module):
    """A backbone and its head, which sees embeddings of length sqrt(D), whose numbers vary by 1 as it starts for."""

    def __init__(self, backbone: Backbone, head: nn.Sequential) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, crops: Tensor) -> Tensor:
        """(N, D) outputs of the head."""
        return self.say(self.backbone(crops))

    def say(self, embeddings: Tensor) -> Tensor:
        """(N, D) outputs of the head for (N, D) embeddings of any length."""
        return self.head(normalize(embeddings, dim=1) * embeddings.shape[1] ** 0.5)


class TunedBranch(Branch):
    """The teacher after fine-tuning: what it makes of crops are their embeddings."""

    centre: Tensor

    def __init__(self, backbone: Backbone, head: nn.Sequential) -> None:
        super().__init__(backbone, head)
        self.register_buffer("centre", torch.zeros(backbone.dim))

    @property
    def dim(self) -> int:
        """D, numbers of an embedding."""
        return self.backbone.dim

    def forward(self, crops: Tensor) -> Tensor:
        """(N, D) outputs around their centre, of any length."""
        return super().forward(crops) - self.centre
