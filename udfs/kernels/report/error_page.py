"""One title's errors as a page that needs nothing else: no script, no other file, pictures inside.

Here is what the page says; `error_page.html.j2` says how it looks. The template escapes all that it is given.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from udfs.kernels.evaluate import errors
from udfs.kernels.evaluate.intervals import wilson
from udfs.kernels.evaluate.verdicts import RIGHT, UNKNOWN, WRONG
from udfs.kernels.report import contact_sheet
from udfs.kernels.report.adapter_section import describe_adapter
from udfs.kernels.report.page_parts import View, lay_stretch, lay_table, say_percent, say_share, say_tracks

PAIRS, PEOPLE, FINDINGS, FACES = 12, 40, 5, 4  # most rows of each kind, and pictures on each side of a pair
FEWEST = 5  # tracks of which a group consists to be pointed out
QUALITY = 80  # of the pictures' JPEG

PROPERTIES = {  # property -> its heading, what it says
    "flag": ("What makes the face hard", "Flags that the track got; it can have several."),
    "pose": ("Where the face looks", "By the median turn of the head: frontal, profile, or between the two."),
    "quality_label": (
        "Visual quality labels",
        "Of the MvCorr paper: frontal where all faces are, the others where at least one is. A track can have several.",
    ),
    "face_px": ("Size of the face", "Median of the smaller side of its boxes, pixels."),
    "quality": ("Quality of the face", "0 (useless) to 1, of the better half of its faces."),
    "seconds": ("Length of the track", "Seconds."),
    "person_tracks": ("How often the person appears", "Number of tracks that show the same person."),
    "links": ("Seen with others", "Links: pairs that clustering was told are two people, or one."),
    "status": ("What clustering itself says", "Core: clustered with a clear lead. Uncertain: without."),
    "shot": ("Shots with most errors", "Number of the shot."),
}
WORDS = {
    "track": "One face followed through one shot.",
    "character": "A group of tracks that castmine takes for one person.",
    "right": "The track is in the one character that its person gets when characters and people are paired off so that "
    "as many tracks as possible fit.",
    "wrong": "It is in another character.",
    "unknown": "It is in none: castmine did not have enough evidence.",
    "taken for somebody else": "Most tracks of its character show another person. It is right all the same where that "
    "person gets another character and this one is left for its own.",
    "split": "Its character shows the right person, but it is not that person's main one.",
    "95 % interval": "Where the share would lie if one could look at many more such tracks (Wilson). Tracks of one "
    "scene are alike, so take it as the least doubt there is.",
    "V-measure": "How well characters and people agree, 0 to 100 %; lower for mixed characters and for split people.",
    "purity": "Share of tracks that show whom most tracks of their character show (weighted cluster purity).",
    "distance": "Cosine distance of two faces' embeddings: 0 for the same direction, about 1 for strangers.",
}


def draw_page(name: str, found: errors.Analysis, pictures: Mapping[int, bytes | None], blur: bool) -> bytes:
    """The page as UTF-8. `blur` makes every face unrecognisable.

    Args:
        name: of the title. pictures: track_id -> JPEG (None, or no JPEG: the track's number in its place).
    """
    files = resources.files("udfs.kernels.report")
    template, css = ((files / f"error_page.{ending}").read_text(encoding="utf-8") for ending in ("html.j2", "css"))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    view: View = {"name": name[: contact_sheet.LONGEST], "css": Markup(css), "summary": None}
    if len(found.tracks):
        faces = _Faces(found.tracks, pictures, blur)
        view |= {
            "summary": _summary(found),
            "findings": _findings(found),
            "groups": _groups(found),
            "confusions": _confusions(found, faces),
            "people": _people(found),
            "characters": _characters(found),
            "links": _links(found),
            "adapter": describe_adapter(found),
            "confidence": _confidence(found),
            "words": WORDS,
        }
    return environment.from_string(template).render(view).strip().encode(errors="replace")


class _Faces:
    """Pictures of tracks, with what is known of each."""

    def __init__(self, tracks: pd.DataFrame, pictures: Mapping[int, bytes | None], blur: bool):
        self._tracks, self._pictures, self._blur = tracks.set_index("track_id"), pictures, blur

    def row(self, track_ids: Iterable[int]) -> list[View]:
        return [self._face(track) for track in [*track_ids][:FACES]]

    def _face(self, track_id: int) -> View:
        picture = self._pictures.get(track_id)
        image = contact_sheet.face(picture, self._blur) if picture is not None else None
        said = f"track {track_id} at {_time(self._tracks.start_s[track_id])}"
        if image is None:
            return {"track_id": track_id, "said": said, "data": None}
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        return {"track_id": track_id, "said": said, "data": base64.b64encode(out.getvalue()).decode()}


# --- sections --------------------------------------------------------------------------------------------------


def _summary(found: errors.Analysis) -> View:
    tracks, scores = found.tracks, found.scores
    n, wrong = len(tracks), tracks[tracks.verdict == WRONG]
    elsewhere = int((wrong.taken_for != wrong.person).sum())
    right, unknown = (int((tracks.verdict == verdict).sum()) for verdict in (RIGHT, UNKNOWN))
    shares = [
        ("right", "right", right),
        ("taken for somebody else", "wrong", elsewhere),
        ("right person, another character (split)", "split", len(wrong) - elsewhere),
        ("unknown", "unknown", unknown),
    ]
    starts = np.cumsum([0, *(count for *_, count in shares)]) / n
    parts = [
        {**lay_stretch(kind, start, count / n), "label": f"{label}: {count:,}"}
        for (label, kind, count), start in zip(shares, starts, strict=False)
    ]
    tiles = [
        (say_percent(right, n), f"of {n:,} tracks are right"),
        (say_percent(len(wrong), n), "are wrong"),
        (say_percent(unknown, n), "are unknown"),
        (f"{scores['n_predicted']:.0f}", f"characters found; {scores['n_true']:.0f} true people"),
        (f"{100 * scores['v_measure']:.1f} %", "V-measure"),
        (f"{100 * scores['wcp']:.1f} %", "purity"),
    ]
    return {"tiles": tiles, "parts": parts}


def _findings(found: errors.Analysis) -> list[tuple[str, str]]:
    """The groups that err more often than the rest beyond chance, those first that add most wrong tracks."""
    groups = found.groups[~found.groups.property.isin(["shot", "links"])]
    more = groups[(groups.wrong_low > groups.rest_wrong) & (groups.n_tracks >= FEWEST)]
    more = more.assign(extra=(more.share_wrong - more.rest_wrong) * more.n_tracks)
    more = more.sort_values(["extra", "property", "place"], ascending=[False, True, True])[:FINDINGS]
    return [
        (
            f"{PROPERTIES[row.property][0]}: {row.value}. ",
            f"{row.n_wrong:,} of {row.n_tracks:,} tracks are wrong ({say_share(row.share_wrong)}); of the others "
            f"{say_share(row.rest_wrong)}.",
        )
        for row in more.itertuples()
    ]


def _groups(found: errors.Analysis) -> View:
    groups = found.groups
    overall = float((found.tracks.verdict == WRONG).mean())
    large = groups[(groups.n_tracks >= FEWEST) & (groups.property != "shot")]
    top = max([0.1, overall, *(large.share_wrong + large.share_unknown), *large.wrong_high])
    properties = []
    for name, (heading, meaning) in PROPERTIES.items():
        rows = groups[groups.property == name].sort_values("place")
        if len(rows):
            lines = [_group_line(row, overall, 1.0 if name == "shot" else top) for row in rows.itertuples()]
            properties.append({"heading": heading, "meaning": meaning, "rows": lines})
    return {"top": say_share(top), "properties": properties}


def _group_line(row: Any, overall: float, top: float) -> View:
    return {
        "value": row.value,
        "tracks": f"{row.n_tracks:,}",
        "parts": [
            lay_stretch("wrong", 0, row.share_wrong / top),
            lay_stretch("unknown", row.share_wrong / top, row.share_unknown / top),
            lay_stretch("span", row.wrong_low / top, (row.wrong_high - row.wrong_low) / top),
        ],
        "mean": f"{100 * overall / top:.2f}",
        "wrong": say_share(row.share_wrong),
        "unknown": say_share(row.share_unknown),
        "kind": "more" if row.wrong_low > row.rest_wrong else "less" if row.wrong_high < row.rest_wrong else "",
        "times": f"{row.share_wrong / row.rest_wrong:.1f}\N{MULTIPLICATION SIGN}" if row.rest_wrong > 0 else "",
    }


def _confusions(found: errors.Analysis, faces: _Faces) -> View:
    shown = found.confusions[:PAIRS]
    said = (
        f"{len(found.confusions):,} pairs, the {len(shown)} most frequent ones here. On the left tracks of the "
        "person who was taken for somebody else, those first of which castmine was most sure; on the right the "
        "person they were taken for."
    )
    pairs = [
        {
            "person": row.person,
            "taken_for": row.taken_for,
            "tracks": say_tracks(row.n_tracks),
            "nearer": _nearer(row),
            "faces": faces.row(row.track_ids),
            "others": faces.row(row.other_ids),
        }
        for row in shown.itertuples()
    ]
    return {"said": said, "pairs": pairs}


def _nearer(row: Any) -> str | None:
    """Whether the embedding or the clustering is to blame."""
    if not np.isfinite(row.distance):
        return None
    if not np.isfinite(row.own_distance):
        return f"distance {row.distance:.2f}; there is no other track of this person"
    nearer = "these" if row.distance < row.own_distance else "their own"
    return f"distance {row.distance:.2f} to these, {row.own_distance:.2f} to their own others: {nearer} are nearer"


def _people(found: errors.Analysis) -> View:
    whole = found.people
    split, lost = whole[whole.n_characters > 1], whole[whole.n_characters == 0]
    wrong = whole[(whole.n_right < whole.n_tracks) | (whole.n_characters != 1)]
    said = (
        f"{len(whole) - len(split) - len(lost):,} of {len(whole):,} people have one character of their own, "
        f"{len(split):,} are split over several, {len(lost):,} have none: their tracks are others' or unknown."
    )
    columns = ["person", "tracks", "right", "taken for others", "unknown", "characters"]
    rows = [
        [row.person, row.n_tracks, row.n_right, row.n_elsewhere, row.n_unknown, row.n_characters]
        for row in wrong[:PEOPLE].itertuples()
    ]
    left = f"{len(wrong) - PEOPLE:,} more people with errors are not shown." if len(wrong) > PEOPLE else None
    return {"said": said, "table": lay_table(columns, rows) if rows else None, "left": left}


def _characters(found: errors.Analysis) -> View:
    several = []
    for character, inside in found.characters.groupby("character_id"):
        who = [f"{row.person} ({row.n_tracks:,})" for row in inside.itertuples()]
        n, strange = int(inside.n_tracks.sum()), int(inside.n_tracks[1:].sum())
        if strange:
            several.append((-strange, -n, character, f", {say_tracks(n)}: {who[0]}; {', '.join(who[1:])}"))
    several.sort()
    said = (
        f"{len(several):,} of {found.characters.character_id.nunique():,} characters; whom most tracks show is first."
    )
    return {"said": said, "several": [row[2:] for row in several[:PEOPLE]]}


def _links(found: errors.Analysis) -> View:
    figures, said = found.figures, []
    kinds = {
        "cannot_links": ("cannot-links", "one person", "put into one character"),
        "must_links": ("must-links", "two people", "not put into one character"),
    }
    for kind, (name, contradiction, lost) in kinds.items():
        known, false = figures[f"{kind}_known"], figures[f"{kind}_false"]
        line = f"{known:,.0f} {name} between tracks whose people are known"
        if known:
            line += f"; {false:,.0f} of them contradict the truth ({contradiction})"
        if f"{kind}_needed" in figures:
            line += f". Clustered without them, {figures[f'{kind}_needed']:,.0f} of these pairs are {lost}"
        said.append(f"{line}.")
    if found.rules is not None and not found.rules.links:
        return {"said": [*said, "Clustering was told to obey none of them (--links none)."], "table": None}
    tried = [(name, f"without {name.replace('_', '-')}") for name in errors.LINKS if f"{name}_fixed" in figures]
    if not tried:
        untried = (
            "Clustering without them was not tried: it was made with settings that this evaluation was not given "
            "(--conf, --set, --characters, --method)."
        )
        there = any(figures[f"{kind}_tracks"] for kind in kinds)
        return {"said": [*said, untried if there else "The title has no links."], "table": None}
    percent = [f"{100 * found.scores[name]:.1f} %" for name in ("v_measure", "wcp")]
    rows = [["as it is", *percent, "", ""]]
    for name, label in tried:
        percent = [f"{100 * figures[f'without_{name}_{score}']:.1f} %" for score in ("v_measure", "wcp")]
        rows.append([label, *percent, f"{figures[f'{name}_fixed']:,.0f}", f"{figures[f'{name}_broke']:,.0f}"])
    if len(tried) == 2:
        rows.pop()  # without any links: the same
    columns = ["clustered", "V-measure", "purity", "right only with them", "right only without"]
    return {"said": said, "table": lay_table(columns, rows)}


def _confidence(found: errors.Analysis) -> View | None:
    known = found.reliability
    if not len(known):
        return None
    said = (
        f"Off by {found.figures['ece']:.3f} on average (expected calibration error). A dot on the diagonal: of the "
        "tracks with this confidence just as many show the person whom most tracks of their character show. Below it "
        "castmine is too sure. Larger dots stand for more tracks."
    )
    rows = [
        [f"{row.bin / 10:.1f} to {(row.bin + 1) / 10:.1f}", row.n_tracks, f"{row.mean_confidence:.2f}",
         f"{100 * row.share_right:.0f} %"]
        for row in known.itertuples()
    ]  # fmt: skip
    return {"said": said, "table": lay_table(["confidence", "tracks", "mean", "right"], rows), **_diagram(known)}


def _diagram(reliability: pd.DataFrame) -> View:
    """Share of right tracks over confidence: where things lie in a picture of 320 x 300."""
    left, top, side = 44, 12, 240
    n = reliability.n_tracks.to_numpy()
    low, high = wilson(reliability.share_right.to_numpy() * n, n)

    def across(x: float) -> float:
        return round(left + side * x, 1)

    def up(y: float) -> float:
        return round(top + side * (1 - y), 1)

    ticks = [
        {"x": across(tick), "y": up(tick), "name": f"{tick:g}", "percent": f"{100 * tick:.0f} %"}
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    dots = [
        {
            "x": across(row.mean_confidence),
            "y": up(row.share_right),
            "low": up(least),
            "high": up(most),
            "size": f"{2.5 + 6 * (row.n_tracks / n.max()) ** 0.5:.1f}",
            "tracks": f"{row.n_tracks:,}",
        }
        for row, least, most in zip(reliability.itertuples(), low, high, strict=True)
    ]
    edges = {"left": across(0), "right": across(1), "top": up(1), "bottom": up(0)}
    return {"ticks": ticks, "dots": dots, **edges}


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
