"""Every setting of castmine: frozen, checked, one class a job. Unknown keys are errors, all shown at once.

Order of precedence: the defaults below, then `--conf FILE` (YAML; `preset: NAME` inside it starts from
`conf/presets/NAME.yml`), then each `--set job.key=value`. A section's `hash()` decides what is redone after a change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from conf.errors import UsageError

TrainingMethod = Literal[
    "whitened_triplet",
    "lda_triplet",
    "whitening",
    "mvcorr",
    "imptriplet",
    "bcl",
    "tsiam",
    "ssiam",
    "cross_entropy",
    "ldml",
    "contrastive",
    "triplet",
    "prototypical",
]
Layer = Literal["norm_relu", "relu_norm", "norm_sigmoid", "sigmoid_norm", "relu", "linear"]
ReadOut = Literal["cosine", "centred", "euclidean"]
Library = Literal["petastorm", "arrow"]
Launcher = Literal["local", "horovod", "horovod_spark", "torch_distributor"]


class Section(BaseModel):
    """Settings of one job."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def hash(self) -> str:
        """16 hex digits of everything that changes this job's results."""
        as_before = {name for name in self._marked("came_later") if getattr(self, name) == _default(self, name)}
        text = json.dumps(self.model_dump(mode="json", exclude=self.without_effect() | as_before), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def without_effect(cls) -> set[str]:
        """Fields marked `no_effect`: they change how fast a result comes, never the result."""
        return cls._marked("no_effect")

    @classmethod
    def _marked(cls, mark: str) -> set[str]:
        return {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(mark)
        }


def _default(section: Section, name: str) -> Any:
    return type(section).model_fields[name].default


def _speed(default: Any, description: str, **rules: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"no_effect": True}, **rules)


def _later(default: Any, description: str, **rules: Any) -> Any:
    """A setting of which an older castmine knew nothing: its default is what that one did, so nothing is done again."""
    return Field(default, description=description, json_schema_extra={"came_later": True}, **rules)


class HarvestSettings(Section):
    """Films to tracks and faces."""

    models: str = Field("buffalo_sc", description="face models, a name of conf/models.yml (see `castmine models`)")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the models run; cuda never falls back to cpu")
    detect_fps: float = Field(12.0, gt=0, description="detections per second; the frames between are bridged")
    detect_size: int = Field(
        640, ge=160, le=2560, multiple_of=32, description="longer side of the detector's input, pixels"
    )
    min_score: float = Field(0.5, gt=0, lt=1, description="detector score at which a face may start a track")
    low_score: float = Field(0.3, gt=0, lt=1, description="detector score at which a face may still continue one")
    min_face_px: float = Field(16.0, ge=4, description="smaller side of a face box, displayed pixels")
    max_gap_s: float = Field(0.75, ge=0, description="longest time a face may be missed inside its track, seconds")
    min_track_faces: int = Field(3, ge=1, description="detections a track must have, else it is taken for noise")
    embed_every_s: float = Field(0.25, gt=0, description="seconds between two embedded faces of a track")
    shot_threshold: float = Field(3.0, gt=0, description="PySceneDetect's adaptive threshold for a cut")
    min_shot_s: float = Field(0.4, gt=0, description="shortest shot, seconds")
    thread_shots: int = Field(6, ge=0, description="how many shots back a camera set-up may return")
    thread_distance: float = Field(
        0.10, gt=0, lt=1, description="largest 1 - correlation of two frames of one camera set-up, 0 to 1"
    )
    piece_s: float = Field(30.0, gt=1, description="seconds of film in one piece of work")
    max_piece_s: float = Field(90.0, gt=1, description="longer shots are cut at key frames")
    seam_s: float = Field(1.0, gt=0, description="overlap in which the tracks of a cut shot are joined, seconds")
    max_pixels: int = Field(
        8192 * 4320, ge=4096, description="pixels of a frame, stored or displayed; a film of larger ones fails"
    )
    max_missing: float = Field(
        0.05, ge=0, le=1, description="share of a film that may be missing; one that misses more is `partial`"
    )
    thumbnail_px: int = Field(112, ge=32, le=512, description="side of a track's thumbnail, pixels")
    batch: int = _speed(8, "frames or faces in one call of a model", ge=1)
    film_disk_gb: float = _speed(
        100.0, "films of object stores that a worker's disk holds at once, GB, those in work in any case", gt=0
    )


class MineSettings(Section):
    """Tracks to constraints and training tracklets (MvCorr, sections III-B and III-C)."""

    tracklets: int = Field(3, ge=2, le=16, description="M of Algorithm 1: tracklets per track, the anchor included")
    duplicate_iou: float = Field(0.5, gt=0, le=1, description="two tracks whose boxes overlap more are one face twice")
    must_link_cosine: float = Field(0.6, gt=0, lt=1, description="least cosine of two tracks in one shot thread")
    must_link_iou: float = Field(0.2, ge=0, lt=1, description="least overlap of their places in the frame")
    min_track_s: float = Field(1.0, ge=0, description="shortest track that trains, seconds")
    min_shared_s: float = Field(0.25, ge=0, description="shortest co-occurrence of hard negatives, seconds")


UNKNOWN_RATE = 24.0  # detections per second of imported tracks that came without: as if every film frame were one


class TrainSettings(Section):
    """Mined tracklets to an adapter (the papers', and three that whiten and are castmine's)."""

    method: TrainingMethod = Field(
        "whitened_triplet", description="how the adapter is found (see castmine train --help)"
    )
    preset: Literal["auto", "paper", "small"] = Field(
        "auto", description="paper: as published; small: for hundreds of rows; auto: small below `small_rows` rows"
    )
    small_rows: int = Field(4096, ge=0, description="training rows below which `auto` takes the small preset")
    network: Literal["auto", "linear", "C1", "C2", "C3", "ball"] = Field(
        "auto", description="the adapter's network; auto: the preset's; any but linear takes the paper preset"
    )
    layer: Literal["auto", Layer] = Field(
        "auto", description="what follows a dense layer, in order: batch norm, ReLU or sigmoid; auto: the preset's"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="share of inner outputs dropped; null: the preset's")
    dim: int | None = Field(None, ge=2, description="D, numbers of an adapted embedding; null: the preset's")
    read_out: Literal["auto", ReadOut] = Field(
        "auto",
        description="cosine: outputs are made unit length; centred: after their training mean is subtracted; "
        "euclidean: as they are, for the methods of clustering that go by distances; auto: the method's",
    )
    loss: dict[str, float] = Field(
        {}, description="parameters of the loss, such as {margin: 0.5}, laid on the preset's"
    )
    parent: str | None = Field(None, description="adapter of bcl to go on from")
    co_occurring: bool = Field(False, description="train only on tracks seen with another one, as published")
    min_rows: int = Field(16, ge=2, description="training rows below which training is skipped, with its reason")
    held_out: float = Field(0.25, gt=0, lt=0.9, description="share of titles held out; of shots where titles are few")
    max_epochs: int = Field(200, ge=1, description="upper bound; early stopping ends sooner")
    seed: int = Field(7, description="order of rows and start of the weights")
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where gradients are computed; cuda in mixed precision (bfloat16), never falling back to cpu"
    )
    launcher: Launcher = _speed("local", "where training runs: in this process, in others, on Spark's executors")
    reader: Library = _speed("petastorm", "what reads the training snapshot")
    processes: int = _speed(1, "processes that train together", ge=1)
    kept_gb: float = _speed(4.0, "of the snapshot each process keeps in memory; the rest is read every epoch", ge=0)


class FinetuneSettings(Section):
    """The face network itself, on each title by itself (VideoClusterNet)."""

    preset: Literal["auto", "paper", "small"] = Field(
        "auto", description="paper: backbone and heads; small: the heads alone; auto: small on a CPU, paper on a GPU"
    )
    iterations: int = Field(5, ge=1, description="the first within tracks, later ones over tracks that match")
    crop_every_s: float = Field(0.5, gt=0, description="least seconds between two crops of a track that train")
    crops_per_track: int = Field(12, ge=2, description="crops of a track that train, at most; spread over it")
    seed: int = Field(7, description="heads' start, pairs, views")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where gradients are computed, in mixed precision")
    keep_crops: bool = _speed(False, "keep the crops (table `crops`), so that the films need not be there another time")
    launcher: Launcher = _speed(
        "local", "local: one Spark task a title; else one title after the other, by `processes`"
    )
    processes: int = _speed(1, "processes that train together on one title", ge=1)


class ClusterSettings(Section):
    """Tracks to characters."""

    method: str = Field("castmine", description="clustering method; the others are for comparison")
    characters: str | None = Field(
        None,
        pattern=r"^[1-9]\d{0,5}(-([1-9]\d{0,5})?)?$",
        description="N for exactly N, MIN-MAX or MIN- for bounds; found where not given",
    )
    adapter: str = Field("newest", description="adapter id, `newest` ready one of this embedder, or `none`")
    min_quality: float = Field(0.15, ge=0, le=1, description="tracks below it are attached or unknown, never deciding")
    attach_margin: float = Field(0.05, ge=0, description="least lead over the second character to attach a weak track")

    links: Literal["all", "none"] = _later(
        "all", "cannot-links and must-links that clustering obeys; none: a method as its paper has it, without links"
    )

    @field_validator("characters", mode="before")
    @classmethod
    def _plain_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value  # YAML reads 12 as a number

    def bounds(self) -> tuple[int | None, int | None, int | None]:
        """`characters` as (exact, least, most); None where nothing was said."""
        if self.characters is None:
            return None, None, None
        first, dash, second = self.characters.partition("-")
        return (None, int(first), int(second) if second else None) if dash else (int(first), None, None)


class EvaluateSettings(Section):
    """Characters against a truth file."""

    match_iou: float = Field(0.5, gt=0, le=1, description="least overlap of a true box and a track's box in one frame")


class ReportSettings(Section):
    """Contact sheets."""

    faces_per_character: int = Field(10, ge=1, le=40, description="pictures in a character's row")
    blur: bool = Field(False, description="blur every face, for pictures that leave the house")


class LakeSettings(Section):
    """The lake's files."""

    access: Literal["private", "group"] = _speed(
        "private", "who may read the files of a lake, which hold faces: you alone, or your group too"
    )


class Settings(Section):
    """All sections."""

    harvest: HarvestSettings = HarvestSettings()
    mine: MineSettings = MineSettings()
    train: TrainSettings = TrainSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    cluster: ClusterSettings = ClusterSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    lake: LakeSettings = LakeSettings()
    spark: dict[str, str] = Field({}, description="Spark configuration entries for sessions that castmine starts")


def load(conf_file: str | Path | None = None, assignments: Sequence[str] = ()) -> Settings:
    """Settings from defaults, a YAML file and `job.key=value` assignments.

    Raises:
        UsageError: every unknown key and wrong value of both, in one message.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    if conf_file is not None:
        values = _read(Path(conf_file))
        if (preset := values.pop("preset", None)) is not None:
            values = _merge(_preset(str(preset)), values)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or key.count(".") < 1:
            problems.append(f"--set {assignment}: expected job.key=value, such as harvest.device=cuda")
            continue
        job, _, name = key.partition(".")
        try:
            value = text if job == "spark" else yaml.safe_load(text)
        except yaml.YAMLError:
            problems.append(f"--set {assignment}: the value cannot be read as YAML")
            continue
        values = _merge(values, {job: {name: value}})
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [f"{'.'.join(map(str, e['loc']))}: {_say(e)}" for e in error.errors()]
    if settings is not None:
        problems += _rules_across_fields(settings)
    if problems or settings is None:
        where = f"{conf_file}: " if conf_file else ""
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"{where}{len(problems)} wrong setting(s)\n{listed}\nAll settings: castmine show settings")
    return settings


def _say(problem: Mapping[str, Any]) -> str:
    """What is wrong with one setting, and what it may be."""
    section = Settings.model_fields.get(str(problem["loc"][0]))
    fields = section.annotation.model_fields if section and section.annotation else {}
    if problem["type"] == "extra_forbidden":
        return f"no such setting; there are: {', '.join(fields or Settings.model_fields)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{problem['input']!r} is none of: {fields[problem['loc'][1]].description}"
    return str(problem["msg"]).removeprefix("Value error, ")


def _rules_across_fields(settings: Settings) -> list[str]:
    harvest, problems = settings.harvest, []
    if harvest.low_score > harvest.min_score:
        problems.append("harvest.low_score: must not be above harvest.min_score")
    if harvest.max_piece_s < harvest.piece_s:
        problems.append("harvest.max_piece_s: must not be below harvest.piece_s")
    if not harvest.max_gap_s <= harvest.seam_s <= harvest.piece_s:
        problems.append("harvest.seam_s: must be from harvest.max_gap_s to harvest.piece_s")
    _, least, most = settings.cluster.bounds()
    if least is not None and most is not None and most < least:
        problems.append(f"cluster.characters: {settings.cluster.characters}: the least is more than the most")
    if settings.train.launcher == "local" and settings.train.processes > 1:
        problems.append(
            "train.processes: more than one needs train.launcher=horovod, horovod_spark or torch_distributor"
        )
    return problems


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--conf {path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"--conf {path}: expected sections such as 'harvest:', found a {type(values).__name__}")
    return {section: said for section, said in values.items() if said is not None}  # `harvest:` with nothing under it


def _preset(name: str) -> dict[str, Any]:
    folder = resources.files("conf") / "presets"
    file = folder / f"{name}.yml"
    if not file.is_file():
        known = sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir() if entry.name.endswith(".yml"))
        raise UsageError(f"preset: {name}: no such preset; there are {', '.join(known)}")
    return yaml.safe_load(file.read_text()) or {}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, section by section; neither is changed."""
    return {
        key: _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in {**base, **over}.items()
    }
