"""Models, their versions and aliases, and the bytes of a version."""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.registry import version as facts
from kerasql.web.allowed import may, record, seen, seen_version
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.who import asker

models = APIBlueprint(
    "models",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="models", description="Models, their versions and aliases.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)

BYTES = {
    "description": "The bytes; their SHA-256 is the ETag.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
UNCHANGED = {"description": "The bytes that the ETag names."}


class Model(Sent):
    """A name and what is kept under it."""

    name: str
    description: str
    aliases: dict[str, int] = Field(description="The number each alias points to.")
    latest: int
    versions: int
    created_at: datetime


class Models(BaseModel):
    """Models by name."""

    models: list[Model]
    more: bool = Field(description="Whether there are some behind these.")


class Numbered(BaseModel):
    """One version, as deploying knows it."""

    number: int
    has_scores: bool


class Functions(BaseModel):
    """What of a model can be called in SQL."""

    name: str
    aliases: dict[str, int]
    versions: list[Numbered]


class Catalog(BaseModel):
    """What can be called in SQL, by model."""

    models: list[Functions]


class Tensor(BaseModel):
    """One input or output of a network."""

    name: str
    dtype: str
    shape: list[int | None] = Field(description="Without the rows' axis; null is any length.")
    ids: int | None = Field(description="How many ids an embedding knows, if it goes to one.")


class Signature(BaseModel):
    """Inputs and outputs in the network's order."""

    inputs: list[Tensor]
    outputs: list[Tensor]


class Output(BaseModel):
    """How an output becomes a SQL value."""

    kind: str = Field(description="label, top_k, scores or value.")
    labels: list[str]
    threshold: float
    k: int


class Artifact(BaseModel):
    """Bytes at rest."""

    sha256: str
    size_bytes: int


class Version(Sent):
    """An immutable deposit under a model's name."""

    ref: str
    name: str
    number: int
    aliases: list[str]
    signature: Signature
    preprocess: dict[str, Any] = Field(description="Preprocessors by input.")
    outputs: dict[str, Output]
    columns: list[str] | None
    layers: list[dict[str, Any]]
    parameters: int
    keras_version: str | None
    description: str
    tags: list[str]
    owner: str | None
    created_at: datetime
    metrics: dict[str, float]
    engine: str
    engine_report: dict[str, Any]
    inspection: dict[str, Any]
    artifacts: dict[str, Artifact] = Field(description="By role.")
    existed: bool


class Versions(BaseModel):
    """A model's versions, the oldest first."""

    versions: list[Version]


class Code(BaseModel):
    """The Python source that was given with a version."""

    code: str | None


class Move(Sent):
    """One move of an alias; no number is where it was made or removed."""

    model: str
    alias: str
    from_number: int | None
    to_number: int | None
    at: datetime
    by: str | None
    why: str


class Moves(BaseModel):
    """Moves of aliases, the newest first."""

    moves: list[Move]


class Undone(BaseModel):
    """Where an alias points again; nowhere, where there was none before."""

    version: Version | None


class Search(Bound):
    """Which models."""

    search: str = Field("", max_length=200, description="A text in a name or a description.")
    limit: int = Field(100, ge=1, le=10_000)
    offset: int = Field(0, ge=0, lt=2**31)


class Named(Bound):
    """A model."""

    name: str = Field(max_length=64)


class Which(Named):
    """A version by its number or an alias."""

    version: str = Field(max_length=64, description="A number or an alias.")


class WhichArtifact(Which):
    """An artifact of a version by its role."""

    role: str = Field(max_length=64)


class Alias(Named):
    """An alias of a model."""

    alias: str = Field(max_length=64)


class OneAlias(Bound):
    """Which alias; all of the model's where none is given."""

    alias: str | None = Field(None, max_length=64)


class Why(Bound):
    """Why an alias is moved."""

    why: str = Field("", max_length=1000)


class Point(Why):
    """Where an alias is to point, and why."""

    version: int = Field(ge=1, lt=10**9)


@models.get("/models", responses={200: Models})
def list_models(query: Search) -> Response:
    """The models that I may call"""
    user, known = asker(), parts()
    found = known.registry.models(
        search=query.search,
        names=None if user.role == "admin" else known.access.executable(user),
        limit=query.limit + 1,
        offset=query.offset,
    )
    shown = [Model.of(model) for model in found[: query.limit]]
    return sent(Models(models=shown, more=len(found) > query.limit))


@models.get("/catalog", responses={200: Catalog})
def catalog() -> Response:
    """What I may call in SQL, as deploying needs it"""
    mine = parts().access.executable(asker())
    found = [
        Functions(
            name=name,
            aliases=aliases,
            versions=[Numbered(number=n, has_scores=has_scores) for n, has_scores in versions],
        )
        for name, aliases, versions in parts().registry.catalog()
        if name in mine
    ]
    return sent(Catalog(models=found))


@models.get("/names/<name>", responses={204: None, 400: Problem, 409: Problem})
def check_name(path: Named) -> Response:
    """Whether a model may have that name: 204, or what it would collide with"""
    asker()
    parts().registry.check_name(path.name)
    return Response(status=204)


@models.get("/models/<name>", responses={200: Model, 404: Problem})
def get_model(path: Named) -> Response:
    """A model: its aliases and its latest version"""
    return sent(Model.of(parts().registry.model(seen(path.name))))


@models.get("/models/<name>/versions", responses={200: Versions, 404: Problem})
def list_versions(path: Named) -> Response:
    """A model's versions, the oldest first"""
    found = parts().registry.versions(seen(path.name))
    return sent(Versions(versions=[shown(version) for version in found]))


@models.get(
    "/models/<name>/versions/<version>", responses={200: Version, 400: Problem, 404: Problem}
)
def get_version(path: Which) -> Response:
    """A version by its number or by an alias"""
    return sent(shown(seen_version(path.name, path.version)))


@models.delete(
    "/models/<name>/versions/<version>",
    responses={204: None, 400: Problem, 404: Problem, 409: Problem},
)
def delete_version(path: Which) -> Response:
    """Delete a version, by its number, that no alias points to"""
    user, ref = may("delete", path.name), f"{path.name}@{path.version}"
    parts().registry.delete(ref)
    record(user, "version.delete", ref.lower())
    return Response(status=204)


@models.get(
    "/models/<name>/versions/<version>/code", responses={200: Code, 400: Problem, 404: Problem}
)
def get_code(path: Which) -> Response:
    """The Python source that was given with a version"""
    return sent(Code(code=parts().registry.code(seen_version(path.name, path.version).ref)))


@models.get(
    "/models/<name>/versions/<version>/artifacts/<role>",
    responses={200: BYTES, 304: UNCHANGED, 400: Problem, 404: Problem},
)
def get_artifact(path: WhichArtifact) -> Response:
    """The bytes of a version's artifact: model, golden, openvino.xml …"""
    version = seen_version(path.name, path.version)
    pieces = parts().registry.open_artifact(version, path.role)
    artifact = version.artifacts[path.role]
    response = Response(status=304)
    if artifact.sha256 not in request.if_none_match:
        # The first piece now: that it is missing can still be told.
        response = Response(chain([next(pieces, b"")], pieces), mimetype="application/octet-stream")
        response.content_length = artifact.size_bytes
        file = f"{version.name}-{version.number}-{path.role}"
        response.headers["Content-Disposition"] = f'attachment; filename="{file}"'
    response.set_etag(artifact.sha256)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@models.get("/models/<name>/history", responses={200: Moves, 404: Problem})
def history(path: Named, query: OneAlias) -> Response:
    """Every move of a model's aliases, with who and why, the newest first"""
    moves = parts().registry.alias_history(seen(path.name), query.alias)
    return sent(Moves(moves=[Move.of(move) for move in moves]))


@models.put(
    "/models/<name>/aliases/<alias>",
    responses={200: Version, 400: Problem, 404: Problem, 409: Problem},
)
def set_alias(path: Alias, body: Point) -> Response:
    """Point an alias to a version; the next query uses it"""
    user, name = may("alias", path.name), path.name.lower()
    version = parts().registry.set_alias(name, body.version, path.alias, by=user.name, why=body.why)
    detail = {"alias": path.alias.lower(), "version": version.number, "why": body.why}
    record(user, "alias.set", name, detail)
    return sent(shown(version))


@models.delete("/models/<name>/aliases/<alias>", responses={200: Version, 404: Problem})
def remove_alias(path: Alias, query: Why) -> Response:
    """Remove an alias; the version that it pointed to stays"""
    user, name = may("alias", path.name), path.name.lower()
    version = parts().registry.remove_alias(name, path.alias, by=user.name, why=query.why)
    detail = {"alias": path.alias.lower(), "version": version.number, "why": query.why}
    record(user, "alias.remove", name, detail)
    return sent(shown(version))


@models.post(
    "/models/<name>/aliases/<alias>/undo",
    responses={200: Undone, 400: Problem, 404: Problem, 409: Problem},
)
def undo_alias(path: Alias, body: Why) -> Response:
    """Put an alias back where it was before its last move"""
    user, name = may("alias", path.name), path.name.lower()
    version = parts().registry.undo_alias(name, path.alias, by=user.name, why=body.why)
    number = None if version is None else version.number
    detail = {"alias": path.alias.lower(), "version": number, "why": body.why}
    record(user, "alias.undo", name, detail)
    return sent(Undone(version=None if version is None else shown(version)))


def shown(version: facts.Version) -> Version:
    """A version as JSON."""
    return Version.of(version, ref=version.ref)
