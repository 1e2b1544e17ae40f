"""Fine-tune on one title from its staged crops, judge the network, and leave what it answers to every face."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from conf.errors import FilmError, LakeError, TooLittleData
from conf.files import write_whole
from conf.places import read
from training.checkpoint import Checkpoint
from training.collective import Alone, Collective
from training.finetune.adapter import NetworkCard, TunedNetwork
from training.finetune.branches import Backbone, open_backbone
from training.finetune.crops import Crops
from training.finetune.judge import Comparison, compare, decide_status
from training.finetune.loop import Epoch, FineTuned, Tell, fine_tune
from training.finetune.model import answer_crops, embed_crops
from training.finetune.plan import FinetunePlan
from training.finetune.sampling import sample_faces
from training.finetune.title import TitleCrops, read_title

ANSWERS = "answers.safetensors"  # in a title's folder
FEWEST_TRACKS, FEWEST_CROPS = 4, 16  # that train
FINGERPRINTED = 64  # crops at a time
CHECKED, ALIKE = 64, 0.9  # crops that are embedded again, and the least median cosine with what was harvested


@dataclass
class FaceAnswers:
    """What a fine-tuned network says of the faces of one title, by track and frame.

    Attributes:
        track_id, frame: (F,) int64.
        embedding: (F, D) float32 unit rows.
        teacher, student: (F, D) float32 outputs of the heads.
        alone_teacher, alone_student: (A, D) float32 the same of the mirror images of tracks' only faces, in order.
        centre: (D,), temperatures: (2,), the teacher's and the student's, with which outputs are compared.
        unsure: (T,) bool, of the tracks in the order of their ids: the network is unsure of its faces.
    """

    track_id: NDArray[np.int64]
    frame: NDArray[np.int64]
    embedding: NDArray[np.float32]
    teacher: NDArray[np.float32]
    student: NDArray[np.float32]
    alone_teacher: NDArray[np.float32]
    alone_student: NDArray[np.float32]
    centre: NDArray[np.float64]
    temperatures: NDArray[np.float64]
    unsure: NDArray[np.bool_]

    def save(self, file: Path) -> None:
        with write_whole(file) as part:
            save_file({name: np.ascontiguousarray(rows) for name, rows in vars(self).items()}, part)

    @classmethod
    def load(cls, file: Path) -> FaceAnswers:
        """Raises LakeError where the file is gone or damaged."""
        try:
            return cls(**load(read(file)))
        except (OSError, SafetensorError, TypeError) as error:
            raise LakeError(f"{file}: gone or damaged ({error}); run the same command again") from error


@dataclass(frozen=True)
class TunedTitle:
    """What fine-tuning made of one title. The same on every process; `fingerprint` is of the crops."""

    network: TunedNetwork
    answers: FaceAnswers
    status: Literal["ready", "not_better"]
    note: str
    metrics: dict[str, float]
    curve: list[Epoch]
    fingerprint: str


def fine_tune_title(
    folder: Path,
    title_id: str,
    weights: Path,
    plan: FinetunePlan,
    collective: Collective | None = None,
    tell: Tell | None = None,
    checkpoint: Path | None = None,
    gpu: int | None = None,
) -> TunedTitle:
    """Fine-tune a backbone on the crops that are staged in a folder.

    Args:
        weights: ONNX file of the embedder that harvested the title.
        gpu: the one to use, where the plan says cuda; None for one by this process's rank.
        checkpoint: a file to write after every epoch, and to go on from where it is of the same plan and crops.
    Raises:
        TooLittleData: there are too few tracks or crops.
        FilmError: the crops are not what was harvested: the film is another one now.
        ModelError: the network cannot be trained.
        LakeError, GpuUnavailable, CastmineError: as `read_title` and `fine_tune`.
    """
    title, base, collective = read_title(folder), open_backbone(weights), collective or Alone()
    trains = sample_faces(title.crops.track, title.time_s, title.good, plan.crop_every_s, plan.crops_per_track)
    sampled = title.crops.among(np.flatnonzero(trains))
    _check_enough(sampled)
    _check_crops(title, base)
    sha256 = hashlib.sha256(read(weights)).hexdigest()
    fingerprint = _fingerprint(title, trains)
    key = f"{sha256} {fingerprint} {plan.model_dump_json()}"
    kept = Checkpoint(checkpoint, key, collective)
    made = fine_tune(sampled, base, plan, collective, tell, kept, gpu)
    answers = answer_faces(made, title)
    compared = compare(title, answers.embedding)
    card = NetworkCard(
        title_id=title_id,
        settings=plan.model_dump(mode="json"),
        base_embedder_sha256=sha256,
        moved=compared.moved,
    )
    status, note = _decide(made, compared)
    network = TunedNetwork.of(card, made.model)
    return TunedTitle(network, answers, status, note, _measure(made, sampled, compared), made.curve, fingerprint)


def _check_enough(crops: Crops) -> None:
    tracks = len(np.unique(crops.track))
    if tracks < FEWEST_TRACKS or len(crops.track) < FEWEST_CROPS:
        raise TooLittleData(
            f"{len(crops.track)} crops of {tracks} tracks to train on; it takes {FEWEST_CROPS} of {FEWEST_TRACKS}"
        )


def _check_crops(title: TitleCrops, base: Backbone) -> None:
    """The backbone must see in the crops what was harvested."""
    chosen = np.unique(np.linspace(0, len(title.frame) - 1, CHECKED).round().astype(int))
    found = embed_crops(base, title.crops.among(chosen)).numpy()
    alike = float(np.median((found * title.raw[chosen]).sum(axis=1)))
    if alike < ALIKE:
        raise FilmError(
            f"the faces cut from the film are not those that were harvested (cosine {alike:.2f}): is it another film "
            "now? Harvest it again, then fine-tune"
        )


def answer_faces(made: FineTuned, title: TitleCrops) -> FaceAnswers:
    """What the fine-tuned network says of all embedded faces."""
    crops = title.crops
    found = answer_crops(made.model, crops, exact=True)
    counts = np.bincount(crops.track, minlength=crops.n_tracks)
    only = np.flatnonzero(counts[crops.track] == 1)
    alone, loss = answer_crops(made.model, crops.mirrored(only), exact=True), made.model.loss
    return FaceAnswers(
        title.track_ids[crops.track],
        title.frame,
        found.adapted.numpy(),
        found.teacher.numpy(),
        found.student.numpy(),
        alone.teacher.numpy(),
        alone.student.numpy(),
        loss.centre.double().cpu().numpy(),
        np.array([loss.teacher, loss.student]),
        made.unsure,
    )


def _decide(made: FineTuned, compared: Comparison) -> tuple[Literal["ready", "not_better"], str]:
    if made.collapsed:
        before, after = made.healths[0], made.healths[-1]
        return "not_better", f"the network collapsed: {after.say()}; before: {before.say()}"
    return decide_status(compared)


def _measure(made: FineTuned, sampled: Crops, compared: Comparison) -> dict[str, float]:
    raw, adapted = compared.raw, compared.adapted
    metrics = {
        "tracks": float(len(np.unique(sampled.track))),
        "crops": float(len(sampled.track)),
        "iterations": float(made.curve[-1].iteration),
        "epochs": float(len(made.curve)),
        "unsure_tracks": float(made.unsure.sum()),
        "answers": made.healths[-1].answers,
        "rank_raw": made.healths[0].rank,
        "rank": made.healths[-1].rank,
        "hard_negatives": float(raw.negatives),
        "auc_raw": raw.auc,
        "auc": adapted.auc,
    }
    if raw.close_auc is not None and adapted.close_auc is not None:
        metrics |= {"close_auc_raw": raw.close_auc, "close_auc": adapted.close_auc}
    return metrics


def _fingerprint(title: TitleCrops, trains: NDArray[np.bool_]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(title.frame), FINGERPRINTED):
        digest.update(title.crops.pixels[start : start + FINGERPRINTED].data)
    for rows in (title.crops.track, trains, title.track_ids, title.frame):
        digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()[:16]
