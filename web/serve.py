"""The server: one process with the application and one Spark driver."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from sqlalchemy import make_url
from werkzeug.middleware.proxy_fix import ProxyFix

from kerasql.registry.access import Access
from kerasql.registry.errors import InvalidInput
from kerasql.registry.registrations import Registrations
from kerasql.registry.settings import setting
from kerasql.registry.store import Registry, connect
from kerasql.udf.running.queries import Queries
from kerasql.udf.running.query import Limits
from kerasql.udf.session import SHARED, local_session
from kerasql.web.app import create_app
from kerasql.web.listener import Listener, listening
from kerasql.web.log import log_as_json
from kerasql.web.metrics import Metrics
from kerasql.web.oidc import Provider
from kerasql.web.parts import Parts

LINK_S = 900
LOOK_S = 1.0
"""Between two looks whether Spark still runs."""
SECRETS = ("KERASQL_DATABASE", "KERASQL_TOKEN", "KERASQL_OIDC_SECRET", "PGPASSWORD")
"""Taken out of the environment before Spark starts: its processes need none of them."""

log = logging.getLogger("kerasql.web")


@dataclass(frozen=True)
class Address:
    """Where the server listens and how browsers reach it.

    certificate and key are PEM files of its own TLS; proxy is the address of the one machine that
    may speak for others (X-Forwarded-For, -Proto and -Host), which then does TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_private(self) -> bool:
        """Whether only people of this machine can reach it, not those behind a proxy either."""
        return self.is_loopback and self.proxy is None

    @property
    def https(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.certificate is not None or self.proxy is not None

    @property
    def url(self) -> str:
        """What to type into a browser on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"


def with_password(database: str, password: str | None) -> str:
    """The database's URL, with the password that the environment has for it."""
    if not password or not database.startswith("postgresql"):
        return database
    url = make_url(database)
    return (url if url.password else url.set(password=password)).render_as_string(False)


def check_address(address: Address, access: Access) -> None:
    """Refuse to be reached from elsewhere without a password or without TLS."""
    if (address.certificate is None) != (address.key is None):
        raise InvalidInput("give both --certificate and --key, PEM files of one certificate")
    if address.proxy:
        try:
            ipaddress.ip_address(address.proxy)
        except ValueError:
            raise InvalidInput(
                f"--trusted-proxy {address.proxy!r} is no IP address; give the proxy's"
            ) from None
    for file in filter(None, (address.certificate, address.key)):
        if not file.is_file():
            raise InvalidInput(f"there is no file {file}; give the PEM file of the certificate")
    if address.is_private:
        return
    if setting("KERASQL_READ_PATHS"):
        raise InvalidInput(
            f"{address.host} can be reached by others and KERASQL_READ_PATHS=on would let their "
            "SQL open any file of this server's user; set it to off and add datasets instead"
        )
    if not has_administrator(access):
        raise InvalidInput(
            f"{address.host} can be reached by others and there is no admin with a password; add "
            "one with: kerasql user add NAME --role admin"
        )
    if not address.https:
        raise InvalidInput(
            f"{address.host} can be reached by others and passwords would travel in the clear; "
            "give --certificate and --key, or --trusted-proxy ADDRESS of the proxy that does TLS"
        )


def has_administrator(access: Access) -> bool:
    """Whether an admin can sign in with a password."""
    return any(
        user.role == "admin" and user.has_password and not user.disabled for user in access.users()
    )


@dataclass
class Running:
    """A server that listens; ``serve`` blocks until ``stop``.

    has_lost_spark says that it stopped by itself: only a new process gets another Spark.
    """

    wsgi: Listener
    parts: Parts
    has_lost_spark: bool = False
    _stopped: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Answer requests until told to stop, or until Spark has ended."""
        threading.Thread(target=self._watch, name="spark", daemon=True).start()
        self.wsgi.serve()

    def stop(self) -> None:
        """Take no more requests; from any thread, and more than once."""
        if not self._stopped.is_set():
            self._stopped.set()
            threading.Thread(target=self.wsgi.stop, name="stop").start()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            if not self.parts.queries.is_alive():
                self.has_lost_spark = True
                log.error("Spark has ended; the server stops, start it again")
                self.stop()


@contextmanager
def started(
    database: str,
    address: Address,
    *,
    results: str,
    master: str = "local[*]",
    conf: Mapping[str, str] | None = None,
    provider: Provider | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[Running]:
    """A server on the address with a Spark driver; both are gone at the end.

    Raises InvalidInput where the address may not be used, or is taken.
    """
    # libpq reads the password whenever it connects, which is also later.
    with connect(with_password(database, os.environ.get("PGPASSWORD"))) as registry:
        access = Access(registry)
        check_address(address, access)
        limits = Limits.of_settings()
        wsgi = listening(address.host, address.port, address.certificate, address.key)
        try:
            progress("starting Spark")
            for name in SECRETS:
                os.environ.pop(name, None)
            spark = local_session(master=master, conf={**SHARED, **(conf or {})})
            try:
                yield from _with_queries(
                    wsgi, address, registry, access, spark, results, limits, provider
                )
            finally:
                # Where Java has ended, nothing of it is left to stop.
                with suppress(Py4JError, OSError):
                    spark.stop()
        finally:
            wsgi.stop()


def _with_queries(
    wsgi: Listener,
    address: Address,
    registry: Registry,
    access: Access,
    spark: Any,
    results: str,
    limits: Limits,
    provider: Provider | None,
) -> Iterator[Running]:
    metrics = Metrics()
    queries = Queries(
        spark,
        registry,
        results=results,
        limits=limits,
        server=f"{socket.gethostname()}:{address.port}",
        ended=metrics.ended,
    )
    registrations = Registrations(registry)
    try:
        hosts = ("localhost", "127.0.0.1", "[::1]") if address.is_private else ()
        parts = Parts(
            registry,
            access,
            queries,
            registrations,
            https=address.https,
            hosts=hosts,
            metrics=metrics,
            provider=provider,
        )
        application: Any = create_app(parts)
        wsgi.wsgi_app = from_proxy(application, address.proxy) if address.proxy else application
        yield Running(wsgi, parts)
    finally:
        queries.close(timeout_s=10)
        registrations.close(timeout_s=10)


def from_proxy(application: Any, proxy: str) -> Any:
    """The application, reached by one proxy alone, whose word on who asks is taken."""
    fixed = ProxyFix(application, x_for=1, x_proto=1, x_host=1)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("REMOTE_ADDR", "").removeprefix("::ffff:") != proxy:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"this server is reached through its proxy alone\n"]
        answered: Iterable[bytes] = fixed(environ, start_response)
        return answered

    return answer


def owner_link(access: Access, address: Address) -> str | None:
    """On loopback, a link that signs the owner in once; None where an admin has a password."""
    if not address.is_private or has_administrator(access):
        return None
    admins = [user.name for user in access.users() if user.role == "admin" and not user.disabled]
    name = admins[0] if admins else access.add_user("owner", role="admin", by="kerasql serve").name
    _, secret = access.new_token(name, "first sign-in", kind="link", lifetime_s=LINK_S)
    return f"{address.url}/enter?link={secret}"


def serve(database: str, address: Address, *, say: Callable[[str], None], **settings: Any) -> None:
    """Serve until SIGTERM or Ctrl-C; queries that run are given a moment, then stopped."""
    log_as_json()
    with started(database, address, progress=say, **settings) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        link = owner_link(running.parts.access, address)
        say(f"kerasql is at {address.url}")
        if link:
            say(f"sign in, once and within {LINK_S // 60} minutes: {link}")
        sys.stdout.flush()
        running.serve()
        say("stopping")
    say("stopped")
    if running.has_lost_spark:
        sys.exit(1)
