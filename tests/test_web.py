"""The server over HTTP: who gets in, what they may ask, how errors are told."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from pyspark.sql import SparkSession

from kerasql.registry.access import Access
from kerasql.registry.errors import Busy, InvalidInput
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry, connect
from kerasql.udf.running.queries import Queries
from kerasql.web.app import STATUS, create_app
from kerasql.web.listener import listening
from kerasql.web.metrics import Metrics
from kerasql.web.parts import Parts, Slots
from kerasql.web.serve import (
    Address,
    check_address,
    from_proxy,
    owner_link,
    with_password,
)

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Iterator[Registry]:
    """Two models and two datasets."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "numbers").mkdir()
    (folder / "numbers" / "a.csv").write_text("x\n1\n2\n3\n")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as opened:
        opened.register("m", networks / "tabular.h5")
        opened.register("secret_model", networks / "tabular.h5")
        for name in ("numbers", "salaries"):
            options = {"header": "true", "inferSchema": "true"}
            opened.add_dataset(name, folder / "numbers", format="csv", options=options)
        yield opened


@pytest.fixture(scope="module")
def access(registry: Registry) -> Access:
    """An admin, and an analyst who may use one model and one dataset."""
    known = Access(registry)
    known.add_user("boss", role="admin", password=PASSWORD)
    known.add_user("ann", role="analyst", password=PASSWORD)
    known.add_user("bob", role="analyst", password=PASSWORD)
    known.grant("execute", "m", to="user:ann", by=None)
    known.grant("select", "numbers", to="user:ann", by=None)
    return known


@pytest.fixture(scope="module")
def url(
    spark: SparkSession,
    registry: Registry,
    access: Access,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A server that runs."""
    results = str(tmp_path_factory.mktemp("results"))
    metrics = Metrics()
    queries = Queries(spark, registry, results=results, server="test", ended=metrics.ended)
    registrations = Registrations(registry)
    wsgi = listening("127.0.0.1", 0, None, None)
    hosts = ("127.0.0.1", "localhost")
    parts = Parts(registry, access, queries, registrations, hosts=hosts, metrics=metrics)
    wsgi.wsgi_app = create_app(parts)
    thread = threading.Thread(target=wsgi.serve)
    thread.start()
    yield f"http://127.0.0.1:{wsgi.bind_addr[1]}"
    wsgi.stop()
    thread.join()
    queries.close(timeout_s=5)
    registrations.close()


def token(access: Access, name: str) -> dict[str, str]:
    """The header that a program of the user's sends."""
    return {"Authorization": f"Bearer {access.new_token(name, 'test', lifetime_s=600)[1]}"}


@pytest.fixture(scope="module")
def ann(access: Access) -> dict[str, str]:
    return token(access, "ann")


@pytest.fixture(scope="module")
def boss(access: Access) -> dict[str, str]:
    return token(access, "boss")


def ended(url: str, headers: dict[str, str], sql: str, **parameters: Any) -> dict[str, Any]:
    """A query that has ended."""
    asked = requests.post(
        f"{url}/api/v1/queries", json={"sql": sql, "parameters": parameters}, headers=headers
    )
    assert asked.status_code == 202, asked.text
    return waited(url, headers, asked.json()["id"])


def waited(url: str, headers: dict[str, str], id: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        query: dict[str, Any] = requests.get(f"{url}/api/v1/queries/{id}", headers=headers).json()
        if query["state"] not in ("queued", "running"):
            return query
        time.sleep(0.05)
    raise AssertionError("the query did not end")


def test_a_query_is_asked_and_its_rows_are_read(url: str, ann: dict[str, str]) -> None:
    query = ended(url, ann, "SELECT x, m(array(x, x, x, x)) AS answer FROM numbers ORDER BY x;")
    assert (query["state"], query["rows"], query["error"]) == ("finished", 3, None)
    assert query["versions"] == ["m@1"]
    assert query["stats"]["m@1"]["rows"] >= 3  # ORDER BY asks twice
    rows = requests.get(f"{url}/api/v1/queries/{query['id']}/rows?limit=2", headers=ann).json()
    assert [row[0] for row in rows["rows"]] == [1, 2]
    assert rows["more"]
    assert [column["name"] for column in rows["columns"]] == ["x", "answer"]
    text = requests.get(f"{url}/api/v1/queries/{query['id']}/result.csv", headers=ann).text
    assert text.splitlines()[0] == '"x","answer"'
    assert len(text.splitlines()) == 4


def test_rows_without_an_answer_are_counted_with_their_reason(
    url: str, ann: dict[str, str]
) -> None:
    query = ended(url, ann, "SELECT m(array(x, 1)) FROM numbers")
    assert [(one["ref"], one["rows"]) for one in query["failed"]] == [("m@1", 3)]
    assert "2" in query["failed"][0]["reason"]


def test_a_parameter_is_a_value_and_no_sql(url: str, ann: dict[str, str]) -> None:
    query = ended(url, ann, "SELECT :a AS a, :b + 1 AS b", a="'; DROP TABLE x", b=2)
    rows = requests.get(f"{url}/api/v1/queries/{query['id']}/rows", headers=ann).json()
    assert rows["rows"] == [["'; DROP TABLE x", 3]]


@pytest.mark.parametrize(("sql", "sentence"), [
    ("SELECT * FROM salaries", "no dataset 'salaries'; there is 'numbers'"),
    ("SELECT secret_model(1)", "no function 'secret_model'; there is 'm' and 'm_v1'"),
    ("DROP TABLE x", "only a query"),
    ("SELECT * FROM text.`/etc/passwd`", "no dataset"),
])  # fmt: skip
def test_sql_is_fenced_by_what_the_user_may_use(
    url: str, ann: dict[str, str], sql: str, sentence: str
) -> None:
    query = ended(url, ann, sql)
    assert query["state"] == "failed"
    assert sentence in query["error"]


def test_a_grant_is_seen_by_the_next_query(
    url: str, ann: dict[str, str], boss: dict[str, str]
) -> None:
    grant = {"privilege": "select", "object": "salaries", "to": "user:ann"}
    assert requests.post(f"{url}/api/v1/grants", json=grant, headers=boss).status_code == 201
    assert ended(url, ann, "SELECT * FROM salaries")["state"] == "finished"
    assert requests.delete(f"{url}/api/v1/grants", params=grant, headers=boss).status_code == 204
    assert ended(url, ann, "SELECT * FROM salaries")["state"] == "failed"


def test_somebody_elses_query_reads_like_one_that_does_not_exist(
    url: str, access: Access, ann: dict[str, str], boss: dict[str, str]
) -> None:
    query = ended(url, ann, "SELECT 1")
    bob = token(access, "bob")
    nothing = requests.get(f"{url}/api/v1/queries/{'0' * 32}", headers=bob)
    for path in ("", "/rows", "/result.csv"):
        foreign = requests.get(f"{url}/api/v1/queries/{query['id']}{path}", headers=bob)
        assert foreign.status_code == nothing.status_code == 404
    said = requests.get(f"{url}/api/v1/queries/{query['id']}", headers=bob).json()["detail"]
    assert said.replace(query["id"], "…") == nothing.json()["detail"].replace("0" * 32, "…")
    assert requests.delete(f"{url}/api/v1/queries/{query['id']}", headers=bob).status_code == 404
    assert requests.get(f"{url}/api/v1/queries/{query['id']}", headers=boss).status_code == 200


def test_nothing_is_told_without_a_token(url: str) -> None:
    document = requests.get(f"{url}/api/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            there = path.replace("{id}", "0").replace("{name}", "x").replace("{format}", "csv")
            answer = requests.request(method, f"{url}{there}", json={})
            assert answer.status_code in (401, 422), (method, path, answer.text)
    for header in ("Bearer nothing", "Basic YTpi", "Bearer ", "kerasql"):
        answer = requests.get(f"{url}/api/v1/me", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.json()["error"] == "NotSignedIn"


def test_the_administrators_doors_are_shut_to_others(url: str, ann: dict[str, str]) -> None:
    user = {"name": "eve", "role": "admin", "password": PASSWORD}
    for method, path, body in [
        ("GET", "users", None),
        ("POST", "users", user),
        ("PATCH", "users/ann", {"role": "admin"}),
        ("GET", "grants", None),
        ("POST", "grants", {"privilege": "execute", "object": "*", "to": "user:ann"}),
        ("DELETE", "grants?privilege=execute&object=m&to=user:ann", None),
        ("GET", "audit", None),
        ("GET", "queries?everybody=true", None),
    ]:
        answer = requests.request(method, f"{url}/api/v1/{path}", json=body, headers=ann)
        assert (answer.status_code, answer.json()["error"]) == (403, "AdminsOnly"), path


def test_a_token_is_made_used_and_revoked(url: str, ann: dict[str, str]) -> None:
    made = requests.post(f"{url}/api/v1/tokens", json={"name": "ci", "days": 1}, headers=ann).json()
    header = {"Authorization": f"Bearer {made['secret']}"}
    assert requests.get(f"{url}/api/v1/me", headers=header).json()["user"]["name"] == "ann"
    path = f"{url}/api/v1/tokens/{made['token']['id']}"
    assert requests.delete(path, headers=ann).status_code == 204
    assert requests.get(f"{url}/api/v1/me", headers=header).status_code == 401


def test_somebody_elses_token_cannot_be_revoked(
    url: str, access: Access, ann: dict[str, str], boss: dict[str, str]
) -> None:
    made = requests.post(f"{url}/api/v1/tokens", json={"name": "x"}, headers=boss).json()
    path = f"{url}/api/v1/tokens/{made['token']['id']}"
    assert requests.delete(path, headers=ann).status_code == 404
    assert requests.get(
        f"{url}/api/v1/me", headers={"Authorization": f"Bearer {made['secret']}"}
    ).ok


def signed_in(url: str, name: str = "ann") -> requests.Session:
    """A browser that has signed in."""
    browser = requests.Session()
    form = {"name": name, "password": PASSWORD, "then": "/queries"}
    answer = browser.post(f"{url}/enter", data=form, headers={"Origin": url})
    assert answer.url == f"{url}/queries"
    return browser


def test_a_person_signs_in_asks_and_signs_out(url: str) -> None:
    browser = signed_in(url)
    page = browser.post(f"{url}/queries", data={"sql": "SELECT 'some <b>text</b>' AS t"})
    end = time.monotonic() + 30
    while "Refresh" in page.headers and time.monotonic() < end:
        page = browser.get(page.url)
    assert "some &lt;b&gt;text&lt;/b&gt;" in page.text
    assert "SELECT &#39;some" in browser.get(f"{url}/").text
    assert browser.post(f"{url}/leave").url.startswith(f"{url}/enter")
    assert browser.get(f"{url}/").url.startswith(f"{url}/enter?then=/")


def test_a_cookie_is_kept_from_scripts_and_other_sites(url: str) -> None:
    form = {"name": "ann", "password": PASSWORD}
    answer = requests.post(f"{url}/enter", data=form, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_signing_in_never_leads_elsewhere(url: str, then: str) -> None:
    form = {"name": "ann", "password": PASSWORD, "then": then}
    answer = requests.post(f"{url}/enter", data=form, allow_redirects=False)
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "null"},
])  # fmt: skip
def test_another_sites_page_cannot_ask_for_a_change(url: str, headers: dict[str, str]) -> None:
    browser = signed_in(url)
    for path, body in [("/queries", {"sql": "SELECT 1"}), ("/leave", {})]:
        assert browser.post(f"{url}{path}", data=body, headers=headers).status_code == 403
    answer = browser.post(f"{url}/api/v1/queries", json={"sql": "SELECT 1"}, headers=headers)
    assert answer.status_code == 403
    assert browser.get(f"{url}/").ok


def test_a_browsers_cookie_is_no_programs_token(url: str) -> None:
    secret = signed_in(url).cookies["kerasql"]
    header = {"Authorization": f"Bearer {secret}"}
    assert requests.get(f"{url}/api/v1/me", headers=header).status_code == 401


def test_a_wrong_password_is_told_in_one_sentence(url: str) -> None:
    answer = requests.post(f"{url}/enter", data={"name": "nobody", "password": "x" * 12})
    assert answer.status_code == 401
    assert PASSWORD not in answer.text
    assert 'role="alert"' in answer.text


def test_guessing_is_slowed_down(url: str, access: Access) -> None:
    access.add_user("guessed", role="analyst", password=PASSWORD)
    codes = [
        requests.post(f"{url}/enter", data={"name": "guessed", "password": f"{n:012}"}).status_code
        for n in range(6)
    ]
    assert codes[-1] == 429
    right = requests.post(f"{url}/enter", data={"name": "guessed", "password": PASSWORD})
    assert right.status_code == 429


def test_the_one_time_link_signs_in_once(url: str, access: Access) -> None:
    _, secret = access.new_token("boss", "link", kind="link", lifetime_s=60)
    assert requests.get(f"{url}/enter", params={"link": secret}).url == f"{url}/"
    again = requests.get(f"{url}/enter", params={"link": secret})
    assert again.status_code == 401


@pytest.mark.parametrize("path", ["/", "/enter", "/api", "/nothing", "/api/v1/me", "/healthz"])
def test_every_answer_keeps_a_browser_safe(url: str, path: str) -> None:
    headers = requests.get(f"{url}{path}").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_has_no_script_of_its_own(url: str) -> None:
    browser = signed_in(url)
    for path in ("/", "/queries", "/enter", "/api"):
        page = browser.get(f"{url}{path}").text
        assert "<script>" not in page
        assert "style=" not in page
        assert "onclick" not in page


def test_a_foreign_host_is_refused(url: str) -> None:
    answer = requests.get(f"{url}/enter", headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize(("body", "status"), [
    (b"{", 422),
    (b"[]", 422),
    (b'{"sql": 1}', 422),
    (b'{"sql": "SELECT 1", "more": 1}', 422),
    (b'{"sql": "\\u0000"}', 422),
    (b'{"sql": "\\ud800"}', 422),
    (b"[" * 100_000, 422),
    (b'{"sql": "' + b"x" * 2_000_000 + b'"}', 422),
    (b" " * (33 * 2**20), 413),
])  # fmt: skip
def test_nonsense_is_refused_in_one_sentence(
    url: str, ann: dict[str, str], body: bytes, status: int
) -> None:
    headers = ann | {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/api/v1/queries", data=body, headers=headers)
    assert answer.status_code == status
    problem = answer.json()
    assert problem["status"] == status
    assert "\n" not in problem["detail"]


def test_strangers_send_little(url: str) -> None:
    form = {"name": "ann", "password": PASSWORD + "x" * 100_000}
    answer = requests.post(f"{url}/enter", data=form, allow_redirects=False)
    assert answer.status_code in (302, 401)
    assert answer.headers["Connection"] == "close"
    assert "Set-Cookie" not in answer.headers
    body = (b"x" for _ in range(3))
    answer = requests.post(f"{url}/api/v1/queries", data=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (401, "NotSignedIn")


def test_an_unknown_path_and_a_wrong_method_are_told(url: str, ann: dict[str, str]) -> None:
    assert requests.get(f"{url}/api/v1/nothing", headers=ann).json()["status"] == 404
    wrong = requests.put(f"{url}/api/v1/queries", headers=ann)
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["Allow"]
    assert "Not Found" in requests.get(f"{url}/nothing").text


def test_it_is_alive_and_ready(url: str) -> None:
    assert requests.get(f"{url}/healthz").text == "ok\n"
    assert requests.get(f"{url}/readyz").text == "ready\n"


def test_the_document_is_openapi(url: str) -> None:
    document = requests.get(f"{url}/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/queries" in document["paths"]
    page = requests.get(f"{url}/api").text
    for script in ("/api/swagger/js/swagger-ui-bundle.js", "/static/api.js"):
        assert script in page
        assert requests.get(f"{url}{script}").ok


def test_others_are_let_in_with_a_password_and_https_alone(
    tmp_path: Path, sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Access(sqlite_registry)
    everywhere = Address(host="0.0.0.0")
    with pytest.raises(InvalidInput, match="no admin with a password; add one with"):
        check_address(everywhere, known)
    known.add_user("root", role="admin", password=PASSWORD)
    with pytest.raises(InvalidInput, match="travel in the clear; give --certificate"):
        check_address(everywhere, known)
    check_address(Address(host="0.0.0.0", proxy="10.0.0.1"), known)
    with pytest.raises(InvalidInput, match="both --certificate and --key"):
        check_address(Address(host="0.0.0.0", certificate=tmp_path / "c.pem"), known)
    check_address(Address(), known)
    monkeypatch.setenv("KERASQL_READ_PATHS", "on")
    check_address(Address(), known)
    with pytest.raises(InvalidInput, match="KERASQL_READ_PATHS=on would let their SQL open any"):
        check_address(Address(host="0.0.0.0", proxy="10.0.0.1"), known)


def test_what_takes_long_is_done_for_a_few_at_a_time() -> None:
    slots = Slots("checks files", 2)
    with slots, slots:
        with (
            pytest.raises(Busy, match="checks files for 2 others now; try again in a moment"),
            slots,
        ):
            pass
        assert STATUS[Busy] == 429
    with slots, slots:
        pass


def test_behind_a_proxy_on_the_same_machine_others_are_let_in_alike(
    sqlite_registry: Registry,
) -> None:
    known, address = Access(sqlite_registry), Address(proxy="127.0.0.1")
    with pytest.raises(InvalidInput, match="no admin with a password"):
        check_address(address, known)
    assert owner_link(known, address) is None
    with pytest.raises(InvalidInput, match="is no IP address"):
        check_address(Address(proxy="my-proxy"), known)


def test_the_link_is_for_an_admin_who_may_sign_in(sqlite_registry: Registry) -> None:
    known = Access(sqlite_registry)
    known.add_user("gone", role="admin")
    known.disable("gone", by=None)
    link = owner_link(known, Address())
    assert link is not None
    assert known.redeem(link.rpartition("=")[2]).name == "owner"


def test_the_databases_password_is_kept_for_later_connections() -> None:
    url = "postgresql://kerasql@db/models"
    assert with_password(url, "s p@ss") == "postgresql://kerasql:s p%40ss@db/models"
    assert with_password(url, None) == url
    assert with_password("postgresql://a:b@db/models", "c") == "postgresql://a:b@db/models"
    assert with_password("sqlite:///models.db", "c") == "sqlite:///models.db"


def test_a_token_cannot_outlive_itself_by_making_another(url: str, access: Access) -> None:
    _, secret = access.new_token("ann", "short", lifetime_s=60)
    header = {"Authorization": f"Bearer {secret}"}
    body = {"name": "long", "days": 3650}
    made = requests.post(f"{url}/api/v1/tokens", json=body, headers=header).json()["token"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert left.total_seconds() < 61


def test_a_huge_request_is_refused_before_it_is_read(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    for head in (
        b"POST /api/v1/queries HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000000\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=20) as one:
            one.sendall(head)
            assert one.recv(100).split()[1] in (b"413", b"400", b"431")


def test_a_text_that_databases_refuse_is_no_outage(url: str) -> None:
    browser = signed_in(url)
    for path in ("/queries?search=%00", "/queries/%00"):
        assert browser.get(f"{url}{path}").status_code in (400, 404)
    assert browser.post(f"{url}/queries", data={"sql": "SELECT '\0'"}).status_code == 400


def test_a_taken_port_is_told(url: str) -> None:
    with pytest.raises(InvalidInput, match="give another --port"):
        listening("127.0.0.1", int(url.rpartition(":")[2]), None, None)


def test_only_the_proxy_speaks_for_others() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return [b"in"]

    behind = from_proxy(application, "10.0.0.1")
    said: list[str] = []
    environ = {"HTTP_X_FORWARDED_FOR": "1.2.3.4", "HTTP_X_FORWARDED_PROTO": "https"}
    start = lambda status, headers: said.append(status)  # noqa: E731
    assert b"through its proxy" in b"".join(behind(environ | {"REMOTE_ADDR": "10.0.0.9"}, start))
    assert seen == {}
    assert behind(environ | {"REMOTE_ADDR": "10.0.0.1"}, start) == [b"in"]
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("1.2.3.4", "https")
    assert said == ["403 Forbidden", "200 OK"]


FEW = settings(
    max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
OBJECTS = {"execute": "m", "select": "numbers"}
SQL = {"execute": "SELECT m(1)", "select": "SELECT * FROM numbers"}
HOW = ("not granted", "to the user", "to the role", "on all", "admin", "disabled")


@pytest.mark.parametrize("privilege", OBJECTS)
@pytest.mark.parametrize("how", HOW)
def test_sql_holds_what_was_granted(url: str, access: Access, privilege: str, how: str) -> None:
    name = f"{privilege}.{how.replace(' ', '')}"
    role = {"admin": "admin", "to the role": "scientist"}.get(how, "analyst")
    access.add_user(name, role=role)
    grant = {
        "to the user": (OBJECTS[privilege], f"user:{name}"),
        "disabled": (OBJECTS[privilege], f"user:{name}"),
        "to the role": (OBJECTS[privilege], f"role:{role}"),
        "on all": ("*", f"user:{name}"),
    }.get(how)
    if grant:
        access.grant(privilege, grant[0], to=grant[1], by=None)
    headers = token(access, name)
    if how == "disabled":
        access.disable(name, by=None)
        asked = requests.post(
            f"{url}/api/v1/queries", json={"sql": SQL[privilege]}, headers=headers
        )
        assert asked.status_code == 401
        return
    state = "failed" if how == "not granted" else "finished"
    for asked_privilege, sql in SQL.items():
        query = ended(url, headers, sql)
        allowed = state if asked_privilege == privilege or how == "admin" else "failed"
        assert query["state"] == allowed, query["error"]
    if grant:
        access.ungrant(privilege, grant[0], to=grant[1], by=None)


def test_metrics_are_for_admins_and_count_what_was_asked(
    url: str, ann: dict[str, str], boss: dict[str, str]
) -> None:
    assert requests.get(f"{url}/metrics", headers=ann).status_code == 403
    ended(url, ann, "SELECT m(array(x, 1, 2, 3)) FROM numbers")
    requests.get(f"{url}/nobody-knows-this", headers=ann)
    end, text = time.monotonic() + 10, ""
    while 'version="m@1"' not in text and time.monotonic() < end:
        text = requests.get(f"{url}/metrics", headers=boss).text
    assert re.search(r'kerasql_queries_total\{state="finished"\} [1-9]', text)
    assert re.search(r'kerasql_version_predicted_total\{version="m@1"\} [1-9]', text)
    assert re.search(
        r'kerasql_request_seconds_count\{endpoint="",method="",status="404"\} [1-9]', text
    )
    assert "nobody-knows" not in text


# The last one, because it changes users and grants as it likes.
def test_whatever_a_program_sends_the_answer_is_as_documented(
    url: str, access: Access, boss: dict[str, str]
) -> None:
    document = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    checks = [
        schemathesis.checks.not_a_server_error,
        schemathesis.specs.openapi.checks.status_code_conformance,
        schemathesis.specs.openapi.checks.content_type_conformance,
        schemathesis.specs.openapi.checks.response_schema_conformance,
    ]
    seen = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @FEW
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=boss, checks=checks)

        ask()
        seen.add(operation.label)
    assert len(seen) >= 18
