"""What every table of a job file is: closed, typed without conversions, never changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Scalar = bool | int | float | str

Texts = dict[str, Scalar]
"""The API takes texts; a job file may say `save_interval = 10`."""


class Section(BaseModel):
    """A table of the job file: closed, typed without conversions, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
