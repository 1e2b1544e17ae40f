"""Training from a lake: several methods in one call, labels from a file, snapshots of faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from conf.errors import UsageError
from conf.settings import MineSettings, TrainSettings
from jobs import train
from jobs.lake import snapshots
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import clock
from training.adapters import Adapter
from training.snapshot import Snapshot

SMALL = ("--set", "train.min_rows=4", "--set", "mine.min_track_s=0.5", "--set", "train.max_epochs=3")
RULE = MineSettings(min_track_s=0.5)
TITLES = ["alpha", "beta"]


@pytest.fixture
def lake(spark, clustered: Path, tmp_path: Path) -> Lake:
    return Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who is who in both titles; two people appear in both, the last track of each is left out."""
    rows = [
        (title, track, f"person {who}" if who < 2 else f"{title} {who}")
        for seed, title in enumerate(TITLES)
        for track, who in people.make(title, seed=seed).person.items()
        if track < 27
    ]
    path = tmp_path_factory.mktemp("labels") / "truth.csv"
    pd.DataFrame(rows, columns=["title_id", "track_id", "label"]).to_csv(path, index=False)
    return path


def trained(lake: Lake, *words: str) -> int:
    return train.main(["--lake", lake.root, "--quiet", *SMALL, *words], spark=lake.spark, clock=clock)


def test_several_methods_are_compared_and_done_once(lake: Lake, labels: Path, capsys) -> None:
    words = ["--method", "whitening", "imptriplet", "bcl", "--labels", str(labels)]
    assert trained(lake, *words) == 0
    shown = capsys.readouterr().out
    rows = {row["method"]: row for row in lake.raw("adapters").collect()}
    assert set(rows) == {"whitening", "imptriplet", "bcl"}
    assert all(row["adapter_id"] in shown and row["status"] in ("ready", "not_better") for row in rows.values())
    assert {method: row["labels_from"] is not None for method, row in rows.items()} == {
        "whitening": False, "imptriplet": False, "bcl": True,
    }  # fmt: skip
    assert rows["bcl"]["labels_from"].startswith("truth.csv ")
    assert json.loads(rows["whitening"]["metrics"])["auc_raw"] > 0.9
    curve = lake.raw("curves").where(f"adapter_id = '{rows['imptriplet']['adapter_id']}'").orderBy("epoch").collect()
    assert [row["epoch"] for row in curve] == [0, 1, 2]
    assert all(row["train_loss"] >= 0 and row["dev_loss"] >= 0 for row in curve)
    assert trained(lake, *words) == 0
    assert lake.raw("adapters").count() == 3
    assert lake.raw("curves").count() == 9
    assert lake.raw("runs").where("job = 'train'").count() == 3


def test_methods_that_need_labels_say_so(lake: Lake) -> None:
    with pytest.raises(UsageError, match="--method ldml triplet: needs identities; name a truth file with --labels"):
        trained(lake, "--method", "mvcorr", "ldml", "triplet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["title_id", "label", "frame", "x", "y", "w", "h"], "training needs track_id"),
        (["title_id", "track_id"], r"missing: \['label'\]"),
    ],
)
def test_label_files_that_are_none(lake: Lake, tmp_path: Path, columns: list[str], message: str) -> None:
    pd.DataFrame([[1] * len(columns)], columns=columns).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(UsageError, match=message):
        trained(lake, "--labels", str(tmp_path / "bad.csv"))


def test_a_snapshot_of_faces_holds_the_track_s_and_a_partner_s(lake: Lake, labels: Path) -> None:
    settings = TrainSettings(method="bcl")
    named = snapshots.Labels("truth.csv", pd.read_csv(labels))
    made = snapshots.write(lake, TITLES, settings, RULE, named)
    assert (made.kind, made.n_views, made.n_partners, made.n_negatives, made.dim) == ("faces", 8, 4, 4, people.DIM)
    assert made.labels == ("alpha 2", "alpha 3", "beta 2", "beta 3", "person 0", "person 1")
    rows = pd.concat([pq.read_table(file).to_pandas() for part in ("train", "dev") for file in made.files(part)])
    assert len(rows) == 56
    for seed, title in enumerate(TITLES):
        known = people.make(title, seed=seed)
        sampled = known.faces[known.faces.embedding.notna()]
        for row in rows[rows.title_id == title].itertuples():
            np.testing.assert_allclose(row.views.reshape(8, -1), spread(sampled, row.track_id), atol=1e-6)
            partner = spread(sampled, row.track_id ^ 1)[::2]  # the only one, so it is there four times
            np.testing.assert_allclose(row.negative.reshape(4, 4, -1), [partner] * 4, atol=1e-6)
            who = known.person[row.track_id]
            label = f"person {who}" if who < 2 else f"{title} {who}"
            assert row.label == (made.labels.index(label) if row.track_id < 27 else -1)
    assert snapshots.write(lake, TITLES, settings, RULE, named).folder == made.folder
    assert snapshots.write(lake, TITLES, settings, RULE).folder != made.folder


def spread(sampled: pd.DataFrame, track: int) -> np.ndarray:
    """(8, D) faces of a track, evenly spread."""
    faces = np.stack(sampled.embedding[sampled.track_id == track])
    return faces[np.rint(np.linspace(0, 1, 8) * (len(faces) - 1)).astype(int)]


def test_a_row_of_faces_has_four_of_its_partners_at_most_and_again_from_the_first(lake: Lake) -> None:
    partners = {0: [1, 3, 5, 7, 9, 11], 2: [3, 5], 4: [], 6: [999, 5]}
    schema = "title_id STRING, track_id BIGINT, shot_id INT, partners ARRAY<BIGINT>"
    tracks = lake.spark.createDataFrame([("alpha", track, 0, held) for track, held in partners.items()], schema)
    faces = people.make("alpha", seed=0).faces
    sampled = faces[faces.embedding.notna()]
    found = {}
    for seed in (7, 8):
        made = snapshots._of_faces(lake, ["alpha"], tracks.repartition(seed - 5), people.DIM, seed).toPandas()
        assert sorted(made.track_id) == [0, 2, 4, 6]
        for row in made.itertuples():
            found[row.track_id, seed] = shown = []
            for given in [] if row.negative is None else np.array(row.negative).reshape(4, 4, -1):
                shown += [t for t in range(28) if np.allclose(spread(sampled, t)[::2], given, atol=1e-6)]
    for (track, seed), shown in found.items():
        assert set(shown) <= set(partners[track]) - {999}
        assert len(shown) == (4 if partners[track] else 0)
        assert shown == (found[track, seed][:2] * 2 if track == 2 else shown)
    assert [len(set(found[track, 7])) for track in partners] == [4, 2, 0, 1]
    assert found[0, 7] != found[0, 8]  # the seed chooses


def test_labels_hold_out_people_in_every_title(lake: Lake, labels: Path) -> None:
    named = snapshots.Labels("truth.csv", pd.read_csv(labels))
    made = snapshots.write(lake, TITLES, TrainSettings(method="bcl"), RULE, named)
    parts = {
        part: pd.concat([pq.read_table(file).to_pandas() for file in made.files(part)]) for part in ("train", "dev")
    }
    people_of = {part: set(rows.label) - {-1} for part, rows in parts.items()}
    assert made.split == "people"
    assert not people_of["train"] & people_of["dev"]
    assert len(people_of["dev"]) == 2  # a quarter of six, two at least
    assert people_of["train"] | people_of["dev"] == set(range(6))
    assert trained(lake, "--method", "bcl", "--labels", str(labels)) == 0
    row = lake.raw("adapters").where("method = 'bcl'").first()
    assert json.loads(row["split"])["by"] == "people"


def test_what_is_nobody_s_name_teaches_nothing(lake: Lake, labels: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(labels)
    rows.loc[rows.track_id.isin([3, 5, 7]), "label"] = ["unknown", "false_positive", "trackswitch"] * 2
    rows.to_csv(tmp_path / "bbt.csv", index=False)
    assert trained(lake, "--method", "bcl", "--labels", str(tmp_path / "bbt.csv")) == 0
    (folder,) = (lake.files / "_snapshots").iterdir()
    made = Snapshot.open(folder)
    assert set(made.labels) == set(rows.label) - {"unknown", "false_positive", "trackswitch"}
    found = pd.concat([pq.read_table(file).to_pandas() for part in ("train", "dev") for file in made.files(part)])
    assert (found.label[found.track_id.isin([3, 5, 7])] == -1).all()
    assert (found.label != -1).sum() == 48


def test_bcl_goes_on_from_bcl(lake: Lake, labels: Path) -> None:
    assert trained(lake, "--method", "bcl", "--labels", str(labels)) == 0
    parent = lake.raw("adapters").first()
    assert parent["parent"] is None
    words = ["--method", "bcl", "--titles", "alpha"]
    assert trained(lake, *words) == 0
    assert trained(lake, *words, "--parent", parent["adapter_id"][:6]) == 0
    (child,) = lake.raw("adapters").where("parent IS NOT NULL").collect()
    assert (child["parent"], child["scope"], child["labels_from"]) == (parent["adapter_id"], "alpha", None)
    assert child["adapter_id"] not in (parent["adapter_id"], "")
    load = [Adapter.load(lake.files / row["uri"]) for row in (parent, child)]
    assert load[1].card.threshold == pytest.approx(load[0].card.threshold, rel=1e-5)
    assert json.loads(child["settings"])["parent"] == parent["adapter_id"]
    with pytest.raises(UsageError, match=r"--parent .*: only bcl goes on from an adapter, of bcl"):
        trained(lake, "--method", "imptriplet", "--parent", parent["adapter_id"])
    with pytest.raises(UsageError, match="--parent none: raw embeddings are no adapter to go on from"):
        trained(lake, "--method", "bcl", "--parent", "none")


def test_of_several_networks_the_least_held_out_loss_is_kept(lake: Lake, capsys) -> None:
    words = ["--method", "imptriplet", "--network", "linear", "C1", "C2"]
    assert trained(lake, *words) == 0
    shown = capsys.readouterr().out
    rows = lake.raw("adapters").collect()
    losses = {row["adapter_id"]: json.loads(row["metrics"])["dev_loss"] for row in rows}
    chosen = [row for row in rows if row["status"] != "not_chosen"]
    assert len(rows) == 3
    assert [row["adapter_id"] for row in chosen] == [min(losses, key=losses.__getitem__)]
    names = {json.loads(row["settings"])["network"]["name"] for row in rows}
    assert names == {"small", "C1", "C2"}
    assert all(row["adapter_id"] in shown for row in rows)
    others = [row["reason"] for row in rows if row["status"] == "not_chosen"]
    assert all("another network has" in reason for reason in others)
    assert lake.raw("runs").where("job = 'train'").count() == 1
    assert trained(lake, *words) == 0
    assert lake.raw("adapters").count() == 3
