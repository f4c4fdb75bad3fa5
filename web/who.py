"""Who asks: a browser by its cookie, a program by its token."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, abort, g, request

from kerasql.registry.access import Token, User
from kerasql.registry.errors import AdminsOnly, NotSignedIn
from kerasql.web.parts import parts

COOKIE = "kerasql"
SIGNED_IN_S = 12 * 3600
READING = {"GET", "HEAD", "OPTIONS"}


def asker() -> User:
    """The user of this request. Raises NotSignedIn."""
    return signed()[0]


def signed() -> tuple[User, Token]:
    """The user of this request and the token it came with. Raises NotSignedIn."""
    if "signed" not in g:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        cookie = request.cookies.get(COOKIE)
        if scheme.lower() == "bearer":
            g.signed = parts().access.authenticated(secret.strip(), kinds=("api",))
        elif cookie and not scheme:
            g.signed = parts().access.authenticated(cookie, kinds=("browser",))
        else:
            raise NotSignedIn("sign in, or give a token: Authorization: Bearer <token>")
    found: tuple[User, Token] = g.signed
    return found


def administrator() -> User:
    """The user of this request, who is an admin. Raises AdminsOnly."""
    user = asker()
    if user.role != "admin":
        raise AdminsOnly(user.name)
    return user


def address() -> str:
    """Where the request comes from, as the audit keeps it."""
    return request.remote_addr or ""


def sign_in(response: Response, user: User) -> Response:
    """The response, with a cookie that is the user's for half a day."""
    _, secret = parts().access.new_token(
        user, "browser", kind="browser", lifetime_s=SIGNED_IN_S, by=user.name
    )
    response.set_cookie(
        COOKIE, secret, max_age=SIGNED_IN_S, httponly=True, samesite="Lax", secure=parts().https
    )
    return response


def refuse_other_sites() -> None:
    """Answer 403 where another site's page made a browser ask for a change.

    A browser says where a request comes from: Sec-Fetch-Site where the connection is safe, Origin
    with every POST. A program says neither, and no cookie goes with its request by itself.
    """
    if request.method in READING or "Authorization" in request.headers:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = urlsplit(origin).netloc != request.host if origin else False
    if foreign if site is None else site not in ("same-origin", "none"):
        abort(403, "a page of another site asked for this; do it from a page of kerasql's")
