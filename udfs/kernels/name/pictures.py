"""Files to pictures: one way for every format, turned as its EXIF data say, and bounded before anything is decoded."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# JPEG with what telephones write as .jpg, MPO. None of these starts another program, as PostScript would.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
LARGEST = 100_000_000  # pixels: 0.4 GB decoded, and 0.4 GB more where they are turned. Cameras take 12 to 60 million
HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftyphevx", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1")


class PictureError(Exception):
    """Why a file is no picture that can be looked at, and what to do about it."""


def read_picture(content: bytes, longest: int) -> NDArray[np.uint8]:
    """A file's picture, the first where it holds several.

    Args:
        content: of a file, whatever its name; one of FORMATS.
        longest: pixels; a picture twice as long or longer is shrunk by a whole number, and stays at least as long.
    Returns:
        (H, W, 3) uint8, BGR, as a viewer shows it; what is transparent has its hidden colour.
    Raises:
        PictureError: no picture, too large, cut off, or of values that are no colours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of sizes that are checked here and of odd metadata
            return _decode(content, longest)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        if content[4:12] in HEIC:
            raise PictureError("is HEIC, which castmine does not read: export it as JPEG") from error
        raise PictureError("cannot be read as a picture") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"is larger than {LARGEST // 10**6} megapixels: shrink it") from error
    except Exception as error:  # decoders raise what they like at damaged files
        raise PictureError(f"cannot be read as a picture, being cut off or damaged: {error}") from error


def _decode(content: bytes, longest: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:  # reads the header
        width, height = image.size
        if width * height > LARGEST:
            raise PictureError(
                f"is larger than {LARGEST // 10**6} megapixels ({width} x {height}): shrink it, or cut out the face"
            )
        image.load()  # before it is turned: PNG has its EXIF data behind the picture
        with contextlib.suppress(Exception):  # damaged EXIF data: viewers show the picture as it is stored
            ImageOps.exif_transpose(image, in_place=True)
        colours = _colours(image)
        if (times := max(colours.size) // longest) > 1:
            colours = colours.reduce(times)
        return np.ascontiguousarray(np.asarray(colours)[..., ::-1])


def _colours(image: Image.Image) -> Image.Image:
    """The picture in RGB of 8 bits."""
    if image.mode in ("I", "F"):
        raise PictureError("has values that are no colours: save it as JPEG or PNG")
    if image.mode.startswith("I;16"):  # Pillow's own way cuts off what is brighter than 255 of 65535
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
