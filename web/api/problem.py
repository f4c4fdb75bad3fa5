"""How an error reads in JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was refused."""

    status: int = Field(description="The HTTP status.")
    error: str = Field(description="The kind of error, as kerasql's Python names it.")
    detail: str = Field(description="One sentence for a person.")
    facts: list[Any] = Field(default=[], description="What the error is about.")


REFUSALS: Any = dict.fromkeys((401, 403, 422, 429, 503), Problem)
"""What any request may be answered with, for the OpenAPI document."""
