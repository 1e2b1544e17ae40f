"""Which title a film is. The lake is asked first, so no id passes to another film, whatever else is given with it.

A film whose bytes the lake knows is that title, wherever it lies and whatever it is called now: moved, where the file
that the lake knows is gone; a copy, which is left alone, where it is not. Other bytes at an address that the lake knows
are a new version of that title. What is neither is a new title, called after its file; where another title has that
name, letters of its content stand behind it, and the older title keeps the name. A manifest says ids itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from conf.ids import cut_name, safe_name, stable_id
from conf.places import Seen, look
from jobs.inputs.films import FilmFile, stamp_of
from jobs.lake import run_log
from jobs.lake.lake import Lake
from jobs.lake.last_runs import read_inputs

SHORT = 8  # letters of a content's sha256, behind a name that another title has


@dataclass(frozen=True)
class Known:
    """A title of the lake: where its film was seen last, and that film's content and stamp; None where not known."""

    title_id: str
    uri: str | None
    content_hash: str | None
    stamp: str | None

    @property
    def is_there(self) -> bool:
        """Whether its file still lies where it was, with as many bytes: a new time alone does not make it another."""
        return self.uri is not None and self.is_as_seen(look([self.uri]).get(self.uri))

    def is_as_seen(self, seen: Seen | None) -> bool:
        """As `is_there`, of a file that was looked at."""
        if seen is None or self.uri is None or self.stamp is None:
            return False
        return stamp_of(self.uri, seen).rpartition(" ")[0] == self.stamp.rpartition(" ")[0]


@dataclass
class Named:
    """Files with their titles, in the order of these; what to tell of those that are not as they were; those that are
    left alone, and why."""

    files: list[FilmFile] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def list_known(lake: Lake) -> list[Known]:
    """The titles of a lake, imported and failed ones too."""
    rows = lake.raw("titles").select("title_id", "uri").collect()
    known = {row["title_id"]: Known(row["title_id"], row["uri"], None, None) for row in rows}
    for title, row in run_log.latest(lake, "harvest").items():
        uri = known[title].uri if title in known else None
        known[title] = Known(title, uri, row["content_hash"], read_inputs(row).get("file"))
    return list(known.values())


def find_contents(files: Sequence[FilmFile], known: Sequence[Known]) -> dict[str, str]:
    """uri -> sha256 of the files that are as the lake saw them last; what the others hold must be read."""
    seen = {(title.uri, title.stamp): title.content_hash for title in known}
    return {file.uri: content for file in files if (content := seen.get((file.uri, file.stamp)))}


def name_titles(files: Sequence[FilmFile], contents: Mapping[str, str | None], known: Sequence[Known]) -> Named:
    """Give every file its title. Of several new ones that share a name the first by its address gets it.

    Args:
        contents: uri -> sha256 of the bytes; None where they cannot be read.
        known: the titles of the lake.
    """
    naming = _Naming(contents, known)
    in_order = sorted(files, key=lambda file: file.uri)
    for step in (naming.heed_manifest, naming.stay, naming.follow_content, naming.follow_address, naming.call_anew):
        in_order = [file for file in in_order if not step(file)]
    files = sorted(naming.taken.values(), key=lambda file: file.title_id)
    return Named(files, [said for file in files for said in naming.tell(file)], sorted(naming.left))


class _Naming:
    """The steps of a naming, in their order: each takes a file, or leaves it to the next one."""

    def __init__(self, contents: Mapping[str, str | None], known: Sequence[Known]):
        self.contents = contents
        self.known = {title.title_id: title for title in sorted(known, key=lambda title: title.title_id)}
        self.at = {title.uri: title for title in self.known.values() if title.uri}
        self.taken: dict[str, FilmFile] = {}
        self.holds: dict[str, FilmFile] = {}  # by content, of those that are taken
        self.left: list[str] = []

    def heed_manifest(self, file: FilmFile) -> bool:
        return bool(file.title_id) and self._take(file, file.title_id)

    def stay(self, file: FilmFile) -> bool:
        """The bytes that were there before."""
        title = self.at.get(file.uri)
        content = self.contents.get(file.uri)
        if title is None or content is None or title.content_hash != content or title.title_id in self.taken:
            return False
        return self._take(file, title.title_id)

    def follow_content(self, file: FilmFile) -> bool:
        """Bytes that are known: moved here, or a copy."""
        content = self.contents.get(file.uri)
        if content is None:
            return False
        if content in self.holds:
            return self._leave(file, self.holds[content].title_id, self.holds[content].uri)
        titles = [t for t in self.known.values() if t.content_hash == content and t.title_id not in self.taken]
        for title in titles:
            if title.uri == file.uri or not self._is_there(title):
                return self._take(file, title.title_id)
        return bool(titles) and self._leave(file, titles[0].title_id, titles[0].uri)

    def _is_there(self, title: Known) -> bool:
        """Whether a title's bytes still lie where it was seen last; if it is given now, they have been read."""
        if title.uri is not None and title.uri in self.contents:
            return self.contents[title.uri] == title.content_hash
        return title.is_there

    def follow_address(self, file: FilmFile) -> bool:
        """Bytes that are new, or cannot be read, where a title was before."""
        title = self.at.get(file.uri)
        return title is not None and title.title_id not in self.taken and self._take(file, title.title_id)

    def call_anew(self, file: FilmFile) -> bool:
        content = self.contents.get(file.uri)
        if content is not None and content in self.holds:
            return self._leave(file, self.holds[content].title_id, self.holds[content].uri)
        return self._take(file, choose_name(file.uri, content, {*self.known, *self.taken}))

    def tell(self, file: FilmFile) -> Iterator[str]:
        """What has happened to the title of a file since it was seen last."""
        before, now = self.known.get(file.title_id), self.contents.get(file.uri)
        same = {title.title_id for title in self.known.values() if now and title.content_hash == now}
        same |= {title for title, other in self.taken.items() if now and self.contents.get(other.uri) == now}
        if others := sorted(same - {file.title_id}):  # a manifest may want it so
            yield f"{file.title_id}: the same bytes as the title {', '.join(others)}; both are kept, and count twice"
        if before is None or before.uri is None:
            return
        if before.content_hash and now and now != before.content_hash:
            was = "" if before.uri == file.uri else f", in {before.uri}"
            yield f"{file.title_id}: a new version: {file.uri} holds other bytes than before{was}"
        elif before.uri != file.uri:
            yield f"{file.title_id}: moved from {before.uri} to {file.uri}"

    def _take(self, file: FilmFile, title_id: str) -> bool:
        self.taken[title_id] = replace(file, title_id=title_id)
        if content := self.contents.get(file.uri):
            self.holds.setdefault(content, self.taken[title_id])
        return True

    def _leave(self, file: FilmFile, title_id: str, uri: str | None) -> bool:
        self.left.append(f"{file.uri}: a copy of {uri}, which is the title {title_id}")
        return True


def choose_name(uri: str, content: str | None, taken: Collection[str]) -> str:
    """The id of a new title: its file's name, with letters of its content behind it where the name is taken."""
    name, mark = safe_name(PurePosixPath(uri).stem), content or stable_id(uri)
    for n in (0, SHORT, len(mark)):
        chosen = f"{cut_name(name, n + 1)}-{mark[:n]}" if n else name
        if chosen not in taken:
            return chosen
    return f"{cut_name(name, 17)}-{stable_id(uri, mark)}"  # a name that looks like one with a mark
