"""Users, tokens, grants and the audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.registry.errors import NotFound
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.who import administrator, asker, signed

DAY_S = 86_400
Role = Literal["analyst", "scientist", "admin"]
Privilege = Literal["execute", "select", "register", "alias", "delete"]

people = APIBlueprint(
    "people",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="people", description="Users, tokens, grants and the audit.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)


class User(Sent):
    """Somebody who may sign in."""

    name: str
    role: Role
    disabled: bool
    has_password: bool
    created_at: datetime


class Users(BaseModel):
    """All users, by name."""

    users: list[User]


class Named(Bound):
    """A user."""

    name: str = Field(max_length=64)


class NewUser(Bound):
    """Somebody who is to sign in."""

    name: str = Field(max_length=64)
    role: Role = "analyst"
    password: str | None = Field(None, max_length=1024, description="At least 12 characters.")


class ChangedUser(Bound):
    """What is to change; what is left out stays."""

    role: Role | None = None
    password: str | None = Field(None, max_length=1024)
    disabled: bool | None = None


class Token(Sent):
    """A token without its secret."""

    id: int
    user: str
    name: str
    kind: Literal["api", "browser", "link"]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


class Tokens(BaseModel):
    """Tokens, the newest first."""

    tokens: list[Token]


class NewToken(Bound):
    """A token to be made for who asks."""

    name: str = Field(min_length=1, max_length=64, description="What it is for.")
    days: int = Field(90, ge=1, le=3650)


class MadeToken(BaseModel):
    """A token and its secret, which is shown this once."""

    token: Token
    secret: str


class TokenPath(Bound):
    """A token."""

    id: int = Field(ge=1, lt=2**31)


class Grant(Sent):
    """What a user or a role may do with a model or a dataset (``*``: with all)."""

    privilege: Privilege
    object: str
    to: str
    by: str | None
    at: datetime


class Grants(BaseModel):
    """Grants by privilege and object."""

    grants: list[Grant]


class GrantBody(Bound):
    """A grant to be made or taken back."""

    privilege: Privilege
    object: str = Field(max_length=64, description="A model, a dataset, or * for all of them.")
    to: str = Field(max_length=80, description="user:ann or role:analyst")


class Event(Sent):
    """Who did what to what."""

    id: int
    at: datetime
    user: str | None
    action: str
    object: str
    detail: dict[str, Any]
    address: str | None


class Events(BaseModel):
    """What happened, the newest first."""

    events: list[Event]


class EventQuery(Bound):
    """Which events."""

    user: str | None = Field(None, max_length=64)
    action: str | None = Field(None, max_length=64)
    object: str | None = Field(None, max_length=200)
    before: int | None = Field(None, ge=1, lt=2**31, description="The id of an event.")
    limit: int = Field(100, ge=1, le=1000)


class Me(BaseModel):
    """Who asks, and what they may call and read."""

    user: User
    models: list[str]
    datasets: list[str]


@people.get("/me", responses={200: Me})
def me() -> Response:
    """Who I am, and what I may call and read"""
    user, known = asker(), parts().access
    return sent(
        Me(
            user=User.of(user),
            models=sorted(known.executable(user)),
            datasets=sorted(known.readable(user)),
        )
    )


@people.get("/users", responses={200: Users})
def list_users() -> Response:
    """All users (admins)"""
    administrator()
    return sent(Users(users=[User.of(user) for user in parts().access.users()]))


@people.post("/users", responses={201: User, 400: Problem, 409: Problem})
def add_user(body: NewUser) -> Response:
    """Add a user (admins)"""
    user = parts().access.add_user(
        body.name, role=body.role, password=body.password, by=administrator().name
    )
    return sent(User.of(user), 201)


@people.patch("/users/<name>", responses={200: User, 400: Problem, 404: Problem})
def change_user(path: Named, body: ChangedUser) -> Response:
    """Change a user's role or password, disable or enable them (admins)"""
    by, known = administrator().name, parts().access
    user = known.user(path.name)
    if body.role is not None:
        user = known.set_role(path.name, body.role, by=by)
    if body.password is not None:
        user = known.set_password(path.name, body.password, by=by)
    if body.disabled is not None:
        user = (known.disable if body.disabled else known.enable)(path.name, by=by)
    return sent(User.of(user))


@people.get("/tokens", responses={200: Tokens})
def list_tokens() -> Response:
    """My tokens"""
    found = parts().access.tokens(asker().name)
    return sent(Tokens(tokens=[Token.of(token) for token in found]))


@people.post("/tokens", responses={201: MadeToken, 400: Problem})
def make_token(body: NewToken) -> Response:
    """Make a token for programs; its secret is shown this once

    It ends no later than the token it is made with.
    """
    user, by = signed()
    lifetime_s = float(body.days * DAY_S)
    if by.kind == "api":
        lifetime_s = min(lifetime_s, (by.expires_at - datetime.now(UTC)).total_seconds())
    token, secret = parts().access.new_token(user, body.name, lifetime_s=lifetime_s, by=user.name)
    return sent(MadeToken(token=Token.of(token), secret=secret), 201)


@people.delete("/tokens/<int:id>", responses={204: None, 404: Problem})
def revoke_token(path: TokenPath) -> Response:
    """Revoke one of my tokens; an admin, anybody's"""
    user, known = asker(), parts().access
    tokens = known.tokens(None if user.role == "admin" else user.name)
    if path.id not in (token.id for token in tokens):
        raise NotFound("token", path.id, [], "they are listed at /api/v1/tokens")
    known.revoke_token(path.id, by=user.name)
    return Response(status=204)


@people.get("/grants", responses={200: Grants})
def list_grants() -> Response:
    """Who may do what (admins)"""
    administrator()
    return sent(Grants(grants=[Grant.of(grant) for grant in parts().access.grants()]))


@people.post("/grants", responses={201: Grant, 400: Problem, 404: Problem})
def grant(body: GrantBody) -> Response:
    """Let a user or a role do something (admins)"""
    made = parts().access.grant(body.privilege, body.object, to=body.to, by=administrator().name)
    return sent(Grant.of(made), 201)


@people.delete("/grants", responses={204: None, 400: Problem, 404: Problem})
def take_back(query: GrantBody) -> Response:
    """Take a grant back (admins)"""
    parts().access.ungrant(query.privilege, query.object, to=query.to, by=administrator().name)
    return Response(status=204)


@people.get("/audit", responses={200: Events})
def audit(query: EventQuery) -> Response:
    """Who did what (admins)"""
    administrator()
    found = parts().access.events(
        user=query.user,
        action=query.action,
        object=query.object,
        before=query.before,
        limit=query.limit,
    )
    return sent(Events(events=[Event.of(event) for event in found]))
