"""The Flask application: its routes, its headers, and how an error is told."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import flask_openapi_swagger
from flask import Blueprint, Response, g, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_openapi import Info, OpenAPI
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, SecurityError

import kerasql
from kerasql.registry.errors import (
    AdminsOnly,
    Busy,
    Forbidden,
    InUse,
    InvalidInput,
    InvalidQuery,
    KerasqlError,
    NameTaken,
    NotFound,
    NotSignedIn,
    RegistryUnavailable,
    TooManyAttempts,
    TooManyQueries,
    WrongOffset,
)
from kerasql.web.api import APIS, Problem
from kerasql.web.pages import pages
from kerasql.web.parts import Parts, parts
from kerasql.web.who import asker, refuse_other_sites

LARGEST_BODY = 32 * 2**20
LARGEST_OF_STRANGERS = 64 * 2**10
SWAGGER = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
STATUS: dict[type[KerasqlError], int] = {
    NotSignedIn: 401,
    AdminsOnly: 403,
    Forbidden: 403,
    NotFound: 404,
    NameTaken: 409,
    InUse: 409,
    WrongOffset: 409,
    TooManyAttempts: 429,
    TooManyQueries: 429,
    Busy: 429,
    RegistryUnavailable: 503,
    InvalidQuery: 400,
    InvalidInput: 400,
}
"""The HTTP status of an error, the first that fits; any other is 500."""

UNREACHED = "its database cannot be reached now; try again soon"

log = logging.getLogger("kerasql.web")


def create_app(made_of: Parts) -> OpenAPI:
    """The application for a registry and a Spark driver's queries."""
    app = OpenAPI(
        "kerasql.web",
        info=Info(
            title="kerasql",
            version=kerasql.__version__,
            description="Register a Keras model once; everyone calls it by name in Spark SQL.",
        ),
        security_schemes={
            "token": {"type": "http", "scheme": "bearer"},
            "browser": {"type": "apiKey", "in": "cookie", "name": "kerasql"},
        },
        validation_error_status=422,
        validation_error_model=Problem,
        validation_error_callback=not_valid,
        doc_ui=False,
        root_path=str(Path(__file__).resolve().parent),
    )
    app.openapi_version = "3.1.0"
    app.extensions["kerasql"] = made_of
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.config["TRUSTED_HOSTS"] = list(made_of.hosts) or None
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.before_request(begin)
    app.before_request(refuse_other_sites)
    app.before_request(refuse_strangers)
    app.after_request(finish)
    app.register_error_handler(KerasqlError, told)
    app.register_error_handler(HTTPException, told_http)
    app.register_error_handler(Exception, told_unexpected)
    app.register_blueprint(documents(app))
    for api in APIS:
        app.register_api(api)
    app.register_blueprint(pages)
    return app


def documents(app: OpenAPI) -> Blueprint:
    """The OpenAPI document and the page to read it."""
    views = Blueprint(
        "documents", __name__, static_folder=str(SWAGGER), static_url_path="/api/swagger"
    )

    @views.get("/api/openapi.json")
    def openapi() -> ResponseReturnValue:
        return jsonify(app.api_doc)

    @views.get("/api")
    def read() -> ResponseReturnValue:
        return render_template("api.html")

    return views


def begin() -> None:
    """When the request came."""
    g.began = time.monotonic()


def refuse_strangers() -> None:
    """Raise NotSignedIn for a long body before it is read, where nobody is known to send it."""
    is_open = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if is_open or (request.content_length or 0) > LARGEST_OF_STRANGERS:
        g.unread = True
        asker()
        del g.unread


def finish(response: Response) -> Response:
    """The response, with the headers that keep a browser safe, and one line in the log."""
    policy = POLICY
    if request.endpoint == "documents.read":
        policy = POLICY | {"style-src": "'self' 'unsafe-inline'"}  # Swagger UI sets styles
    headers = response.headers
    headers["Content-Security-Policy"] = "; ".join(f"{k} {v}" for k, v in policy.items())
    headers["X-Content-Type-Options"] = "nosniff"
    if "unread" in g:
        # What is left of the request is not waited for.
        headers["Connection"] = "close"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint and not request.endpoint.endswith("static"):
        headers.setdefault("Cache-Control", "no-store")
    seconds = time.monotonic() - g.get("began", time.monotonic())
    # A path or a method that nobody knows is no label of its own: anybody could make a million.
    known = (request.endpoint, request.method) if request.endpoint else ("", "")
    labels = (*known, str(response.status_code))
    parts().metrics.requests.labels(*labels).observe(seconds)
    log.info(
        "request",
        extra={
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "ms": round(1000 * seconds, 1),
            "user": g.signed[0].name if "signed" in g else None,
            "address": request.remote_addr,
        },
    )
    return response


def told(error: KerasqlError) -> ResponseReturnValue:
    """One of kerasql's own errors: its sentence, nobody rewrites it on the way."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    if status == 500:
        log.error("failed: %s", error, exc_info=error)
    if isinstance(error, RegistryUnavailable):
        log.error("the database: %s", error)
        return answer(
            status, UNREACHED, kind=type(error).__name__, facts=("this server", UNREACHED)
        )
    if isinstance(error, NotSignedIn) and not wants_json() and request.endpoint != "pages.enter":
        return redirect(url_for("pages.enter", then=request.full_path.rstrip("?")))
    return answer(status, str(error), kind=type(error).__name__, facts=error.args)


def told_http(error: HTTPException) -> ResponseReturnValue:
    """What Flask refuses: an unknown path, a wrong method, a body that is too large."""
    if isinstance(error, SecurityError):
        # The host is not ours, so there is no URL to make a page of.
        return Response("that is not the name of this server\n", 400, mimetype="text/plain")
    return answer(error.code or 500, str(error.description), headers=error.get_response().headers)


def told_unexpected(error: Exception) -> ResponseReturnValue:
    """A defect of ours: logged whole, told without internals."""
    if isinstance(error, RecursionError) and request.is_json:
        return answer(422, "the body is nested too deep")
    log.error("failed", exc_info=error)
    return answer(500, "something went wrong in the server; its log says what")


def not_valid(error: ValidationError) -> Response:
    """The first thing that is wrong with a request, in one sentence."""
    first, *others = error.errors(include_url=False, include_input=False)
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    more = f" (and {len(others)} more)" if others else ""
    return answer(422, f"{where}: {first['msg']}{more}")


def answer(
    status: int, sentence: str, *, kind: str = "", facts: Any = (), headers: Any = None
) -> Response:
    """An error for a program as JSON, for a person as a page."""
    response: Response
    if wants_json():
        problem = Problem(
            status=status,
            error=kind or HTTPStatus(status).phrase.replace(" ", ""),
            detail=sentence,
            facts=[
                list(fact) if isinstance(fact, (tuple, set, frozenset)) else fact for fact in facts
            ],
        )
        response = Response(problem.model_dump_json(), mimetype="application/json")
    else:
        phrase = HTTPStatus(status).phrase
        response = Response(render_template("error.html", phrase=phrase, sentence=sentence))
    response.status_code = status
    for name in ("Allow", "Retry-After"):
        if headers and name in headers:
            response.headers[name] = headers[name]
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def wants_json() -> bool:
    """Whether a program asked."""
    return request.path.startswith("/api/")
