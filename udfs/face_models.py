"""The face networks of a Python worker: one pair at a time, on the GPU that its task was given."""

from __future__ import annotations

import os

from conf.errors import GpuUnavailable
from conf.settings import HarvestSettings
from udfs import assets
from udfs.kernels.harvest.networks import Faces, open_faces

_OPENED: dict[str, Faces] = {}  # lives in the Python worker; only face_models() touches it


def face_models(settings: HarvestSettings) -> Faces:
    """The opened pair that the settings ask for, opened once a worker."""
    key = f"{settings.models} {settings.device} {settings.detect_size} {settings.low_score}"
    if key not in _OPENED:
        _OPENED.clear()  # a reused worker holds one pair of models, not one per run
        detector, embedder = assets.fetch_pack(settings.models, say=_silent)
        _OPENED[key] = open_faces(
            detector,
            embedder,
            assets.pack(settings.models).kind,
            device=settings.device,
            gpu_index=gpu_index() if settings.device == "cuda" else None,
            detect_size=settings.detect_size,
            min_score=settings.low_score,
        )
    return _OPENED[key]


def _silent(_: str) -> None:
    """Licences are shown by the driver, once, not by every worker."""


def gpu_index() -> int:
    """The GPU that Spark granted to this task.

    Raises:
        GpuUnavailable: none was granted.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    granted = context.resources().get("gpu") if context else None
    if granted is None:
        if context is not None and os.environ.get("CASTMINE_LOCAL_GPU"):
            return int(os.environ["CASTMINE_LOCAL_GPU"])  # local mode grants no resources; the session says which GPU
        raise GpuUnavailable(
            "harvest.device is cuda, but Spark granted this task no GPU: set spark.executor.resource.gpu.amount, "
            "spark.task.resource.gpu.amount and a discovery script, or --set harvest.device=cpu"
        )
    address, visible = granted.addresses[0], os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",").index(address) if visible else int(address)
