"""The opened face networks: a detector and an embedder behind one small interface.

Two kinds: `insightface` (SCRFD and ArcFace through ONNX Runtime, opened by insightface's model zoo) and `opencv`
(YuNet and SFace through OpenCV's DNN module). Pixels are BGR uint8, as OpenCV has them.

One model uses one CPU thread: a second thread costs more CPU than it saves, so the processes of a worker machine are
what fills its cores, and sums are always added in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
import onnxruntime
from insightface.model_zoo import get_model
from insightface.model_zoo.scrfd import SCRFD, distance2bbox, distance2kps
from insightface.utils.face_align import arcface_dst
from numpy.typing import NDArray

from conf.errors import GpuUnavailable, ModelError

CROP_PX = 112
NMS_IOU = 0.4  # SCRFD's published value; YuNet's demo has 0.3
EMBED_BATCH = 32  # crops in one call: bounds the memory of a long list


class Detections(NamedTuple):
    """The faces of one image, best first; ties by x, then y.

    Attributes:
        boxes: (n, 4) float32, x, y, w, h in image pixels, origin top left; they may reach beyond the image.
        scores: (n,) float32, 0 to 1.
        landmarks: (n, 5, 2) float32, image pixels: left eye, right eye, nose, left and right mouth corner as the viewer
            sees them.
    """

    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    landmarks: NDArray[np.floating]


class Embedded(NamedTuple):
    """Embeddings of n faces.

    Attributes:
        rows: (n, dim) float32 of length 1.
        norm: (n,) float32, the lengths that the network gave them: the less of a face it sees (a blur, the back of a
            head), the shorter (Kim et al., AdaFace, CVPR 2022, section 3.1).
    """

    rows: NDArray[np.float32]
    norm: NDArray[np.floating]


class Faces(Protocol):
    """An opened pair of networks. `dim` is the embedding's length."""

    dim: int

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Faces of each (H, W, 3) BGR uint8 image, with their score; all images have one shape."""

    def embed(self, crops: NDArray[np.uint8]) -> Embedded:
        """Of (n, 112, 112, 3) BGR uint8 aligned crops; n may be 0."""


def open_faces(
    detector_path: str | Path,
    embedder_path: str | Path,
    kind: Literal["insightface", "opencv"],
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    gpu_index: int | None = None,
    detect_size: int = 640,
    min_score: float = 0.5,
) -> Faces:
    """Opens both networks on `device`; `gpu_index` counts the GPUs that this process may see (0 where None).

    Images are shrunk or enlarged until their longer side has `detect_size` pixels (a multiple of 32) before detection.
    Faces scoring below `min_score` are dropped.

    Raises:
        GpuUnavailable: cuda was asked for and is not what the opened networks run on.
        ModelError: a file is not a network of this kind.
    """
    if kind == "opencv":
        if device == "cuda":
            raise GpuUnavailable(
                "the opencv models run on the CPU only: set harvest.device=cpu, or take models that run on a GPU with "
                "harvest.models=buffalo_sc"
            )
        return _OpenCV(str(detector_path), str(embedder_path), detect_size, min_score)
    index = (gpu_index or 0) if device == "cuda" else None
    return _InsightFace(_open(detector_path, index), _open(embedder_path, index), detect_size, min_score)


def align(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Crops in which eyes, nose and mouth lie where the embedders expect them.

    The least-squares similarity transform takes the five points to ArcFace's template, which SFace was trained with
    too. In complex numbers it is q = a p + b, with a = sum conj(p - mean p) (q - mean q) / sum |p - mean p|^2. Outside
    the image the crop is black.

    Args:
        image: (H, W, 3) BGR uint8.
        landmarks: (n, 5, 2) float, image pixels, in the order of `Detections.landmarks`.

    Returns:
        (n, 112, 112, 3) BGR uint8; n may be 0.
    """
    points, target = (np.asarray(xy, np.float64) @ (1, 1j) for xy in (landmarks, arcface_dst))
    centred = points - points.mean(axis=1, keepdims=True)
    spread = np.maximum((np.abs(centred) ** 2).sum(axis=1), np.finfo(float).tiny)  # five times one point: a = 0
    a = centred.conj() @ (target - target.mean()) / spread
    b = target.mean() - a * points.mean(axis=1)
    transforms = np.stack([a.real, -a.imag, b.real, a.imag, a.real, b.imag], axis=1).reshape(-1, 2, 3)
    crops = np.empty((len(transforms), CROP_PX, CROP_PX, 3), np.uint8)
    for crop, transform in zip(crops, transforms, strict=True):
        cv2.warpAffine(image, transform, (CROP_PX, CROP_PX), dst=crop)
    return crops


class _InsightFace:
    def __init__(self, detector: Any, embedder: Any, detect_size: int, min_score: float) -> None:
        if not isinstance(detector, SCRFD) or not detector.use_kps or not hasattr(embedder, "get_feat"):
            raise ModelError("the detector must be an SCRFD with landmarks and the embedder an ArcFace network")
        detector.nms_thresh = NMS_IOU
        self._detector, self._embedder = detector, embedder
        self._detect_size, self._min_score = detect_size, min_score
        self.dim = int(embedder.output_shape[1])

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        if not images:
            return []
        boxed, scales = zip(*(_letterbox(image, self._detect_size) for image in images), strict=True)
        at_once = len(boxed) if self._detector.batched else 1  # some exports fix the batch at one image
        found: list[Detections] = []
        for start in range(0, len(boxed), at_once):
            found += self._run(boxed[start : start + at_once], scales[0])
        return found

    def _run(self, boxed: Sequence[NDArray[np.uint8]], scale: float) -> list[Detections]:
        """One call of the network; then what SCRFD.detect does for each image, on the whole batch."""
        net = self._detector
        blob = cv2.dnn.blobFromImages(boxed, 1 / net.input_std, None, (net.input_mean,) * 3, swapRB=True)
        outputs = net.session.run(net.output_names, {net.input_name: blob})
        outputs = [out.reshape(len(boxed), -1, out.shape[-1]) for out in outputs]
        levels = len(net._feat_stride_fpn)
        image, score, corners, points = [], [], [], []
        for level, stride in enumerate(net._feat_stride_fpn):
            scores, distances, offsets = (outputs[level + part * levels] for part in range(3))
            b, a = np.nonzero(scores[..., 0] >= self._min_score)
            centres = _anchor_centres(blob.shape[2], blob.shape[3], stride, net._num_anchors)[a]
            image.append(b)
            score.append(scores[b, a, 0])
            corners.append(distance2bbox(centres, distances[b, a] * stride))
            points.append(distance2kps(centres, offsets[b, a] * stride).reshape(-1, 5, 2))
        of_image, all_scores = np.concatenate(image), np.concatenate(score)
        all_corners, all_points = np.concatenate(corners) / scale, np.concatenate(points) / scale
        return [
            self._suppress(all_corners[mine], all_scores[mine], all_points[mine])
            for mine in (of_image == number for number in range(len(boxed)))
        ]

    def _suppress(
        self, corners: NDArray[np.floating], scores: NDArray[np.floating], points: NDArray[np.floating]
    ) -> Detections:
        """Non-maximum suppression of one image's candidates, by insightface's own rule."""
        order = np.argsort(-scores, kind="stable")
        rows = np.hstack([corners, scores[:, None]]).astype(np.float32)[order]
        keep = np.asarray(self._detector.nms(rows), np.intp)
        kept = rows[keep]
        return _sort_detections(np.hstack([kept[:, :2], kept[:, 2:4] - kept[:, :2]]), kept[:, 4], points[order][keep])

    def embed(self, crops: NDArray[np.uint8]) -> Embedded:
        starts = range(0, len(crops), EMBED_BATCH)
        return _make_embedded([self._embedder.get_feat(list(crops[at : at + EMBED_BATCH])) for at in starts], self.dim)


class _OpenCV:
    dim = 128

    def __init__(self, detector_path: str, embedder_path: str, detect_size: int, min_score: float) -> None:
        try:
            self._detector = cv2.FaceDetectorYN.create(detector_path, "", (detect_size, detect_size), min_score, 0.3)
            self._embedder = cv2.FaceRecognizerSF.create(embedder_path, "")
        except cv2.error as error:
            raise ModelError(f"{detector_path}, {embedder_path}: not networks that OpenCV can read: {error}") from error
        self._detect_size = detect_size

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> Detections:
        boxed, scale = _letterbox(image, self._detect_size)
        self._detector.setInputSize(boxed.shape[1::-1])
        _, rows = self._detector.detect(boxed)
        rows = np.zeros((0, 15), np.float32) if rows is None else rows
        return _sort_detections(rows[:, :4] / scale, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2) / scale)

    def embed(self, crops: NDArray[np.uint8]) -> Embedded:
        return _make_embedded([self._embedder.feature(crop) for crop in crops], self.dim)


def _open(path: str | Path, gpu_index: int | None) -> Any:
    """One network through insightface's model zoo; `gpu_index` None is the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the embedder declares a batch of 1 and would warn at every larger one
    options.use_deterministic_compute = True
    wanted: Any = "CPUExecutionProvider"
    if gpu_index is not None:  # the default search times the algorithms, so that a busy GPU would change the results
        steady = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": 0}
        wanted = ("CUDAExecutionProvider", {"device_id": gpu_index, **steady})
    try:
        network = get_model(str(path), providers=[wanted], sess_options=options)
    except AssertionError as error:  # how the model zoo says that there is no such file
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # onnxruntime's errors share no public base class
        if gpu_index is not None:
            raise GpuUnavailable(_no_gpu(gpu_index, str(error))) from error
        raise ModelError(f"{path}: not a network that ONNX Runtime can open: {error}") from error
    if network is None:
        raise ModelError(f"{path}: not a network that insightface knows")
    network.session.disable_fallback()
    active = network.session.get_providers()
    if gpu_index is not None and active[0] != "CUDAExecutionProvider":
        raise GpuUnavailable(_no_gpu(gpu_index, f"the network runs on {active[0]}"))
    return network


def _no_gpu(index: int, reason: str) -> str:
    return (
        f"harvest.device=cuda, but GPU {index} is not used: {reason}. Install the GPU build with "
        "`make setup GPU=1`, see what `castmine doctor` says of driver and CUDA libraries, or set harvest.device=cpu"
    )


def _letterbox(image: NDArray[np.uint8], longer: int) -> tuple[NDArray[np.uint8], float]:
    """The image resized into the upper left of a black detector input, and the factor from image to input pixels.

    The longer side becomes `longer`; the other follows the aspect ratio and is filled up to a multiple of 32 (640 x 384
    for 16:9), which halves the work against a square. Sizes round down and the factor is that of the heights, as in
    SCRFD.detect.
    """
    height, width = image.shape[:2]
    ratio = height / width
    exact = (longer, longer * ratio) if ratio <= 1 else (longer / ratio, longer)
    new_width, new_height = (max(1, int(side)) for side in exact)
    boxed = np.zeros((math.ceil(exact[1] / 32) * 32, math.ceil(exact[0] / 32) * 32, 3), np.uint8)
    boxed[:new_height, :new_width] = cv2.resize(image, (new_width, new_height))
    return boxed, new_height / height


def _anchor_centres(height: int, width: int, stride: int, anchors: int) -> NDArray[np.float32]:
    """(rows x columns x anchors, 2) float32: x, y of each anchor of one level, in the order of the network's output."""
    y, x = np.mgrid[: height // stride, : width // stride]
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), anchors, axis=0).astype(np.float32) * stride


def _sort_detections(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], landmarks: NDArray[np.floating]
) -> Detections:
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
    return Detections(*(part[order].astype(np.float32) for part in (boxes, scores, landmarks)))


def _make_embedded(parts: list[NDArray[np.float32]], dim: int) -> Embedded:
    rows = np.concatenate(parts) if parts else np.zeros((0, dim))
    norm = np.linalg.norm(rows, axis=1)
    return Embedded((rows / norm[:, None]).astype(np.float32), norm.astype(np.float32))
