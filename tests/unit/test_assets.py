"""Fetching for real: a local web server is the official address, local wheels under pip are the fallback packages."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from insightface.utils.storage import model_zoo_download_url

from conf.errors import ModelError, UsageError
from jobs import models
from udfs import assets

GOOD = b"a network of the right bytes" * 1000
OTHER = b"a second network" * 500


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@contextlib.contextmanager
def serving(content: bytes, announce: int = 0) -> Iterator[tuple[str, list[str]]]:
    """An address that answers with `content`, and the list of what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(announce or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/model.zip", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a pip that knows the wheels of one folder alone."""
    monkeypatch.setenv("CASTMINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path):
    """Makes the package `carrier` with these members."""

    def make(**members: bytes) -> None:
        info = "carrier-1.0.dist-info"
        text = {
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        (tmp_path / "wheels" / "carrier-1.0-py3-none-any.whl").write_bytes(zipped(**members, **text))

    return make


CLOSED = "http://127.0.0.1:9/model.zip"  # the discard port: nobody listens


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch):
    """Puts these files into the place of conf/models.yml."""

    def put(**files: dict[str, object]) -> None:
        licence = {"name": "Test", "summary": "Use it as you like.", "link": "about:blank", "commercial": True}
        made = assets.Registry.model_validate({"licences": {"test": licence}, "packs": {}, "files": files})
        monkeypatch.setattr(assets, "registry", lambda: made)

    return put


def entry(content: bytes, url: str = CLOSED, member: str | None = None, carried: str | None = None, **more: object):
    fallback = carried and {"package": "carrier", "version": "1.0", "member": carried}
    official = {"url": url, "member": member, **more}
    return {
        "sha256": sha256(content), "size": len(content), "licence": "test", "official": official, "fallback": fallback,
    }  # fmt: skip


def left(cache: Path) -> set[str]:
    return {path.name for path in (cache / "files").iterdir()} - {".lock"}


def test_official_address_comes_first(knows, wheel, cache):
    wheel(model=GOOD)
    with serving(GOOD) as (url, asked):
        knows(model=entry(GOOD, url, carried="model"))
        assert assets.fetch("model").read_bytes() == GOOD
        assert len(asked) == 1
    assert left(cache) == {"model", "model.verified"}


@pytest.mark.parametrize("content", [b"", b"an error page", GOOD[:-1]])
def test_other_bytes_at_the_official_address_give_way_to_the_package(knows, wheel, content):
    wheel(model=GOOD)
    with serving(content) as (url, asked):
        knows(model=entry(GOOD, url, carried="model"))
        assert assets.fetch("model").read_bytes() == GOOD
        assert asked


def test_unreachable_official_address_gives_way_to_the_package(knows, wheel):
    wheel(model=GOOD)
    knows(model=entry(GOOD, carried="model"))
    assert assets.fetch("model").read_bytes() == GOOD


def test_address_known_to_have_other_bytes_is_not_asked(knows, wheel):
    wheel(model=GOOD)
    with serving(GOOD) as (url, asked):
        knows(model=entry(GOOD, url, carried="model", same_bytes=False))
        assets.fetch("model")
        assert not asked


def test_half_a_download_is_never_kept(knows, cache):
    with serving(GOOD[:5000], announce=len(GOOD)) as (url, _):
        knows(model=entry(GOOD, url))
        with pytest.raises(ModelError, match="gave no answer"):
            assets.fetch("model")
    assert left(cache) == set()


def test_wrong_sum_everywhere_names_both_sums(knows, wheel, cache):
    wheel(model=OTHER)
    with serving(b"third") as (url, _):
        knows(model=entry(GOOD, url, carried="model"))
        with pytest.raises(ModelError) as raised:
            assets.fetch("model")
    assert all(sha256(content) in str(raised.value) for content in (GOOD, OTHER, b"third"))
    assert left(cache) == set()


def test_nothing_reachable_says_what_to_do(knows, cache):
    knows(model=entry(GOOD, carried="model"))
    with pytest.raises(ModelError) as raised:
        assets.fetch("model")
    assert all(part in str(raised.value) for part in ("model", CLOSED, "carrier==1.0", str(cache / "files")))


def test_file_placed_by_hand_needs_no_network(knows, cache):
    knows(model=entry(GOOD))
    (cache / "files").mkdir(parents=True)
    (cache / "files" / "model").write_bytes(GOOD)
    assert assets.fetch("model") == cache / "files" / "model"


def test_damaged_file_in_the_cache_is_an_error_and_stays(knows, wheel, cache):
    wheel(model=GOOD)
    knows(model=entry(GOOD, carried="model"))
    path = assets.fetch("model")
    path.write_bytes(OTHER)
    with pytest.raises(ModelError, match=f"(?s){sha256(GOOD)}.*{sha256(OTHER)}.*Delete it"):
        assets.fetch("model")
    assert path.read_bytes() == OTHER


def test_a_checked_file_is_not_hashed_again(knows, wheel, monkeypatch):
    wheel(model=GOOD)
    knows(model=entry(GOOD, carried="model"))
    path = assets.fetch("model")
    monkeypatch.setattr(assets, "_sha256", lambda path: pytest.fail("hashed again"))
    assert assets.fetch("model") == path


@pytest.mark.parametrize("from_zip", [True, False])
def test_one_archive_serves_every_file_it_holds(knows, wheel, from_zip):
    names = {"one": GOOD, "two": OTHER}
    with serving(zipped(**names)) as (url, asked):
        source = {"url": url} if from_zip else {}
        wheel(**({} if from_zip else names))
        at = "member" if from_zip else "carried"
        knows(**{name: entry(content, **source, **{at: name}) for name, content in names.items()})
        assert assets.fetch("one").read_bytes() == GOOD
        assert assets.present("two")
        assert assets.fetch("two").read_bytes() == OTHER
        assert len(asked) == (1 if from_zip else 0)


def test_a_damaged_second_file_of_an_archive_does_not_spoil_the_first(knows, cache):
    with serving(zipped(one=GOOD, two=b"damaged")) as (url, _):
        knows(one=entry(GOOD, url, member="one"), two=entry(OTHER, url, member="two"))
        assets.fetch("one")
        assert not assets.present("two")
        with pytest.raises(ModelError, match=sha256(b"damaged")):
            assets.fetch("two")


def test_member_missing_from_the_archive(knows):
    with serving(zipped(one=GOOD)) as (url, _):
        knows(two=entry(OTHER, url, member="two"))
        with pytest.raises(ModelError, match="two"):
            assets.fetch("two")


def test_workers_at_the_same_time_fetch_once(knows):
    with serving(GOOD) as (url, asked), ThreadPoolExecutor(4) as pool:
        knows(model=entry(GOOD, url))
        assert {path.read_bytes() for path in pool.map(assets.fetch, ["model"] * 8)} == {GOOD}
        assert len(asked) == 1


def test_licence_is_said_once_and_before_the_download(knows, wheel):
    wheel(one=GOOD, two=OTHER)
    knows(one=entry(GOOD, carried="one"), two=entry(OTHER, carried="two"))
    said: list[str] = []
    for name in ("one", "two", "one"):
        assets.fetch(name, say=said.append)
    assert "Use it as you like." in said[0]
    assert sum("Licence" in line for line in said) == 1


def test_cache_that_cannot_be_written_to(knows, monkeypatch):
    monkeypatch.setenv("CASTMINE_CACHE", os.devnull)
    knows(model=entry(GOOD))
    with pytest.raises(UsageError, match="CASTMINE_CACHE"):
        assets.fetch("model")


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    assert assets.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("CASTMINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert assets.cache_dir() == tmp_path / "xdg" / "castmine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache_dir() == Path.home() / ".cache" / "castmine"


def test_unknown_names_are_usage_errors_that_list_the_known_ones():
    with pytest.raises(UsageError, match="buffalo_sc, buffalo_l, opencv"):
        assets.pack("arcface")
    with pytest.raises(UsageError, match="demovideo"):
        assets.fetch("passwd")


def test_registry_holds_together():
    known = assets.registry()
    assert {file for pack in known.packs.values() for file in pack.files} <= set(known.files)
    assert {file.licence for file in known.files.values()} == set(known.licences)
    assert all(file.fallback for file in known.files.values() if file.tried)
    for name in ("buffalo_sc", "buffalo_l"):
        urls = {known.files[file].official.url for file in known.packs[name].files}
        assert urls == {model_zoo_download_url(f"{name}.zip")}, "not where insightface's own model zoo looks"


def test_what_is_known_of_an_embedder_goes_by_its_sum():
    known = assets.registry()
    for name in ("buffalo_sc", "opencv"):
        embedder = known.files[known.packs[name].embedder]
        found = assets.distances(embedder.sha256)
        assert found is embedder.distances
        assert 0 < found.same[0] < found.different[0] < 1.1
        assert 0 < embedder.norms[0] < embedder.norms[1]
        assert assets.embedder(name) is embedder
    assert assets.distances("0" * 64) is None
    assert assets.distances(None) is None


def test_every_tried_file_can_be_had(monkeypatch):
    monkeypatch.undo()  # the machine's own cache and pip
    for name, file in assets.registry().files.items():
        if file.tried:
            path = assets.fetch(name)
            assert (path.stat().st_size, sha256(path.read_bytes())) == (file.size, file.sha256)


def test_models_command_shows_both_and_how_to_switch(capsys):
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    assert "buffalo_sc *" in shown
    assert "non-commercial" in shown
    assert "--set harvest.models=opencv" in shown


def test_models_command_fetches(knows, wheel, capsys):
    wheel(model=GOOD)
    knows(model=entry(GOOD, carried="model"))
    assert models.main(["fetch", "model", "--json"]) == 0
    assert assets.present("model")
    assert models.main(["fetch", "nothing"]) == 2
    assert models.main(["fetch"]) == 2
    knows(model=entry(OTHER))
    assert models.main(["fetch", "model"]) == 1
    assert "Delete it" in capsys.readouterr().err
