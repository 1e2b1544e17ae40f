"""Which GPU a task takes."""

from __future__ import annotations

from types import SimpleNamespace

import pyspark
import pytest

from conf.errors import GpuUnavailable
from udfs.face_models import gpu_index


@pytest.fixture
def task(monkeypatch):
    """Makes this process a task that was granted these GPUs, or none; None: no task."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CASTMINE_LOCAL_GPU", raising=False)

    def become(addresses: list[str] | None) -> None:
        resources = {"gpu": SimpleNamespace(addresses=addresses)} if addresses else {}
        context = None if addresses is None else SimpleNamespace(resources=lambda: resources)
        monkeypatch.setattr(pyspark.TaskContext, "get", classmethod(lambda cls: context))

    return become


def test_the_one_that_spark_granted(task, monkeypatch):
    task(["3"])
    assert gpu_index() == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")  # of those that this process sees it is the second
    assert gpu_index() == 1


@pytest.mark.parametrize("granted", [[], None])
def test_none_granted_is_an_error_that_says_what_to_set(task, granted):
    task(granted)
    with pytest.raises(GpuUnavailable, match=r"spark\.task\.resource\.gpu\.amount"):
        gpu_index()


def test_local_mode_grants_none_and_the_session_says_which(task, monkeypatch):
    monkeypatch.setenv("CASTMINE_LOCAL_GPU", "2")
    task([])
    assert gpu_index() == 2
