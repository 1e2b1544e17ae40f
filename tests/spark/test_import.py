"""castmine import: ready-made tracks and faces become a lake, or a list of what is wrong with them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from conf.catalog import table
from conf.errors import UsageError
from jobs import import_tracks, mine
from jobs.lake import run_log
from jobs.lake.lake import Lake
from tests.helpers import people
from tests.helpers.small import SHA256, clock, collected

OTHER = "cd" * 32


def words(given, lake, *more):
    return ["--lake", str(lake), "--quiet", "--tracks", str(given / "tracks"), "--faces", str(given / "faces"), *more]


@pytest.fixture
def folder(given, tmp_path):
    """A copy of the given files, to be spoilt."""
    return shutil.copytree(given, tmp_path / "given")


@pytest.fixture
def refused(spark, folder, tmp_path):
    """The problems with which the files in `folder` are refused; nothing is written."""

    def asked(*more: str) -> str:
        with pytest.raises(UsageError) as caught:
            import_tracks.main(words(folder, tmp_path / "lake", *(more or ("--embedder", SHA256))), spark=spark)
        assert caught.value.exit_code == 2
        assert not (tmp_path / "lake").exists()
        return str(caught.value)

    return asked


def change(folder, name, title="alpha", **columns):
    """Set cells of a file: column=(row, value), or column=None to drop it."""
    file = folder / name / f"{title}.parquet"
    rows = pd.read_parquet(file)
    for column, new in columns.items():
        if new is None:
            rows = rows.drop(columns=column)
        else:
            rows.at[new[0], column] = new[1]
    rows.to_parquet(file, index=False)


# --- what is imported ---------------------------------------------------------------------------------------


def test_rows_arrive_as_they_were_given(spark, given, clustered):
    lake = Lake(spark, str(clustered))
    for name in ("tracks", "faces"):
        wanted = pd.concat([pd.read_parquet(file) for file in sorted((given / name).iterdir())], ignore_index=True)
        key = list(table(name).key)
        found = lake.rows(name).toPandas().sort_values(key, ignore_index=True)
        for column in wanted.columns.drop("embedding"):
            assert found[column].tolist() == wanted[column].tolist(), column
        there = wanted.embedding.notna()
        assert found.embedding.notna().tolist() == there.tolist()
        np.testing.assert_array_equal(np.stack(found.embedding[there]), np.stack(wanted.embedding[there]))
        missing = [c for c in table(name).names if c not in (*wanted.columns, "run_id", "detected")]
        assert found[missing].isna().all(axis=None)
    assert lake.rows("faces").where("NOT detected").count() == 0


def test_labels_of_tracks_that_are_given_arrive(spark, folder, lake):
    file = folder / "tracks" / "alpha.parquet"
    rows = pd.read_parquet(file)
    given_labels = [["frontal", "glasses"], [], None] + [["profile", "dark"]] * (len(rows) - 3)
    rows.assign(quality_labels=given_labels, flags=[["frontal"]] * len(rows)).to_parquet(file, index=False)
    assert import_tracks.main(words(folder, lake.root, "--embedder", SHA256), spark=spark) == 0
    found = lake.rows("tracks", ["alpha"]).orderBy("track_id").collect()
    assert [row["quality_labels"] for row in found] == given_labels
    assert lake.rows("tracks", ["beta"]).where("quality_labels IS NOT NULL OR flags IS NOT NULL").count() == 0
    rows.assign(quality_labels="frontal").to_parquet(file, index=False)
    with pytest.raises(UsageError, match="column quality_labels is string, not array<string>"):
        import_tracks.main(words(folder, lake.root, "--embedder", SHA256), spark=spark)


def test_a_title_tells_what_can_be_told(spark, clustered):
    lake = Lake(spark, str(clustered))
    columns = ("title_id", "display_name", "status", "embedder_sha256", "embedding_dim", "detect_stride")
    told = ("ok", SHA256, people.DIM, people.STRIDE)
    assert collected(lake.rows("titles"), *columns) == [("alpha", "alpha", *told), ("beta", "beta", *told)]
    rates = [row["fps"] for row in lake.rows("titles").collect()]
    assert rates == pytest.approx([people.FPS] * 2, rel=1e-9)
    for column in ("duration_s", "n_frames", "width", "uri", "content_hash"):
        assert lake.rows("titles").where(f"{column} IS NOT NULL").count() == 0


def test_shots_are_as_long_as_their_tracks_show(spark, given, clustered):
    lake = Lake(spark, str(clustered))
    tracks = pd.read_parquet(given / "tracks" / "alpha.parquet").groupby("shot_id")
    wanted = [
        (int(shot), int(rows.start_frame.min()), int(rows.end_frame.max()), rows.start_s.min(), rows.end_s.max(), None)
        for shot, rows in tracks
    ]
    columns = ("shot_id", "start_frame", "end_frame", "start_s", "end_s", "thread_id")
    assert sorted(map(tuple, lake.rows("shots", ["alpha"]).select(*columns).collect())) == wanted


def test_titles_and_shots_that_are_given_count(spark, folder, lake):
    for name in ("tracks", "faces"):
        (folder / name / "beta.parquet").unlink()
    change(folder, "faces", time_s=None)
    tracks = pd.read_parquet(folder / "tracks" / "alpha.parquet")
    wide = {c: "int64" for c in ("shot_id", "start_frame", "end_frame", "n_faces")}  # as programs like to write them
    tracks.astype(wide).assign(colour="grey").to_parquet(folder / "tracks" / "alpha.parquet", index=False)
    rows = [("alpha", SHA256, 30.0, "Alpha!"), ("gamma", SHA256, None, None)]
    pd.DataFrame(rows, columns=["title_id", "embedder_sha256", "fps", "display_name"]).to_parquet(
        folder / "titles.parquet"
    )
    shots = tracks.groupby(["title_id", "shot_id"], as_index=False).agg(
        start_frame=("start_frame", "min"),
        end_frame=("end_frame", "max"),
        start_s=("start_s", "min"),
        end_s=("end_s", "max"),
    )
    shots.assign(thread_id=0).to_parquet(folder / "shots.parquet")
    more = ["--titles", str(folder / "titles.parquet"), "--shots", str(folder / "shots.parquet")]
    assert import_tracks.main(words(folder, lake.root, *more), spark=spark, clock=clock, run_id="the-run") == 0
    found = collected(lake.rows("titles"), "title_id", "display_name", "fps", "detect_stride", "run_id")
    assert found == [("alpha", "Alpha!", 30.0, 2, "the-run"), ("gamma", "gamma", None, None, "the-run")]
    assert {thread for (thread,) in collected(lake.rows("shots"), "thread_id")} == {0}
    done = run_log.latest(lake, "import")
    assert {title: row["rows"] for title, row in done.items()} == {"alpha": len(tracks) * people.DETECTIONS, "gamma": 0}


def test_importing_again_replaces_the_titles_that_are_given(spark, folder, clustered, tmp_path):
    lake = Lake(spark, str(shutil.copytree(clustered, tmp_path / "copied")))
    for name in ("tracks", "faces"):
        (folder / name / "beta.parquet").unlink()
        rows = pd.read_parquet(folder / name / "alpha.parquet")
        rows[rows.track_id < 2].to_parquet(folder / name / "alpha.parquet", index=False)
    assert import_tracks.main(words(folder, lake.root, "--embedder", SHA256), spark=spark) == 0
    assert collected(lake.rows("tracks", ["alpha"]), "track_id") == [(0,), (1,)]
    assert lake.rows("tracks", ["beta"]).count() == 28
    assert (list(run_log.list_mined(lake)), list(run_log.list_clustered(lake))) == (["beta"], ["beta"])


def test_a_title_whose_import_was_cut_short_is_used_by_nobody(spark, given, clustered, tmp_path, monkeypatch):
    root = shutil.copytree(clustered, tmp_path / "copied")
    lake, replace = Lake(spark, str(root)), Lake.replace

    def dies_at_faces(self, made, rows, titles):
        if made.name == "faces":
            raise KeyboardInterrupt
        replace(self, made, rows, titles)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "replace", dies_at_faces)
        with pytest.raises(KeyboardInterrupt):
            import_tracks.main(words(given, root, "--embedder", SHA256), spark=spark)
    assert (run_log.list_harvested(lake), lake.rows("tracks").count()) == ({}, 0)
    assert mine.main(["--lake", str(root), "--quiet", "--force"], spark=spark) == 0
    assert lake.raw("runs").where("job = 'mine' AND status = 'ok'").count() == 2  # nothing was mined
    assert import_tracks.main(words(given, root, "--embedder", SHA256), spark=spark) == 0
    assert list(run_log.list_harvested(lake)) == ["alpha", "beta"]
    assert lake.rows("tracks").count() == 56


def test_a_film_without_frame_rate_is_mined_all_the_same(spark, folder, lake):
    for name in ("tracks", "faces"):
        (folder / name / "beta.parquet").unlink()
    change(folder, "faces", time_s=None)
    change(folder, "tracks", shot_id=None)
    assert import_tracks.main(words(folder, lake.root, "--embedder", SHA256), spark=spark) == 0
    assert mine.main(["--lake", lake.root, "--quiet"], spark=spark) == 0
    links = lake.rows("cannot_links")
    assert links.count() == 14
    assert collected(links, "shared_frames", "shared_s") == [(people.DETECTIONS, None)] * 14
    assert lake.rows("shots").count() == lake.rows("must_links").count() == 0


# --- what is refused ----------------------------------------------------------------------------------------


def test_missing_columns_and_wrong_types_are_said_at_once(refused, folder):
    change(folder, "tracks", end_s=None, embedding=None)
    change(folder, "tracks", title="beta", end_s=None, embedding=None)
    for title in ("alpha", "beta"):
        faces = pd.read_parquet(folder / "faces" / f"{title}.parquet")
        faces.assign(frame=faces.frame.astype(str)).to_parquet(folder / "faces" / f"{title}.parquet", index=False)
    said = refused()
    assert "3 problem(s)" in said
    assert f"--tracks {folder}/tracks: no column end_s (DOUBLE: time of the frame after its last, seconds" in said
    assert "no column embedding (ARRAY<FLOAT>" in said
    assert f"--faces {folder}/faces: column frame is string, not int" in said


def test_wrong_rows_are_said_at_once(refused, folder):
    long = np.ones(people.DIM, np.float32)
    change(folder, "tracks", start_s=(0, np.inf), n_faces=(1, 0), embedding=(2, long))
    change(folder, "faces", w=(0, 0.0), x=(1, np.nan), track_id=(2, 999))
    change(folder, "faces", title="beta", frame=(1, 0), embedding=(3, np.full(people.DIM, np.nan, np.float32)))
    pd.read_parquet(folder / "tracks" / "beta.parquet").assign(title_id="be ta").to_parquet(
        folder / "tracks" / "beta.parquet"
    )
    said = refused()
    for problem in (
        "--tracks: start_s is NaN or infinite in 1 rows, such as alpha 0",
        "--tracks: end_s is not after start_s in 1 rows, such as alpha 0",
        "--tracks: n_faces is below 1 in 1 rows, such as alpha 1",
        "--tracks: embedding is not of unit length, or holds NaN or null, in 1 rows, such as alpha 2",
        "--faces: x is null in 1 rows, such as alpha 0 2",
        "--faces: the box is empty in 1 rows, such as alpha 0 0",
        "--faces: embedding is not of unit length, or holds NaN or null, in 1 rows, such as beta 0 6",
        "--faces: title_id track_id frame must be unique: 1 repeated, such as beta 0 0",
        "title_id 'be ta': may hold letters, digits, dot, dash, underscore",
    ):
        assert f"  {problem}\n" in f"{said}\n"
    assert "title_id track_id not in --tracks, such as alpha 999" in said
    assert "10 problem(s)" in said


def test_embeddings_of_different_lengths_are_refused(refused, folder):
    tracks = pd.read_parquet(folder / "tracks" / "alpha.parquet")
    tracks.at[0, "embedding"] = np.eye(8, dtype=np.float32)[0]
    tracks.to_parquet(folder / "tracks" / "alpha.parquet", index=False)
    assert f"embeddings of one embedder ({SHA256[:12]}) have different lengths: 8, {people.DIM}" in refused()


def test_titles_and_shots_must_fit_the_tracks(refused, folder):
    titles = pd.DataFrame([("alpha", OTHER), ("gamma", "short")], columns=["title_id", "embedder_sha256"])
    titles.to_parquet(folder / "titles.parquet")
    shots = pd.DataFrame([("alpha", 0, 0, 80, 0.0, 3.3)] * 2, columns=import_tracks.NEEDED["shots"])
    shots.to_parquet(folder / "shots.parquet")
    more = ["--titles", str(folder / "titles.parquet"), "--shots", str(folder / "shots.parquet"), "--embedder", SHA256]
    said = refused(*more)
    assert "--tracks: 1 title_id not in --titles, such as beta" in said
    assert "--tracks: 27 title_id shot_id not in --shots, such as alpha 1" in said
    assert "--shots: title_id shot_id must be unique: 1 repeated, such as alpha 0" in said
    assert "title alpha: --titles names another embedder_sha256 than --embedder" in said
    assert "title gamma: embedder_sha256 short: not 64 hex digits" in said


def test_files_that_are_no_parquet_are_refused(refused, folder):
    (folder / "tracks" / "alpha.parquet").write_text("no parquet")
    shutil.rmtree(folder / "faces")
    (folder / "faces").mkdir()
    said = refused()
    assert f"--tracks {folder}/tracks: cannot be read as Parquet" in said
    assert f"--faces {folder}/faces: cannot be read as Parquet" in said


def test_an_empty_file_is_refused(refused, folder):
    for name in ("tracks", "faces"):
        for title in ("alpha", "beta"):
            file = folder / name / f"{title}.parquet"
            schema = pq.read_schema(file)
            pq.write_table(schema.empty_table(), file)
    assert "--tracks: no rows" in refused()


def test_wrong_arguments_are_said_before_anything_starts(tmp_path):
    with pytest.raises(UsageError) as caught:
        import_tracks.main(words(tmp_path, tmp_path / "lake", "--shots", "s.parquet", "--embedder", "AB"))
    said = str(caught.value)
    for problem in (
        "/tracks: no such file",
        "/faces: no such file",
        "--shots s.parquet: no such file",
        "--embedder AB",
    ):
        assert problem in said
    with pytest.raises(UsageError, match="--embedder SHA256, or --titles"):
        import_tracks.main(words(tmp_path, tmp_path / "lake"))


def test_the_last_line_is_json(spark, given, lake, capsys):
    options = words(given, lake.root, "--embedder", SHA256, "--json")
    assert import_tracks.main(options, spark=spark) == 0
    said = json.loads(capsys.readouterr().out)
    faces = 56 * people.DETECTIONS
    assert said["rows"] == {"titles": 2, "tracks": 56, "faces": faces}
    assert (said["titles"], said["failed"]) == (["alpha", "beta"], {})
