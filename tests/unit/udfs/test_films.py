"""Films at hand: copied from a store once, within a bound, and never from under who reads them."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyspark import SparkFiles
from s3fs import S3FileSystem

from conf.errors import FilmError
from tests.helpers import stores
from udfs import films
from udfs.films import at_hand


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies go."""
    monkeypatch.setattr(SparkFiles, "getRootDirectory", lambda: str(tmp_path))
    monkeypatch.setattr(films, "WAIT_S", 0.01)
    return tmp_path / films.FOLDER


def copies(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix != ".lock")


def test_a_film_on_a_disk_is_read_where_it_is(tmp_path, folder):
    with at_hand(str(tmp_path / "a.mp4"), 1) as path:
        assert path == str(tmp_path / "a.mp4")
    assert not folder.exists()


def test_a_film_is_copied_once(bucket, folder):
    uri = stores.put(f"{bucket}/a film.mp4", os.urandom(1000))
    with at_hand(uri, 1) as path:
        assert Path(path).suffix == ".mp4"
        assert Path(path).read_bytes() == stores.client().get_object(Bucket=bucket[5:], Key="a film.mp4")["Body"].read()
        before = os.stat(path).st_ino
        with at_hand(uri, 1) as again:
            assert os.stat(again).st_ino == before
    with at_hand(uri, 1) as later:
        assert os.stat(later).st_ino == before
    assert len(copies(folder)) == 1


def test_another_film_in_its_place_is_another_copy(bucket, folder):
    uri = stores.put(f"{bucket}/a.mp4", b"one")
    with at_hand(uri, 1) as path:
        first = Path(path).read_bytes()
    stores.put(uri, b"other")
    with at_hand(uri, 1) as path:
        assert (first, Path(path).read_bytes()) == (b"one", b"other")


def test_the_oldest_make_room(bucket, folder):
    uris = [stores.put(f"{bucket}/{n}.mp4", bytes([n]) * 400) for n in range(4)]
    for n in (0, 1, 0, 2):  # a bound of two films and a half: 1 goes, as 0 was used after it
        with at_hand(uris[n], 1e-6) as path:
            os.utime(path, (time.time() + n, time.time() + 10 + len(copies(folder)) + (n == 0)))
    kept = {path.read_bytes()[0] for path in copies(folder)}
    assert kept == {0, 2}


def test_a_film_in_work_stays_and_others_wait(bucket, folder):
    first, second = (stores.put(f"{bucket}/{n}.mp4", b"x" * 400) for n in range(2))
    got = threading.Event()

    def read() -> bytes:
        with at_hand(second, 5e-7) as path:
            got.set()
            return Path(path).read_bytes()

    with ThreadPoolExecutor(1) as pool:
        with at_hand(first, 5e-7) as path:
            reading = pool.submit(read)
            assert not got.wait(0.3)
            assert Path(path).read_bytes() == b"x" * 400
        assert reading.result(timeout=10) == b"x" * 400
    assert [file.stat().st_size for file in copies(folder)] == [400]


def test_a_film_larger_than_the_bound_is_read_alone(bucket, folder):
    uris = [stores.put(f"{bucket}/{n}.mp4", b"x" * 400) for n in range(2)]
    for uri in uris:
        with at_hand(uri, 1e-7) as path:
            assert os.path.getsize(path) == 400
    assert len(copies(folder)) == 1


def test_many_at_once_make_one_copy(bucket, folder, monkeypatch):
    uri = stores.put(f"{bucket}/a.mp4", b"x" * 400)
    fetched, fetch = [], films._Copies._fetch

    def counting(self, *words):
        fetched.append(words)
        fetch(self, *words)

    monkeypatch.setattr(films._Copies, "_fetch", counting)

    def read(_: int) -> int:
        with at_hand(uri, 1) as path:
            return os.path.getsize(path)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(24))) == {400}
    assert len(fetched) == 1


def test_what_a_killed_worker_left_is_made_anew(bucket, folder):
    uri = stores.put(f"{bucket}/a.mp4", b"x" * 400)
    with at_hand(uri, 1) as path:
        copy = Path(path)
    copy.rename(copy.with_suffix(".part"))
    with at_hand(uri, 1) as path:
        assert Path(path).read_bytes() == b"x" * 400
    assert copies(folder) == [copy]


def test_a_film_that_is_not_there_fails(bucket):
    with (
        pytest.raises(FilmError, match=r"nothing\.mp4 cannot be read: no such object"),
        at_hand(f"{bucket}/nothing.mp4", 1),
    ):
        pass


def test_a_store_that_does_not_answer_is_no_fault_of_the_film(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(S3FileSystem, "_cache", {})  # connections made before
    with pytest.raises(OSError, match="the store does not give it"), at_hand("s3://somewhere-else/a.mp4", 1):
        pass
