"""The backbone in torch is the one that harvests: the same embeddings, and all of it can be trained."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from conf.errors import ModelError
from training.finetune.branches import Branch, make_head, open_backbone
from udfs import assets

FILE = assets.files_dir() / assets.pack("buffalo_sc").embedder  # set-up has fetched it


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_embeddings_are_those_of_the_onnx_file(crops) -> None:
    session = onnxruntime.InferenceSession(str(FILE), providers=["CPUExecutionProvider"])
    expected = np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: one[None].numpy()})[0] for one in crops]
    )
    backbone = open_backbone(FILE).eval()
    with torch.no_grad():
        found = backbone(crops).numpy()
    np.testing.assert_allclose(found, expected, atol=5e-5)
    with torch.no_grad():
        np.testing.assert_allclose(backbone.train()(crops).numpy(), expected, atol=5e-5)


def test_all_of_it_learns(crops) -> None:
    branch = Branch(open_backbone(FILE), make_head(512)).train()
    branch(crops).square().sum().backward()
    assert all(parameter.grad is not None for parameter in branch.parameters())


def test_what_is_no_network_says_so(tmp_path) -> None:
    with pytest.raises(ModelError, match="cannot be trained"):
        open_backbone(tmp_path / "none.onnx")
