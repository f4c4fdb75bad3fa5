"""The registry at a kerasql server: the same methods, over HTTP.

A file is sent in pieces; a connection that is lost goes on where it broke off. What the server
refuses is raised here as it would be raised there, with the same class and facts.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from kerasql.registry import errors
from kerasql.registry.artifacts import artifact_of, checked
from kerasql.registry.errors import (
    InvalidInput,
    KerasqlError,
    NotFound,
    NotSignedIn,
    RegistryUnavailable,
    WrongOffset,
)
from kerasql.registry.examine import (
    GivenLabels,
    GivenPreprocess,
    check_engine,
    given_labels,
    given_preprocess,
    given_source,
)
from kerasql.registry.h5.apart import inspect_apart
from kerasql.registry.h5.construct import Progress
from kerasql.registry.names import (
    IDENTIFIER,
    LONGEST,
    Ref,
    alias_name,
    dataset_name,
    function_names,
    model_name,
    parse_ref,
)
from kerasql.registry.queries import ADD_FIRST, REGISTER_FIRST
from kerasql.registry.store import Registry, one_file
from kerasql.registry.version import (
    AliasMove,
    Dataset,
    Model,
    Version,
    numbers,
    plain_text,
)

PIECE_BYTES = 8 * 2**20
MOST_MODELS = 10_000
TIMEOUT_S = (10, 120)
"""To connect, and between two bytes of an answer."""

WAITS_S = (0.2, 0.5, 1, 2, 4)
"""Between tries, where a connection is lost."""

LOOK_AGAIN_S = (0.1, 1.0)
"""Between two looks at a registration, the first and the longest."""


class Bearer(AuthBase):
    """The token with every request: a .netrc file would otherwise put itself in its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request, with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class RemoteRegistry(Registry):
    """Models, their versions and datasets at a kerasql server, as one user of it.

    Who that is, is known by the token: owner= and by= say nothing here.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = server_url(url)
        if not token:
            raise NotSignedIn(
                f"{self._url} wants a token; make one there, then give token= or KERASQL_TOKEN"
            )
        if not token.isascii() or not token.isprintable() or " " in token:
            raise NotSignedIn("that is no token; copy it again from where it was made")
        self._token = token
        self._begin()
        _registries.add(self)
        try:
            if "user" not in self._json("GET", "me", tries=1):
                raise self._no_server()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The server."""
        return self._url

    def __getattr__(self, name: str) -> NoReturn:
        if name == "_engine":
            raise InvalidInput(f"this needs the database itself; {self._url} is a server")
        raise AttributeError(name)

    def close(self) -> None:
        """Give back the connections to the server."""
        self._session.close()

    def register(
        self,
        name: str,
        path: str | Path | None = None,
        *,
        weights: str | Path | None = None,
        architecture: str | Path | None = None,
        code: str | Path | None = None,
        preprocess: GivenPreprocess | Mapping[str, GivenPreprocess] | None = None,
        labels: GivenLabels | Mapping[str, GivenLabels] | None = None,
        output: str | Mapping[str, str] | None = None,
        threshold: float = 0.5,
        top_k: int = 5,
        columns: Sequence[str] | None = None,
        engine: str | None = None,
        precision: str = "f32",
        trust_code: bool = False,
        description: str = "",
        tags: Sequence[str] = (),
        owner: str | None = None,
        metrics: Mapping[str, float] | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Send a file to the server, which registers it; the same as ``Registry.register``.

        What can be refused at once is, before anything is sent. The owner is the token's user.
        """
        step = progress or (lambda name: None)
        self.check_name(name)
        file = one_file(path, weights)
        check_engine(engine, precision)
        given = given_preprocess(preprocess, trust_code=trust_code)
        given_source(code, trust_code=trust_code)
        facts = {
            "preprocess": {input_: one.to_json() for input_, one in given.items()} or None,
            "labels": {out: list(names) for out, names in given_labels(labels).items()} or None,
            "output": dict(output) if isinstance(output, Mapping) else output,
            "threshold": threshold,
            "top_k": top_k,
            "columns": list(columns) if columns is not None else None,
            "engine": engine,
            "precision": precision,
            "trust_code": trust_code,
            "description": plain_text(description),
            "tags": [plain_text(tag) for tag in tags],
            "metrics": numbers(metrics or {}),
        }
        files = {
            "model" if weights is None else "weights": file,
            "architecture": architecture,
            "code": code,
        }
        uploads = {
            role: self._upload(Path(one), step) for role, one in files.items() if one is not None
        }
        address = f"models/{self._segment(name)}/versions"
        begun = self._json("POST", address, json={**facts, **uploads})
        return self._wait_for(begun["id"], step)

    def check_name(self, name: str) -> None:
        """Refuse a model's name that collides in SQL, before any work is done for it."""
        self._send("GET", f"names/{model_name(name)}")

    def get(self, ref: str) -> Version:
        """The version that ``name``, ``name@3`` or ``name@production`` names; one request."""
        name, number, alias = parse_ref(ref)
        return Version.from_json(self._json("GET", f"models/{name}/versions/{number or alias}"))

    def models(
        self,
        *,
        search: str = "",
        names: Collection[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Model]:
        """The models that the user may call, by name; the same as ``Registry.models``."""
        found: list[Model] = []
        more = True
        while more:
            asked = {"search": search, "limit": MOST_MODELS, "offset": len(found)}
            answer = self._json("GET", "models", params=asked)
            found += [Model.from_json(one) for one in answer["models"]]
            more = answer["more"]
        if names is not None:
            found = [model for model in found if model.name in names]
        return found[offset : None if limit is None else offset + limit]

    def model(self, name: str) -> Model:
        """The model of that name."""
        return Model.from_json(self._json("GET", f"models/{self._segment(name)}"))

    def versions(self, name: str) -> list[Version]:
        """Every version of a model, the oldest first."""
        answer = self._json("GET", f"models/{self._segment(name)}/versions")
        return [Version.from_json(one) for one in answer["versions"]]

    def catalog(self) -> list[tuple[str, dict[str, int], list[tuple[int, bool]]]]:
        """(model, alias to number, (number, has scores) of each version) for all; one request."""
        return [
            (
                one["name"],
                one["aliases"],
                [(version["number"], version["has_scores"]) for version in one["versions"]],
            )
            for one in self._json("GET", "catalog")["models"]
        ]

    def functions(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Each model's SQL functions (``names.function_names``); one request."""
        return {
            name: function_names(name, aliases, versions)
            for name, aliases, versions in self.catalog()
        }

    def set_alias(
        self, name: str, version: int, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version:
        """The version, once the alias points to it; who moved it is the token's user."""
        address = f"models/{self._segment(name)}/aliases/{alias_name(alias, model=name.lower())}"
        body = {"version": version, "why": plain_text(why)}
        return Version.from_json(self._json("PUT", address, json=body))

    def remove_alias(
        self, name: str, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version:
        """The version the alias pointed to, once the alias is gone."""
        address = self._alias(name, alias)
        return Version.from_json(self._json("DELETE", address, params={"why": plain_text(why)}))

    def undo_alias(
        self, name: str, alias: str, *, by: str | None = None, why: str = ""
    ) -> Version | None:
        """The version the alias points to again, where it did before its last move."""
        address = f"{self._alias(name, alias)}/undo"
        version = self._json("POST", address, json={"why": plain_text(why)})["version"]
        return version and Version.from_json(version)

    def alias_history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of a model's aliases, or of one of them, the newest first."""
        asked = {} if alias is None else {"alias": alias}
        answer = self._json("GET", f"models/{self._segment(name)}/history", params=asked)
        return [AliasMove.from_json(one) for one in answer["moves"]]

    def delete(self, ref: str) -> None:
        """Delete one version, named by its number, and the artifacts that only it referred to."""
        name, number, _ = parse_ref(ref)
        if number is None:
            raise InvalidInput(f"{ref!r} names no version for ever; delete {name}@<number>")
        self._send("DELETE", f"models/{name}/versions/{number}")

    def open_artifact(self, version: Version | str, role: str) -> Iterator[bytes]:
        """An artifact's bytes, a few MiB at a time, of a version or a ref; checked here too."""
        if isinstance(version, str):
            version = self.get(version)
        if role not in version.artifacts:
            raise NotFound(f"artifact of {version.ref}", role, sorted(version.artifacts), "")
        pieces = self._pieces_of(version, role)
        return checked(pieces, version.artifacts[role], ref=version.ref, role=role)

    def add_dataset(
        self,
        name: str,
        path: str | Path = "",
        *,
        format: str = "images",
        options: Mapping[str, str] | None = None,
        description: str = "",
        owner: str | None = None,
        replace: bool = False,
    ) -> Dataset:
        """A name analysts can put after FROM, for what the server can read at a path or URL.

        A local path is one of the server's; a relative one is made absolute here. The owner is
        the token's user.
        """
        name, place = dataset_name(name), plain_text(str(path))
        if place and "://" not in place:
            place = str(Path(place).expanduser().absolute())
        body = {
            "path": place,
            "format": plain_text(format),
            "options": {str(key): str(value) for key, value in (options or {}).items()},
            "description": plain_text(description),
            "replace": replace,
        }
        return Dataset.from_json(self._json("PUT", f"datasets/{name}", json=body))

    def datasets(self) -> list[Dataset]:
        """Every dataset that the user may read, by name."""
        return [Dataset.from_json(one) for one in self._json("GET", "datasets")["datasets"]]

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name."""
        return Dataset.from_json(self._json("GET", self._dataset(name)))

    def remove_dataset(self, name: str) -> None:
        """Forget a dataset; its files stay where they are."""
        self._send("DELETE", self._dataset(name))

    def _begin(self) -> None:
        self._session = requests.Session()
        self._session.auth = Bearer(self._token)

    def _segment(self, name: str) -> str:
        """A model's name as part of an address; what can be no name is not there."""
        if not IDENTIFIER.fullmatch(name) or len(name) > LONGEST:
            raise NotFound("model", name, [one.name for one in self.models()], REGISTER_FIRST)
        return name

    def _alias(self, name: str, alias: str) -> str:
        model = self._segment(name)
        if not IDENTIFIER.fullmatch(alias) or len(alias) > LONGEST:
            found = self.model(name)
            known = [f"{found.name}@{one}" for one in (*found.aliases, found.latest)]
            raise NotFound("version", str(Ref(found.name, None, alias)), known, "")
        return f"models/{model}/aliases/{alias}"

    def _dataset(self, name: str) -> str:
        if not IDENTIFIER.fullmatch(name) or len(name) > LONGEST:
            raise NotFound("dataset", name, [one.name for one in self.datasets()], ADD_FIRST)
        return f"datasets/{name}"

    def _upload(self, path: Path, step: Progress) -> str:
        """The id of a file at the server, once all of it is there."""
        if not path.is_file():
            inspect_apart(path, path.name)  # says what is wrong with it
        file = artifact_of(path)
        announced = {
            "name": path.name,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
        }
        upload: dict[str, Any] = self._json("POST", "uploads", json=announced, tries=len(WAITS_S))
        with path.open("rb") as bytes_:
            while (offset := upload["offset"]) < file.size_bytes:
                step(f"sending {path.name}: {offset / file.size_bytes:.0%}")
                bytes_.seek(offset)
                data = bytes_.read(PIECE_BYTES)
                if not data:
                    raise InvalidInput(f"{path.name} changed while it was sent; register it again")
                upload = self._append(upload["id"], data, offset, file.size_bytes)
        return str(upload["id"])

    def _append(self, id: str, data: bytes, offset: int, size: int) -> dict[str, Any]:
        headers = {
            "Content-Range": f"bytes {offset}-{offset + len(data) - 1}/{size}",
            "Content-Type": "application/octet-stream",
        }
        try:
            return self._json(
                "PUT", f"uploads/{id}", data=data, headers=headers, tries=len(WAITS_S)
            )
        except WrongOffset as error:
            # It arrived, but its answer did not; or another process sends the same file.
            return {"id": id, "offset": error.args[1]}

    def _wait_for(self, id: str, step: Progress) -> Version:
        said, wait_s = 0, LOOK_AGAIN_S[0]
        while True:
            found = self._json("GET", f"registrations/{id}")
            for name in found["steps"][said:]:
                step(name)
            said = len(found["steps"])
            if found["state"] == "finished":
                version = self.get(f"{found['name']}@{found['version']}")
                return replace(version, existed=found["existed"])
            if found["state"] not in ("queued", "running"):
                raise error_of(found["error_kind"], found["facts"], found["error"])
            time.sleep(wait_s)
            wait_s = min(1.5 * wait_s, LOOK_AGAIN_S[1])

    def _pieces_of(self, version: Version, role: str) -> Iterator[bytes]:
        address = f"models/{version.name}/versions/{version.number}/artifacts/{quote(role)}"
        with self._send("GET", address, stream=True) as response:
            try:
                yield from response.iter_content(2**20)
            except requests.RequestException as error:
                raise RegistryUnavailable(
                    self._url, f"the connection was lost while {role!r} arrived; try again"
                ) from error

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._send(method, path, **request)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._no_server()
        return answer

    def _send(
        self, method: str, path: str, *, tries: int | None = None, **request: Any
    ) -> requests.Response:
        """The answer to a request that was not refused; reading is tried again a few times."""
        tries = tries if tries is not None else len(WAITS_S) if method == "GET" else 1
        for wait_s in WAITS_S[: tries - 1]:
            try:
                return self._try(method, path, **request)
            except RegistryUnavailable:
                time.sleep(wait_s)
        return self._try(method, path, **request)

    def _try(self, method: str, path: str, **request: Any) -> requests.Response:
        try:
            response = self._session.request(
                method,
                f"{self._url}/api/v1/{path}",
                timeout=TIMEOUT_S,
                allow_redirects=False,
                **request,
            )
        except requests.exceptions.SSLError as error:
            raise RegistryUnavailable(
                self._url, f"its certificate is not trusted here ({_reason(error)})"
            ) from error
        except requests.RequestException as error:
            raise RegistryUnavailable(
                self._url, f"it cannot be reached ({_reason(error)})"
            ) from error
        if response.is_redirect:
            raise RegistryUnavailable(
                self._url, f"it says to go to {response.headers['Location']}; use that server's URL"
            )
        if response.ok:
            return response
        raise self._refusal(response)

    def _refusal(self, response: requests.Response) -> KerasqlError:
        try:
            problem = response.json()
            return error_of(problem["error"], problem["facts"], problem["detail"])
        except (ValueError, KeyError, TypeError):
            return self._no_server()

    def _no_server(self) -> RegistryUnavailable:
        return RegistryUnavailable(self._url, "there is no kerasql server; check the URL")


def server_url(url: str) -> str:
    """The URL of a server, which names its host and holds no token."""
    try:
        parsed = urlsplit(url)
    except ValueError:
        parsed = urlsplit("")
    if "@" in parsed.netloc:
        raise InvalidInput("a token does not belong into the URL; give token= or KERASQL_TOKEN")
    if not parsed.hostname or parsed.query or parsed.fragment:
        raise InvalidInput("that is no server's URL; write https://host or http://host:8080")
    return url.rstrip("/")


def error_of(kind: str | None, facts: Sequence[Any], sentence: str) -> KerasqlError:
    """The error that was raised at the server: its class and facts, if they are known here.

    An error of another kind, or of a newer server, is a KerasqlError with its sentence.
    """
    known = getattr(errors, str(kind), None)
    if isinstance(known, type) and issubclass(known, KerasqlError):
        error: KerasqlError = known(*facts)
        try:
            if str(error) == sentence:
                return error
        except (LookupError, TypeError, ValueError):
            pass
    return InvalidInput(sentence) if kind in NOT_VALID else KerasqlError(sentence)


NOT_VALID = ("UnprocessableEntity", "UnprocessableContent", "RequestEntityTooLarge")
"""What HTTP calls a request that cannot be used."""


def _reason(error: BaseException) -> str:
    """The innermost reason of an error, which the libraries wrap several times."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        inner = [one for one in found.args if isinstance(one, BaseException)]
        reason = getattr(found, "reason", None)
        if isinstance(reason, BaseException):
            inner.insert(0, reason)
        found = inner[0] if inner else found.__cause__ or found.__context__
    return type(error).__name__


_registries: weakref.WeakSet[RemoteRegistry] = weakref.WeakSet()


def _forget_connections() -> None:
    for registry in _registries:
        registry._begin()


# A forked child must not speak on its parent's connections.
os.register_at_fork(after_in_child=_forget_connections)
