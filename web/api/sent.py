"""What requests and answers are made of."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, model_validator

from kerasql.registry.version import NOT_TEXT


class Bound(BaseModel):
    """What a request brings: what is described, no more, and text that databases can keep."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def text_can_be_kept(cls, given: Any) -> Any:
        """Refuse half characters and NUL, at any depth."""
        left = [given]
        while left:
            one = left.pop()
            if isinstance(one, str) and NOT_TEXT.search(one):
                raise ValueError("there is a character in it that is no text")
            if isinstance(one, dict):
                left += [*one, *one.values()]
            elif isinstance(one, list):
                left += one
        return given


class Sent(BaseModel):
    """An answer made of a fact of the registry's."""

    @classmethod
    def of(cls, fact: Any, **more: Any) -> Self:
        """The answer's fields, taken from a dataclass."""
        values = asdict(fact) if is_dataclass(fact) and not isinstance(fact, type) else dict(fact)
        return cls.model_validate({k: v for k, v in values.items() if k in cls.model_fields} | more)


def sent(answer: BaseModel, status: int = 200) -> Response:
    """The answer as JSON."""
    return Response(answer.model_dump_json(), status=status, mimetype="application/json")
