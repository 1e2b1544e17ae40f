"""A job out of the JSON that it travels as."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from training.finetune.job import FinetuneJob
from training.launchers.job import Job
from training.launchers.train_job import TrainJob

_ANY: TypeAdapter[TrainJob | FinetuneJob] = TypeAdapter(Annotated[TrainJob | FinetuneJob, Field(discriminator="kind")])


def read_job(text: str) -> Job:
    """The job whose `model_dump_json` gave this text."""
    return _ANY.validate_json(text)
