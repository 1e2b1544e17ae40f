"""SQL views over the tables, for people and dashboards. Each reads committed rows only."""

from __future__ import annotations

from conf.settings import UNKNOWN_RATE, MineSettings

GAP_S = 1.0  # a character who is away for no longer has not left the scene


def appearances(gap_s: float, unknown: bool = False) -> str:
    """Who is on screen, when: the intervals of a character's tracks, merged where no more than `gap_s` lies between.

    With `unknown`, also the tracks without a character, each alone. `confidence` is that of the least sure track.
    """
    shown = "l.status <> 'rejected'" if unknown else "l.character_id IS NOT NULL"
    return f"""
        SELECT a.title_id, a.character_id, c.name, a.start_s, a.end_s, a.n_tracks, a.confidence, a.first_track_id
        FROM (
          SELECT title_id, character_id, min(start_s) AS start_s, max(end_s) AS end_s, count(*) AS n_tracks,
            min(confidence) AS confidence, min(track_id) AS first_track_id
          FROM (
            SELECT *, sum(opens) OVER (PARTITION BY title_id, who ORDER BY start_s, end_s, track_id) AS stretch
            FROM (
              SELECT *, CASE WHEN start_s <= {gap_s:f} + max(end_s) OVER (
                  PARTITION BY title_id, who ORDER BY start_s, end_s, track_id
                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS opens
              FROM (
                SELECT t.title_id, t.track_id, t.start_s, t.end_s, l.character_id, l.confidence,
                  coalesce(l.character_id, -1 - t.track_id) AS who
                FROM tracks t JOIN track_labels l USING (title_id, track_id)
                WHERE {shown})))
          GROUP BY title_id, character_id, who, stretch) a
        LEFT JOIN characters c ON c.title_id = a.title_id AND c.character_id = a.character_id"""


def corpus_statistics(min_track_s: float, min_shared_s: float) -> str:
    """Table II of the MvCorr paper: the tracks that are left after each step of its rule (section III-B), and more.

    Three rows: all tracks, those long enough, those of them that are seen with another such. Each with the number of
    titles, faces (detected) and tracks, the tracks of a title, the share of the row above that is left of a title (the
    paper's 45.1 +- 21.2 % in the last row) and, in the last row, the partners of a track. Beside each mean its sample
    standard deviation. Titles count once they are mined; one without tracks has 0, and no share.

    Faces are detections, 12 a second by default: where the paper's corpus has 10.2 and 23.2 million, this would say
    about half. To count as the paper did, detect in every frame: `castmine harvest --set harvest.detect_fps=120`.

    The rule is that of `udfs.kernels.mine.rule:training_rule`.
    """
    return f"""
        WITH mined AS (
          SELECT title_id, coalesce(fps / detect_stride, {UNKNOWN_RATE:f}D) AS rate FROM titles t
          WHERE EXISTS (
            SELECT * FROM runs r
            WHERE r.title_id = t.title_id AND r.job = 'mine' AND r.status = 'ok'
              AND get_json_object(r.input_versions, '$.harvest') = t.run_id)),
        found AS (
          SELECT title_id, t.track_id, t.n_faces, m.rate,
            t.n_faces >= ceil({min_track_s:f}D * m.rate - 1e-9D) AS long_enough
          FROM tracks t JOIN mined m USING (title_id)),
        partners AS (
          SELECT title_id, track_id, count(*) AS n
          FROM (
            SELECT c.title_id, explode(array(c.track_a, c.track_b)) AS track_id
            FROM cannot_links c
              JOIN found a ON a.title_id = c.title_id AND a.track_id = c.track_a
              JOIN found b ON b.title_id = c.title_id AND b.track_id = c.track_b
            WHERE a.long_enough AND b.long_enough
              AND c.shared_frames >= ceil({min_shared_s:f}D * a.rate - 1e-9D))
          GROUP BY title_id, track_id),
        passed AS (
          SELECT title_id, f.track_id, f.n_faces,
            CASE WHEN p.n IS NOT NULL THEN 3 WHEN f.long_enough THEN 2 ELSE 1 END AS steps
          FROM found f LEFT JOIN partners p USING (title_id, track_id)),
        by_title AS (
          SELECT s.step, s.tracks, m.title_id, count(p.track_id) AS n_tracks, sum(p.n_faces) AS n_faces
          FROM mined m
            CROSS JOIN (VALUES (1, 'all'), (2, '{min_track_s:g} s or longer'), (3, 'co-occurring')) AS s(step, tracks)
            LEFT JOIN passed p ON p.title_id = m.title_id AND p.steps >= s.step
          GROUP BY s.step, s.tracks, m.title_id),
        shares AS (
          SELECT *, n_tracks / nullif(lag(n_tracks) OVER (PARTITION BY title_id ORDER BY step), 0) AS share
          FROM by_title)
        SELECT a.tracks, a.n_titles, a.n_faces, a.n_tracks, a.tracks_per_title, a.tracks_per_title_sd, a.share,
          a.share_sd, b.partners_per_track, b.partners_per_track_sd, b.partners_min, b.partners_max
        FROM (
          SELECT step, tracks, count(*) AS n_titles, coalesce(sum(n_faces), 0) AS n_faces, sum(n_tracks) AS n_tracks,
            avg(n_tracks) AS tracks_per_title, stddev(n_tracks) AS tracks_per_title_sd,
            avg(share) AS share, stddev(share) AS share_sd
          FROM shares
          GROUP BY step, tracks) a
        LEFT JOIN (
          SELECT 3 AS step, avg(n) AS partners_per_track, stddev(n) AS partners_per_track_sd,
            min(n) AS partners_min, max(n) AS partners_max
          FROM partners) b ON b.step = a.step
        ORDER BY a.step"""


PUBLISHED = MineSettings()  # the paper's rule, whatever a training run was set to

VIEWS = {
    "appearances": appearances(GAP_S),
    # seconds each character is on screen, and the share of the title
    "screen_time": """
        SELECT c.title_id, c.character_id, c.name, c.screen_time_s, c.screen_time_s / nullif(t.duration_s, 0) AS share,
          c.n_tracks, c.first_s, c.last_s
        FROM characters c JOIN titles t USING (title_id)""",
    # the same face across titles, by the seconds on screen; of several names the one that is longest on screen
    "people": """
        SELECT person_id, max_by(name, CASE WHEN name IS NOT NULL THEN struct(named_s, name) END) AS display_name,
          array_sort(collect_set(name)) AS names, count(DISTINCT title_id) AS n_titles,
          count(*) AS n_characters, sum(screen_time_s) AS screen_time_s
        FROM (
          SELECT *, sum(screen_time_s) OVER (PARTITION BY person_id, name) AS named_s
          FROM characters WHERE person_id IS NOT NULL)
        GROUP BY person_id""",
    # which characters are seen together, in how many pairs of their tracks and for how long
    "co_appearances": """
        SELECT c.title_id, least(a.character_id, b.character_id) AS character_a,
          greatest(a.character_id, b.character_id) AS character_b, count(*) AS n_track_pairs,
          round(sum(c.shared_s), 6) AS shared_s
        FROM cannot_links c
          JOIN track_labels a ON a.title_id = c.title_id AND a.track_id = c.track_a
          JOIN track_labels b ON b.title_id = c.title_id AND b.track_id = c.track_b
        WHERE a.character_id <> b.character_id
        GROUP BY ALL""",
    # Algorithm 1's output as training sees it: anchor, first hard positive, hard negative
    "triplets": """
        SELECT a.title_id, a.track_id, a.frames AS anchor_frames, p.frames AS positive_frames,
          p.distance AS positive_distance, n.negative_track_id, n.negative_rank, n.distance AS negative_distance
        FROM tracklets a
          JOIN tracklets p ON p.title_id = a.title_id AND p.track_id = a.track_id AND p.rank = 1
          JOIN hard_negatives n ON n.title_id = a.title_id AND n.track_id = a.track_id
        WHERE a.role = 'anchor'""",
    # the share of a title's tracks that each character has; its least and greatest of a title are the `cluster density
    # range` of MvCorr's project page, which counts labelled tracks: here unknown and rejected ones count in the whole
    "track_density": """
        SELECT l.title_id, l.character_id, any_value(c.name) AS name, count(*) AS n_tracks,
          count(*) / any_value(t.n_tracks) AS density
        FROM track_labels l
          JOIN (SELECT title_id, count(*) AS n_tracks FROM track_labels GROUP BY title_id) t ON t.title_id = l.title_id
          LEFT JOIN characters c ON c.title_id = l.title_id AND c.character_id = l.character_id
        WHERE l.character_id IS NOT NULL
        GROUP BY l.title_id, l.character_id""",
    # how near the nearest other person's tracklet lies, by title (MvCorr's supplement): Euclidean, of unit vectors
    "hard_negative_distances": """
        SELECT title_id, count(distance) AS n_negatives, min(distance) AS min_distance,
          median(distance) AS median_distance
        FROM hard_negatives
        GROUP BY title_id""",
    # how many tracks and faces of the corpus each step of the paper's rule leaves
    "corpus_statistics": corpus_statistics(PUBLISHED.min_track_s, PUBLISHED.min_shared_s),
}
