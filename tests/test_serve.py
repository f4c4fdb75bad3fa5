"""``kerasql serve`` as a person starts it: a link, a query, Ctrl-C, nothing left."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from served import ServerProcess

from kerasql.registry.access import Access
from kerasql.registry.store import connect

PASSWORD = "correct horse battery"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with an empty registry."""
    server = ServerProcess(tmp_path)
    yield server
    server.kill()


def test_the_owner_follows_the_link_asks_and_stops_the_server(
    served: ServerProcess, tmp_path: Path
) -> None:
    link = served.wait_for(r"(http://127\.0\.0\.1:\d+)/enter\?link=\S+")
    browser, url = requests.Session(), link[1]
    assert "owner" in browser.get(link[0]).text
    # Two at once are the first that come to Spark.
    others = [
        browser.post(f"{url}/queries", data={"sql": f"SELECT {n} AS n"}, allow_redirects=False)
        for n in range(2)
    ]
    page = browser.post(f"{url}/queries", data={"sql": "SELECT 6 * 7 AS answer"})
    end = time.monotonic() + 60
    while "Refresh" in page.headers and time.monotonic() < end:
        time.sleep(0.1)
        page = browser.get(page.url)
    assert "<td>42</td>" in page.text
    for n, other in enumerate(others):
        assert f"<td>{n}</td>" in browser.get(url + other.headers["Location"]).text
    hashed = "id"
    for _ in range(40):
        hashed = f"sha2(cast({hashed} AS STRING), 512)"
    slow = f"SELECT max({hashed}) FROM range(9000000)"
    running = browser.post(f"{url}/queries", data={"sql": slow}).url
    assert served.stop() == 0
    said = served.said.read_text()
    assert said.rstrip().endswith("stopped")
    assert link[0].rpartition("=")[2] not in re.sub(r"sign in, once .*", "", said)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert query_states(tmp_path)[running.rpartition("/")[2]] == "interrupted"


def query_states(folder: Path) -> dict[str, str]:
    """What became of each query, as the database says."""
    import sqlite3

    with sqlite3.connect(folder / "models.db") as raw:
        return dict(raw.execute("SELECT id, state FROM query").fetchall())


def test_it_says_what_is_missing_before_it_starts_spark(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--host", "0.0.0.0")
    assert server.process.wait(timeout=30) == 2
    assert "there is no admin with a password" in server.said.read_text()


def test_it_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"],
            *(key, "-out", certificate, *subject),
        ],
        check=True,
        capture_output=True,
    )
    with connect(f"sqlite:///{tmp_path}/models.db") as registry:
        Access(registry).add_user("root", role="admin", password=PASSWORD)
    options = ["--host", "0.0.0.0", "--certificate", str(certificate), "--key", str(key)]
    server = ServerProcess(tmp_path, *options)
    try:
        server.wait_for("kerasql is at https")
        url = f"https://localhost:{server.port}"
        answer = requests.post(
            f"{url}/enter",
            data={"name": "root", "password": PASSWORD},
            verify=str(certificate),
            allow_redirects=False,
        )
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" in answer.headers
        assert "link=" not in server.said.read_text()
    finally:
        assert server.stop(signal.SIGINT) == 0
