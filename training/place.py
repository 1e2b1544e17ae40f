"""A path or an address in a store, as a field of a model that goes from process to process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

from conf.places import locate

Place = Annotated[Path, PlainValidator(locate), PlainSerializer(str)]
