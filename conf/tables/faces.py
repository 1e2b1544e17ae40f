"""faces: One box of one track in one frame."""

from __future__ import annotations

from conf.table import FROM_START, TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="faces",
    written_by="harvest",
    meaning="One box of one track in one frame.",
    key=(
        "title_id",
        "track_id",
        "frame",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("frame", "INT", "udfs.kernels.harvest.tracker:ShotTracker.finish", "frame"),
        Column(
            "time_s",
            "DOUBLE",
            "udfs.kernels.harvest.assemble:track_faces",
            f"presentation time of the frame, {FROM_START}",
        ),
        Column(
            "detected",
            "BOOLEAN",
            "udfs.kernels.harvest.piece:shot_faces",
            "false: bridged between two detections",
        ),
        Column("x", "FLOAT", "udfs.kernels.harvest.tracker:ShotTracker.finish", "left, pixels"),
        Column("y", "FLOAT", "udfs.kernels.harvest.tracker:ShotTracker.finish", "top, pixels"),
        Column("w", "FLOAT", "udfs.kernels.harvest.tracker:ShotTracker.finish", "width, pixels"),
        Column("h", "FLOAT", "udfs.kernels.harvest.tracker:ShotTracker.finish", "height, pixels"),
        Column(
            "score", "FLOAT", "udfs.kernels.harvest.networks:Faces.detect", "detector score 0 to 1, null where bridged"
        ),
        Column(
            "landmarks",
            "ARRAY<FLOAT>",
            "udfs.kernels.harvest.networks:Faces.detect",
            "eyes, nose, mouth corners: x y of each, pixels; null where bridged",
        ),
        Column(
            "embedding",
            "ARRAY<FLOAT>",
            "udfs.kernels.harvest.networks:Faces.embed",
            "unit length; null where not sampled",
        ),
        Column(
            "embedding_norm",
            "FLOAT",
            "udfs.kernels.harvest.networks:Faces.embed",
            "its length before it was made one, the shorter the less of a face the network saw; null where not sampled",
        ),
        Column("quality", "FLOAT", "udfs.kernels.harvest.quality:face_quality", "0 (useless) to 1, null where bridged"),
        run_id("harvest"),
    ),
    also_by=("import",),
)
