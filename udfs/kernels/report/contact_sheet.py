"""Contact sheets: one row a character, so that a person sees at once whether the cast is right."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FACE, GAP, LABEL, HEADER = 96, 6, 210, 56  # pixels: a face's side, between faces, the text column, the title
LONGEST = 300  # characters of a title that are looked at
INK, PAPER, SOFT, RULE = "#1b1b1f", "#ffffff", "#6b6b76", "#e4e4ea"


class Row(NamedTuple):
    """One row: what stands beside it, and JPEG pictures from left to right (None, or no JPEG: an empty square)."""

    title: str
    lines: list[str]
    pictures: list[bytes | None]


def draw_sheet(title: str, subtitle: str, rows: list[Row], columns: int, blur: bool) -> bytes:
    """A PNG of the rows; a sheet without rows says so. `blur` makes every face unrecognisable."""
    width = LABEL + columns * (FACE + GAP) + GAP
    height = HEADER + max(1, len(rows)) * (FACE + 2 * GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    large, plain, small = (ImageFont.load_default(size) for size in (20, 15, 12))
    draw.text((GAP * 2, 8), _fit_text(draw, title, large, width - 4 * GAP), INK, large)
    draw.text((GAP * 2, 33), subtitle, SOFT, small)
    if not rows:
        draw.text((GAP * 2, HEADER + GAP), "no faces in this title", SOFT, plain)
    for number, row in enumerate(rows):
        top = HEADER + number * (FACE + 2 * GAP)
        draw.line([(0, top), (width, top)], RULE)
        draw.text((GAP * 2, top + GAP), _fit_text(draw, row.title, plain, LABEL - 3 * GAP), INK, plain)
        for line, text in enumerate(row.lines):
            draw.text((GAP * 2, top + GAP + 22 + 17 * line), text, SOFT, small)
        for column, picture in enumerate(row.pictures[:columns]):
            if picture is not None and (image := face(picture, blur)) is not None:
                sheet.paste(image, (LABEL + column * (FACE + GAP), top + GAP))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def face(picture: bytes, blur: bool) -> Image.Image | None:
    """A JPEG as FACE x FACE pixels; None where it is no JPEG. `blur` makes the face unrecognisable."""
    try:
        image = Image.open(io.BytesIO(picture), formats=["JPEG"]).convert("RGB")
    except (OSError, Image.DecompressionBombError):  # tracks may be imported, with whatever their makers took for JPEG
        return None
    image = image.resize((FACE, FACE), Image.Resampling.LANCZOS)
    return image.filter(ImageFilter.GaussianBlur(FACE / 9)) if blur else image


def _fit_text(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> str:
    text = " ".join(
        text[:LONGEST].encode(errors="replace").decode().split()
    )  # names may hold anything, line breaks too
    while len(text) > 1 and draw.textlength(text, font) > width:
        text = text[:-2] + "…"
    return text
