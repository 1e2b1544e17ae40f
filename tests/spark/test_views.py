"""The views, on cases that can be worked out on paper."""

from __future__ import annotations

import pytest

from conf import views
from conf.tables import all_tables, table
from tests.spark.small import collected


@pytest.fixture
def apart(spark):
    """A session in which the tables are empty views; `show` fills them."""
    session = spark.newSession()
    for made in all_tables():
        session.createDataFrame([], made.schema).createOrReplaceTempView(made.name)
    spark.createDataFrame([], "nothing INT")  # makes the shared session the active one again
    return session


def show(session, name, rows):
    """Rows of title `a` as the table called `name`; what a row does not say is null."""
    data = [tuple({"title_id": "a", **row}.get(column) for column in table(name).names) for row in rows]
    session.createDataFrame(data, table(name).schema).createOrReplaceTempView(name)


def show_cast(session, tracks):
    """(track_id, start_s, end_s, character_id) of each track of title `a`."""
    labels = [{"track_id": t, "character_id": c, "status": "unknown" if c is None else "core"} for t, *_, c in tracks]
    show(session, "tracks", [{"track_id": t, "start_s": start, "end_s": end} for t, start, end, _ in tracks])
    show(session, "track_labels", labels)


def view(session, name, *columns):
    return collected(session.sql(views.VIEWS[name]), *columns)


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        # a second apart is still one appearance, more is two
        ([(0, 0.0, 2.0, 0), (1, 3.0, 4.0, 0)], [(0, 0.0, 4.0, 2)]),
        ([(0, 0.0, 2.0, 0), (1, 3.001, 4.0, 0)], [(0, 0.0, 2.0, 1), (0, 3.001, 4.0, 1)]),
        # a track inside another one does not end the appearance early
        ([(0, 0.0, 9.0, 0), (1, 1.0, 2.0, 0), (2, 9.5, 10.0, 0)], [(0, 0.0, 10.0, 3)]),
        # each character alone; unknown tracks are nobody's
        (
            [(0, 0.0, 1.0, 0), (1, 0.5, 1.5, 1), (2, 1.5, 2.5, 0), (3, 1.2, 1.4, None)],
            [(0, 0.0, 2.5, 2), (1, 0.5, 1.5, 1)],
        ),
        ([(0, 0.0, 1.0, None)], []),
    ],
)
def test_appearances_merge_over_short_gaps(apart, tracks, expected):
    show_cast(apart, tracks)
    assert view(apart, "appearances", "character_id", "start_s", "end_s", "n_tracks") == expected


def test_an_appearance_tells_the_name_the_least_confidence_and_the_first_track(apart):
    show_cast(apart, [(4, 0.0, 1.0, 0), (9, 1.5, 2.0, 0)])
    labels = [
        {"track_id": 4, "character_id": 0, "confidence": 0.75},
        {"track_id": 9, "character_id": 0, "confidence": 0.25},
    ]
    show(apart, "track_labels", labels)
    show(
        apart, "characters", [{"character_id": 0, "name": "Ilsa"}, {"character_id": 0, "name": "Rick", "title_id": "b"}]
    )
    assert view(apart, "appearances", "name", "confidence", "first_track_id") == [("Ilsa", 0.25, 4)]


def test_titles_do_not_mix(apart):
    for name in ("tracks", "track_labels"):
        more = {"character_id": 0} if name == "track_labels" else {}
        rows = [("a", 0.0, 1.0), ("b", 1.5, 2.0)]
        show(apart, name, [{"title_id": t, "track_id": 0, "start_s": s, "end_s": e, **more} for t, s, e in rows])
    found = view(apart, "appearances", "title_id", "character_id", "start_s", "end_s")
    assert found == [("a", 0, 0.0, 1.0), ("b", 0, 1.5, 2.0)]


def test_without_a_gap_only_what_touches_is_merged_and_unknown_tracks_stay_apart(apart):
    tracks = [(0, 0.0, 1.0, 0), (1, 1.0, 2.0, 0), (2, 2.1, 3.0, 0), (3, 0.0, 1.0, None), (4, 0.5, 1.5, None)]
    show_cast(apart, [*tracks, (5, 0.0, 9.0, None)])
    labels = [{"track_id": t, "character_id": c, "status": "unknown" if c is None else "core"} for t, *_, c in tracks]
    show(apart, "track_labels", [*labels, {"track_id": 5, "status": "rejected"}])
    rows = apart.sql(views.appearances(0.0, unknown=True))
    found = collected(rows, "first_track_id", "start_s", "end_s", "character_id")
    assert found == [(0, 0.0, 2.0, 0), (2, 2.1, 3.0, 0), (3, 0.0, 1.0, None), (4, 0.5, 1.5, None)]


def test_screen_time_is_a_share_of_the_title_where_its_length_is_known(apart):
    lengths = {"a": 100.0, "b": None, "c": 0.0}
    show(apart, "characters", [{"title_id": title, "character_id": 0, "screen_time_s": 25.0} for title in lengths])
    show(apart, "titles", [{"title_id": title, "duration_s": seconds} for title, seconds in lengths.items()])
    assert view(apart, "screen_time", "title_id", "share") == [("a", 0.25), ("b", None), ("c", None)]


def test_co_appearances_sum_over_the_pairs_of_two_characters(apart):
    show_cast(apart, [(0, 0.0, 9.0, 1), (1, 0.0, 9.0, 0), (2, 0.0, 9.0, 1), (3, 0.0, 9.0, None)])
    pairs = [(0, 1, 0.1), (1, 2, 0.2), (0, 2, 4.0), (1, 3, 8.0)]
    show(apart, "cannot_links", [{"track_a": a, "track_b": b, "shared_s": s} for a, b, s in pairs])
    found = view(apart, "co_appearances", "character_a", "character_b", "n_track_pairs", "shared_s")
    assert found == [(0, 1, 2, 0.3)]  # one character cannot co-appear with itself, and unknown tracks are nobody


def test_triplets_join_anchor_first_hard_positive_and_hard_negative(apart):
    roles = ("anchor", "hard_positive", "hard_positive")
    rows = [  # 0 has all; nobody is seen with 1; 2 is too short to segment
        *({"track_id": 0, "rank": rank, "role": role} for rank, role in enumerate(roles)),
        *({"track_id": 1, "rank": rank, "role": role} for rank, role in enumerate(roles)),
        *({"track_id": 2, "rank": rank, "role": "face"} for rank in range(3)),
    ]
    show(apart, "tracklets", [{**row, "frames": [row["rank"]], "distance": row["rank"] / 4} for row in rows])
    negative = {"negative_track_id": 1, "negative_rank": 2, "distance": 1.25}
    show(apart, "hard_negatives", [{**negative, "track_id": track} for track in (0, 2)])
    frames = ("track_id", "anchor_frames", "positive_frames")
    others = ("positive_distance", "negative_track_id", "negative_rank", "negative_distance")
    assert view(apart, "triplets", *frames, *others) == [(0, [0], [1], 0.25, 1, 2, 1.25)]
