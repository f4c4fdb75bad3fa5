"""Uploads: files that arrive in pieces; and the check of a file."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.registry import uploads as facts
from kerasql.registry.code import defines
from kerasql.registry.errors import InvalidInput
from kerasql.registry.examine import private_folder
from kerasql.registry.h5.report import report_of
from kerasql.web.allowed import sender
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.who import asker

uploads = APIBlueprint(
    "uploads",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="uploads", description="Send files; an upload that broke off goes on.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)

LARGEST_PIECE = 16 * 2**20
RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
PIECE = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


class NewUpload(Bound):
    """A file that is to be sent."""

    name: str = Field(min_length=1, max_length=255, description="What errors call it.")
    size_bytes: int = Field(ge=0, lt=2**50)
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="Checked at the end; and the same file sent again goes on where it was.",
    )


class Upload(Sent):
    """A file that arrives in pieces."""

    id: str
    name: str
    size_bytes: int
    sha256: str | None
    offset: int = Field(description="How many of its bytes are here: the next piece begins there.")
    created_at: datetime
    expires_at: datetime = Field(description="When it is forgotten, unless something happens.")


class Id(Bound):
    """An upload."""

    id: str = Field(max_length=64, pattern="^[0-9a-f]+$")


class ContentRange(BaseModel):
    """Which bytes of the file a piece is."""

    content_range: str = Field(alias="Content-Range", description="bytes 0-8388607/94763520")


class NewCheck(Bound):
    """What is to be checked."""

    upload: str = Field(max_length=64, description="The id of a whole upload.")
    code: str | None = Field(
        None, max_length=2**20, description="Python that will be given with it; it is not run."
    )


class Report(BaseModel):
    """What a file is, and whether it can be registered."""

    file: str
    registrable: bool
    problem: str | None = Field(description="Why not, in one sentence.")
    rewrites: list[str] = Field(description="What is changed so that today's Keras reads it.")
    inspection: dict[str, Any] | None


@uploads.post("/uploads", responses={201: Upload, 400: Problem})
def new_upload(body: NewUpload) -> Response:
    """Begin to send a file, or go on with the same one"""
    user = sender()
    made = arriving().new(user.name, body.name, size_bytes=body.size_bytes, sha256=body.sha256)
    return sent(Upload.of(made), 201)


@uploads.put(
    "/uploads/<id>",
    request_body=PIECE,
    responses={200: Upload, 400: Problem, 404: Problem, 409: Problem, 413: Problem},
)
def append(path: Id, header: ContentRange) -> Response:
    """Send the next piece of at most 16 MiB; 409 says where to go on instead"""
    user = asker()
    upload = arriving().get(user.name, path.id)
    offset = first_byte(header.content_range, request.content_length, upload)
    request.max_content_length = LARGEST_PIECE
    added = arriving().append(user.name, path.id, offset, request.get_data(cache=False))
    return sent(Upload.of(added))


@uploads.get("/uploads/<id>", responses={200: Upload, 404: Problem})
def get_upload(path: Id) -> Response:
    """How much of a file is here"""
    return sent(Upload.of(arriving().get(asker().name, path.id)))


@uploads.delete("/uploads/<id>", responses={204: None, 404: Problem})
def delete_upload(path: Id) -> Response:
    """Forget an upload"""
    arriving().delete(asker().name, path.id)
    return Response(status=204)


@uploads.post("/checks", responses={200: Report, 400: Problem, 404: Problem})
def check(body: NewCheck) -> Response:
    """Say what an uploaded file is and whether it can be registered; nothing in it is run"""
    user, known = sender(), arriving()
    names = defines(body.code) if body.code else frozenset[str]()
    upload = known.get(user.name, body.upload)
    with parts().checks, private_folder() as folder:
        file = folder / upload.id
        with file.open("wb") as to:
            known.copy(user.name, upload.id, to)
        report = report_of(file, names).to_json()
    problem = report["problem"] and report["problem"].replace(upload.id, upload.name)
    return sent(Report(**{**report, "file": upload.name, "problem": problem}))


def arriving() -> facts.Uploads:
    """Where uploads are kept."""
    return parts().registrations.uploads


def first_byte(content_range: str, length: int | None, upload: facts.Upload) -> int:
    """Where a piece begins, if the range fits what it says of itself and the upload."""
    given = RANGE.fullmatch(content_range)
    if given is None:
        raise InvalidInput(
            f"{content_range!r} is no range; write Content-Range: bytes 0-99/{upload.size_bytes}"
        )
    first, last, size = map(int, given.groups())
    if size != upload.size_bytes or length is None or last - first + 1 != length:
        raise InvalidInput(
            f"the range {content_range!r} does not fit a piece of {length} bytes of "
            f"{upload.size_bytes:,}"
        )
    return first
