"""Files of every format to pictures: turned, bounded, and never a crash."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conf.settings import HarvestSettings
from udfs import name as udfs
from udfs.kernels.name.pictures import LARGEST, PictureError, read_picture

COLOURS = np.zeros((24, 40, 3), np.uint8)  # RGB: four fields, so that every way of turning is another picture
COLOURS[:12, :20], COLOURS[:12, 20:], COLOURS[12:, :20], COLOURS[12:, 20:] = (
    (200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40),
)  # fmt: skip
OTHER, SEVERAL = Image.new("RGB", (40, 24)), {"save_all": True, "quality": 95}
BGR = COLOURS[..., ::-1].astype(int)
GREY = np.asarray(Image.fromarray(COLOURS).convert("L"))
# what a picture is stored as, so that the EXIF orientation gives it back
STORED = {
    1: COLOURS, 2: COLOURS[:, ::-1], 3: COLOURS[::-1, ::-1], 4: COLOURS[::-1], 5: COLOURS.swapaxes(0, 1),
    6: np.rot90(COLOURS), 7: COLOURS[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(COLOURS, -1),
}  # fmt: skip


def saved(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def close(content: bytes, wanted: np.ndarray = BGR) -> bool:
    found = read_picture(content, 4096)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.uint8, wanted.shape, True)
    return bool(np.abs(found - wanted).mean() < 6)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_every_format_is_turned_as_its_exif_data_say(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    assert close(saved(stored, kind, exif=exif, **({"quality": 95} if kind not in ("PNG", "TIFF") else {})))


def whole(mode: str) -> Image.Image:
    return Image.fromarray(COLOURS).convert(mode)


@pytest.mark.parametrize(
    "content",
    [
        saved(whole("CMYK"), "JPEG", quality=95), saved(whole("RGB").quantize(), "PNG"), saved(whole("RGBA"), "PNG"),
        saved(whole("RGB"), "GIF"), saved(whole("RGB"), "BMP"), saved(whole("CMYK"), "TIFF"),
        saved(whole("YCbCr"), "TIFF"), saved(whole("RGBA"), "WEBP"),
        *(saved(whole("RGB"), kind, append_images=[OTHER], **SEVERAL) for kind in ("GIF", "MPO", "WEBP")),
    ],
)  # fmt: skip
def test_kinds_of_colours(content):
    assert close(content)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_eight_and_of_sixteen_bits(kind):
    grey = np.repeat(GREY[..., None], 3, axis=2).astype(int)
    assert close(saved(Image.fromarray(GREY), kind), grey)
    assert close(saved(Image.fromarray(GREY.astype(np.uint16) * 257), kind), grey)


def bomb(width: int, height: int) -> bytes:
    """A PNG of that size, of which hardly more than the header is there."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    sized = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(sized)


@pytest.mark.parametrize("size", [(10_001, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_size_that_is_too_large_is_read_from_the_header(size):
    assert size[0] * size[1] > LARGEST
    with pytest.raises(PictureError, match=r"larger than 100 megapixels.*: shrink it"):
        read_picture(bomb(*size), 4096)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_damaged_files_are_said_to_be_so(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    content = saved(noise, kind)
    with pytest.raises(PictureError, match="cannot be read as a picture"):
        read_picture(content[: len(content) // 2], 4096)
    for place in range(0, len(content), max(1, len(content) // 40)):  # whatever is wrong in it, nothing else is raised
        broken = bytearray(content)
        broken[place : place + 4] = b"\xff\x00\xff\xff"
        with contextlib.suppress(PictureError):
            read_picture(bytes(broken), 4096)


def test_a_picture_of_several_times_the_length_is_shrunk_by_a_whole_number():
    large = saved(whole("RGB").resize((400, 240), Image.Resampling.NEAREST), "PNG")
    assert read_picture(large, 201).shape == (240, 400, 3)
    assert read_picture(large, 200).shape == (120, 200, 3)
    assert np.abs(read_picture(large, 40) - BGR).max() == 0


def test_broken_exif_data_leave_the_picture_as_it_is_stored():
    assert close(saved(whole("RGB"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", quality=95))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which castmine does not read: export it as JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as a picture"),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "no colours: save it as JPEG or PNG"),
    ],
)
def test_what_is_not_looked_at(content, said):
    with pytest.raises(PictureError, match=said):
        read_picture(content, 4096)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "1.jpg").open("wb") as file:
        file.truncate(udfs.LARGEST_BYTES + 1)  # takes no room on the disk
    rows = pd.DataFrame({"number": [0], "person": ["Ann"], "path": [str(tmp_path / "1.jpg")]})
    (seen,) = udfs.look_at_photographs(iter([rows]), HarvestSettings())
    assert seen.problem.tolist() == ["cannot be opened: File too large"]
