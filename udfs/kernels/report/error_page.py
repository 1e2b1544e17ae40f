"""One title's errors as a page that needs nothing else: no script, no other file, pictures inside.

The page is built as a tree of elements, so that a name is always text, whatever stands in it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, tostring

import numpy as np
import pandas as pd

from udfs.kernels.evaluate import errors
from udfs.kernels.evaluate.intervals import wilson
from udfs.kernels.report import contact_sheet

Child = Element | str | None

PAIRS, PEOPLE, FINDINGS, FACES = 12, 40, 5, 4  # most rows of each kind, and pictures on each side of a pair
FEWEST = 5  # tracks of which a group consists to be pointed out
QUALITY = 80  # of the pictures' JPEG

PROPERTIES = {  # property -> its heading, what it says
    "flag": ("What makes the face hard", "Flags that the track got; it can have several."),
    "pose": ("Where the face looks", "By the median turn of the head: frontal, profile, or between the two."),
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
CSS = """
:root { color-scheme: light dark; --ink: #1c1c22; --soft: #62626e; --paper: #fff; --card: #f5f5f8; --rule: #dcdce4;
  --wrong: #c8432f; --unknown: #9a9aa8; --good: #2c7a4b; --line: #2f5fa8 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --soft: #a3a3b0; --paper: #15151a; --card: #202027;
  --rule: #36363f; --wrong: #f0806c; --unknown: #70707d; --good: #6fcb93; --line: #86aef0 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.5rem; margin: .5rem 0 0 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem }
h3 { font-size: 1rem; margin: 1.4rem 0 .1rem } p { margin: .3rem 0 .6rem }
.soft { color: var(--soft); font-size: .875rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: .6rem; margin: 1rem 0 }
.tile { background: var(--card); border-radius: .5rem; padding: .6rem .8rem }
.tile b { display: block; font-size: 1.4rem; line-height: 1.3 }
.bar { position: relative; height: 1.1rem; background: var(--card); border-radius: 2px; overflow: hidden }
.bar i { position: absolute; top: 0; bottom: 0 }
.wrong { background: var(--wrong) } .unknown { background: var(--unknown) } .right { background: var(--good) }
.split { background: var(--line) }
.bar .span { top: .5rem; bottom: .5rem; background: var(--ink) } .bar .mean { width: 1px; background: var(--soft) }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin: 0 .3rem 0 .9rem }
.key:first-child { margin-left: 0 }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
th { font-weight: 500; color: var(--soft); text-align: left; font-size: .8rem; vertical-align: bottom }
td, th { padding: .2rem .5rem .2rem 0; border-bottom: 1px solid var(--rule) }
.n { text-align: right } td.n { white-space: nowrap }
.groups { table-layout: fixed } .groups th:first-child { width: 24% } .groups .n { width: 11% }
.more { color: var(--wrong); font-weight: 600 } .less { color: var(--good); font-weight: 600 }
.pair { border-top: 1px solid var(--rule); padding: .7rem 0 }
.sides { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem }
.faces { display: flex; gap: .25rem; margin-top: .2rem }
.face { width: 64px; height: 64px; border-radius: 4px; background: var(--card); color: var(--soft); font-size: .7rem;
  display: flex; align-items: center; justify-content: center; text-align: center; object-fit: cover }
svg { width: 100%; max-width: 26rem; height: auto } svg text { fill: var(--soft); font-size: 11px }
dt { font-weight: 600; margin-top: .5rem } dd { margin: 0 } .scroll { overflow-x: auto }
@media (max-width: 32rem) { .wide { display: none } .face { width: 52px; height: 52px } table { font-size: .8rem }
  td, th { padding-right: .25rem } th { font-size: .72rem }
  .groups .n { width: 15% } .groups th:first-child { width: 22% } }
"""


def draw_page(name: str, found: errors.Analysis, pictures: Mapping[int, bytes | None], blur: bool) -> bytes:
    """The page as UTF-8. `blur` makes every face unrecognisable.

    Args:
        name: of the title. pictures: track_id -> JPEG (None, or no JPEG: the track's number in its place).
    """
    faces = _Faces(found.tracks, pictures, blur)
    name = name[: contact_sheet.LONGEST]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; img-src data:; "
            "style-src 'unsafe-inline'"),
        tag("title", f"{name}: errors"),
        tag("style", CSS),
    )  # fmt: skip
    body = [tag("h1", name), tag("p", "Where castmine's characters differ from the truth", class_="soft")]
    if len(found.tracks):
        body += [*_summary(found), *_groups(found), *_confusions(found, faces), *_people(found), *_characters(found)]
        body += [*_links(found), *_confidence(found), *_words()]
    else:
        body.append(tag("p", "There is nothing to say: the truth knows nobody in any track of this title."))
    page = tag("html", head, tag("body", *body), lang="en")
    return b"<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html").encode(errors="replace")


def tag(name: str, /, *children: Child, **attributes: object) -> Element:
    """An element; of the attributes' names a last _ is dropped and another one is a dash, None ones are left out."""
    given = {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items() if value is not None}
    made = Element(name, given)
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


class _Faces:
    """Pictures of tracks, with what is known of each."""

    def __init__(self, tracks: pd.DataFrame, pictures: Mapping[int, bytes | None], blur: bool):
        self._tracks, self._pictures, self._blur = tracks.set_index("track_id"), pictures, blur

    def row(self, track_ids: Iterable[int]) -> Element:
        return tag("div", *[self._face(track) for track in [*track_ids][:FACES]], class_="faces")

    def _face(self, track_id: int) -> Element:
        said = f"track {track_id} at {_time(self._tracks.start_s[track_id])}"
        picture = self._pictures.get(track_id)
        image = contact_sheet.face(picture, self._blur) if picture is not None else None
        if image is None:
            return tag("div", f"track {track_id}", class_="face", title=said)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        data = base64.b64encode(out.getvalue()).decode()
        return tag("img", class_="face", src=f"data:image/jpeg;base64,{data}", alt=said, title=said)


# --- sections --------------------------------------------------------------------------------------------------


def _summary(found: errors.Analysis) -> list[Element]:
    tracks, scores = found.tracks, found.scores
    n, wrong = len(tracks), tracks[tracks.verdict == errors.WRONG]
    elsewhere = int((wrong.taken_for != wrong.person).sum())
    shares = {
        ("right", "right"): int((tracks.verdict == errors.RIGHT).sum()),
        ("taken for somebody else", "wrong"): elsewhere,
        ("right person, another character (split)", "split"): len(wrong) - elsewhere,
        ("unknown", "unknown"): int((tracks.verdict == errors.UNKNOWN).sum()),
    }
    tiles = [
        (_percent(shares["right", "right"], n), f"of {n:,} tracks are right"),
        (_percent(len(wrong), n), "are wrong"),
        (_percent(shares["unknown", "unknown"], n), "are unknown"),
        (f"{scores['n_predicted']:.0f}", f"characters found; {scores['n_true']:.0f} true people"),
        (f"{100 * scores['v_measure']:.1f} %", "V-measure"),
        (f"{100 * scores['wcp']:.1f} %", "purity"),
    ]
    start = 0.0
    parts: list[Child] = []
    keys: list[Child] = []
    for (label, kind), count in shares.items():
        parts.append(_stretch(kind, start, count / n))
        keys += [tag("span", class_=f"key {kind}"), f"{label}: {count:,}"]
        start += count / n
    return [
        tag("div", *[tag("div", tag("b", value), label, class_="tile") for value, label in tiles], class_="tiles"),
        tag("div", *parts, class_="bar"),
        tag("p", *keys, class_="soft"),
        *_findings(found),
    ]


def _findings(found: errors.Analysis) -> list[Element]:
    """The groups that err more often than the rest beyond chance, those first that add most wrong tracks."""
    groups = found.groups[~found.groups.property.isin(["shot", "links"])]
    more = groups[(groups.wrong_low > groups.rest_wrong) & (groups.n_tracks >= FEWEST)]
    more = more.assign(extra=(more.share_wrong - more.rest_wrong) * more.n_tracks)
    more = more.sort_values(["extra", "property", "place"], ascending=[False, True, True])[:FINDINGS]
    said = [
        tag(
            "li",
            tag("b", f"{PROPERTIES[row.property][0]}: {row.value}. "),
            f"{row.n_wrong:,} of {row.n_tracks:,} tracks are wrong ({_share(row.share_wrong)}); of the others "
            f"{_share(row.rest_wrong)}.",
        )
        for row in more.itertuples()
    ]
    clear = "No kind of track is clearly more often wrong than the others."
    return [tag("h2", "Where to look first"), tag("ul", *said) if said else tag("p", clear)]


def _groups(found: errors.Analysis) -> list[Element]:
    groups = found.groups
    overall = float((found.tracks.verdict == errors.WRONG).mean())
    large = groups[(groups.n_tracks >= FEWEST) & (groups.property != "shot")]
    top = max([0.1, overall, *(large.share_wrong + large.share_unknown), *large.wrong_high])
    made = [
        tag("h2", "Which tracks go wrong"),
        tag(
            "p",
            tag("span", class_="key wrong"), "wrong", tag("span", class_="key unknown"), "unknown. The ",
            "horizontal line is the 95 % interval of wrong, the vertical one the share of all tracks. Bars end at ",
            f"{_share(top)}, those of shots at 100 %. ",
            "“Against the rest” is how many times as often a track is wrong as the title's other tracks, in colour "
            "where chance alone would hardly do that.",
            class_="soft",
        ),
    ]  # fmt: skip
    for name, (heading, meaning) in PROPERTIES.items():
        rows = groups[groups.property == name].sort_values("place")
        if len(rows):
            header = tag(
                "tr", tag("th", ""), tag("th", "tracks", class_="n"), tag("th", "wrong and unknown"),
                tag("th", "wrong", class_="n"), tag("th", "unknown", class_="n wide"),
                tag("th", "against the rest", class_="n"),
            )  # fmt: skip
            lines = [_group_line(row, overall, 1.0 if name == "shot" else top) for row in rows.itertuples()]
            made += [tag("h3", heading), tag("div", meaning, class_="soft")]
            made.append(tag("table", header, *lines, class_="groups"))
    return made


def _group_line(row: Any, overall: float, top: float) -> Element:
    bar = tag(
        "div",
        _stretch("wrong", 0, row.share_wrong / top),
        _stretch("unknown", row.share_wrong / top, row.share_unknown / top),
        _stretch("span", row.wrong_low / top, (row.wrong_high - row.wrong_low) / top),
        tag("i", class_="mean", style=f"left:{100 * overall / top:.2f}%"),
        class_="bar",
    )
    kind = "more" if row.wrong_low > row.rest_wrong else "less" if row.wrong_high < row.rest_wrong else ""
    times = f"{row.share_wrong / row.rest_wrong:.1f}\N{MULTIPLICATION SIGN}" if row.rest_wrong > 0 else ""
    return tag(
        "tr", tag("td", row.value), tag("td", f"{row.n_tracks:,}", class_="n"), tag("td", bar),
        tag("td", _share(row.share_wrong), class_="n"), tag("td", _share(row.share_unknown), class_="n wide"),
        tag("td", times, class_=f"n {kind}"),
    )  # fmt: skip


def _confusions(found: errors.Analysis, faces: _Faces) -> list[Element]:
    made = [tag("h2", "Who is taken for whom")]
    if not len(found.confusions):
        return [*made, tag("p", "Nobody: every character shows one person.")]
    shown = found.confusions[:PAIRS]
    made.append(
        tag(
            "p",
            f"{len(found.confusions):,} pairs, the {len(shown)} most frequent ones here. On the left tracks of the "
            "person who was taken for somebody else, those first of which castmine was most sure; on the right the "
            "person they were taken for.",
            class_="soft",
        )
    )
    for row in shown.itertuples():
        left = tag("div", tag("div", row.person, class_="soft"), faces.row(row.track_ids))
        right = tag("div", tag("div", row.taken_for, class_="soft"), faces.row(row.other_ids))
        head = tag("div", tag("b", row.person), " taken for ", tag("b", row.taken_for), f": {_tracks(row.n_tracks)}")
        made.append(tag("div", head, _nearer(row), tag("div", left, right, class_="sides"), class_="pair"))
    return made


def _nearer(row: Any) -> Element | None:
    """Whether the embedding or the clustering is to blame."""
    if not np.isfinite(row.distance):
        return None
    if not np.isfinite(row.own_distance):
        return tag("div", f"distance {row.distance:.2f}; there is no other track of this person", class_="soft")
    nearer = "these" if row.distance < row.own_distance else "their own"
    said = f"distance {row.distance:.2f} to these, {row.own_distance:.2f} to their own others: {nearer} are nearer"
    return tag("div", said, class_="soft")


def _people(found: errors.Analysis) -> list[Element]:
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
    made = [tag("h2", "People"), tag("p", said)]
    made += [_table(columns, rows)] if rows else [tag("p", "No person has an error.")]
    return [*made, tag("p", left, class_="soft")] if left else made


def _characters(found: errors.Analysis) -> list[Element]:
    several = []
    for character, inside in found.characters.groupby("character_id"):
        who = [f"{row.person} ({row.n_tracks:,})" for row in inside.itertuples()]
        n, strange = int(inside.n_tracks.sum()), int(inside.n_tracks[1:].sum())
        if strange:
            said = tag("p", tag("b", f"character {character}"), f", {_tracks(n)}: {who[0]}; {', '.join(who[1:])}")
            several.append((-strange, -n, character, said))
    several.sort(key=lambda row: row[:3])
    made = [tag("h2", "Characters that hold several people")]
    if not several:
        return [*made, tag("p", "None.")]
    head = (
        f"{len(several):,} of {found.characters.character_id.nunique():,} characters; whom most tracks show is first."
    )
    return [*made, tag("p", head, class_="soft"), *[row[3] for row in several[:PEOPLE]]]


def _links(found: errors.Analysis) -> list[Element]:
    figures, made = found.figures, [tag("h2", "What the links do")]
    kinds = {
        "cannot_links": ("cannot-links", "one person", "put into one character"),
        "must_links": ("must-links", "two people", "not put into one character"),
    }
    for kind, (name, contradiction, lost) in kinds.items():
        known, false = figures[f"{kind}_known"], figures[f"{kind}_false"]
        said = f"{known:,.0f} {name} between tracks whose people are known"
        if known:
            said += f"; {false:,.0f} of them contradict the truth ({contradiction})"
        if f"{kind}_needed" in figures:
            said += f". Clustered without them, {figures[f'{kind}_needed']:,.0f} of these pairs are {lost}"
        made.append(tag("p", f"{said}."))
    tried = [(name, f"without {name.replace('_', '-')}") for name in errors.LINKS if f"{name}_fixed" in figures]
    if not tried:
        none = not any(figures[f"{kind}_tracks"] for kind in kinds)
        reason = "The title has no links." if none else "Clustering without them was not tried: it was made with "
        more = None if none else "settings that this evaluation was not given (--conf, --set, --characters, --method)."
        return [*made, tag("p", reason, more)]
    percent = [f"{100 * found.scores[name]:.1f} %" for name in ("v_measure", "wcp")]
    rows = [["as it is", *percent, "", ""]]
    for name, label in tried:
        percent = [f"{100 * figures[f'without_{name}_{score}']:.1f} %" for score in ("v_measure", "wcp")]
        rows.append([label, *percent, f"{figures[f'{name}_fixed']:,.0f}", f"{figures[f'{name}_broke']:,.0f}"])
    if len(tried) == 2:
        rows.pop()  # without any links: the same
    columns = ["clustered", "V-measure", "purity", "right only with them", "right only without"]
    note = "An adapter that has learned from the links stays as it is."
    return [*made, _table(columns, rows), tag("p", note, class_="soft")]


def _confidence(found: errors.Analysis) -> list[Element]:
    said = (
        f"Off by {found.figures['ece']:.3f} on average (expected calibration error). A dot on the diagonal: of the "
        "tracks with this confidence just as many show the person whom most tracks of their character show. Below it "
        "castmine is too sure. Larger dots stand for more tracks."
    )
    known = found.reliability
    if not len(known):
        return []
    rows = [
        [f"{row.bin / 10:.1f} to {(row.bin + 1) / 10:.1f}", row.n_tracks, f"{row.mean_confidence:.2f}",
         f"{100 * row.share_right:.0f} %"]
        for row in known.itertuples()
    ]  # fmt: skip
    return [
        tag("h2", "Can its confidence be trusted?"),
        tag("p", said),
        _diagram(known),
        _table(["confidence", "tracks", "mean", "right"], rows),
    ]


def _diagram(reliability: pd.DataFrame) -> Element:
    """Share of right tracks over confidence, as a picture of 320 x 300."""
    left, top, side = 44, 12, 240
    right_part = reliability.share_right.to_numpy()
    low, high = wilson(right_part * reliability.n_tracks.to_numpy(), reliability.n_tracks.to_numpy())

    def across(x: float) -> str:
        return f"{left + side * x:.1f}"

    def up(y: float) -> str:
        return f"{top + side * (1 - y):.1f}"

    grid: list[Element] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        rule = {"stroke": "var(--rule)", "stroke_width": 1}
        grid += [
            tag("line", x1=across(tick), x2=across(tick), y1=up(0), y2=up(1), **rule),
            tag("line", x1=across(0), x2=across(1), y1=up(tick), y2=up(tick), **rule),
            tag("text", f"{tick:g}", x=across(tick), y=top + side + 15, text_anchor="middle"),
            tag("text", f"{100 * tick:.0f} %", x=left - 6, y=f"{float(up(tick)) + 4:.1f}", text_anchor="end"),
        ]
    diagonal = tag("line", x1=across(0), y1=up(0), x2=across(1), y2=up(1), stroke="var(--soft)", stroke_dasharray="4 4")
    largest, dots = reliability.n_tracks.max(), []
    for row, least, most in zip(reliability.itertuples(), low, high, strict=True):
        x = across(row.mean_confidence)
        size = f"{2.5 + 6 * (row.n_tracks / largest) ** 0.5:.1f}"
        dots += [
            tag("line", x1=x, x2=x, y1=up(least), y2=up(most), stroke="var(--line)", stroke_width=1.5),
            tag("circle", tag("title", f"{row.n_tracks:,} tracks"), cx=x, cy=up(row.share_right), r=size,
                fill="var(--line)"),
        ]  # fmt: skip
    words = tag("text", "confidence", x=across(0.5), y=top + side + 34, text_anchor="middle")
    label = "share of right tracks over confidence"
    return tag("svg", *grid, diagonal, *dots, words, viewBox="0 0 320 300", role="img", aria_label=label)


def _words() -> list[Element]:
    terms = [part for word, meaning in WORDS.items() for part in (tag("dt", word), tag("dd", meaning))]
    return [tag("h2", "Words"), tag("dl", *terms)]


# --- parts -----------------------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Element:
    """Numbers stand right, text left."""
    right = ["n" if all(_is_number(row[i]) for row in rows) else None for i in range(len(columns))]
    header = tag("tr", *[tag("th", column, class_=side) for column, side in zip(columns, right, strict=True)])
    lines = [
        tag("tr", *[tag("td", _cell(value), class_=side) for value, side in zip(row, right, strict=True)])
        for row in rows
    ]
    return tag("div", tag("table", header, *lines), class_="scroll")


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or not value or value[0].isdigit()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _stretch(kind: str, start: float, length: float) -> Element:
    """Part of a bar, both shares of its length."""
    start = min(max(start, 0.0), 1.0)
    return tag("i", class_=kind, style=f"left:{100 * start:.2f}%;width:{100 * min(length, 1 - start):.2f}%")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _tracks(n: int) -> str:
    return f"{n:,} track{'s' if n != 1 else ''}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
