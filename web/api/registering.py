"""Registering a version: asked, then watched."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.registry import registrations
from kerasql.registry.access import Access, User
from kerasql.registry.errors import (
    InvalidInput,
    KerasqlError,
    NotFound,
    RegistryUnavailable,
    RoleMissing,
)
from kerasql.registry.h5.construct import Progress
from kerasql.registry.names import model_name
from kerasql.registry.preprocess import Preprocessor, preprocessor_from_json
from kerasql.registry.settings import setting
from kerasql.registry.version import Version
from kerasql.web.api.models import models
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.who import address, administrator, asker

registering = APIBlueprint(
    "registering",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="registering", description="Put a Keras file into the registry.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)

UPLOAD = "The id of an upload: "
log = logging.getLogger("kerasql.web")


class NewVersion(Bound):
    """What is to be a model's next version: uploaded files, and how SQL calls it.

    Where a model has several inputs or outputs, preprocess, labels and output are by their names.
    """

    model: str | None = Field(None, description=UPLOAD + "the .h5 or .keras file.")
    weights: str | None = Field(None, description=UPLOAD + "weights, in place of a model.")
    architecture: str | None = Field(None, description=UPLOAD + "to_json() or to_yaml().")
    code: str | None = Field(None, description=UPLOAD + "Python; needs trust_code.")
    preprocess: dict[str, Any] | None = Field(
        None, description='{"kind": "image", "size": [224, 224], …}, also tensor, text and code.'
    )
    labels: list[str] | dict[str, list[str]] | None = None
    output: str | dict[str, str] | None = Field(None, description="label, top_k, scores or value.")
    threshold: int | float = 0.5
    top_k: int = Field(5, lt=2**31)
    columns: list[str] | None = Field(None, description="Names of a tabular input's numbers.")
    engine: str | None = Field(None, description="The faster one that equals Keras, if none.")
    precision: str = "f32"
    trust_code: bool = Field(False, description="Let the given Python source run on executors.")
    description: str = Field("", max_length=10_000)
    tags: list[str] = Field([])
    metrics: dict[str, float] = Field({})

    def uploads(self) -> dict[str, str]:
        """The ids of the uploaded files by what they are."""
        given = {name: getattr(self, name) for name in ("model", "weights", "architecture", "code")}
        return {name: one for name, one in given.items() if one is not None}

    def preprocessors(self) -> dict[str, Preprocessor] | None:
        """The preprocessors by input; under ``""`` for the one input of a model."""
        if self.preprocess is None:
            return None
        one = isinstance(self.preprocess.get("kind"), str)
        by_name = {"": self.preprocess} if one else self.preprocess
        try:
            return {name: preprocessor_from_json(one) for name, one in by_name.items()}
        except KerasqlError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise InvalidInput(f"{self.preprocess!r} is no preprocessor: {error}") from error


class Registration(Sent):
    """A version on its way into the registry."""

    id: str
    user: str
    name: str = Field(description="The model.")
    state: Literal["queued", "running", "finished", "failed", "interrupted"]
    step: str | None = Field(description="The step it is at.")
    steps: list[str] = Field(description="The steps it has begun.")
    error: str | None = Field(description="One sentence.")
    error_kind: str | None = Field(description="The kind of error, as kerasql's Python names it.")
    facts: list[Any] = Field(description="What the error is about.")
    version: int | None = Field(description="The number of the version, where it is finished.")
    existed: bool = Field(description="Whether the same had been registered before.")
    created_at: datetime
    ended_at: datetime | None


class Registrations(BaseModel):
    """Registrations, the newest first."""

    registrations: list[Registration]


class Named(Bound):
    """A model."""

    name: str = Field(max_length=64)


class Id(Bound):
    """A registration."""

    id: str = Field(max_length=64, pattern="^[0-9a-f]+$")


class Which(Bound):
    """Which registrations."""

    everybody: bool = Field(False, description="Of all users (admins).")
    limit: int = Field(100, ge=1, le=1000)


@models.post(
    "/models/<name>/versions",
    responses={202: Registration, 400: Problem, 404: Problem, 409: Problem},
)
def register(path: Named, body: NewVersion) -> Response:
    """Register uploaded files as a model's next version; the answer comes at once and has an id"""
    name, known = model_name(path.name), parts()
    user = asker()
    check_may(known.access, user, name, body)
    preprocess, uploads = body.preprocessors(), body.uploads()
    if ("model" in uploads) == ("weights" in uploads):
        raise InvalidInput("give one file: model, or weights with architecture or code")
    known.registry.check_name(name)
    is_new = not known.registry.models(names=[name])
    where = address()

    def carry_out(files: Mapping[str, Path], progress: Progress) -> Version:
        def step(at: str) -> None:
            # What was allowed when it was asked may have been taken away since.
            with suppress(*(RegistryUnavailable,) if at != "storing" else ()):
                check_may(known.access, known.access.user(user.name), name, body)
            progress(at)

        version = known.registry.register(
            name,
            files.get("model"),
            weights=files.get("weights"),
            architecture=files.get("architecture"),
            code=files.get("code"),
            preprocess=preprocess,
            labels=body.labels,
            output=body.output,
            threshold=body.threshold,
            top_k=body.top_k,
            columns=body.columns,
            engine=body.engine,
            precision=body.precision,
            trust_code=body.trust_code,
            description=body.description,
            tags=body.tags,
            owner=user.name,
            metrics=body.metrics,
            progress=step,
        )
        detail = {"existed": version.existed}
        try:
            known.access.record(user, "register", version.ref, detail=detail, address=where)
        except RegistryUnavailable as error:
            log.error("%s was registered, and the audit does not say so: %s", version.ref, error)
        return version

    begun = known.registrations.begin(user.name, name, uploads, carry_out, is_new=is_new)
    return sent(shown(begun), 202)


def check_may(access: Access, user: User, name: str, body: NewVersion) -> None:
    """Raise Forbidden where a user may not register that under that name, with code or without."""
    access.require(user, "register", name)
    scientists = bool(setting("KERASQL_TRUST_SCIENTISTS"))
    if body.trust_code and user.role != "admin" and not (scientists and user.adds):
        who = "scientists and admins" if scientists else "admins"
        raise RoleMissing(user.name, "let code run at this server", who)


@registering.get("/registrations", responses={200: Registrations})
def list_registrations(query: Which) -> Response:
    """My registrations, the newest first"""
    user = administrator() if query.everybody else asker()
    whose = None if query.everybody else user.name
    found = parts().registrations.of(whose, limit=query.limit)
    return sent(Registrations(registrations=[shown(one) for one in found]))


@registering.get("/registrations/<id>", responses={200: Registration, 404: Problem})
def get_registration(path: Id) -> Response:
    """How far a registration is, and what came of it"""
    user = asker()
    found = parts().registrations.get(path.id)
    if found.user != user.name and user.role != "admin":
        raise NotFound("registration", path.id, (), registrations.ITS_ID)
    return sent(shown(found))


def shown(one: registrations.Registration) -> Registration:
    """A registration as JSON."""
    return Registration.of(one, step=one.steps[-1] if one.steps else None, version=one.number)
