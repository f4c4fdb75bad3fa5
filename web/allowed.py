"""What of the registry the user of a request may see and change; what is changed is recorded.

What somebody may not see reads as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasql.registry.access import User
from kerasql.registry.errors import RoleMissing
from kerasql.registry.version import Version
from kerasql.web.parts import parts
from kerasql.web.who import address, asker


def seen(name: str) -> str:
    """The name of a model that the user may call."""
    parts().access.require(asker(), "execute", name)
    return name.lower()


def seen_version(name: str, version: str) -> Version:
    """A version of a model that the user may call, by its number or an alias."""
    return parts().registry.get(f"{seen(name)}@{version}")


def may(privilege: str, name: str) -> User:
    """The user of this request, who may do that with the model or dataset."""
    user = asker()
    parts().access.require(user, privilege, name)
    return user


def adder(what: str) -> User:
    """The user of this request, whose role brings new things: ``what`` says which in an error."""
    user = asker()
    if not user.adds:
        raise RoleMissing(user.name, what, "scientists and admins")
    return user


def sender() -> User:
    """The user of this request, whose role, or a grant, lets them register what they send."""
    user = asker()
    grantees = (f"user:{user.name}", f"role:{user.role}")
    granted = (grant for to in grantees for grant in parts().access.grants(to=to))
    if not user.adds and not any(grant.privilege == "register" for grant in granted):
        raise RoleMissing(user.name, "send files", "scientists and admins")
    return user


def record(user: User, action: str, name: str, detail: Mapping[str, Any] | None = None) -> None:
    """Keep that the user of this request did something."""
    parts().access.record(user, action, name, detail=detail, address=address())
