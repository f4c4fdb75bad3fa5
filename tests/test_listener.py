"""Clients that are slow, silent or lost: they hold no thread that others wait for."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, request

from kerasql.web import listener

FEW = 4


def application() -> Flask:
    """Answers at once, or with the size of what it was sent."""
    app = Flask("listener")

    @app.get("/")
    def here() -> str:
        return "here"

    @app.post("/size")
    def size() -> str:
        return str(len(request.get_data()))

    @app.post("/late")
    def late() -> str:
        time.sleep(2 * listener.PATIENCE_S)
        return str(len(request.get_data()))

    @app.post("/refused")
    def refused() -> tuple[str, int, dict[str, str]]:
        return "no", 401, {"Connection": "close"}

    return app


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "THREADS", FEW)
    monkeypatch.setattr(listener, "PATIENCE_S", 3)


@pytest.fixture(params=["http", "https"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    certificate = key = None
    if request.param == "https":
        certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
        files = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
        files += ["-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files],
            check=True,
            capture_output=True,
        )
    app = application()
    server = listener.listening("127.0.0.1", 0, certificate, key)
    server.wsgi_app = app
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield request.param, server.bind_addr[1]
    server.stop()
    thread.join()


def connected(port: tuple[str, int]) -> socket.socket:
    """A connection, greeted."""
    raw = socket.create_connection(("127.0.0.1", port[1]))
    if port[0] == "http":
        return raw
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw)


@pytest.fixture
def get(port: tuple[str, int], tmp_path: Path) -> Any:
    def ask() -> str:
        verify = str(tmp_path / "c.pem") if port[0] == "https" else None
        url = f"{port[0]}://localhost:{port[1]}/"
        return requests.get(url, timeout=60, verify=verify).text

    return ask


def ended(connection: socket.socket) -> float:
    """Seconds until the server ends a connection."""
    began = time.monotonic()
    connection.settimeout(60)
    try:
        while connection.recv(1000):
            pass
    except OSError:
        pass
    return time.monotonic() - began


def test_who_says_nothing_holds_nobody_up(port: tuple[str, int], get: Any) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port[1])))
            for _ in range(20 * FEW)
        ]
        # Longer than their patience would be if each held a thread, one after the other.
        began = time.monotonic()
        assert get() == "here"
        assert time.monotonic() - began < 20 * listener.PATIENCE_S
        assert ended(silent[0]) < 10 * listener.PATIENCE_S


def test_a_head_that_trickles_is_cut_off(port: tuple[str, int], get: Any) -> None:
    with ExitStack() as stack:
        trickling = [stack.enter_context(connected(port)) for _ in range(FEW)]
        stopped = threading.Event()

        def trickle() -> None:
            while not stopped.wait(0.3):
                for one in trickling:
                    try:
                        one.send(b"G")
                    except OSError:
                        stopped.set()

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert get() == "here"
            assert stopped.wait(60), "nobody was cut off"
        finally:
            stopped.set()
            thread.join()


def test_a_body_is_waited_for_while_it_comes_fast_enough(port: tuple[str, int]) -> None:
    piece, pieces = b"x" * 100_000, 50
    with connected(port) as steady:
        steady.sendall(
            f"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(piece) * pieces}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        for _ in range(pieces):
            steady.sendall(piece)
            time.sleep(0.1)
        answer = b""
        while more := steady.recv(10_000):
            answer += more
        assert answer.endswith(str(len(piece) * pieces).encode())
    with connected(port) as slow:
        slow.sendall(b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        slow.settimeout(60)  # and the connection is closed before
        assert not slow.recv(1000).startswith(b"HTTP/1.1 2")


def test_more_connections_than_there_may_be_are_closed_and_the_rest_served(
    port: tuple[str, int], get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS", 20)
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port[1])))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                assert get() == "here"
                break
            except requests.ConnectionError:
                time.sleep(0.2)
        else:
            raise AssertionError("nobody was served again")


def test_what_was_sent_in_time_is_read_however_late(port: tuple[str, int]) -> None:
    body = b"x" * 100_000
    with connected(port) as one:
        one.sendall(
            b"POST /late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = b""
        while more := one.recv(10_000):
            answer += more
    assert answer.endswith(b"100000")


def test_a_body_that_is_refused_is_not_waited_for(port: tuple[str, int]) -> None:
    with connected(port) as one:
        one.settimeout(60)
        one.sendall(
            b"POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\nxx"
        )
        answer = b""
        while more := one.recv(10_000):
            answer += more
    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.endswith(b"no")


def test_a_connection_is_used_again(port: tuple[str, int]) -> None:
    with connected(port) as one:
        one.settimeout(60)
        for _ in range(3):
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"here"):
                answer += one.recv(10_000)


@pytest.mark.parametrize("port", ["https"], indirect=True)
def test_who_speaks_plain_http_to_tls_is_told(port: tuple[str, int], get: Any) -> None:
    answer = requests.get(f"http://127.0.0.1:{port[1]}/", timeout=60)
    assert (answer.status_code, answer.text) == (400, "this server speaks HTTPS; write https://\n")
    assert get() == "here"
