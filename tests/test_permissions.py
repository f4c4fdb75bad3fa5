"""Who may do what: every cell of permissions.txt, over HTTP and in SQL."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa
import pytest
import requests
from deposits import deposit, random_file
from permissions import ACTIONS, THING, WHO, Action
from pyarrow import parquet
from pyspark.sql import SparkSession
from served import Served, serving
from sqlalchemy import Select, String, Table, func, insert, select, type_coerce

from kerasql.registry.access import Access
from kerasql.registry.database import reading, writing
from kerasql.registry.errors import NotFound
from kerasql.registry.events import REFUSED
from kerasql.registry.history import ACTIVE
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import Base, EventRow, QueryRow, RegistrationRow
from kerasql.registry.users import KINDS, PRIVILEGES
from kerasql.udf.fence.check import Fence
from kerasql.udf.running.queries import Queries
from kerasql.udf.running.query import Limits
from kerasql.web import pages

PASSWORD = "correct horse battery"
ELSEWHERE = "another server"
DEADLINE_S = 120
NO_SUCH = re.compile("no (function|dataset) '")
MOVING = ("used_at", "beat_at", "heartbeat_at", "data")
"""Columns that move by themselves, or when a token is used; and bytes."""

NOTHING = {
    "model": "nothing",
    "dataset": "nothing",
    "absent": "nothing",
    "user": "nothing",
    "query": "0" * 32,
    "result": "0" * 32,
    "upload": "0" * 32,
    "file": "0" * 32,
    "registration": "0" * 32,
    "token": str(2**31 - 1),
}
"""Names of the same kind that nothing has."""


@dataclass
class Things:
    """What an action is about, made when it is named; all of it is the owner's."""

    served: Served
    folder: Path
    result: str
    model: str
    dataset: str
    absent: str
    password: str = PASSWORD

    @cached_property
    def query(self) -> str:
        """A query that waits at another server."""
        facts: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "user": "owner",
            "sql": "SELECT 1",
            "parameters": {},
            "state": "queued",
            "server": ELSEWHERE,
            "created_at": datetime.now(UTC),
            "heartbeat_at": datetime.now(UTC) + timedelta(days=1),
            "truncated": False,
            "columns": [],
            "stats": {},
            "warnings": [],
            "stored": False,
        }
        self.served.registry.history.add(facts)
        return str(facts["id"])

    @cached_property
    def registration(self) -> str:
        """A registration that has ended at another server."""
        facts: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "user": "owner",
            "name": self.model,
            "state": "failed",
            "steps": [],
            "facts": [],
            "existed": False,
            "server": ELSEWHERE,
            "beat_at": datetime.now(UTC),
            "created_at": datetime.now(UTC),
        }
        with writing(self.served.registry._engine) as db:
            db.execute(insert(RegistrationRow), facts)
        return str(facts["id"])

    @cached_property
    def upload(self) -> str:
        """A file of which nothing has arrived."""
        return self.served.registrations.uploads.new("owner", "f", size_bytes=3).id

    @cached_property
    def file(self) -> str:
        """A file that has arrived."""
        return arrived(self.served, "owner")

    @cached_property
    def token(self) -> str:
        return str(self.served.access.new_token("owner", "one", lifetime_s=600)[0].id)

    @cached_property
    def token_name(self) -> str:
        return self.served.access.new_token("owner", f"for {self.model}", lifetime_s=600)[0].name

    @cached_property
    def user(self) -> str:
        return self.served.access.add_user(f"user.of.{self.model}").name

    def named(self, action: Action, user: str | None) -> dict[str, str]:
        """What stands for each thing that the action names, where the user asks."""
        own = {"me": user or "nobody"}
        if "<mine>" in action.body:
            own["mine"] = arrived(self.served, user or "nobody")
        names = THING.findall(f"{action} {action.shows}")
        return {name: own.get(name) or str(getattr(self, name)) for name in names}


def arrived(served: Served, user: str) -> str:
    """The id of a file of the user's that has arrived; it is no model."""
    uploads = served.registrations.uploads
    upload = uploads.new(user, "f", size_bytes=3)
    uploads.append(user, upload.id, 0, b"abc")
    return upload.id


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Iterator[Registry]:
    """The owner's model that can be called, and a dataset that can be read."""
    folder = tmp_path_factory.mktemp("permissions")
    place = folder / "numbers.parquet"
    parquet.write_table(pa.table({"x": [1.0, 2.0]}), place)
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as opened:
        access = Access(opened)
        for name, role in {
            "analyst": "analyst",
            "scientist": "scientist",
            "owner": "scientist",
            "admin": "admin",
            "disabled": "admin",
        }.items():
            access.add_user(name, role=role, password=PASSWORD)
        access.disable("disabled", by=None)
        opened.register("called", networks / "tabular.h5", owner="owner")
        opened.add_dataset("numbers", place, format="parquet", owner="owner")
        yield opened


@pytest.fixture(scope="module")
def queries(
    spark: SparkSession, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Queries]:
    results = str(tmp_path_factory.mktemp("results"))
    made = Queries(spark, registry, results=results, server="this server")
    yield made
    made.close(timeout_s=5)


@pytest.fixture(scope="module")
def served(registry: Registry, queries: Queries) -> Iterator[Served]:
    """A server that runs queries."""
    with serving(registry, queries=queries) as running:
        yield running


@pytest.fixture(scope="module")
def result(queries: Queries) -> str:
    """A query of the owner's with rows."""
    asked = queries.submit("owner", "SELECT 1 AS one", fence=Fence())
    assert queries.wait(asked.id, DEADLINE_S).state == "finished"
    return asked.id


@pytest.fixture
def things(
    served: Served, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Things]:
    """Things of the owner's, new ones each time."""
    monkeypatch.setenv("KERASQL_DATASET_ROOTS", str(tmp_path))
    monkeypatch.setattr(pages, "LISTED", 1_000_000)  # each row adds a model to the first page
    return made(served, result, tmp_path)


NUMBERS = count()


def made(served: Served, result: str, folder: Path) -> Iterator[Things]:
    """A model of two versions with an alias, a dataset, and whatever else is named."""
    registry, file = served.registry, random_file(folder / "m.h5")
    for number in NUMBERS:
        model, dataset = f"model{number:04}", f"dataset{number:04}"
        deposit(registry, model, file, owner="owner")
        deposit(registry, model, file, owner="owner", columns=("b",))
        registry.set_alias(model, 1, "canary")
        registry.add_dataset(dataset, folder, owner="owner")
        yield Things(served, folder, result, model, dataset, f"absent{number:04}")


@contextmanager
def granted(
    access: Access, action: Action, how: str | None, user: str, on: Things
) -> Iterator[None]:
    """The grants of a column, for a while."""
    objects = {"model": on.model, "dataset": on.dataset}
    given = {
        None: frozenset[str](),
        "every other": PRIVILEGES.keys() - action.needs,
    }.get(how, action.needs)
    to = f"role:{user}" if how == "to the role" else f"user:{user}"
    grants = [(one, "*" if how == "on all" else objects[PRIVILEGES[one]]) for one in given]
    for privilege, name in grants:
        access.grant(privilege, name, to=to, by=None)
    try:
        yield
    finally:
        for privilege, name in grants:
            # Those on what was deleted are gone.
            with suppress(NotFound):
                access.ungrant(privilege, name, to=to, by=None)


def credentials(served: Served, who: str, path: str) -> dict[str, str]:
    """The header by which a server knows who asks: a program's, and at a page a browser's."""
    user, _ = WHO[who]
    if user is None:
        return {}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    access = Access(served.registry, now=lambda: long_ago) if who == "expired" else served.access
    kind = "browser" if path and not path.startswith("/api/") else "api"
    token, secret = access.new_token(user, who, kind=kind, lifetime_s=600)
    if who == "revoked":
        access.revoke_token(token.id, by=None)
    if kind == "browser":
        return {"Cookie": f"kerasql={secret}"}
    return {"Authorization": f"Bearer {secret}"}


def asked(
    served: Served, action: Action, headers: Mapping[str, str], names: Mapping[str, str]
) -> tuple[str, str]:
    """The answer's status, as the table writes it, and what it says."""

    def filled(text: str) -> str:
        return THING.sub(lambda found: names[found[1]], text)

    if action.method == "SQL":
        return asked_in_sql(served, filled(action.body), headers)
    body: dict[str, Any] = {"data": filled(action.body)}
    if action.body.startswith("{"):
        headers = {**headers, "Content-Type": "application/json"}
    elif not action.path.startswith("/api/"):
        body = {"data": dict(parse_qsl(filled(action.body)))}
    elif action.body:
        size = len(action.body)
        headers = {**headers, "Content-Range": f"bytes 0-{size - 1}/{size}"}
    url = f"{served.url}{filled(action.path)}"
    answer = requests.request(
        action.method, url, headers=headers, **body, allow_redirects=False, timeout=DEADLINE_S
    )
    to_sign_in = answer.headers.get("Location", "").startswith("/enter?then=")
    status = "401" if to_sign_in else str(answer.status_code)
    if action.shows and answer.ok and not to_sign_in:
        status += "+" if filled(action.shows) in answer.text else "-"
    return status, answer.text


def asked_in_sql(served: Served, sql: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """How a query ended: with rows, on a name that is not there, or refused otherwise."""
    url = f"{served.url}/api/v1/queries"
    answer = requests.post(url, json={"sql": sql}, headers=headers, timeout=DEADLINE_S)
    if answer.status_code != 202:
        return str(answer.status_code), answer.text
    settle(served.registry)
    query = requests.get(f"{url}/{answer.json()['id']}", headers=headers, timeout=DEADLINE_S).json()
    if query["state"] == "finished" and query["rows"] > 0:
        return "200", ""
    return "404" if NO_SUCH.match(query["error"]) else "400", query["error"]


def settle(registry: Registry) -> None:
    """Wait until nothing runs any more."""
    end = time.monotonic() + DEADLINE_S
    while True:
        with reading(registry._engine) as db:
            active = [
                db.scalar(
                    select(func.count()).where(row.state.in_(ACTIVE), row.server != ELSEWHERE)
                )
                for row in (QueryRow, RegistrationRow)
            ]
        if not any(active):
            return
        assert time.monotonic() < end, "something did not end"
        time.sleep(0.02)


def rows_of(table: Table) -> Select[*tuple[Any, ...]]:
    """What is kept in a table; of events their number, refused attempts to sign in aside."""
    if table is EventRow.__table__:
        return select(func.count()).where(EventRow.action != REFUSED)
    # As texts: nobody needs their JSON and times read.
    columns = [type_coerce(c, String) for c in table.c if c.name not in MOVING]
    return select(*columns).order_by(*table.primary_key)


STATE = {table.name: rows_of(table) for table in Base.metadata.sorted_tables}


def state(registry: Registry) -> dict[str, Any]:
    """What is kept, by table, once nothing runs."""
    settle(registry)
    with reading(registry._engine) as db:
        return {table: db.execute(query).all() for table, query in STATE.items()}


def test_every_route_of_the_server_has_an_action(served: Served) -> None:
    routes = served.app.url_map.bind("")

    def route(method: str, path: str) -> tuple[str, str]:
        rule, _ = routes.match(path, method=method, return_rule=True)
        return method, rule.rule

    document = requests.get(f"{served.url}/api/openapi.json", timeout=DEADLINE_S).json()["paths"]
    operations = {
        route(method.upper(), re.sub(r"{\w+}", "1", path))
        for path, methods in document.items()
        for method in methods
    }
    pages = {
        (method, rule.rule)
        for rule in served.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.endswith("static")
    }
    in_table = {
        route(one.method, THING.sub("1", one.path.partition("?")[0]))
        for one in ACTIONS
        if one.method != "SQL"
    }
    assert len(operations) > 40
    missing = sorted((operations | pages) - in_table)
    assert not missing, f"permissions.txt has no action for {missing}"


@pytest.mark.parametrize("privilege", PRIVILEGES)
def test_every_privilege_is_asked_for_on_what_there_is_and_what_there_is_not(
    privilege: str,
) -> None:
    asked_for = [str(one) for one in ACTIONS if privilege in one.needs]
    assert any(f"<{PRIVILEGES[privilege]}>" in one for one in asked_for)
    assert any("<absent>" in one for one in asked_for)


@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_everybody_may_what_the_table_says(
    served: Served, result: str, things: Iterator[Things], tmp_path: Path, action: Action
) -> None:
    in_sql = Things(served, tmp_path, result, "called", "numbers", "absent")
    about = in_sql if action.runs_sql else next(things)
    wrong = []
    for who, expected in action.cells.items():
        user, how = WHO[who]
        with granted(served.access, action, how, user or "", about):
            headers, names = credentials(served, who, action.path), about.named(action, user)
            before = state(served.registry)
            status, text = asked(served, action, headers, names)
            after = state(served.registry)
            if status == "404" and names:
                hidden = list(names)[-1]
                like = asked(served, action, headers, {**names, hidden: NOTHING[hidden]})
                if like != (status, text.replace(names[hidden], NOTHING[hidden])):
                    wrong.append(f"{who}: {text} tells it from what is not there: {like[1]}")
        if status != expected:
            wrong.append(f"{who}: {status} instead of {expected}: {text[:300]}")
        changed = [name for name in after if after[name] != before[name]]
        if action.method == "SQL":
            changed = [name for name in changed if not name.startswith("query")]
        allowed = status[0] in "23" and action.method != "SQL"
        if bool(changed) != (allowed and not action.reads):
            wrong.append(f"{who}: {status} and changed {changed}")
        if changed:
            about = next(things)
    assert not wrong, "\n".join([str(action), *wrong])


def test_a_token_is_of_one_kind_and_no_other_is_tried(served: Served) -> None:
    secrets = {
        kind: served.access.new_token("admin", kind, kind=kind, lifetime_s=600)[1] for kind in KINDS
    }
    url = f"{served.url}/api/v1/me"

    def status(scheme: str = "", secret: str = "", cookie: str = "") -> int:
        headers = {"Authorization": f"{scheme} {secret}"} if scheme else {}
        if cookie:
            headers["Cookie"] = f"kerasql={cookie}"
        return requests.get(url, headers=headers, timeout=DEADLINE_S).status_code

    for kind in KINDS:
        assert status("Bearer", secrets[kind]) == (200 if kind == "api" else 401), kind
        assert status(cookie=secrets[kind]) == (200 if kind == "browser" else 401), kind
    assert status("Bearer", secrets["browser"], secrets["browser"]) == 401
    assert status("Bearer", "nothing", secrets["browser"]) == 401
    assert status("Basic", secrets["api"], secrets["browser"]) == 401


CHANGES: dict[str, tuple[str, Callable[[Access, str, str], object]]] = {
    "ungranted": (
        "analyst",
        lambda access, name, privilege: access.ungrant(
            privilege, "called", to=f"user:{name}", by=None
        ),
    ),
    "demoted": ("scientist", lambda access, name, _: access.set_role(name, "analyst", by=None)),
    "disabled": ("admin", lambda access, name, _: access.disable(name, by=None)),
    "unchanged": ("analyst", lambda access, name, privilege: None),
}
"""What may happen to a user who waits: the role before, and the change."""


@contextmanager
def changing(served: Served, privilege: str) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """For each change the header of a user who has the privilege, and what makes the changes."""
    access, headers = served.access, {}
    access.grant(privilege, "called", to="role:scientist", by=None)
    for how, (role, _) in CHANGES.items():
        token = served.token(f"{privilege}.{how}", role)
        headers[how] = {"Authorization": f"Bearer {token}"}
        if role == "analyst":
            access.grant(privilege, "called", to=f"user:{privilege}.{how}", by=None)

    def change() -> None:
        for how, (_, make) in CHANGES.items():
            make(access, f"{privilege}.{how}", privilege)

    try:
        yield headers, change
    finally:
        access.ungrant(privilege, "called", to="role:scientist", by=None)


def test_what_a_user_may_is_asked_when_their_query_has_its_turn(
    served: Served, queries: Queries
) -> None:
    def ask(headers: Mapping[str, str]) -> str:
        body, url = {"sql": "SELECT called(array(1, 2, 3, 4))"}, f"{served.url}/api/v1/queries"
        answer = requests.post(url, json=body, headers=headers, timeout=DEADLINE_S)
        return str(answer.json()["id"])

    with changing(served, "execute") as (headers, change):
        queries.limits = replace(queries.limits, running=0)
        waiting = {how: ask(header) for how, header in headers.items()}
        change()
        queries.limits = Limits()
        # The next that is asked starts those that wait.
        ask(headers["unchanged"])
        ended = {how: queries.wait(id, DEADLINE_S) for how, id in waiting.items()}
    errors = {how: str(query.error) for how, query in ended.items() if query.state == "failed"}
    assert errors.keys() == {"ungranted", "demoted", "disabled"}
    assert all(error.startswith("no function 'called'") for error in errors.values()), errors
    assert ended["unchanged"].state == "finished"


def test_what_a_user_may_is_asked_when_their_registration_has_its_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = threading.Semaphore(0)
    monkeypatch.setattr(served.registrations, "_turns", turns)
    url = f"{served.url}/api/v1/models/called/versions"
    waiting = {}
    with changing(served, "register") as (headers, change):
        for how, header in headers.items():
            body = {"model": arrived(served, f"register.{how}")}
            answer = requests.post(url, json=body, headers=header, timeout=DEADLINE_S)
            waiting[how] = answer.json()["id"]
        change()
        turns.release(len(waiting))
        settle(served.registry)
    kinds = {how: served.registrations.get(id).error_kind for how, id in waiting.items()}
    assert kinds == {
        "ungranted": "Forbidden",
        "demoted": "Forbidden",
        "disabled": "Forbidden",
        "unchanged": "InvalidFile",
    }
