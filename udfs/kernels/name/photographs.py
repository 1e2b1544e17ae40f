"""Reference photographs of people: the one face of each, and which photographs of a person do not show that person."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from udfs.kernels.harvest.networks import CROP_PX, Detections, Faces, align
from udfs.kernels.name.pictures import PictureError, read_picture

MUCH_SMALLER = 0.5  # of the largest face's area: what is smaller stands in the background
LONGEST_PX = 4096  # a photograph is shrunk to this: more than any detector looks at
BORDER = 0.5  # of a side, for what is cut so close to the face that no detector takes it for one


class FaceSeen(NamedTuple):
    """What a photograph shows: the embedding of its face, (D,) float32 of length 1, or why there is none."""

    embedding: NDArray[np.float32] | None
    problem: str | None = None


def find_face(content: bytes, faces: Faces, min_score: float, min_face_px: float) -> FaceSeen:
    """The largest face of a photograph.

    A photograph without a face is looked at again with a border around it. A second face of more than half the largest
    one's area leaves open who is meant.

    Args:
        content: of a file, as `read_picture` takes it.
        min_score, min_face_px: a face has at least this detector score, and this many pixels on its smaller side.
    """
    try:
        image = read_picture(content, LONGEST_PX)
    except PictureError as error:
        return FaceSeen(None, str(error))
    image = _shrunk(image, LONGEST_PX / max(image.shape[:2]))
    found = _faces_of(image, faces, min_score, min_face_px)
    if not len(found.boxes):
        border = round(BORDER * max(image.shape[:2]))
        image = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT)
        found = _faces_of(image, faces, min_score, min_face_px)
    if not len(found.boxes):
        return FaceSeen(None, "no face in it")
    area = found.boxes[:, 2:].prod(axis=1)
    largest = int(area.argmax())
    if (area > MUCH_SMALLER * area[largest]).sum() > 1:
        return FaceSeen(None, "several faces of about one size: cut out the one that is meant")
    # a crop samples single pixels: what is much larger than a crop is shrunk first
    scale = min(1.0, 2 * CROP_PX / float(found.boxes[largest, 2:].max()))
    crop = align(_shrunk(image, scale), found.landmarks[[largest]] * scale)
    return FaceSeen(faces.embed(crop).rows[0])


def _shrunk(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _faces_of(image: NDArray[np.uint8], faces: Faces, min_score: float, min_face_px: float) -> Detections:
    (found,) = faces.detect([image])
    enough = (found.scores >= min_score) & (found.boxes[:, 2:].min(axis=1, initial=np.inf) >= min_face_px)
    return Detections(*(part[enough] for part in found))
