"""The views, on cases that can be worked out on paper."""

from __future__ import annotations

from itertools import combinations
from statistics import mean, stdev

import numpy as np
import pytest

from conf import views
from conf.catalog import all_tables, table
from conf.settings import UNKNOWN_RATE
from tests.helpers.small import collected
from udfs.kernels.mine.rule import training_rule


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


def test_a_person_of_several_names_has_the_one_that_is_longest_on_screen(apart):
    seen = [("p", "Rick", 5.0), ("p", "Sam", 4.0), ("p", "Rick", 1.0), ("p", None, 99.0), ("q", None, 1.0)]
    rows = [{"person_id": p, "name": n, "screen_time_s": s, "title_id": f"t{i}"} for i, (p, n, s) in enumerate(seen)]
    show(apart, "characters", rows)
    found = view(apart, "people", "person_id", "display_name", "names", "n_titles", "screen_time_s")
    assert found == [("p", "Rick", ["Rick", "Sam"], 4, 109.0), ("q", None, [], 1, 1.0)]


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


def test_track_density_is_a_share_of_all_tracks_of_the_title(apart):
    labels = [("a", [0, 0, 0, 1, None]), ("b", [0, None, None, None])]
    rows = [{"title_id": t, "track_id": i, "character_id": c} for t, of in labels for i, c in enumerate(of)]
    show(apart, "track_labels", rows)
    show(apart, "characters", [{"character_id": 0, "name": "Ilsa"}, {"character_id": 1}])
    found = view(apart, "track_density", "title_id", "character_id", "name", "n_tracks", "density")
    assert found == [("a", 0, "Ilsa", 3, 0.6), ("a", 1, None, 1, 0.2), ("b", 0, None, 1, 0.25)]


def test_hard_negative_distances_of_each_title(apart):
    distances = {"a": [0.9, 0.5, 0.7, 1.25], "b": [1.0]}
    show(
        apart,
        "hard_negatives",
        [{"title_id": t, "track_id": i, "distance": d} for t, of in distances.items() for i, d in enumerate(of)],
    )
    found = view(apart, "hard_negative_distances", "title_id", "n_negatives", "min_distance", "median_distance")
    assert [row[:2] for row in found] == [("a", 4), ("b", 1)]
    assert [row[2:] for row in found] == [pytest.approx((0.5, 0.8)), (1.0, 1.0)]


def test_corpus_statistics_follow_the_rule_of_the_paper(apart):
    rates = {"a": (24.0, 1), "b": (25.0, 2), "c": (None, None), "d": (24.0, 1), "again": (24.0, 1), "failed": (24.0, 1)}
    films = [{"title_id": t, "fps": f, "detect_stride": n, "run_id": f"h-{t}"} for t, (f, n) in rates.items()]
    show(apart, "titles", films)
    mark = {"job": "mine", "status": "ok"}
    runs = [{**mark, "title_id": title, "input_versions": f'{{"harvest": "h-{title}"}}'} for title in rates]
    runs[4]["input_versions"] = '{"harvest": "an older one"}'
    runs[5]["status"] = "failed"
    show(apart, "runs", [*runs, runs[0]])  # a is mined twice
    faces = {"a": (24, 30, 23, 40), "b": (13, 12, 20), "c": (24, 24), "d": (), "again": (99, 99), "failed": (99, 99)}
    tracks = [{"title_id": t, "track_id": i, "n_faces": n} for t, each in faces.items() for i, n in enumerate(each)]
    show(apart, "tracks", tracks)
    links = [  # 24 a second: 24 faces and 6 shared are needed; 12.5 a second: 13 and 4; of c, 24 are taken for granted
        *[("a", 0, 1, 6), ("a", 1, 3, 7), ("a", 0, 3, 5), ("a", 2, 3, 20)],
        *[("b", 0, 1, 10), ("b", 0, 2, 3), ("c", 0, 1, 6), ("again", 0, 1, 50), ("failed", 0, 1, 50)],
    ]
    named = ("title_id", "track_a", "track_b", "shared_frames")
    show(apart, "cannot_links", [dict(zip(named, link, strict=True)) for link in links])

    rows = {row["tracks"]: row.asDict() for row in apart.sql(views.VIEWS["corpus_statistics"]).collect()}
    assert list(rows) == ["all", "1 s or longer", "co-occurring"]
    per_title = {"all": (4, 3, 2, 0), "1 s or longer": (3, 2, 2, 0), "co-occurring": (3, 0, 2, 0)}
    n_faces = {"all": 210, "1 s or longer": 175, "co-occurring": 142}
    shares = {"all": None, "1 s or longer": (3 / 4, 2 / 3, 1), "co-occurring": (1, 0, 1)}
    partners = (1, 2, 1, 1, 1)
    for name, row in rows.items():
        told = {"tracks": name, "n_titles": 4, "n_faces": n_faces[name], "n_tracks": sum(per_title[name])}
        spread = {"tracks_per_title": per_title[name], "share": shares[name]}
        spread["partners_per_track"] = partners if name == "co-occurring" else None
        for column, values in spread.items():
            told[column] = values and pytest.approx(mean(values))
            told[f"{column}_sd"] = values and pytest.approx(stdev(values))
        told["partners_min"], told["partners_max"] = (1, 2) if name == "co-occurring" else (None, None)
        assert row == told


def test_corpus_statistics_count_what_the_training_rule_lets_train(apart):
    """The rule stands twice, in SQL and in Python: here each is held against the other, at the edge of both lengths."""
    rng = np.random.default_rng(0)
    rates = [(24.0, 1), (23.976, 1), (24000 / 1001, 2), (25.0, 2), (29.97, 3), (59.94, 5), (12.5, 1), (None, None)]
    films, tracks, links, expected = [], [], [], np.zeros((3, 2), int)
    partners = []
    for number, (fps, stride) in enumerate(rates):
        title = f"t{number}"
        films.append({"title_id": title, "fps": fps, "detect_stride": stride, "run_id": f"h-{title}"})
        rate = UNKNOWN_RATE if fps is None else fps / stride
        n_faces = rng.integers(rate - 3, rate + 4, 25)
        pairs = np.array([pair for pair in combinations(range(25), 2) if rng.random() < 0.15])
        shared = rng.integers(rate / 4 - 2, rate / 4 + 3, len(pairs)).clip(1)
        tracks += [{"title_id": title, "track_id": i, "n_faces": int(n)} for i, n in enumerate(n_faces)]
        links += [
            {"title_id": title, "track_a": int(a), "track_b": int(b), "shared_frames": int(n)}
            for (a, b), n in zip(pairs, shared, strict=True)
        ]
        rule = training_rule(
            np.arange(25), n_faces, *pairs.T, shared, detections_per_s=rate, min_track_s=1.0, min_shared_s=0.25
        )
        kept = np.ones(25, bool), rule.long_enough, rule.tracks
        expected += [[mask.sum(), n_faces[mask].sum()] for mask in kept]
        partners += np.bincount(pairs[rule.links].ravel(), minlength=25)[rule.tracks].tolist()
    show(apart, "titles", films)
    done = {"job": "mine", "status": "ok"}
    show(
        apart,
        "runs",
        [{**done, "title_id": f["title_id"], "input_versions": f'{{"harvest": "{f["run_id"]}"}}'} for f in films],
    )
    show(apart, "tracks", tracks)
    show(apart, "cannot_links", links)
    rows = apart.sql(views.VIEWS["corpus_statistics"]).collect()
    assert [(row["n_tracks"], row["n_faces"]) for row in rows] == [tuple(row) for row in expected.tolist()]
    assert rows[-1]["partners_per_track"] == pytest.approx(mean(partners))
    assert 0 < expected[2, 0] < expected[1, 0] < expected[0, 0]
