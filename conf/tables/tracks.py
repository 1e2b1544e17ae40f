"""tracks: One face followed through one shot; short tracks too."""

from __future__ import annotations

from conf.table import FROM_START, TITLE_ID, TRACK_ID, Column, Table, run_id

TABLE = Table(
    name="tracks",
    written_by="harvest",
    meaning="One face followed through one shot; short tracks too.",
    key=(
        "title_id",
        "track_id",
    ),
    columns=(
        TITLE_ID,
        TRACK_ID,
        Column("shot_id", "INT", "udfs.kernels.harvest.assemble:summarise_track", "the shot it lies in"),
        Column("start_frame", "INT", "udfs.kernels.harvest.assemble:summarise_track", "first frame"),
        Column("end_frame", "INT", "udfs.kernels.harvest.assemble:summarise_track", "one after the last frame"),
        Column(
            "start_s",
            "DOUBLE",
            "udfs.kernels.harvest.assemble:summarise_track",
            f"time of its first frame, {FROM_START}",
        ),
        Column(
            "end_s",
            "DOUBLE",
            "udfs.kernels.harvest.assemble:summarise_track",
            f"time of the frame after its last, {FROM_START}",
        ),
        Column(
            "n_faces",
            "INT",
            "udfs.kernels.harvest.assemble:summarise_track",
            "faces detected; bridged boxes do not count",
        ),
        Column("n_embedded", "INT", "udfs.kernels.harvest.assemble:summarise_track", "faces embedded"),
        Column(
            "face_px",
            "FLOAT",
            "udfs.kernels.harvest.assemble:summarise_track",
            "median of the smaller side of its detected boxes, pixels",
        ),
        Column(
            "quality",
            "FLOAT",
            "udfs.kernels.harvest.quality:track_quality",
            "0 (nobody to know) to 1: quality by what the embedder saw, of the better half of its embedded faces",
        ),
        Column(
            "flags",
            "ARRAY<STRING>",
            "udfs.kernels.harvest.quality:track_flags",
            "frontal profile blurred dark small not_a_face glasses occluded: what most of its faces are",
        ),
        Column(
            "quality_labels",
            "ARRAY<STRING>",
            "udfs.kernels.harvest.quality:give_quality_labels",
            "by the MvCorr paper's definitions: frontal where all its faces are; profile blurred glasses occluded dark "
            "where at least one is (one false measure will do), while flags go by most; null where imported without",
        ),
        Column(
            "embedding",
            "ARRAY<FLOAT>",
            "udfs.kernels.harvest.assemble:average_embeddings",
            "unit mean of its embedded faces, weighed by their quality and embedding_norm, null where none",
        ),
        Column("thumbnail", "BINARY", "udfs.kernels.harvest.assemble:summarise_track", "its best face, JPEG"),
        run_id("harvest"),
    ),
    also_by=("import",),
)
