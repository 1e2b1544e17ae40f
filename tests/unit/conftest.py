"""Shared by the unit tests: the small demo film and the opened face models, made once a session."""

from __future__ import annotations

import pytest

from jobs.demo_film import film
from udfs import assets
from udfs.kernels.harvest.networks import Faces, open_faces


@pytest.fixture(scope="session")
def models() -> Faces:
    """The default pack, with weak detections, as a harvest opens it."""
    return open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", detect_size=320, min_score=0.3)


@pytest.fixture(scope="session")
def cast() -> film.Cast:
    detector = open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", min_score=0.3)
    return film.Cast(assets.fetch(film.PICTURES), detector, film.SEED)


@pytest.fixture(scope="session")
def screenplay(cast) -> list[film.Shot]:
    """A dialogue, two people side by side, an empty place, small faces on screens, a dark scene."""
    return film.short_screenplay(cast)


@pytest.fixture(scope="session")
def small_film(screenplay, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.mp4"
    film.encode(film.render(screenplay), path)
    return path
