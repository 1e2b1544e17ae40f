"""Whether a face wears glasses: the lines of a frame around the eyes of an aligned crop.

Classical: edges over the bridge of the nose and below the eyes (Jiang, Binkert, Achermann and Bunke, Towards detection
of glasses in facial images, Pattern Analysis and Applications 3, 2000), and weighed energies of small blocks around the
eyes (Wu, Ai and Liu, Glasses detection by boosting simple wavelet features, ICPR 2004). Here: thin upright and level
lines (second derivatives) in blocks of 8 pixels, against the face's own contrast.

The weights are a logistic regression in whole numbers, fitted on the photographs of half of 91 people: as they are,
made worse as films are, and grainy (tests/bench/glasses_weights.py). What it finds and misses in the other half and in
films stands in tests/bench/RESULTS.md: the threshold is for few mistakes, so thin rims, dark lenses in dark pictures
and small or blurred faces are missed. Taken for glasses by mistake: writing across the eyes, a visor, hard light.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

EDGE = 2  # pixels around the blocks, for the filters
AROUND, INSIDE = (slice(40 - EDGE, 72 + EDGE), slice(8 - EDGE, 104 + EDGE)), (slice(EDGE, -EDGE), slice(EDGE, -EDGE))
BLOCKS = 12, 4  # columns and rows of 8 pixels, brows to cheekbones
FACE = slice(44, 100), slice(30, 82)  # rows and columns whose contrast is the face's
LEAST_CONTRAST = 4.0  # grey levels added to it, so that noise on a flat crop is no line

# Of upright and of level lines, from the temple to the nose: both sides of the face are folded into one
WEIGHTS = np.array(
    [
        [[-1, -3, -3, -1, -3, -1], [0, 1, 1, -2, -4, 5], [1, 1, 0, -5, 0, 8], [-1, 0, -3, -5, -1, -5]],
        [[-1, 4, -1, 0, 3, 5], [4, 10, -4, 0, -2, 7], [-1, 2, -2, -2, -2, 1], [-6, -2, 2, 4, 3, 1]],
    ],
    np.float32,
)


def measure_glasses(grays: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 112, 112) aligned grey crops -> (n,) float32, the more the surer; n >= 1.

    The same for a mirrored crop, and nearly so for a brighter one. Meant for faces that look at the camera, or half so.
    """
    return (measure_lines(grays) * WEIGHTS).reshape(len(grays), -1).sum(axis=1).astype(np.float32)


def measure_lines(grays: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 2, 4, 6), as WEIGHTS: the root of how strong lines are in a block, as a share of the face's contrast."""
    contrast = np.array([cv2.meanStdDev(gray[FACE])[1][0, 0] for gray in grays]) + LEAST_CONTRAST
    lines = np.array([(_mean_lines(gray, 2, 0), _mean_lines(gray, 0, 2)) for gray in grays])
    folded = (lines + lines[..., ::-1])[..., : WEIGHTS.shape[-1]] / (2 * contrast[:, None, None, None])
    return np.sqrt(folded)


def _mean_lines(gray: NDArray[np.uint8], dx: int, dy: int) -> NDArray[np.floating]:
    """The mean absolute second derivative of each block. One face at a time: OpenCV has no call for many."""
    lines = cv2.Sobel(gray[AROUND], cv2.CV_32F, dx, dy, ksize=3)[INSIDE]
    return np.asarray(cv2.resize(np.abs(lines, out=lines), BLOCKS, interpolation=cv2.INTER_AREA))
