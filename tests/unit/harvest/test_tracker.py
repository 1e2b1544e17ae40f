"""The tracker of one shot: on paths that are known, against slow readings of its parts, and by its promises."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.harvest import tracker as track

MIN_SCORE, MAX_GAP = 0.5, 6
SIZE = 40.0


def box_at(x: float, y: float, size: float = SIZE) -> list[float]:
    return [x - size / 2, y - size / 2, size, size]


def look_of(person: int, changed: float = 0.0) -> np.ndarray:
    """(192,) unit row; other people's looks are about orthogonal. `changed`: share of noise."""
    rng = np.random.default_rng(person)
    look = rng.normal(size=192) + changed * np.random.default_rng(1000 + person).normal(size=192)
    return (look / np.linalg.norm(look)).astype(np.float32)


class Seen:
    """One detection: frame, box, score, and who it is of."""

    def __init__(self, frame: int, box: list[float], person: int = 0, score: float = 0.9):
        self.frame, self.box, self.person, self.score = frame, box, person, score


def run(
    seen: list[Seen], frames: list[int] | None = None, max_gap: int = MAX_GAP, order: np.random.Generator | None = None
) -> tuple[track.Tracked, list[Seen]]:
    """Track the detections; frames without any are stepped where `frames` has them. `order` shuffles each frame's."""
    tracker = track.ShotTracker(MIN_SCORE, max_gap)
    offsets, flat = {}, []
    for frame in sorted({s.frame for s in seen} | set(frames or [])):
        here = [s for s in seen if s.frame == frame]
        if order is not None:
            here = [here[i] for i in order.permutation(len(here))]
        offsets[frame] = len(flat)
        flat += here
        tracker.step(
            frame,
            np.array([s.box for s in here], np.float32).reshape(-1, 4),
            np.array([s.score for s in here], np.float32),
            np.array([look_of(s.person) for s in here], np.float32).reshape(-1, 192),
        )
    return tracker.finish(offsets), flat


def people_of(tracked: track.Tracked, flat: list[Seen]) -> list[set[int]]:
    """Whom each track shows."""
    return [
        {flat[d].person for d in tracked.detection[(tracked.track == t) & (tracked.detection >= 0)]}
        for t in np.unique(tracked.track)
    ]


def test_one_face_standing_still():
    tracked, _ = run([Seen(frame, box_at(100, 100)) for frame in range(0, 20, 2)])
    assert tracked.track.tolist() == [0] * 19
    assert tracked.frame.tolist() == list(range(19))
    assert tracked.detection.tolist() == [i // 2 if i % 2 == 0 else -1 for i in range(19)]
    assert np.allclose(tracked.box, box_at(100, 100))
    assert (tracked.track.dtype, tracked.frame.dtype, tracked.detection.dtype, tracked.box.dtype) == (
        *[np.dtype(np.int32)] * 3,
        np.dtype(np.float32),
    )


@pytest.mark.parametrize("speed", [2.0, 6.0, 12.0])
def test_faces_that_cross_keep_their_tracks(speed):
    n = int(360 / speed)
    seen = [Seen(f, box_at(40 + speed * f, 100), 1) for f in range(n)]
    seen += [Seen(f, box_at(400 - speed * f, 112), 2) for f in range(n)]
    tracked, flat = run(seen)
    assert people_of(tracked, flat) == [{1}, {2}]


def test_faces_that_cross_while_one_hides_the_other():
    seen = [Seen(f, box_at(40 + 6 * f, 100), 1) for f in range(60)]
    seen += [Seen(f, box_at(400 - 6 * f, 104), 2) for f in range(60) if abs(360 - 12 * f) > 30]
    tracked, flat = run(seen)
    assert people_of(tracked, flat) == [{1}, {2}]


def test_a_face_that_jumps_keeps_its_track_by_its_look():
    seen = [Seen(f, box_at(100 if f < 10 else 150, 100), 1) for f in range(20)]
    tracked, _ = run(seen)
    assert len(np.unique(tracked.track)) == 1
    stranger = [Seen(s.frame, s.box, 1 if s.frame < 10 else 2) for s in seen]
    assert len(np.unique(run(stranger)[0].track)) == 2
    too_far = [Seen(f, box_at(100 if f < 10 else 100 + 2 * SIZE, 100), 1) for f in range(20)]
    assert len(np.unique(run(too_far)[0].track)) == 2


@pytest.mark.parametrize(("missed", "tracks"), [(0, 1), (1, 1), (MAX_GAP, 1), (MAX_GAP + 1, 2), (50, 2)])
def test_gaps_up_to_the_longest_are_bridged(missed, tracks):
    frames = [*range(5), *range(5 + missed, 10 + missed)]
    seen = [Seen(f, box_at(100 + f, 100)) for f in frames]
    tracked, _ = run(seen, frames=list(range(10 + missed)))
    assert len(np.unique(tracked.track)) == tracks
    if tracks == 1:
        assert tracked.frame.tolist() == list(range(10 + missed))
        bridged = tracked.detection < 0
        assert bridged.sum() == missed
        assert np.allclose(tracked.box, [box_at(100 + f, 100) for f in tracked.frame], atol=1e-3)
    else:
        assert len(tracked.frame) == len(frames), "nothing is bridged between two tracks"


def test_weak_detections_never_start_a_track_and_may_continue_one():
    weak = [Seen(f, box_at(100, 100), score=0.4) for f in range(10)]
    tracked, _ = run(weak)
    assert len(tracked.track) == 0
    assert tracked.box.shape == (0, 4)
    then = [Seen(f, box_at(100, 100), score=0.9 if f == 3 else 0.4) for f in range(10)]
    tracked, _ = run(then)
    assert tracked.frame.tolist() == list(range(3, 10))
    assert np.all(tracked.detection >= 0)


def test_a_weak_detection_elsewhere_is_not_taken():
    seen = [Seen(f, box_at(100, 100)) for f in range(5)] + [Seen(f, box_at(130, 100), score=0.4) for f in range(5, 8)]
    tracked, _ = run(seen)
    assert tracked.frame.tolist() == list(range(5))


def test_a_strong_detection_goes_before_a_better_placed_weak_one():
    seen = [Seen(f, box_at(100, 100)) for f in range(5)]
    seen += [Seen(5, box_at(100, 100), score=0.4), Seen(5, box_at(106, 100), score=0.9)]
    tracked, flat = run(seen)
    assert len(np.unique(tracked.track)) == 1
    assert flat[tracked.detection[-1]].score == 0.9


def test_empty_frames_and_no_frames():
    tracked, _ = run([], frames=[0, 1, 5])
    assert len(tracked.track) == len(tracked.frame) == len(tracked.detection) == 0
    assert len(track.ShotTracker(MIN_SCORE, MAX_GAP).finish({}).track) == 0
    tracked, _ = run([Seen(7, box_at(50, 50))], frames=[0, 3, 9])
    assert (tracked.track.tolist(), tracked.frame.tolist(), tracked.detection.tolist()) == ([0], [7], [0])
    again, _ = run([Seen(0, box_at(50, 50)), Seen(40, box_at(50, 50))])  # all tracks had ended in between
    assert again.track.tolist() == [0, 1]


def test_frames_must_ascend():
    tracker = track.ShotTracker(MIN_SCORE, MAX_GAP)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 192), np.float32)
    tracker.step(5, *nothing)
    for frame in (5, 4):
        with pytest.raises(ValueError, match="ascend"):
            tracker.step(frame, *nothing)


# --- promises on any scene -------------------------------------------------------------------------------------------


def crowd(seed: int, n_frames: int = 50, stride: int = 2) -> list[Seen]:
    """People on smooth paths through each other; some detections are missed, some weak, some are of nobody."""
    rng = np.random.default_rng(seed)
    seen = []
    for person in range(int(rng.integers(0, 6))):
        start, speed, size = rng.uniform(50, 350, 2), rng.normal(0, 4, 2), rng.uniform(20, 60)
        for frame in range(0, n_frames, stride):
            if rng.random() < 0.85:
                x, y = start + speed * frame + rng.normal(0, 0.02 * size, 2)
                seen.append(Seen(frame, box_at(x, y, size * rng.normal(1, 0.03)), person, rng.uniform(0.35, 0.95)))
        for frame in rng.choice(n_frames, 2, replace=False):
            seen.append(Seen(int(frame), box_at(*rng.uniform(50, 350, 2), size), 50 + person, rng.uniform(0.3, 0.9)))
    return seen


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_every_detection_is_used_at_most_once_and_bridges_are_straight(seed):
    seen = crowd(seed)
    tracked, flat = run(seen)
    used = tracked.detection[tracked.detection >= 0]
    assert len(np.unique(used)) == len(used)
    strong = {i for i, s in enumerate(flat) if s.score >= MIN_SCORE}
    assert strong <= set(used.tolist()), "a strong detection always belongs to a track"
    assert np.array_equal(
        tracked.box[tracked.detection >= 0], np.array([flat[d].box for d in used], np.float32).reshape(-1, 4)
    )
    assert tracked.frame[tracked.detection >= 0].tolist() == [flat[d].frame for d in used]
    numbers = np.unique(tracked.track)
    assert numbers.tolist() == list(range(len(numbers)))
    begins = []
    for number in numbers:
        mine = tracked.track == number
        frames, detection, box = tracked.frame[mine], tracked.detection[mine], tracked.box[mine]
        assert np.array_equal(frames, np.arange(frames[0], frames[-1] + 1)), "no hole"
        assert detection[0] >= 0, "a track begins and ends with a detection"
        assert detection[-1] >= 0
        assert flat[detection[0]].score >= MIN_SCORE
        begins.append(frames[0])
        held = np.flatnonzero(detection >= 0)
        for a, b in pairwise(held):
            assert b - a - 1 <= MAX_GAP
            for between in range(a + 1, b):
                share = (between - a) / (b - a)
                assert np.allclose(box[between], box[a] * (1 - share) + box[b] * share, atol=1e-3)
    assert begins == sorted(begins)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), order=st.integers(0, 100))
def test_the_order_within_a_frame_changes_numbers_only(seed, order):
    def tracks(shuffle: np.random.Generator | None) -> set[frozenset[tuple[float, ...]]]:
        tracked, flat = run(crowd(seed), order=shuffle)
        held = [
            frozenset(
                (flat[d].frame, *flat[d].box)
                for d in tracked.detection[(tracked.track == t) & (tracked.detection >= 0)]
            )
            for t in np.unique(tracked.track)
        ]
        assert len(set(held)) == len(held)
        return set(held)

    assert tracks(None) == tracks(np.random.default_rng(order))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), later=st.integers(1, 100_000))
def test_only_differences_of_frames_matter(seed, later):
    here, _ = run(crowd(seed))
    there, _ = run([Seen(s.frame + later, s.box, s.person, s.score) for s in crowd(seed)])
    assert np.array_equal(here.track, there.track)
    assert np.array_equal(here.frame + later, there.frame)
    assert np.array_equal(here.box, there.box)


def test_inputs_are_left_as_they_are():
    tracker = track.ShotTracker(MIN_SCORE, MAX_GAP)
    boxes, scores, looks = np.array([box_at(5, 5)], np.float32), np.array([0.9], np.float32), look_of(1)[None]
    held = boxes.copy(), scores.copy(), looks.copy()
    for frame in range(5):
        tracker.step(frame, boxes, scores, looks)
    assert all(map(np.array_equal, held, (boxes, scores, looks)))


# --- parts -----------------------------------------------------------------------------------------------------------


def test_appearance_is_a_unit_row_that_sees_light_as_nothing():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 120, (3, 112, 112, 3), dtype=np.uint8)
    looks = track.describe_appearance(crops)
    assert looks.shape == (3, 192)
    assert looks.dtype == np.float32
    assert np.allclose(np.linalg.norm(looks, axis=1), 1, atol=1e-5)
    assert np.allclose(track.describe_appearance(crops + 60), looks, atol=0.02)
    flat = track.describe_appearance(np.full((1, 112, 112, 3), 9, np.uint8))
    assert np.array_equal(flat, np.zeros((1, 192), np.float32)), "a crop without content is like nothing, itself too"
    assert track.describe_appearance(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 192)
