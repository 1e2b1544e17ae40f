"""Cuts and camera set-ups of the small demo film, whose screenplay is known, and of made pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.demo_film.screenplay import Shot
from udfs.kernels.harvest import shots, video
from udfs.kernels.harvest.video import Frame

MIN_SHOT = 10
LEAD = shots.SCAN_LEAD


@pytest.fixture(scope="module")
def pictures(small_film) -> list[Frame]:
    """The small film as the cut detector sees it."""
    film = video.probe(small_film)
    return list(video.decode_frames(small_film, film, 0, film.n_frames, width=shots.SCAN_WIDTH))


def scanned(pictures: list[Frame], ranges: list[tuple[int, int]]) -> list[tuple[int, shots.Scan]]:
    return [(a, shots.scan_range(pictures[max(0, a - LEAD) : b], a, 3.0)) for a, b in ranges]


def found(pictures: list[Frame], bounds: list[int], min_shot: int = MIN_SHOT, back: int = 6) -> shots.Shots:
    n_frames = len(pictures)
    ranges = list(zip([0, *bounds], [*bounds, n_frames], strict=True))
    return shots.join_shots(scanned(pictures, ranges), n_frames, min_shot, back, 0.1)


def true_starts(screenplay: list[Shot]) -> np.ndarray:
    assert not any(shot.dissolve for shot in screenplay)
    return np.cumsum([0, *(shot.n_frames for shot in screenplay)])


def same(one: shots.Shots, other: shots.Shots) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_cuts_of_the_screenplay_are_found(pictures, screenplay):
    seen, true = found(pictures, []), true_starts(screenplay)
    assert len(seen.start) == len(screenplay)
    assert np.abs(seen.start - true[:-1]).max() <= 1
    assert np.array_equal(seen.end, np.append(seen.start[1:], len(pictures)))
    assert {column.dtype for column in seen} == {np.dtype(np.int32)}


def test_a_dialogue_is_two_threads(pictures):
    assert found(pictures, []).thread.tolist() == [0, 1, 2, 1, 2, 5, 6, 7, 8, 9]
    assert found(pictures, [], back=1).thread.tolist() == list(range(10))
    assert found(pictures, [], back=0).thread.tolist() == list(range(10))


@pytest.mark.parametrize("step", [7, 12, 36, 61, 100])
def test_many_ranges_give_the_shots_of_one(pictures, step):
    assert same(found(pictures, list(range(step, len(pictures), step))), found(pictures, []))


@pytest.mark.parametrize("beside", range(-4, 5))
def test_a_cut_at_the_border_of_a_range_is_found_once(pictures, screenplay, beside):
    borders = (true_starts(screenplay)[1:-1] + beside).tolist()
    assert same(found(pictures, borders), found(pictures, []))


@settings(max_examples=15)
@given(bounds=st.lists(st.integers(1, 295), unique=True, max_size=6), min_shot=st.sampled_from([1, 10, 30]))
def test_any_ranges_give_the_shots_of_one(pictures, bounds, min_shot):
    assert same(found(pictures, sorted(bounds), min_shot), found(pictures, [], min_shot))


def test_shots_cover_the_film_and_are_never_too_short(pictures):
    for min_shot in (1, 25, 30, 40, 1000):
        seen = found(pictures, [50, 150], min_shot)
        assert seen.start[0] == 0
        assert seen.end[-1] == len(pictures)
        assert np.array_equal(seen.start[1:], seen.end[:-1])
        assert len(seen.start) == 1 or (seen.end - seen.start).min() >= min_shot
    assert len(found(pictures, [], 1000).start) == 1


def test_frames_that_do_not_decode_are_bridged(pictures):
    holes = [p for p in pictures if not 100 <= p.number < 110 and p.number != 0]
    seen = shots.join_shots(scanned_by_number(holes, [(0, 150), (150, 296)]), 296, MIN_SHOT, 6, 0.1)
    whole = found(pictures, [])
    assert seen.start[0] == 0
    assert set(whole.start.tolist()) <= set(seen.start.tolist())


def scanned_by_number(pictures: list[Frame], ranges: list[tuple[int, int]]) -> list[tuple[int, shots.Scan]]:
    return [(a, shots.scan_range([p for p in pictures if a - LEAD <= p.number < b], a, 3.0)) for a, b in ranges]


def test_a_range_without_a_frame_says_nothing(pictures):
    ranges = scanned_by_number([p for p in pictures if not 100 <= p.number < 200], [(0, 100), (100, 200), (200, 296)])
    assert [len(scan.frame) for _, scan in ranges][1] == 0
    assert ranges[1][1].opens.shape == ranges[1][1].closes.shape == (0, 432)
    seen = shots.join_shots(ranges, 296, MIN_SHOT, 6, 0.1)
    assert {0, 36, 65, 89, 231, 267} <= set(seen.start.tolist())
    first_lost = shots.join_shots(ranges[1:], 296, MIN_SHOT, 6, 0.1)
    assert first_lost.start.tolist() == [0, 202, 231, 267]


def test_no_frame_one_frame_and_nothing_decoded():
    nothing = shots.scan_range([], 0, 3.0)
    assert all(len(column) == 0 for column in shots.join_shots([], 0, 10, 6, 0.1))
    assert [column.tolist() for column in shots.join_shots([(0, nothing)], 50, 10, 6, 0.1)] == [[0], [50], [0]]
    one = shots.scan_range([Frame(0, np.full((9, 16, 3), 7, np.uint8))], 0, 3.0)
    assert one.frame.tolist() == [0]
    assert [column.tolist() for column in shots.join_shots([(0, one)], 1, 10, 6, 0.1)] == [[0], [1], [0]]


# --- threads ---------------------------------------------------------------------------------------------------------


def set_ups(order: str, exposure: list[float] | None = None) -> np.ndarray:
    """(s, 432) uint8 signatures: one picture a letter; `b` black, `w` white."""
    rng = np.random.default_rng(0)
    known = {letter: rng.uniform(40, 200, 432) for letter in "ABCDEFGH"} | {
        "b": np.full(432, 16),
        "w": np.full(432, 235),
    }
    gains = exposure or [1.0] * len(order)
    return np.array([known[letter] * gain for letter, gain in zip(order, gains, strict=True)]).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("order", "back", "expected"),
    [
        ("ABAB", 6, [0, 1, 0, 1]),
        ("ABABAB", 2, [0, 1, 0, 1, 0, 1]),
        ("ABCA", 2, [0, 1, 2, 3]),  # A is three shots back
        ("ABCA", 3, [0, 1, 2, 0]),
        ("bAbA", 6, [0, 1, 2, 1]),  # black joins nothing, itself neither
        ("wbwb", 6, [0, 1, 2, 3]),
        ("A", 6, [0]),
        ("", 6, []),
    ],
)
def test_threads(order, back, expected):
    pictures = set_ups(order).reshape(-1, 432)
    assert shots.find_threads(pictures, pictures, back, 0.1).tolist() == expected


def test_a_set_up_is_known_in_another_light():
    pictures = set_ups("ABAB", [1.0, 1.0, 0.5, 1.2])
    assert shots.find_threads(pictures, pictures, 6, 0.1).tolist() == [0, 1, 0, 1]


def test_a_shot_is_compared_with_both_ends_of_the_earlier_one():
    opens, closes = set_ups("ABC"), set_ups("CDE")  # the camera moved from A to C; the third shot starts at C
    assert shots.find_threads(opens, closes, 6, 0.1).tolist() == [0, 1, 0]
    assert shots.find_threads(set_ups("ABF"), set_ups("CDA"), 6, 0.1).tolist() == [
        0,
        1,
        2,
    ]  # its own end does not count


def test_the_latest_of_equals_is_taken_and_leads_to_the_first():
    pictures = set_ups("AAAA")
    assert shots.find_threads(pictures, pictures, 1, 0.1).tolist() == [0, 0, 0, 0]


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), n=st.integers(0, 12), back=st.integers(0, 5), distance=st.floats(0.01, 0.9))
def test_threads_against_a_slow_reading_of_the_rule(seed, n, back, distance):
    rng = np.random.default_rng(seed)
    kinds = rng.uniform(0, 255, (4, 432))
    opens, closes = (
        np.clip(kinds[rng.integers(4, size=n)] + rng.normal(0, 40, (n, 432)), 0, 255).astype(np.uint8) for _ in "oc"
    )
    before = opens.copy()
    expected = list(range(n))
    for shot in range(n):
        likeness = {}
        for earlier in range(max(0, shot - back), shot):
            ends = (opens[earlier], closes[earlier])
            likeness[earlier] = max(np.corrcoef(end.astype(float), opens[shot].astype(float))[0, 1] for end in ends)
        if likeness:
            best = max(likeness, key=lambda earlier: (round(likeness[earlier], 6), earlier))
            if 1 - likeness[best] <= distance:
                expected[shot] = expected[best]
    assert shots.find_threads(opens, closes, back, distance).tolist() == expected
    assert np.array_equal(opens, before)
