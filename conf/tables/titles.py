"""titles: One row a film, failed ones too."""

from __future__ import annotations

from conf.table import TITLE_ID, Column, Table, run_id

TABLE = Table(
    name="titles",
    written_by="harvest",
    meaning="One row a film, failed ones too.",
    key=("title_id",),
    columns=(
        TITLE_ID,
        Column("uri", "STRING", "jobs.inputs.films:find_films", "where the film was read"),
        Column("content_hash", "STRING", "conf.files:content_hash", "sha256 of the file's bytes"),
        Column("size_bytes", "BIGINT", "jobs.inputs.films:find_films", "size of the file, bytes"),
        Column(
            "duration_s",
            "DOUBLE",
            "udfs.kernels.harvest.video:probe",
            "end of the last frame, seconds from the first frame",
        ),
        Column(
            "start_s",
            "DOUBLE",
            "udfs.kernels.harvest.video:probe",
            "when a player shows the first frame, seconds from the start of the file's first stream; all other times "
            "count from the first frame, castmine export adds this; null where imported",
        ),
        Column(
            "fps",
            "DOUBLE",
            "udfs.kernels.harvest.video:probe",
            "frames per second: 1 / the mean step between two, those over two median steps (held frames) left out",
        ),
        Column("n_frames", "INT", "udfs.kernels.harvest.video:probe", "frames, numbered from 0 as a player shows them"),
        Column(
            "width",
            "INT",
            "udfs.kernels.harvest.video:probe",
            "displayed width, pixels: rotation and pixel shape applied",
        ),
        Column("height", "INT", "udfs.kernels.harvest.video:probe", "displayed height, pixels"),
        Column(
            "rotation",
            "INT",
            "udfs.kernels.harvest.video:probe",
            "degrees counter-clockwise that the file asks a player to turn: 0 90 180 270",
        ),
        Column(
            "mirrored",
            "BOOLEAN",
            "udfs.kernels.harvest.video:probe",
            "whether the file asks a player to swap left and right before it turns",
        ),
        Column("codec", "STRING", "udfs.kernels.harvest.video:probe", "codec of the video stream"),
        Column(
            "display_name",
            "STRING",
            "jobs.inputs.films:find_films",
            "title for people: from the manifest, else the file's name",
        ),
        Column("detector_sha256", "STRING", "jobs.inputs.title_rows:title_row", "sha256 of the face detector"),
        Column("embedder_sha256", "STRING", "jobs.inputs.title_rows:title_row", "sha256 of the face embedder"),
        Column("embedding_dim", "INT", "udfs.assets:pack", "numbers in one embedding"),
        Column(
            "detect_stride",
            "INT",
            "udfs.kernels.harvest.video:detect_stride",
            "every how many frames faces are detected",
        ),
        Column(
            "status",
            "STRING",
            "jobs.inputs.title_rows:title_row",
            "ok; partial: done, and more of the film is missing than harvest.max_missing; failed: it has no rows",
        ),
        Column(
            "missing",
            "DOUBLE",
            "udfs.kernels.harvest.assemble:missing_share",
            "share of the film that is not there or does not decode, 0 to 1",
        ),
        Column(
            "warning",
            "STRING",
            "udfs.kernels.harvest.assemble:film_warning",
            "what is incomplete about the film, null when nothing",
        ),
        Column("error", "STRING", "udfs.harvest:probe_films", "why it failed, null when it did not"),
        Column("settings_hash", "STRING", "udfs.assets:harvest_hash", "hash of the harvest settings and the models"),
        Column("harvested_at", "TIMESTAMP", "jobs.harvest:_Harvest._title_row", "when the row was written, UTC", True),
        run_id("harvest"),
    ),
    also_by=("import",),
)
