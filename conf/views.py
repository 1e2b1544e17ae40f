"""SQL views over the tables, for people and dashboards. Each reads committed rows only."""

from __future__ import annotations

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


VIEWS = {
    "appearances": appearances(GAP_S),
    # seconds each character is on screen, and the share of the title
    "screen_time": """
        SELECT c.title_id, c.character_id, c.name, c.screen_time_s, c.screen_time_s / nullif(t.duration_s, 0) AS share,
          c.n_tracks, c.first_s, c.last_s
        FROM characters c JOIN titles t USING (title_id)""",
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
}
