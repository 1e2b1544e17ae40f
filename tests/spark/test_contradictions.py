"""A chain of must-links that joins two tracks seen together: kept, marked and said, and not obeyed."""

from __future__ import annotations

from jobs import cluster, mine
from tests.helpers.small import SHA256, collected, finished

ANN, BOB, BOTH = 0, 1, 2  # BOTH looks like Ann and like Bob, more like Bob
FACE = {ANN: [1.0, 0.0], BOB: [0.0, 1.0], BOTH: [0.65, 0.76]}
LEFT = {ANN: 100.0, BOB: 140.0, BOTH: 120.0}  # of boxes 80 wide: Ann's and Bob's are two, BOTH is where each was
FRAMES = {ANN: range(3), BOB: range(3), BOTH: range(10, 13)}
SHOT = {ANN: 0, BOTH: 1, BOB: 2}  # as of a tracker that goes on over the cuts: Ann and Bob are seen together


def harvest(lake):
    """One camera set-up, in which Ann's track returns as BOTH and that one as Bob's."""
    faces = [
        {"track_id": track, "frame": frame, "detected": True, "x": LEFT[track], "y": 50.0, "w": 80.0, "h": 80.0,
         "embedding": FACE[track]}
        for track in FACE for frame in FRAMES[track]
    ]  # fmt: skip
    tracks = [
        {
            "track_id": track,
            "shot_id": SHOT[track],
            "start_s": 0.0,
            "end_s": 1.0,
            "n_faces": 3,
            "embedding": FACE[track],
        }
        for track in FACE
    ]
    film = {"status": "ok", "embedder_sha256": SHA256, "embedding_dim": 2, "fps": 24.0, "detect_stride": 1}
    shots = [{"shot_id": shot, "thread_id": 0} for shot in SHOT.values()]
    finished(lake, "harvest", "a", {"titles": [film], "shots": shots, "tracks": tracks, "faces": faces})


def test_a_chain_that_contradicts_is_marked_and_said_and_not_obeyed(lake, capsys):
    harvest(lake)
    assert mine.main(["--lake", lake.root], spark=lake.spark) == 0
    found = collected(lake.rows("must_links"), "track_a", "track_b", "contradicted")
    assert found == [(ANN, BOTH, True), (BOB, BOTH, True)]
    said = capsys.readouterr().err
    assert "2 must-links are on chains that join two tracks seen together" in said
    assert "where contradicted" in said
    assert cluster.main(["--lake", lake.root, "--characters", "2", "--quiet"], spark=lake.spark) == 0
    character = dict(collected(lake.rows("track_labels"), "track_id", "character_id"))
    assert character[BOTH] == character[BOB] != character[ANN]  # the links, obeyed in order, would make BOTH Ann's
