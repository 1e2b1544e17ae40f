"""Paths on a disk and addresses in a store, used alike."""

from __future__ import annotations

import contextlib
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import BaseModel

from conf.errors import CastmineError, UsageError
from conf.files import write_whole
from conf.places import (
    create,
    fetch_folder,
    for_arrow,
    for_spark,
    is_in_store,
    locate,
    look,
    make_folder,
    read,
    remove_folder,
    say_failures,
    settle,
)
from tests.helpers import stores
from training.place import Place


@pytest.mark.parametrize(
    ("address", "stored"),
    [("/data/a", False), ("a:b/c", False), ("file:///data/a", False), ("s3://b/a", True), ("S3A://b/a", True)],
)
def test_what_is_in_a_store(address, stored):
    assert is_in_store(address) is stored


def test_places_on_a_disk_are_paths():
    assert locate("file:///data/a%20b") == Path("/data/a b")
    assert locate(Path("a/b")) == Path("a/b")


@pytest.mark.parametrize("scheme", ["s3", "s3a", "S3N"])
def test_one_store_under_hadoops_names(scheme):
    assert str(locate(f"{scheme}://b/a c/#1?x")) == "s3://b/a c/#1?x"


@pytest.mark.parametrize(
    ("given", "asked"), [("s3://b/a", "s3a://b/a"), ("s3a://b", "s3a://b"), ("abfss://c@a/x", "abfss://c@a/x")]
)
def test_addresses_for_spark(given, asked):
    assert for_spark(given) == asked


@pytest.mark.parametrize(
    ("address", "said"),
    [("gopher://a/b", "gopher://: no such store is known"), ("gs://b/a", "gs:// needs a package: pip install 'gcsfs'")],
)
def test_stores_that_cannot_be_reached(address, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        locate(address)


def test_files_are_looked_at(bucket, tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    stored = stores.put(f"{bucket}/x y/ü.mp4", b"abcd")
    asked = [str(tmp_path / "a"), str(tmp_path / "b"), stored, f"{bucket}/nothing", "s3://no-such-bucket-1/x", "\0"]
    seen = look([*asked, stored])
    assert {address: found.size for address, found in seen.items()} == {asked[0]: 3, stored: 4}
    assert seen[asked[0]].time_ns == (tmp_path / "a").stat().st_mtime_ns
    assert seen[stored].time_ns > 1.7e18
    assert look([stored]) == {stored: seen[stored]}
    stores.put(stored, b"abcde")
    assert look([stored])[stored].size == 5


def test_what_others_write_is_seen(bucket):
    folder = locate(f"{bucket}/folder")
    assert not folder.exists()
    stores.put(f"{bucket}/folder/a", b"")
    assert folder.is_dir()
    assert [file.name for file in folder.iterdir()] == ["a"]
    stores.put(f"{bucket}/folder/b", b"")
    assert sorted(file.name for file in folder.glob("*")) == ["a", "b"]


def test_a_store_that_fails_is_said_and_what_is_not_there_is_not():
    with (
        pytest.raises(CastmineError, match=r"^s3://b/a: the store does not give it: no answer$"),
        say_failures("s3://b/a"),
    ):
        raise ValueError("no answer")
    with pytest.raises(FileNotFoundError), say_failures("s3://b/a"):
        raise FileNotFoundError
    with pytest.raises(ValueError, match="no answer"), say_failures("/data/a"):
        raise ValueError("no answer")


def test_files_go_to_a_store_and_come_back(bucket, tmp_path):
    place = locate(f"{bucket}/a/b.parquet")
    with write_whole(place) as part:
        part.write_bytes(b"one")
        assert not place.exists()
    assert read(place) == b"one"
    with contextlib.suppress(RuntimeError), write_whole(place) as part:
        part.write_bytes(b"two")
        raise RuntimeError
    assert read(place) == for_arrow(str(place)).read() == b"one"
    stores.put(f"{bucket}/a/c/d", b"two")
    fetch_folder(locate(f"{bucket}/a"), tmp_path)
    assert {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()} == {
        "b.parquet",
        "c/d",
    }
    remove_folder(locate(f"{bucket}/a"))
    assert not place.exists()
    remove_folder(locate(f"{bucket}/a"))
    with pytest.raises(FileNotFoundError):
        read(place)


def test_files_on_a_disk_are_used_where_they_are(tmp_path):
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "c").write_bytes(b"one")
    assert for_arrow(tmp_path / "a" / "b" / "c") == str(tmp_path / "a" / "b" / "c")
    assert read(tmp_path / "a" / "b" / "c") == b"one"
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_of_several_one_makes_an_object(bucket):
    place = locate(f"{bucket}/lock")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: create(place, str(n).encode()), range(8)))
    assert sum(made) == 1
    assert read(place) == str(made.index(True)).encode()


def test_a_place_goes_from_process_to_process(tmp_path):
    class Told(BaseModel):
        place: Place

    for address in ("s3://bucket/a b", str(tmp_path)):
        told = Told(place=locate(address))
        assert Told.model_validate_json(told.model_dump_json()).place == pickle.loads(pickle.dumps(told.place))
        assert str(told.place) == address
    assert settle("s3://bucket/a/../b") == locate("s3://bucket/a/../b")
    (tmp_path / "link").symlink_to(tmp_path)
    assert settle(tmp_path / "link" / "a") == tmp_path.resolve() / "a"
