"""Which adapter a title's embeddings go through, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from conf.catalog import table
from conf.errors import ModelError, UsageError
from conf.settings import ClusterSettings
from jobs import cluster
from jobs.lake.adapters import (
    NO_ADAPTER,
    TUNED,
    Registered,
    adapter_for,
    adapters_for,
    adapters_of,
    add_adapted,
    read_labels,
)
from tests.helpers.small import SHA256, finished
from training.adapters import Adapter, Card
from training.networks import build, small

OTHER = "f" * 64


@pytest.fixture
def registry(lake):
    """A lake with a ready adapter, a newer one that is not better, one of another embedder, and a skipped one."""
    rows = [
        ("aa01", SHA256, "ready", 1), ("aa02", SHA256, "ready", 2), ("bb01", SHA256, "not_better", 3),
        ("cc01", OTHER, "ready", 4), ("dd01", SHA256, "skipped", 5),
    ]  # fmt: skip
    made = [
        {"adapter_id": name, "base_embedder_sha256": sha256, "status": status, "uri": f"_adapters/{name}.safetensors",
         "reason": "too few tracks", "created_at": datetime(2026, 1, day, tzinfo=UTC)}
        for name, sha256, status, day in rows
    ]  # fmt: skip
    lake.append(table("adapters"), [{**dict.fromkeys(table("adapters").names), **row} for row in made])
    return lake


@pytest.mark.parametrize(
    ("wanted", "found"), [("newest", "aa02"), (NO_ADAPTER, None), ("bb01", "bb01"), ("bb", "bb01"), ("aa01", "aa01")]
)
def test_the_one_that_is_meant(registry, wanted, found):
    adapter = adapter_for(registry, wanted, SHA256)
    assert (adapter and adapter.adapter_id) == found


def test_labels_of_an_older_castmine_name_raw_embeddings_too(registry):
    for title, adapter_id in (("a", None), ("b", "aa01"), ("c", NO_ADAPTER)):
        harvest = finished(registry, "harvest", title, {"titles": [{"embedder_sha256": SHA256}]})
        mine = finished(registry, "mine", title, {}, inputs={"harvest": harvest})
        label = {"track_id": 0, "adapter_id": adapter_id}
        finished(registry, "cluster", title, {"track_labels": [label]}, inputs={"mine": mine})
    named = dict(read_labels(registry, ["a", "b", "c"]).select("title_id", "adapter_id").collect())
    assert named == {"a": NO_ADAPTER, "b": "aa01", "c": NO_ADAPTER}
    assert {title: adapter.adapter_id for title, adapter in adapters_of(registry, named).items()} == {"b": "aa01"}


def test_where_none_is_ready_embeddings_stay_raw(registry):
    assert adapter_for(registry, "newest", "0" * 64) is None


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ("zz", UsageError, "--adapter zz: 0 adapters of that id; there are: aa01, aa02, bb01, cc01, dd01"),
        ("aa", UsageError, "--adapter aa: 2 adapters of that id"),
        ("cc01", ModelError, "adapter cc01 was made for embedder ffffffffffff"),
        ("dd01", ModelError, "adapter dd01 was not trained: too few tracks"),
    ],
)
def test_what_is_refused(registry, wanted, error, said):
    with pytest.raises(error, match=said):
        adapter_for(registry, wanted, SHA256)


def test_one_that_is_registered_twice_is_one(registry):
    again = {
        "adapter_id": "aa01",
        "base_embedder_sha256": SHA256,
        "status": "ready",
        "uri": "_adapters/new.safetensors",
    }
    row = {**dict.fromkeys(table("adapters").names), **again, "created_at": datetime(2026, 1, 9, tzinfo=UTC)}
    registry.append(table("adapters"), [row])
    assert adapter_for(registry, "aa01", SHA256).uri == "_adapters/new.safetensors"
    assert adapter_for(registry, "aa01", SHA256) == adapter_for(registry, "newest", SHA256)
    with pytest.raises(
        UsageError, match="--adapter zz: 0 adapters of that id; there are: aa01, aa02, bb01, cc01, dd01"
    ):
        adapter_for(registry, "zz", SHA256)


@pytest.fixture
def tuned(registry):
    """The same lake with a title that a backbone was fine-tuned on, ready and the newest, and one that has none."""
    for title in ("film", "other"):
        harvest = finished(registry, "harvest", title, {"titles": [{"embedder_sha256": SHA256}]})
        finished(registry, "mine", title, {}, inputs={"harvest": harvest})
        tracks = [{"track_id": track} for track in range(2)]
        if title == "film":
            said = {"adapter_id": "tt01", "embedding": [0.0, 1.0], "threshold": 0.5}
            made = {"adapted_tracks": [{**said, **track} for track in tracks[:1]]}
            finished(registry, "finetune", title, made, inputs={"harvest": harvest})
    row = {
        **dict.fromkeys(table("adapters").names),
        **{"adapter_id": "tt01", "method": TUNED, "scope": "film", "base_embedder_sha256": SHA256},
        **{"status": "ready", "created_at": datetime(2026, 2, 1, tzinfo=UTC)},
    }
    registry.append(table("adapters"), [row])
    return registry


BOTH = {"film": SHA256, "other": SHA256}


def names(found):
    return {title: adapter and adapter.adapter_id for title, adapter in found.items()}


def test_a_title_has_the_backbone_that_was_fine_tuned_on_it(tuned):
    assert names(adapters_for(tuned, "newest", BOTH)) == {"film": "tt01", "other": "aa02"}
    assert adapter_for(tuned, "newest", SHA256).adapter_id == "aa02"  # which maps any title's embeddings
    assert names(adapters_for(tuned, NO_ADAPTER, BOTH)) == {"film": None, "other": None}
    assert names(adapters_for(tuned, "aa01", BOTH)) == {"film": "aa01", "other": "aa01"}
    assert names(adapters_for(tuned, "tt01", {"film": SHA256})) == {"film": "tt01"}


def test_a_newer_adapter_is_taken_in_its_place(tuned):
    row = {
        **dict.fromkeys(table("adapters").names),
        **{"adapter_id": "aa03", "method": "whitening", "base_embedder_sha256": SHA256, "scope": "corpus"},
        **{"status": "ready", "created_at": datetime(2026, 3, 1, tzinfo=UTC)},
    }
    tuned.append(table("adapters"), [row])
    assert names(adapters_for(tuned, "newest", BOTH)) == {"film": "aa03", "other": "aa03"}


def test_a_backbone_is_for_its_title_alone(tuned):
    with pytest.raises(UsageError, match="fine-tuned on film is for that title alone: add --titles film"):
        adapters_for(tuned, "tt01", BOTH)


def test_a_backbone_whose_embeddings_are_gone_is_not_used(tuned):
    harvest = finished(tuned, "harvest", "film", {"titles": [{"embedder_sha256": SHA256}]})
    finished(tuned, "mine", "film", {}, inputs={"harvest": harvest})
    assert names(adapters_for(tuned, "newest", BOTH)) == {"film": "aa02", "other": "aa02"}
    with pytest.raises(UsageError, match="its embeddings of film are gone"):
        adapters_for(tuned, "tt01", {"film": SHA256})


def test_tracks_get_what_the_backbone_says_of_them(tuned):
    rows = [(title, track) for title in BOTH for track in range(2)]
    tracks = tuned.spark.createDataFrame(rows, "title_id STRING, track_id BIGINT")
    chosen = adapters_for(tuned, "newest", BOTH)
    found = add_adapted(tuned, tracks, chosen, ("threshold",)).collect()
    assert {(row["title_id"], row["track_id"]): row["adapted"] for row in found} == {
        **{(title, track): None for title, track in rows},
        ("film", 0): [0.0, 1.0],
    }
    assert [row["threshold"] for row in found if row["adapted"]] == [0.5]
    plain = add_adapted(tuned, tracks, {**chosen, "film": None})
    assert plain.columns == ["title_id", "track_id"]


@pytest.fixture
def file(tmp_path):
    """An adapter's file in the folder of a lake's adapters."""
    card = Card(
        method="bcl", settings={}, network=small(4), in_dim=4, out_dim=4, base_embedder_sha256=SHA256,
        snapshot_fingerprint="0", source_versions={},
    )  # fmt: skip
    torch.manual_seed(0)
    Adapter(card, build(small(4), 4).state_dict()).save(tmp_path / "files" / "_adapters" / "a.safetensors")
    return tmp_path / "files" / "_adapters" / "a.safetensors"


def registered(file: Path, uri: str | None = "_adapters/a.safetensors", sha256: str | None = "") -> Registered:
    sum_ = hashlib.sha256(file.read_bytes()).hexdigest() if sha256 == "" else sha256
    return Registered("aa01", SHA256, file.parent, uri, sum_, "bcl", "corpus", datetime(2026, 1, 1, tzinfo=UTC))


def test_the_bytes_that_were_registered_are_loaded(file):
    assert registered(file).load().card.in_dim == 4
    asked = registered(file)
    other = bytearray(file.read_bytes())
    other[-1] ^= 1
    file.write_bytes(other)  # still an adapter, with other weights
    with pytest.raises(
        ModelError, match=r"adapter aa01: .*is not the file that was registered .*castmine train --force"
    ):
        asked.map()
    with pytest.raises(ModelError, match="registered none"):
        registered(file, sha256=None).load()
    file.write_bytes(b"no adapter")
    with pytest.raises(ModelError, match="is no adapter"):
        registered(file).load()


@pytest.mark.parametrize(
    "uri",
    [
        None, "", ".", "_adapters", "a.safetensors", "{folder}/a.safetensors", "../outside", "_adapters/../../outside",
        "_adapters/../_adapters/a.safetensors", "_adapters/link", "_adapters/loop", "_adapters/a\0",
        "other/a.safetensors", "_adapters_too/a.safetensors",
    ],
)  # fmt: skip
def test_a_uri_that_leaves_the_folder_is_refused(file, uri, tmp_path):
    for other in (tmp_path / "outside", tmp_path / "files" / "other", tmp_path / "files" / "_adapters_too"):
        other.mkdir() if other.name != "outside" else shutil.copy(file, other)
        other.is_dir() and shutil.copy(file, other)
    (file.parent / "link").symlink_to(tmp_path / "outside")
    (file.parent / "loop").symlink_to("loop")
    with pytest.raises(ModelError, match=r"adapter aa01: its uri .* is no file in .*_adapters; train it again"):
        registered(file, uri and uri.format(folder=file.parent)).load()


def test_the_folder_itself_may_be_a_link_and_a_file_may_be_missing(file, tmp_path):
    (tmp_path / "disk").mkdir()
    folder = file.parent.rename(tmp_path / "disk" / "_adapters")
    file.parent.symlink_to(folder)
    assert registered(file).load()
    file.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        registered(file, sha256="0").load()


@pytest.mark.parametrize(("threshold", "cut"), [(0.5, 0.25), (None, None)])
def test_a_learned_threshold_is_where_complete_linkage_stops(tmp_path, threshold, cut):
    """BCL's is a squared distance of unit rows, which is twice their cosine distance."""
    card = Card(
        method="bcl", settings={}, network=small(4), in_dim=4, out_dim=4, base_embedder_sha256=SHA256,
        snapshot_fingerprint="0", source_versions={}, threshold=threshold,
    )  # fmt: skip
    torch.manual_seed(0)
    made = Adapter(card, build(small(4), 4).state_dict())
    made.save(tmp_path / "_adapters" / "bcl.safetensors")
    file, now = "_adapters/bcl.safetensors", datetime(2026, 1, 1, tzinfo=UTC)
    adapter = Registered("bcl", SHA256, tmp_path / "_adapters", file, made.sha256(), "bcl", "corpus", now)
    if threshold is None:
        with pytest.raises(UsageError, match="hac_complete cannot find the number of characters"):
            cluster.choose_rules(ClusterSettings(method="hac_complete"), SHA256, adapter)
    else:
        assert cluster.choose_rules(ClusterSettings(method="hac_complete"), SHA256, adapter).bounds.cut == cut
    assert cluster.choose_rules(ClusterSettings(), SHA256, adapter).bounds.cut is None, "another method finds its own"
    assert json.loads(card.model_dump_json())["threshold"] == threshold
