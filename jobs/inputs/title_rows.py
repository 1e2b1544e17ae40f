"""A film in work, and its row of `titles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conf.settings import HarvestSettings
from jobs.inputs.films import FilmFile
from udfs import assets
from udfs.kernels.harvest import assemble, video


@dataclass(frozen=True)
class Film:
    """A film in work.

    Attributes:
        file: where it lies.
        key: the name of its staged files.
        of_index: what its packet index says: OF_FILM of `udfs.harvest`.
    """

    file: FilmFile
    key: str
    content_hash: str
    of_index: Mapping[str, Any]

    @property
    def title_id(self) -> str:
        return self.file.title_id

    @property
    def n_frames(self) -> int:
        return int(self.of_index["n_frames"])


def title_row(
    file: FilmFile,
    film: Film | None,
    content_hash: str | None,
    error: str | None,
    looked: Mapping[str, Any] | None,
    settings: HarvestSettings,
) -> dict[str, Any]:
    """A film's row of `titles` as far as the film decides it; a failed film's says why and no more than its file.

    Args:
        looked: its row of ASSEMBLED; None of a film that failed.
    """
    row = {
        "title_id": file.title_id,
        "uri": file.uri,
        "content_hash": content_hash,
        "size_bytes": file.size_bytes,
        "display_name": file.display_name,
        "status": "failed",
        "error": error,
        "warning": None,
    }
    if film is None or looked is None:
        return row
    pack, files = assets.pack(settings.models), assets.registry().files
    return row | {
        **film.of_index,
        "detector_sha256": files[pack.detector].sha256,
        "embedder_sha256": files[pack.embedder].sha256,
        "embedding_dim": pack.embedding_dim,
        "detect_stride": video.detect_stride(film.of_index["fps"], settings.detect_fps),
        "missing": looked["missing"],
        "status": assemble.film_status(looked["missing"], settings.max_missing),
        "warning": assemble.film_warning(film.of_index["warning"], looked["wanted"], looked["decoded"]),
    }
