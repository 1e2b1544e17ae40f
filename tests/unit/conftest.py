"""Shared by the unit tests: the small demo film and the opened face models, made once a session."""

from __future__ import annotations

import pytest

from jobs.demo_film import camera, film
from jobs.demo_film.screenplay import PICTURES, Cast, Shot, short_screenplay
from udfs import assets
from udfs.kernels.harvest.networks import Faces, open_faces


@pytest.fixture(scope="session")
def models() -> Faces:
    """The default pack, with weak detections, as a harvest opens it."""
    return open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", detect_size=320, min_score=0.3)


@pytest.fixture(scope="session")
def cast() -> Cast:
    detector = open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", min_score=0.3)
    return Cast(assets.fetch(PICTURES), detector, film.SEED)


@pytest.fixture(scope="session")
def screenplay(cast) -> list[Shot]:
    """A dialogue, two people side by side, an empty place, small faces on screens, a dark scene."""
    return short_screenplay(cast)


@pytest.fixture(scope="session")
def small_film(screenplay, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.mp4"
    film.encode(camera.render(screenplay), path)
    return path
