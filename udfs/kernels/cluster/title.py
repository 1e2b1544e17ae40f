"""The cast of one title: which character each track shows, and what is known of each character."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from udfs.kernels.cluster.characters import Characters, Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import FaceSets, Links
from udfs.kernels.cluster.videoclusternet import TrackAnswers
from udfs.kernels.rows import fill_gaps, stack_rows


def cluster_title(
    tracks: pd.DataFrame,
    embeddings: NDArray[np.floating],
    harvested: NDArray[np.floating],
    links: Links,
    rules: Rules,
    outputs: NDArray[np.floating] | None = None,
) -> dict[str, pd.DataFrame]:
    """The rows of track_labels and characters of one title, without title_id, run_id, adapter_id, person_id and name.

    Beside them, under `cannot_links`, track_a, track_b and `doubted` of the links given.

    Args:
        tracks: track_id ascending, start_s, end_s, n_faces, quality (NaN where not known), flags; for a method that
            goes by faces also n_embedded and intra_track (mean distance of a track's faces, NaN where it has one), or
            the fields of `TrackAnswers` and `unsure`, null where a track has none.
        embeddings: (T, D) float32 unit rows in that order, NaN where a track has none: what is clustered.
        harvested: (T, D') float32 unit rows as they were harvested, NaN as above: what characters keep.
        links: between track_ids.
        outputs: as in `Evidence`.
    Raises:
        ValueError: a link names a track that `tracks` lacks.
    """
    ids = tracks.track_id.to_numpy(np.int64)
    evidence = Evidence(
        embeddings,
        tracks.n_faces.to_numpy(np.int64),
        Links(_rows_of(ids, links.cannot), _rows_of(ids, links.must)),
        quality=_quality(tracks),
        rejected=np.array(["not_a_face" in (flags if flags is not None else ()) for flags in tracks["flags"]], bool),
        faces=_faces(tracks),
        outputs=outputs,
    )
    found = find_characters(evidence, rules)
    named = found.labels >= 0
    labels = pd.DataFrame(
        {
            "track_id": ids,
            "character_id": pd.array(np.where(named, found.labels, 0), dtype="Int32"),
            "confidence": np.where(named, found.confidence, np.nan),
            "second_character_id": pd.array(np.maximum(found.second_labels, 0), dtype="Int32"),
            "margin": found.margin,
            "status": found.status,
            "reason": pd.Series(found.reason, dtype=object).mask(named, None),
            "method": rules.name,
        }
    )
    labels.loc[~named, "character_id"] = pd.NA
    labels.loc[found.second_labels < 0, "second_character_id"] = pd.NA
    judged = pd.DataFrame({"track_a": links.cannot[:, 0], "track_b": links.cannot[:, 1], "doubted": found.doubted})
    return {
        "track_labels": labels,
        "characters": list_characters(tracks, ids, harvested, found),
        "cannot_links": judged,
    }


def _faces(tracks: pd.DataFrame) -> FaceSets | TrackAnswers | None:
    if "intra_track" in tracks:
        return FaceSets(tracks.intra_track.to_numpy(np.float64), tracks.n_embedded.fillna(0).to_numpy(np.int64))
    if "said" not in tracks:
        return None
    there = tracks.said.notna().to_numpy()
    rows = {name: fill_gaps(stack_rows(tracks[name][there]), there) for name in TrackAnswers._fields[:-1]}
    return TrackAnswers(**rows, threshold=tracks.threshold.to_numpy(np.float64))


def _quality(tracks: pd.DataFrame) -> NDArray[np.float32]:
    """A track of whose faces a fine-tuned network is unsure is worth nothing to the method that goes by it."""
    quality = tracks.quality.to_numpy(np.float32)
    return np.where(tracks.unsure.fillna(False).astype(bool), np.float32(0), quality) if "unsure" in tracks else quality


def _rows_of(ids: NDArray[np.integer], links: NDArray[np.integer]) -> NDArray[np.int64]:
    if not np.isin(links, ids).all():
        raise ValueError("a link names a track that is not among the tracks")
    return np.searchsorted(ids, links)


def list_characters(
    tracks: pd.DataFrame, ids: NDArray[np.integer], harvested: NDArray[np.floating], found: Characters
) -> pd.DataFrame:
    rows = []
    for character, exemplar in enumerate(found.exemplars):
        of_it = found.labels == character
        mine, mean = tracks[of_it], np.nanmean(harvested[of_it].astype(np.float64), axis=0)
        rows.append(
            {
                "character_id": character,
                "n_tracks": len(mine),
                "n_faces": int(mine.n_faces.sum()),
                "screen_time_s": measure_union(mine.start_s.to_numpy(), mine.end_s.to_numpy()),
                "first_s": float(mine.start_s.min()),
                "last_s": float(mine.end_s.max()),
                "exemplar_track_id": int(ids[exemplar]),
                "embedding": (mean / max(np.linalg.norm(mean), 1e-12)).astype(np.float32),
            }
        )
    return pd.DataFrame(rows)


def measure_union(start: NDArray[np.floating], end: NDArray[np.floating]) -> float:
    """Length of the union of the intervals [start, end), in their unit; 0 for none."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    reached = np.concatenate([[-np.inf], np.maximum.accumulate(end)[:-1]]) if len(end) else end
    return float(np.clip(end - np.maximum(start, reached), 0, None).sum())
