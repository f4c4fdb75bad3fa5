"""What requests and answers are made of."""

from __future__ import annotations

from typing import Any, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, model_validator

from kerasql.registry.version import NOT_TEXT

_schemas: dict[Any, dict[str, Any]] = {}


class Bound(BaseModel):
    """What a request brings: what is described, no more, and text that databases can keep."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @classmethod
    def model_json_schema(cls, *how: Any, **more: Any) -> dict[str, Any]:
        """The JSON schema, worked out once: flask-openapi asks for it with every request."""
        asked = (cls, how, tuple(more.items()))
        if asked not in _schemas:
            _schemas[asked] = super().model_json_schema(*how, **more)
        return _schemas[asked]

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
        """The answer's fields, taken from the fact's attributes of the same names."""
        missing = [name for name in cls.model_fields if name not in more]
        values = {name: getattr(fact, name) for name in missing}
        return cls.model_validate(values | more, from_attributes=True)


def sent(answer: BaseModel, status: int = 200) -> Response:
    """The answer as JSON."""
    return Response(answer.model_dump_json(), status=status, mimetype="application/json")
