"""C1, C2 and C3 as the MvCorr paper has them, batch norm, and the small network's start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from training.networks import (
    BALL,
    C1,
    C2,
    C3,
    Network,
    SyncedBatchNorm,
    build,
    residual,
    resize,
    settled,
    small,
    start_linear,
)


def count(network: nn.Module, kind: type) -> int:
    return sum(p.numel() for layer in network.modules() if isinstance(layer, kind) for p in layer.parameters())


@pytest.mark.parametrize(
    ("network", "dense", "norm"), [(C1, 393_984, 1_536), (C2, 1_050_112, 3_072), (C3, 1_181_440, 3_584)]
)
def test_parameter_counts(network: Network, dense: int, norm: int) -> None:
    layers = build(network, 512)
    assert count(layers, nn.Linear) == dense
    assert count(layers, SyncedBatchNorm) == norm
    assert sum(p.numel() for p in layers.parameters()) == dense + norm


def test_layers_stand_in_the_order_of_the_released_models() -> None:
    kinds = [type(layer) for layer in build(C3, 512)]
    inner = [nn.Linear, SyncedBatchNorm, nn.ReLU, nn.Dropout]
    assert kinds == inner + inner + inner[:3]
    for name, order in {
        "relu_norm": [nn.ReLU, SyncedBatchNorm],
        "norm_sigmoid": [SyncedBatchNorm, nn.Sigmoid],
        "sigmoid_norm": [nn.Sigmoid, SyncedBatchNorm],
    }.items():
        other = [type(layer) for layer in build(C1.model_copy(update={"layer": name}), 512)]
        assert other == [nn.Linear, *order, nn.Dropout, nn.Linear, *order]


def test_the_ball_network_has_the_published_number_of_parameters() -> None:
    layers = build(BALL, 256)
    assert sum(p.numel() for p in layers.parameters()) == 111_104 == count(layers, nn.Linear)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU] * 3 + [nn.Linear]


def test_a_residual_network_starts_as_the_identity_and_can_leave_it() -> None:
    torch.manual_seed(0)
    layers, x = build(residual(16), 16), torch.randn(5, 16)
    assert torch.equal(layers(x), x)
    optimiser = torch.optim.SGD(layers.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the last layer alone
        optimiser.zero_grad()
        layers(x)[:, 0].sum().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.any() for p in layers.parameters())
    with pytest.raises(ValueError, match="16 outputs cannot be added to an input of 12"):
        build(residual(16), 12)


def test_input_width_is_the_embedder_s() -> None:
    assert build(C1, 128)(torch.zeros(3, 128)).shape == (3, 256)


def test_weights_start_glorot_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    dense = build(C1, 512)[0]
    bound = (6 / (512 + 512)) ** 0.5
    assert dense.weight.abs().max() <= bound
    assert dense.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not dense.bias.any()


def test_in_evaluation_a_row_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    layers = build(C2, 64)
    layers(normalize(torch.randn(50, 64)))  # running statistics that are not those of the start
    layers.eval()
    x = normalize(torch.randn(9, 64))
    together = layers(x)
    for row in range(9):
        torch.testing.assert_close(layers(x[row : row + 1])[0], together[row], atol=1e-6, rtol=1e-5)
    layers.train()
    assert not torch.allclose(layers(x[:5])[0], together[0], atol=1e-3)


def test_batch_norm_is_torch_s_with_a_biased_running_variance() -> None:
    from training.collective import Alone

    torch.manual_seed(0)
    ours, theirs = SyncedBatchNorm(7, Alone(), "x"), nn.BatchNorm1d(7, eps=1e-3, momentum=0.01)
    x, y = (torch.randn(40, 7) * 3 + 100).requires_grad_(), torch.randn(40, 7)
    z = x.detach().clone().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(z), atol=1e-4, rtol=1e-4)
    ((ours(x) - y) ** 2).sum().backward()
    ((theirs(z) - y) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, z.grad, atol=1e-3, rtol=1e-3)
    keep = 0.99**2
    torch.testing.assert_close(ours.mean, (1 - keep) * x.mean(dim=0).detach())
    torch.testing.assert_close(ours.variance, keep + (1 - keep) * x.var(dim=0, correction=0).detach())


@pytest.mark.parametrize("rows", [(50, 40, 33), (128,)])
def test_settled_statistics_are_those_of_all_rows(rows: tuple[int, ...]) -> None:
    """After one step the running ones are still what they started as."""
    torch.manual_seed(0)
    layers = build(C1, 24)
    batches = [normalize(torch.randn(n, 24) + 0.3) for n in rows]
    layers(batches[0])
    whole = torch.cat(batches)
    first, norm = layers[0], layers[1]
    with torch.no_grad():
        true = first(whole * 24**0.5)
    assert (norm.variance - true.var(dim=0, correction=0)).abs().max() > 0.1
    with torch.no_grad(), settled(layers) as needed:
        assert needed
        for batch in batches:
            layers(batch)
    torch.testing.assert_close(norm.mean, true.mean(dim=0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.variance, true.var(dim=0, correction=0), atol=1e-5, rtol=1e-4)
    assert layers.training
    assert all(module.training for module in layers)


def test_there_is_nothing_to_settle_without_batch_norm() -> None:
    with settled(build(BALL, 16)) as needed:
        assert not needed


def test_unit_rows_are_scaled_to_columns_that_vary_by_one() -> None:
    torch.manual_seed(0)
    layers = build(C1, 256)
    layers.eval()
    x = normalize(torch.randn(500, 256))
    assert 0.5 < layers[0](x * 16).var(dim=0).mean() < 1.5
    torch.testing.assert_close(layers(x), nn.Sequential(*layers)(x * 16))
    plain = build(C1.model_copy(update={"scaled": False}), 256)
    plain.load_state_dict(layers.state_dict())
    torch.testing.assert_close(plain.eval()(x * 16), layers(x))


def test_other_outputs_widen_the_hidden_layers_of_the_ball_network_alone() -> None:
    assert resize(BALL, 32).widths == (256, 128, 64, 32)
    for out_dim, parameters in ((128, 131_712), (256, 263_168)):  # BCL, Table 3
        layers = build(resize(BALL, out_dim), 256)
        assert sum(p.numel() for p in layers.parameters()) == parameters
    assert resize(C3, 64).widths == (1024, 512, 64)


def test_a_square_small_network_starts_as_the_identity() -> None:
    network, x = build(small(16), 16), torch.randn(5, 16)
    start_linear(network, x)
    assert torch.equal(network(x), x)


def test_a_narrow_small_network_starts_from_the_principal_axes() -> None:
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) * torch.arange(12, 0, -1) + 5
    network = build(small(4), 12)
    start_linear(network, x)
    weight = network[0].weight.detach().numpy()
    np.testing.assert_allclose(weight @ weight.T, np.eye(4), atol=1e-5)
    _, values, axes = np.linalg.svd(x.numpy() - x.numpy().mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(weight * axes[:4], axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(np.std(x.numpy() @ weight.T, axis=0) * 200**0.5, values[:4], rtol=1e-4)
    assert (np.take_along_axis(weight, np.abs(weight).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_the_start_takes_the_random_state_of_the_caller_alone() -> None:
    torch.manual_seed(5)
    first = build(C1, 32)[0].weight
    torch.manual_seed(5)
    assert torch.equal(first, build(C1, 32)[0].weight)
