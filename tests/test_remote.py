"""The registry at a server: what a token's user may, and what happens when the line breaks."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from deposits import deposit, random_file
from pyspark.sql import SparkSession
from served import Served, serving

import kerasql
from kerasql.cli import main
from kerasql.registry import errors, remote
from kerasql.registry.errors import (
    Forbidden,
    InvalidFile,
    InvalidInput,
    KerasqlError,
    NameTaken,
    NotFound,
    NotSignedIn,
    RegistryUnavailable,
    RoleMissing,
    UntrustedCode,
)
from kerasql.registry.preprocess import Image
from kerasql.registry.remote import RemoteRegistry, error_of
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version

COLORS = ["red", "green", "blue"]


@pytest.fixture
def served(sqlite_registry: Registry) -> Iterator[Served]:
    """A server with an empty registry."""
    with serving(sqlite_registry) as running:
        yield running


@pytest.fixture
def far(served: Served) -> Iterator[Registry]:
    """The registry at the server, as a scientist has it."""
    with served.connect("ann", "scientist") as registry:
        yield registry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return random_file(tmp_path / "m.h5")


def ask(served: Served, token: str, method: str, path: str, **request: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", **request.pop("headers", {})}
    return requests.request(
        method, f"{served.url}/api/v1/{path}", headers=headers, timeout=60, **request
    )


# The same registry


def test_a_file_is_registered_as_in_a_database(
    served: Served, far: Registry, networks: Path, tmp_path: Path
) -> None:
    steps: dict[str, list[str]] = {"near": [], "far": []}
    given: dict[str, Any] = {
        "preprocess": Image(size=(8, 8), scale="unit"),
        "labels": COLORS,
        "tags": ["a", "b"],
        "metrics": {"accuracy": 1},
        "description": "colors 🎨",
    }
    with connect(f"sqlite:///{tmp_path}/near.db", artifacts="") as near:
        here = near.register(
            "m", networks / "image.h5", owner="ann", progress=steps["near"].append, **given
        )
    there = far.register("M", networks / "image.h5", progress=steps["far"].append, **given)
    again = far.register("m", networks / "image.h5", **given)
    assert comparable(there) == comparable(here)
    assert (again.ref, again.existed, there.existed) == ("m@1", True, False)
    assert far.get("m") == served.registry.get("m") == there
    assert [step for step in steps["far"] if not step.startswith(("sending", "receiving"))] == (
        steps["near"]
    )
    assert far.read_artifact("m", "model") == (networks / "image.h5").read_bytes()
    assert [event.object for event in served.access.events(action="register")] == ["m@1"] * 2


def comparable(version: Version) -> Version:
    """Without what no two registrations have in common."""
    report = {
        name: value
        for name, value in version.engine_report.items()
        if not name.endswith(("_s", "difference"))
    }
    return replace(version, created_at=version.created_at.min, engine_report=report)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"labels": ["one", "two"]}, errors.InvalidLabels),
        ({"output": "odd"}, InvalidInput),
        ({"threshold": 7}, InvalidInput),
        ({"engine": "odd"}, InvalidInput),
        ({"columns": ["a", "a"]}, InvalidInput),
        ({"metrics": {"loss": float("nan")}}, InvalidInput),
        ({"tags": ["\0"]}, InvalidInput),
        ({"labels": "/no/such/file"}, errors.InvalidLabels),
        ({"preprocess": "file.py"}, errors.InvalidPreprocess),
    ],
)
def test_what_cannot_be_registered_is_refused_as_in_a_database(
    far: Registry, sqlite_registry: Registry, networks: Path, facts: dict[str, Any], kind: Any
) -> None:
    said = []
    for registry in (sqlite_registry, far):
        with pytest.raises(kind) as caught:
            registry.register("m", networks / "vector.h5", **facts)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]
    assert sqlite_registry.models() == []


def test_a_file_that_is_no_model_is_called_by_its_own_name(
    far: Registry, sqlite_registry: Registry, file: Path
) -> None:
    for path in (file, file.with_name("nothing.h5"), file.parent):
        said = []
        for registry in (sqlite_registry, far):
            with pytest.raises(InvalidFile) as caught:
                registry.register("m", path)
            said.append(caught.value.args)
        assert said[0] == said[1]


def test_a_name_that_collides_is_refused_before_anything_is_sent(
    served: Served, far: Registry, file: Path
) -> None:
    deposit(served.registry, "m", file)
    served.registry.set_alias("m", 1, "best")
    with pytest.raises(NameTaken, match="both would be called as m_best"):
        far.register("m_best", file.with_name("not even there"))


def test_a_preprocessor_that_runs_code_needs_its_grant(
    far: Registry, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def double(value):  # type: ignore[no-untyped-def]
        import numpy

        return numpy.asarray(value, "float32") * 2

    with pytest.raises(UntrustedCode):
        far.register("m", networks / "vector.h5", preprocess=double)
    with pytest.raises(RoleMissing, match="'ann' may not let code run at this server; that is"):
        far.register("m", networks / "vector.h5", preprocess=double, trust_code=True)
    monkeypatch.setenv("KERASQL_TRUST_SCIENTISTS", "on")
    version = far.register("m", networks / "vector.h5", preprocess=double, trust_code=True)
    assert "numpy.asarray" in version.preprocess["row"]["source"]


def test_models_are_searched_and_listed_in_parts(served: Served, file: Path) -> None:
    for name in ("b", "a", "c"):
        deposit(served.registry, name, file, description="Roses" if name == "c" else "100% _x_")
    with served.connect() as registry:
        for one in (served.registry, registry):
            assert [model.name for model in one.models()] == ["a", "b", "c"]
            assert [model.name for model in one.models(limit=1, offset=1)] == ["b"]
            assert [model.name for model in one.models(search="rose")] == ["c"]
            assert [model.name for model in one.models(search="B")] == ["b"]
            assert [model.name for model in one.models(search="100%")] == ["a", "b"]
            assert one.models(search="%ose") == []
            assert [model.name for model in one.models(names=["c", "b", "no"])] == ["b", "c"]
            assert one.model("C") == served.registry.models()[2]
            assert one.models(names=[]) == []


def test_sql_calls_a_model_of_a_server(
    far: Registry, session: SparkSession, networks: Path
) -> None:
    far.register("m", networks / "vector.h5")
    kerasql.deploy(session, far)
    with np.load(networks / "vector.npz") as kept:
        rows = [(row.tolist(),) for row in kept["x0"]]
        session.createDataFrame(rows, ["x"]).createOrReplaceTempView("rows")
        found = kerasql.query(session, "SELECT m(x) FROM rows")
        np.testing.assert_allclose(found.table.column(0).to_pylist(), kept["y0"], atol=1e-5)


def test_what_needs_the_database_says_so(far: Registry, file: Path) -> None:
    for use in (
        far.collect,
        far.broken_artifacts,
        lambda: deposit(far, "m", file),
        lambda: kerasql.registry.access.Access(far),
    ):
        with pytest.raises(InvalidInput, match=r"needs the database itself; http://.* is a server"):
            use()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_speak_on_its_parents_connections(far: Registry) -> None:
    assert far.models() == []
    child = multiprocessing.get_context("fork").Process(target=far.models)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert far.models() == []


KINDS = [
    name
    for name, one in vars(errors).items()
    # When to try again is told by the page that signs in.
    if isinstance(one, type) and issubclass(one, KerasqlError) and name != "TooManyAttempts"
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_the_same_one_after_its_way_over_http(kind: str) -> None:
    known = getattr(errors, kind)
    facts: list[Any] = {
        "NotFound": ["model", "m", ["a", "b"], "do"],
        "InUse": ["m@1", ["best"]],
        "Forbidden": ["ann", "alias", "m", ["root"]],
        "WrongOffset": ["abc", 17],
        "BrokenArtifact": [None, "'model' (abc)", "is missing"],
    }.get(kind, ["a", "b", "c"])
    error = known(*facts)
    again = error_of(kind, json.loads(json.dumps(facts)), str(error))
    assert type(again) is known
    assert again.args == error.args


def test_an_error_that_is_not_known_here_is_its_sentence() -> None:
    assert repr(error_of("Odd", ["a"], "It is odd.")) == repr(KerasqlError("It is odd."))
    assert repr(error_of("NotFound", [], "It is not.")) == repr(KerasqlError("It is not."))
    assert repr(error_of(None, [], "It is not.")) == repr(KerasqlError("It is not."))


# Who asks


@pytest.mark.parametrize(
    ("url", "token", "kind", "sentence"),
    [
        ("http://127.0.0.1:1", "x", RegistryUnavailable, "cannot be reached .Connection refused."),
        ("http://nowhere.invalid", "x", RegistryUnavailable, "cannot be reached"),
        ("http://", "x", InvalidInput, "that is no server's URL"),
        ("http://[::1", "x", InvalidInput, "that is no server's URL"),
        ("http://host:x", "x", RegistryUnavailable, "cannot be reached"),
        ("http://host?a=b", "x", InvalidInput, "that is no server's URL"),
        ("https://secret@host", "x", InvalidInput, "does not belong into the URL"),
        ("http://host", "", NotSignedIn, "http://host wants a token; make one there"),
        ("http://host", "a b\n", NotSignedIn, "that is no token"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_sentence(
    url: str, token: str, kind: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERASQL_TOKEN", raising=False)
    with pytest.raises(kind, match=sentence) as caught:
        connect(url, token=token)
    assert "secret" not in str(caught.value)


def test_a_wrong_token_is_said_and_a_right_one_may_be_a_setting(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotSignedIn, match="that token is not known here"):
        connect(served.url, token="kerasql_wrong")
    with pytest.raises(InvalidInput, match="leave them out"):
        connect(served.url, token="x", artifacts="s3://bucket")
    token = served.token("ann", "analyst")
    monkeypatch.setenv("KERASQL_TOKEN", token)
    with kerasql.connect(f"{served.url}/") as registry:
        assert registry.models() == []
        assert token not in repr(registry) + registry.url
        served.access.disable("ann", by=None)
        with pytest.raises(NotSignedIn, match="disabled"):
            registry.models()


@pytest.mark.parametrize(
    ("status", "headers", "body", "sentence"),
    [
        (200, {}, b"<html>hello</html>", "there is no kerasql server"),
        (200, {}, b"[1]", "there is no kerasql server"),
        (200, {}, b"{}", "there is no kerasql server"),
        (404, {}, b"not here", "there is no kerasql server"),
        (404, {}, b'{"error": "x"}', "there is no kerasql server"),
        (301, {"Location": "https://other/"}, b"", "it says to go to https://other/; use that"),
    ],
)
def test_another_server_is_told_from_a_kerasql_server(
    status: int, headers: dict[str, str], body: bytes, sentence: str
) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever).start()
        with pytest.raises(RegistryUnavailable, match=sentence):
            connect(f"http://127.0.0.1:{server.server_address[1]}", token="x")
        server.shutdown()


def test_what_somebody_may_not_see_reads_as_if_it_were_not_there(
    served: Served, file: Path, tmp_path: Path
) -> None:
    for name in ("open", "shut"):
        deposit(served.registry, name, file)
        served.registry.add_dataset(f"{name}_files", tmp_path)
    with served.connect("ann", "analyst") as registry:
        served.access.grant("execute", "open", to="user:ann", by=None)
        served.access.grant("select", "open_files", to="user:ann", by=None)
        assert [model.name for model in registry.models()] == ["open"]
        assert [name for name, _, _ in registry.catalog()] == ["open"]
        assert [one.name for one in registry.datasets()] == ["open_files"]
        assert registry.get("open").number == 1
        uses: list[Callable[[str], object]] = [
            registry.get,
            registry.model,
            registry.versions,
            registry.alias_history,
            registry.code,
            lambda name: registry.get(f"{name}@1"),
            lambda name: registry.set_alias(name, 1, "best"),
            lambda name: registry.remove_alias(name, "production"),
            lambda name: registry.undo_alias(name, "production"),
            lambda name: registry.delete(f"{name}@1"),
        ]
        for use in uses:
            same(use, "shut", "none")
        shut = served.registry.get("shut")
        same(lambda name: registry.read_artifact(replace(shut, name=name), "model"), "shut", "none")
        same(registry.dataset, "shut_files", "none_files")
        same(registry.remove_dataset, "shut_files", "none_files")


def same(use: Callable[[str], object], hidden: str, unknown: str) -> None:
    """Both are refused, and told alike."""
    said = []
    for name in (hidden, unknown):
        with pytest.raises(NotFound) as caught:
            use(name)
        said.append(str(caught.value).replace(name, "X"))
    assert said[0] == said[1]


def test_who_registers_a_new_name_owns_it_and_others_need_a_grant(
    served: Served, far: Registry, networks: Path
) -> None:
    version = far.register("m", networks / "vector.h5", owner="somebody else")
    assert version.owner == "ann"
    assert far.set_alias("m", 1, "best", why="it is").aliases == ("best", "production")
    with served.connect("bob", "scientist") as bob:
        with pytest.raises(Forbidden, match="'bob' lacks the privilege 'register' on 'm'"):
            bob.register("m", networks / "vector.h5")
        served.access.grant("execute", "m", to="user:bob", by=None)
        for use in (
            lambda: bob.set_alias("m", 1, "worst"),
            lambda: bob.undo_alias("m", "best"),
            lambda: bob.remove_alias("m", "best"),
            lambda: bob.delete("m@1"),
        ):
            with pytest.raises(Forbidden, match="lacks the privilege"):
                use()
        served.access.grant("register", "m", to="user:bob", by=None)
        assert bob.register("m", networks / "vector.h5", columns=list("abcd")).owner == "bob"
    assert far.undo_alias("m", "best") is None
    far.delete("m@2")
    moves = [(move.alias, move.by, move.why) for move in far.alias_history("m")]
    assert moves == [
        ("best", "ann", ""),
        ("best", "ann", "it is"),
        ("production", "ann", "the first version"),
    ]
    events = served.access.events()
    done = [(event.user, event.action, event.object) for event in events if event.address]
    assert done == [
        ("ann", "version.delete", "m@2"),
        ("ann", "alias.undo", "m"),
        ("bob", "register", "m@2"),
        ("ann", "alias.set", "m"),
        ("ann", "register", "m@1"),
    ]
    assert {event.address for event in events if event.address} == {"127.0.0.1"}


def test_an_analyst_brings_nothing_new(served: Served, networks: Path, tmp_path: Path) -> None:
    with served.connect("zoe", "analyst") as zoe:
        with pytest.raises(RoleMissing, match="'zoe' may not send files; that is for scientists"):
            zoe.register("m", networks / "vector.h5")
        with pytest.raises(RoleMissing, match="'zoe' may not add datasets"):
            zoe.add_dataset("d", tmp_path)
    token = served.token("zoe", "analyst")
    body = {"model": "0" * 32}
    assert ask(served, token, "POST", "models/m/versions", json=body).status_code == 403


def test_an_analyst_registers_where_it_was_granted_but_gives_no_code(
    served: Served, far: Registry, networks: Path
) -> None:
    far.register("m", networks / "vector.h5")
    with served.connect("zoe", "analyst") as zoe:
        served.access.grant("register", "m", to="role:analyst", by=None)
        served.access.grant("execute", "m", to="role:analyst", by=None)
        assert zoe.register("m", networks / "vector.h5", columns=list("abcd")).number == 2
        with pytest.raises(RoleMissing, match="'zoe' may not let code run"):
            zoe.register("m", networks / "vector.h5", trust_code=True)


@pytest.mark.parametrize(
    ("path", "facts", "role", "sentence"),
    [
        ("{root}/a", {}, "scientist", None),
        ("{root}", {}, "scientist", None),
        ("{root}/*.csv", {"format": "csv"}, "scientist", None),
        ("s3a://team/photos", {}, "scientist", None),
        ("s3a://teams/photos", {}, "scientist", "unless it is below"),
        ("s3a://team/../others", {}, "scientist", "unless it is below"),
        ("{other}", {}, "scientist", "unless it is below"),
        ("/etc/passwd", {"format": "text"}, "scientist", "unless it is below"),
        ("{root}/../other", {}, "scientist", "unless it is below"),
        ("{root}/link", {}, "scientist", "unless it is below"),
        ("{root}/{{a,../../other}}", {}, "scientist", "unless it is below"),
        ("file://{root}/a", {}, "scientist", "unless it is below"),
        ("{root}/a", {"options": {"path": "/etc"}}, "scientist", "may not give options"),
        ("", {"format": "jdbc"}, "scientist", "of the format 'jdbc'"),
        ("{other}", {}, "admin", None),
        ("", {"format": "jdbc", "options": {"url": "jdbc:x"}}, "admin", None),
    ],
)
def test_a_scientist_adds_datasets_below_the_roots_alone(
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    facts: dict[str, Any],
    role: str,
    sentence: str | None,
) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "a", other):
        folder.mkdir(parents=True)
    (root / "t.csv").touch()
    (root / "link").symlink_to(other)
    monkeypatch.setenv("KERASQL_DATASET_ROOTS", f"{root}, s3a://team")
    where = path.format(root=root, other=other)
    with served.connect(role, role) as registry:
        if sentence is None:
            added = registry.add_dataset("d", where, **facts)
            assert (added.owner, added.path) == (role, where)
            assert registry.dataset("d") == added == served.registry.dataset("d")
        else:
            with pytest.raises(RoleMissing, match=sentence):
                registry.add_dataset("d", where, **facts)


def test_without_roots_only_admins_add_datasets(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERASQL_DATASET_ROOTS", raising=False)
    with served.connect("ann", "scientist") as ann, pytest.raises(RoleMissing, match="for admins"):
        ann.add_dataset("d", tmp_path)
    token = served.token("root", "admin")
    answer = ask(served, token, "PUT", "datasets/d", json={"path": "relative"})
    assert (answer.status_code, "give an absolute path" in answer.text) == (400, True)


def test_a_dataset_is_changed_by_its_owner_and_admins(
    served: Served, far: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_DATASET_ROOTS", str(tmp_path))
    far.add_dataset("d", tmp_path)
    assert far.add_dataset("d", tmp_path, description="new", replace=True).description == "new"
    with served.connect("bob", "scientist") as bob:
        for again in (False, True):
            with pytest.raises(NameTaken, match="one that you may not read") as caught:
                bob.add_dataset("d", tmp_path, replace=again)
            assert str(tmp_path) not in str(caught.value)
        served.access.grant("select", "d", to="user:bob", by=None)
        with pytest.raises(RoleMissing, match="may not replace 'd'; that is for its owner"):
            bob.add_dataset("d", tmp_path, replace=True)
        with pytest.raises(RoleMissing, match="may not remove 'd'"):
            bob.remove_dataset("d")
    with served.connect() as root:
        root.remove_dataset("d")
    with pytest.raises(NotFound, match="no dataset 'd'"):
        far.dataset("d")


# When the line breaks


def test_an_upload_goes_on_at_a_server_that_was_started_again(
    sqlite_registry: Registry, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PIECE_BYTES", 5_000)
    seen: list[str] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = serving(sqlite_registry, port=port)
    served = stop.__enter__()
    later: list[Any] = []

    def progress(step: str) -> None:
        seen.append(step)
        if step.startswith("sending") and len(seen) == 3:
            stop.__exit__(None, None, None)
            timer = threading.Timer(0.5, lambda: later.append(serving(sqlite_registry, port=port)))
            timer.start()
            timer.join()
            later[0].__enter__()

    with served.connect("ann", "scientist") as registry:
        version = registry.register("m", networks / "image.h5", progress=progress)
        assert registry.read_artifact(version, "model") == (networks / "image.h5").read_bytes()
    later[0].__exit__(None, None, None)
    assert len(set(seen)) == len(seen)


def test_a_client_that_begins_again_goes_on(
    served: Served, far: Registry, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PIECE_BYTES", 5_000)

    def killed(step: str) -> None:
        if step.startswith("sending") and not step.endswith(" 0%"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        far.register("m", networks / "image.h5", progress=killed)
    steps: list[str] = []
    far.register("m", networks / "image.h5", progress=steps.append)
    assert steps[0].startswith("sending image.h5: ")
    assert steps[0] != "sending image.h5: 0%"


def test_an_answer_that_is_lost_is_no_loss(
    served: Served, far: Registry, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second answer to a piece does not arrive; the pieces did."""
    monkeypatch.setattr(remote, "PIECE_BYTES", 5_000)
    monkeypatch.setattr(remote, "WAITS_S", (0.01,) * 5)
    session = cast(RemoteRegistry, far)._session
    real, count = session.request, iter(range(10**6))

    def request(method: str, url: str, **facts: Any) -> requests.Response:
        response = real(method, url, **facts)
        if method == "PUT" and next(count) % 2 == 0:
            raise requests.ConnectionError("lost")
        return response

    monkeypatch.setattr(session, "request", request)
    version = far.register("m", networks / "image.h5")
    assert far.read_artifact(version, "model") == (networks / "image.h5").read_bytes()


def test_a_server_that_stays_away_is_one_sentence(
    sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01))
    with serving(sqlite_registry) as served:
        registry = served.connect()
    with pytest.raises(RegistryUnavailable, match="it cannot be reached"):
        registry.models()
    registry.close()


def test_a_registration_whose_server_is_stopped_is_interrupted(
    served: Served, far: Registry, networks: Path
) -> None:
    def stop(step: str) -> None:
        if step.startswith("inspecting"):
            served.registrations._stopping.set()

    with pytest.raises(KerasqlError, match="its server was stopped before it was done"):
        far.register("m", networks / "image.h5", progress=stop)
    assert served.registry.models() == []


def test_an_artifact_that_is_missing_is_said(served: Served, far: Registry, file: Path) -> None:
    from sqlalchemy import delete

    from kerasql.registry.database import writing
    from kerasql.registry.tables import ChunkRow

    deposit(served.registry, "m", file, owner="ann")
    with writing(served.registry._engine) as db:
        db.execute(delete(ChunkRow))
    with pytest.raises(errors.BrokenArtifact, match="of m@1 is missing"):
        far.read_artifact("m", "model")


# HTTP


def test_a_piece_says_which_bytes_it_is(served: Served) -> None:
    token = served.token("ann", "scientist")
    announced = {"name": "m.h5", "size_bytes": 10}
    upload = ask(served, token, "POST", "uploads", json=announced)
    assert (upload.status_code, upload.json()["offset"]) == (201, 0)
    path = f"uploads/{upload.json()['id']}"

    def put(content_range: str | None, data: bytes = b"12345") -> requests.Response:
        headers = {} if content_range is None else {"Content-Range": content_range}
        return ask(served, token, "PUT", path, data=data, headers=headers)

    assert put("bytes 0-4/10").json()["offset"] == 5
    wrong = put("bytes 0-4/10")
    assert (wrong.status_code, wrong.json()["error"], wrong.json()["facts"][1]) == (
        *(409, "WrongOffset"),
        5,
    )
    for odd in ("bytes 5-8/10", "bytes 5-9/11", "bytes x", "0-4", "bytes 5-9/*"):
        assert put(odd).status_code == 400, odd
    assert put(None).status_code == 422
    assert ask(served, token, "GET", path).json()["offset"] == 5
    assert put("bytes 5-9/10").json()["offset"] == 10
    others = served.token("bob", "scientist")
    assert ask(served, others, "GET", path).status_code == 404
    assert ask(served, token, "DELETE", path).status_code == 204
    assert ask(served, token, "GET", path).status_code == 404


def test_a_piece_has_at_most_16_mib(served: Served) -> None:
    token, size = served.token("ann", "scientist"), 17 * 2**20
    upload = ask(served, token, "POST", "uploads", json={"name": "m.h5", "size_bytes": size})
    headers = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
    path = f"uploads/{upload.json()['id']}"
    assert ask(served, token, "PUT", path, data=bytes(size), headers=headers).status_code == 413


def test_a_file_is_checked_without_being_registered(served: Served, networks: Path) -> None:
    token = served.token("ann", "scientist")
    data = (networks / "with_lambda.h5").read_bytes()
    announced = {"name": "with_lambda.h5", "size_bytes": len(data)}
    upload = ask(served, token, "POST", "uploads", json=announced).json()["id"]
    headers = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    ask(served, token, "PUT", f"uploads/{upload}", data=data, headers=headers)
    report = ask(served, token, "POST", "checks", json={"upload": upload}).json()
    assert (report["file"], report["registrable"]) == ("with_lambda.h5", False)
    assert "Lambda" in report["problem"]
    assert upload not in json.dumps(report)
    code = {"upload": upload, "code": "def twice(x):\n    return x * 2\n"}
    assert ask(served, token, "POST", "checks", json=code).json()["registrable"]


def test_an_artifact_is_sent_once_to_who_keeps_it(served: Served, file: Path) -> None:
    version = deposit(served.registry, "m", file)
    token = served.token("root", "admin")
    path = "models/m/versions/production/artifacts/model"
    answer = ask(served, token, "GET", path)
    assert answer.content == file.read_bytes()
    assert answer.headers["ETag"] == f'"{version.artifacts["model"].sha256}"'
    again = ask(served, token, "GET", path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert ask(served, token, "GET", path.replace("model", "golden", 2)).status_code == 404


def test_a_registration_is_seen_by_its_user_and_admins(
    served: Served, far: Registry, networks: Path
) -> None:
    far.register("m", networks / "vector.h5")
    tokens = {name: served.token(name, role) for name, role in (
        ("ann", "scientist"), ("bob", "scientist"), ("root", "admin")
    )}  # fmt: skip
    (one,) = ask(served, tokens["ann"], "GET", "registrations").json()["registrations"]
    assert (one["state"], one["name"], one["version"], one["step"]) == (
        *("finished", "m"),
        *(1, "storing"),
    )
    path = f"registrations/{one['id']}"
    found = {name: ask(served, token, "GET", path).status_code for name, token in tokens.items()}
    assert found == {"ann": 200, "bob": 404, "root": 200}
    assert ask(served, tokens["bob"], "GET", "registrations").json()["registrations"] == []
    everybody = "registrations?everybody=true"
    assert ask(served, tokens["bob"], "GET", everybody).status_code == 403
    assert len(ask(served, tokens["root"], "GET", everybody).json()["registrations"]) == 1


# The command line


def test_the_command_line_takes_a_server_in_place_of_a_database(
    served: Served, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_TOKEN", served.token("ann", "scientist"))

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(main, ["--database", served.url, *map(str, arguments)])

    registered = run("register", "m", networks / "vector.h5")
    assert "registered m@1" in registered.stdout
    assert "sending vector.h5" in registered.stderr
    assert "m@best is m@1 now" in run("alias", "m", 1, "best").stdout
    assert "best → 1" in run("models").stdout
    assert json.loads(run("show", "m", "--json").stdout)["owner"] == "ann"
    for command in ("db upgrade", "db check", "db collect", "user list", "serve"):
        refused = run(*command.split())
        assert "needs the database itself" in refused.stderr, command
        assert refused.exit_code == 2
