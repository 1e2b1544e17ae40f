"""SQL views over the tables, for people and dashboards. Each reads committed rows only."""

from __future__ import annotations

GAP_S = 1.0  # a character who is away for less than this has not left the scene

VIEWS = {
    # who is on screen, when: intervals of a character's tracks, merged over short gaps
    "appearances": f"""
        SELECT title_id, character_id, min(start_s) AS start_s, max(end_s) AS end_s, count(*) AS n_tracks
        FROM (
          SELECT *, sum(opens) OVER (PARTITION BY title_id, character_id ORDER BY start_s, end_s, track_id) AS stretch
          FROM (
            SELECT t.title_id, l.character_id, t.track_id, t.start_s, t.end_s,
              CASE WHEN t.start_s <= {GAP_S} + max(t.end_s) OVER (
                PARTITION BY t.title_id, l.character_id ORDER BY t.start_s, t.end_s, t.track_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS opens
            FROM tracks t JOIN track_labels l USING (title_id, track_id)
            WHERE l.character_id IS NOT NULL))
        GROUP BY title_id, character_id, stretch""",
    # seconds each character is on screen, and the share of the title
    "screen_time": """
        SELECT c.title_id, c.character_id, c.name, c.screen_time_s, c.screen_time_s / t.duration_s AS share,
          c.n_tracks, c.first_s, c.last_s
        FROM characters c JOIN titles t USING (title_id)""",
    # which characters are seen together, in how many shots and for how long
    "co_appearances": """
        SELECT c.title_id, least(a.character_id, b.character_id) AS character_a,
          greatest(a.character_id, b.character_id) AS character_b, count(*) AS n_track_pairs,
          sum(c.shared_s) AS shared_s
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
