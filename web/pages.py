"""The pages: sign in, ask a query, watch it, read its rows."""

from __future__ import annotations

import re
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as Redirect

from kerasql.registry.errors import Busy, KerasqlError, NotSignedIn, TooManyAttempts
from kerasql.registry.version import plain_text
from kerasql.web import asking
from kerasql.web.oidc import ATTEMPT_S, Attempt, Provider, ProviderFailed
from kerasql.web.parts import parts
from kerasql.web.who import COOKIE, address, administrator, asker, sign_in, signed

ROWS = 100
CELL = 200
LISTED = 100
GOING = ("queued", "running")
OURS = re.compile(r"/(?![/\\])[^\t\r\n]*")
"""A path on this server; browsers leave out tabs and line breaks, and then //host is another."""

pages = Blueprint("pages", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    """A form for SQL, and what may stand in it."""
    user = asker()
    fence = asking.fence(user)
    plain = sorted(n for n in fence.functions or () if not n.startswith("try_"))
    return render_template(
        "home.html",
        user=user,
        sql=request.args.get("sql", ""),
        functions=plain[:LISTED],
        more_functions=len(plain[LISTED:]),
        datasets=sorted(fence.relations or ()),
        queries=asking.history(user, limit=10),
    )


@pages.post("/queries")
def ask() -> ResponseReturnValue:
    """Ask the form's query, and go and watch it."""
    query = asking.ask(asker(), plain_text(request.form.get("sql", "")), {})
    return redirect(url_for("pages.query", id=query.id))


@pages.get("/queries")
def queries() -> ResponseReturnValue:
    """What the user asked."""
    user, search = asker(), plain_text(request.args.get("search", ""))
    found = asking.history(user, search=search or None)
    return render_template("queries.html", user=user, search=search, queries=found)


@pages.get("/queries/<id>")
def query(id: str) -> ResponseReturnValue:
    """A query: how far it is, or its rows."""
    user = asker()
    offset = max(0, request.args.get("offset", 0, type=int))
    found = asking.own(user, id)
    rows = []
    if found.stored:
        rows = asking.shortened(asking.rows(user, id, offset=offset, limit=ROWS)[1], CELL)
    page = render_template(
        "query.html",
        user=user,
        query=found,
        rows=rows,
        offset=offset,
        next=offset + ROWS if offset + ROWS < (found.rows or 0) else None,
        previous=max(0, offset - ROWS) if offset else None,
        going=found.state in GOING,
    )
    response = make_response(page)
    if found.state in GOING:
        response.headers["Refresh"] = "1"
    return response


@pages.post("/queries/<id>/stop")
def stop(id: str) -> ResponseReturnValue:
    """Stop a query."""
    asking.stop(asker(), id)
    return redirect(url_for("pages.query", id=id))


@pages.get("/enter")
def enter() -> ResponseReturnValue:
    """Sign in: a form, or the one-time link that ``kerasql serve`` prints."""
    if link := request.args.get("link"):
        return sign_in(_redirect(""), parts().access.redeem(link, address=address()))
    return _entrance(then=request.args.get("then", ""))


@pages.post("/enter")
def check() -> ResponseReturnValue:
    """Sign in with the form's name and password."""
    name, then = request.form.get("name", ""), request.form.get("then", "")
    try:
        user = parts().access.sign_in(name, request.form.get("password", ""), address=address())
    except (NotSignedIn, TooManyAttempts) as error:
        return _entrance(error, then=then, name=name)
    return sign_in(_redirect(then), user)


@pages.get("/enter/oidc/begin")
def begin() -> ResponseReturnValue:
    """Sign in at the OpenID provider."""
    then = request.args.get("then", "")
    try:
        with parts().visits:
            there, attempt = _provider().begin(then, back=_back())
    except (Busy, ProviderFailed) as error:
        return _entrance(error, then=then)
    response: Redirect = redirect(there)
    response.set_cookie(_cookie(), attempt.cookie, max_age=ATTEMPT_S, **_kept())
    return response


@pages.get("/enter/oidc")
def came_back() -> ResponseReturnValue:
    """Sign in with what the browser brings back from the provider."""
    provider, answer, then = _provider(), request.args, ""
    try:
        attempt = Attempt.of(request.cookies.get(_cookie(), ""), answer.get("state", ""))
        then = attempt.then
        with parts().visits:
            user = parts().access.sign_in_with(
                "oidc",
                lambda: provider.name_for(attempt, answer, back=_back()),
                role=provider.role,
                address=address(),
            )
        response = sign_in(_redirect(then), user)
    except (Busy, NotSignedIn, TooManyAttempts, ProviderFailed) as error:
        response = _entrance(error, then=then)
    response.delete_cookie(_cookie(), **_kept())
    return response


@pages.post("/leave")
def leave() -> ResponseReturnValue:
    """Sign out."""
    user, token = signed()
    parts().access.revoke_token(token.id, by=user.name)
    response = redirect(url_for("pages.enter"))
    response.delete_cookie(COOKIE)
    return response


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Whether the process answers."""
    return Response("ok\n", mimetype="text/plain")


@pages.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Whether queries can be asked: the database answers and Spark runs."""
    known = parts()
    known.registry.datasets()
    if not known.queries.is_alive():
        return Response("Spark has stopped\n", status=503, mimetype="text/plain")
    return Response("ready\n", mimetype="text/plain")


@pages.get("/metrics")
def metrics() -> ResponseReturnValue:
    """What Prometheus reads; it brings an admin's token."""
    administrator()
    return Response(parts().metrics.text(), mimetype="text/plain; version=0.0.4")


def _entrance(error: KerasqlError | None = None, *, then: str, name: str = "") -> Response:
    """The page to sign in at, with what went wrong."""
    sentence, provider = str(error or ""), parts().provider
    page = render_template("enter.html", then=then, sentence=sentence, name=name, provider=provider)
    status = {Busy: 429, TooManyAttempts: 429, NotSignedIn: 401, ProviderFailed: 503}
    return make_response(page, status[type(error)] if error else 200)


def _provider() -> Provider:
    """Whom people may sign in with; 404 where there is nobody."""
    return parts().provider or abort(404)


def _back() -> str:
    """Where the provider sends a browser back to."""
    return url_for("pages.came_back", _external=True)


def _cookie() -> str:
    """The name of an attempt's cookie; with __Host- no other server of the domain can set it."""
    return "__Host-kerasql-oidc" if parts().https else "kerasql-oidc"


def _kept() -> dict[str, Any]:
    """How a browser keeps an attempt's cookie, and forgets it."""
    return {"httponly": True, "samesite": "Lax", "secure": parts().https}


def _redirect(then: str) -> Any:
    """To a page of ours alone."""
    found: Redirect = redirect(then if OURS.fullmatch(then) else url_for("pages.home"))
    return found
