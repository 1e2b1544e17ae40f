"""The opened networks against insightface's and OpenCV's own calls, on real photographs."""

from __future__ import annotations

import warnings
import zipfile

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from insightface.utils.face_align import norm_crop

from conf.errors import GpuUnavailable, ModelError
from udfs import assets
from udfs.kernels.harvest import networks

SHAPES = [(337, 510), (360, 640), (640, 360), (480, 480), (97, 640)]


def photograph(number: int) -> np.ndarray:
    with zipfile.ZipFile(assets.fetch("faces_images.zip")) as archive:
        content = archive.read(f"faces_images/image_{number:04}.jpg")
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Seven pictures of four people; two of the pictures show a second face in the background."""
    return [photograph(number) for number in (1, 2, 42, 43, 113, 70, 281)]


@pytest.fixture(scope="module")
def insightface() -> networks.Faces:
    return networks.open_faces(*assets.fetch_pack("buffalo_sc"), "insightface")


@pytest.fixture(scope="module")
def opencv() -> networks.Faces:
    return networks.open_faces(*assets.fetch_pack("opencv"), "opencv")


@pytest.fixture(scope="module", params=["buffalo_sc", "opencv"])
def pack(request, insightface, opencv) -> tuple[assets.Pack, networks.Faces]:
    return assets.pack(request.param), insightface if request.param == "buffalo_sc" else opencv


def same(one: list[networks.Detections], other: list[networks.Detections]) -> bool:
    return all(np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [320, 640])
def test_batches_equal_scrfd_on_each_picture(photographs, shape, size):
    opened = networks.open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", detect_size=size, min_score=0.3)
    images = [cv2.resize(image, shape[::-1]) for image in photographs]
    longer, filled = max(shape), -(-min(shape) * size // max(shape) // 32) * 32
    input_size = (size, filled) if shape[1] == longer else (filled, size)
    n_faces = 0
    for image, found in zip(images, opened.detect(images), strict=True):
        expected, landmarks = opened._detector.detect(image, input_size=input_size, det_thresh=0.3)
        corners = np.hstack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]])
        assert np.allclose(corners, expected[:, :4], atol=1e-3)
        assert np.array_equal(found.scores, expected[:, 4])
        assert np.array_equal(found.landmarks, landmarks)
        n_faces += len(expected)
    assert n_faces >= (5 if min(shape) > 100 else 0)  # stretched pictures hide a few


def test_results_do_not_depend_on_the_batch(pack, photographs):
    _, opened = pack
    images = [cv2.resize(image, (640, 360)) for image in photographs]
    together = opened.detect(images)
    assert same(together, [opened.detect([image])[0] for image in images])
    assert same(together[3:], opened.detect(images[3:]))
    crops = np.concatenate(
        [networks.align(image, found.landmarks) for image, found in zip(images, together, strict=True)]
    )
    embedded = opened.embed(crops)
    alone = [opened.embed(crops[at : at + 1]) for at in range(len(crops))]
    assert np.array_equal(embedded.rows, np.concatenate([one.rows for one in alone]))
    assert np.array_equal(embedded.norm, np.concatenate([one.norm for one in alone]))
    many = np.tile(crops, (6, 1, 1, 1))  # more than one call of the network
    assert np.array_equal(opened.embed(many).rows, np.tile(embedded.rows, (6, 1)))


def test_export_with_a_fixed_batch_gives_the_same(insightface, photographs, tmp_path):
    """buffalo_l's detector takes one image a call and has no batch axis in its outputs: made here of the small one."""
    model = onnx.load(assets.fetch("scrfd_500m_bnkps.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    zero = onnx.helper.make_tensor("batch_axis", onnx.TensorProto.INT64, [1], [0])
    model.graph.initializer.append(zero)
    old_opset = model.opset_import[0].version < 13
    for output in model.graph.output:
        name, output.name = output.name, output.name + "_only"
        how = {"axes": [0]} if old_opset else {}
        inputs = [name] if old_opset else [name, "batch_axis"]
        model.graph.node.append(onnx.helper.make_node("Squeeze", inputs, [output.name], **how))
        del output.type.tensor_type.shape.dim[0]
    onnx.save(model, tmp_path / "one.onnx")
    one_by_one = networks.open_faces(tmp_path / "one.onnx", assets.fetch("w600k_mbf.onnx"), "insightface")
    assert not one_by_one._detector.batched
    images = [cv2.resize(image, (640, 360)) for image in photographs]
    assert same(one_by_one.detect(images), insightface.detect(images))


def test_faces_are_found_sorted_and_of_the_documented_types(pack, photographs):
    _, opened = pack
    for image in photographs:
        (found,) = opened.detect([image])
        assert found.boxes.shape == (len(found.scores), 4)
        assert found.landmarks.shape == (len(found.scores), 5, 2)
        assert all(part.dtype == np.float32 for part in found)
        assert len(found.scores) >= 1
        assert np.array_equal(found.scores, np.sort(found.scores)[::-1])
        x, y, w, h = found.boxes[0]
        eye, other_eye, nose, mouth, other_mouth = found.landmarks[0]
        assert eye[0] < other_eye[0]
        assert mouth[0] < other_mouth[0]
        assert eye[1] < nose[1] < mouth[1]
        assert np.all((found.landmarks[0] > [x, y]) & (found.landmarks[0] < [x + w, y + h]))


def test_both_packs_find_the_same_faces(insightface, opencv, photographs):
    for image in photographs:
        (one,), (other,) = insightface.detect([image]), opencv.detect([image])
        assert np.abs(one.landmarks[0] - other.landmarks[0]).max() < 0.08 * one.boxes[0, 2:].max()


def test_one_person_is_nearer_than_another(pack, photographs):
    entry, opened = pack
    crops = [networks.align(image, opened.detect([image])[0].landmarks[:1]) for image in photographs[:4]]
    embedded = opened.embed(np.concatenate(crops)).rows
    assert embedded.dtype == np.float32
    assert embedded.shape == (4, opened.dim) == (4, entry.embedding_dim)
    assert np.allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-6)
    cosine = embedded @ embedded.T
    assert min(cosine[0, 1], cosine[2, 3]) > cosine[:2, 2:].max() + 0.2


def test_the_less_of_a_face_is_seen_the_shorter_its_embedding(pack, photographs):
    entry, opened = pack
    nothing, everything = assets.registry().files[entry.embedder].norms
    whole = np.concatenate([networks.align(image, opened.detect([image])[0].landmarks[:1]) for image in photographs])
    half = np.concatenate([np.repeat(whole[:, :, :1], 56, axis=2), whole[:, :, :56]], axis=2)  # moved out at the right
    blurred = np.stack([cv2.GaussianBlur(crop, (0, 0), 9) for crop in whole])
    norms = {name: opened.embed(crops).norm for name, crops in (("whole", whole), ("half", half), ("blurred", blurred))}
    assert np.median(norms["whole"]) > everything
    assert (norms["half"] < (nothing + everything) / 2).all()
    assert (norms["blurred"] < norms["whole"]).all()


def test_opencv_pair_equals_its_own_alignment(opencv, photographs):
    for image in photographs:
        (found,) = opencv.detect([image])
        row = np.concatenate([found.boxes[0], found.landmarks[0].ravel(), found.scores[:1]])
        own = opencv._embedder.feature(opencv._embedder.alignCrop(image, row))[0]
        embedded = opencv.embed(networks.align(image, found.landmarks[:1]))
        assert embedded.rows[0] @ own / np.linalg.norm(own) > 0.9999
        assert embedded.norm[0] == pytest.approx(np.linalg.norm(own), rel=1e-3)


def test_equal_scores_are_ordered_by_place():
    boxes = np.array([[5, 1, 9, 9], [2, 7, 9, 9], [2, 3, 9, 9], [8, 8, 9, 9]], np.float32)
    landmarks = np.arange(40, dtype=np.float32).reshape(4, 5, 2)
    found = networks._sort_detections(boxes, np.array([0.5, 0.5, 0.5, 0.9]), landmarks)
    assert found.boxes.tolist() == boxes[[3, 2, 1, 0]].tolist()
    assert np.array_equal(found.landmarks, landmarks[[3, 2, 1, 0]])


def test_nothing_in_nothing_out(pack):
    _, opened = pack
    assert opened.detect([]) == []
    assert opened.embed(np.zeros((0, 112, 112, 3), np.uint8)).rows.shape == (0, opened.dim)
    black = np.zeros((90, 160, 3), np.uint8)
    (found,) = opened.detect([black])
    assert [part.shape for part in found] == [(0, 4), (0,), (0, 5, 2)]
    assert networks.align(black, found.landmarks).shape == (0, 112, 112, 3)


def test_inputs_stay_unchanged(pack, photographs):
    _, opened = pack
    image = photographs[0].copy()
    crops = networks.align(image, opened.detect([image])[0].landmarks)
    before = crops.copy()
    opened.embed(crops)
    assert np.array_equal(image, photographs[0])
    assert np.array_equal(crops, before)


points = st.lists(st.tuples(st.floats(0, 640), st.floats(0, 360)), min_size=5, max_size=5).map(np.array)


@settings(max_examples=60)
@given(st.lists(points, max_size=3))
def test_alignment_never_fails(landmarks):
    image = np.zeros((360, 640, 3), np.uint8)
    crops = networks.align(image, np.reshape(landmarks, (-1, 5, 2)))
    assert (crops.shape, crops.dtype) == ((len(landmarks), 112, 112, 3), np.uint8)


def test_alignment_equals_insightface(insightface, photographs):
    for image in photographs:
        landmarks = insightface.detect([image])[0].landmarks
        turned = landmarks @ np.array([[0.6, 0.8], [-0.8, 0.6]], np.float32) + [200, -50]
        for given_points in (landmarks, turned):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                expected = [norm_crop(image, five.astype(np.float32)) for five in given_points]
            apart = np.abs(networks.align(image, given_points).astype(int) - np.array(expected, int))
            assert np.mean(apart > 1) < 1e-3  # the solvers differ in the seventh digit of the transform


def test_five_times_one_point_is_no_crash():
    assert networks.align(np.full((90, 160, 3), 7, np.uint8), np.ones((1, 5, 2))).shape == (1, 112, 112, 3)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_gpu_asked_for_is_never_the_cpu():
    with pytest.raises(GpuUnavailable, match=r"harvest\.device=cpu"):
        networks.open_faces(*assets.fetch_pack("buffalo_sc"), "insightface", device="cuda", gpu_index=63)
    with pytest.raises(GpuUnavailable, match="CPU only"):
        networks.open_faces(*assets.fetch_pack("opencv"), "opencv", device="cuda")


@pytest.mark.parametrize("kind", ["insightface", "opencv"])
@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_files_that_are_no_networks(tmp_path, kind, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="bad"):
        networks.open_faces(path, path, kind)


def test_detector_and_embedder_must_not_be_swapped():
    detector, embedder = assets.fetch_pack("buffalo_sc")
    with pytest.raises(ModelError, match="SCRFD"):
        networks.open_faces(embedder, detector, "insightface")
