"""Adapter files: bitwise, honest about what they are for, and never executed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conf.errors import ModelError
from training.adapters import Adapter, Card, apply
from training.networks import C1, Network, build, small

SHA256 = "a" * 64


def adapter(network: Network = C1, in_dim: int = 32) -> Adapter:
    torch.manual_seed(3)
    layers = build(network, in_dim)
    layers(torch.randn(64, in_dim))  # so that batch norm has something to say
    card = Card(
        method="mvcorr",
        settings={"batch": 64, "loss": {"shrinkage": 0.2}},
        network=network,
        in_dim=in_dim,
        out_dim=network.out_dim,
        base_embedder_sha256=SHA256,
        snapshot_fingerprint="f" * 16,
        source_versions={"tracklets": 4, "cannot_links": 2},
    )
    return Adapter(card, layers.state_dict())


def embeddings(n: int, d: int = 32) -> np.ndarray:
    x = np.random.default_rng(n).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("network", [C1, small(8)], ids=lambda network: network.name)
def test_saved_and_loaded_is_bitwise_the_same(tmp_path: Path, network: Network) -> None:
    made, x = adapter(network), embeddings(20)
    made.save(tmp_path / "deep" / "one.safetensors")
    again = Adapter.load(tmp_path / "deep" / "one.safetensors")
    assert again.card == made.card
    assert apply(again, x, SHA256).tobytes() == apply(made, x, SHA256).tobytes()
    assert again.to_bytes() == made.to_bytes()
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["one.safetensors"]


def test_the_same_adapter_gives_the_same_bytes(tmp_path: Path) -> None:
    adapter().save(tmp_path / "a")
    adapter().save(tmp_path / "b")
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert hashlib.sha256(content).hexdigest() == adapter().sha256()


def test_the_file_says_what_it_was_made_from() -> None:
    content = adapter().to_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    card = json.loads(header["__metadata__"]["castmine"])
    assert card["source_versions"] == {"tracklets": 4, "cannot_links": 2}
    assert (card["method"], card["in_dim"], card["out_dim"], card["network"]["name"]) == ("mvcorr", 32, 256, "C1")


def test_output_is_unit_float32_and_inputs_stay_as_they_were() -> None:
    x = embeddings(10)
    before = x.copy()
    out = apply(adapter(), x, SHA256)
    assert out.dtype == np.float32
    assert out.shape == (10, 256)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    assert np.array_equal(x, before)
    assert apply(adapter(), x[:0], SHA256).shape == (0, 256)


def test_a_centred_adapter_subtracts_its_centre_before_unit_length(tmp_path: Path) -> None:
    plain, x = adapter(small(8)), embeddings(20)
    centre = torch.arange(8.0) / 10
    made = Adapter(plain.card.model_copy(update={"read_out": "centred"}), {**plain.weights(), "centre": centre})
    out = plain.layers(torch.from_numpy(x)).detach().numpy() - centre.numpy()
    expected = out / np.linalg.norm(out, axis=1, keepdims=True)
    np.testing.assert_allclose(apply(made, x, SHA256), expected, atol=1e-6)
    made.save(tmp_path / "a")
    assert apply(Adapter.load(tmp_path / "a"), x, SHA256).tobytes() == apply(made, x, SHA256).tobytes()
    assert apply(made, x, SHA256, unit=False).tobytes() == apply(made, x, SHA256).tobytes()


def test_outputs_keep_their_length_where_they_are_read_out_so_and_may() -> None:
    plain, x = adapter(small(8)), embeddings(20)
    made = Adapter(plain.card.model_copy(update={"read_out": "euclidean"}), plain.weights())
    expected = plain.layers(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(apply(made, x, SHA256, unit=False), expected, atol=1e-6)
    assert np.array_equal(apply(made, x, SHA256), apply(plain, x, SHA256))


@pytest.mark.parametrize(("read_out", "centre"), [("centred", None), ("cosine", (8,)), ("centred", (7,))])
def test_refuses_a_centre_that_does_not_fit(read_out: str, centre: tuple[int] | None) -> None:
    plain = adapter(small(8))
    weights = {**plain.weights(), **({} if centre is None else {"centre": torch.zeros(centre)})}
    with pytest.raises(ModelError, match="do not fit the adapter's card"):
        Adapter(plain.card.model_copy(update={"read_out": read_out}), weights)


def test_a_row_does_not_depend_on_its_company() -> None:
    made, x = adapter(), embeddings(300)
    together = apply(made, x, SHA256)
    for rows in (slice(0, 1), slice(7, 20), slice(100, 299), slice(None, None, -1)):
        assert np.array_equal(apply(made, np.ascontiguousarray(x[rows]), SHA256), together[rows])


def test_a_row_of_zeros_stays_zero() -> None:
    assert not apply(adapter(small(4)), np.zeros((2, 32), np.float32), SHA256).any()


def test_refuses_embeddings_of_another_model_or_width() -> None:
    with pytest.raises(ModelError, match="trained on embeddings of model aaaaaaaaaaaa, these are of bbbbbbbbbbbb"):
        apply(adapter(), embeddings(3), "b" * 64)
    with pytest.raises(ModelError, match=r"\(N, 32\) embeddings, got an array of shape \(3, 16\)"):
        apply(adapter(), embeddings(3, 16), SHA256)


def test_refuses_files_that_are_no_adapters(tmp_path: Path) -> None:
    whole = adapter().to_bytes()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle")
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "narrow").write_bytes(whole.replace(b'\\"in_dim\\":32', b'\\"in_dim\\":48'))
    for name in ("pickle", "cut", "narrow", "missing"):
        with pytest.raises(ModelError, match="not a castmine adapter, or damaged"):
            Adapter.load(tmp_path / name)


def test_loading_leaves_the_random_state_alone(tmp_path: Path) -> None:
    adapter().save(tmp_path / "a")
    before = torch.get_rng_state()
    apply(Adapter.load(tmp_path / "a"), embeddings(3), SHA256)
    assert torch.equal(torch.get_rng_state(), before)
