"""What the application is made of, as every view reaches it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from flask import current_app

from kerasql.registry.access import Access
from kerasql.registry.errors import Busy
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry
from kerasql.udf.running.queries import Queries
from kerasql.web.metrics import Metrics
from kerasql.web.oidc import Provider


class Slots:
    """So many requests at a time that take long: threads are left for the others."""

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self._free = threading.Semaphore(most)

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Busy(self._what, self._most)

    def __exit__(self, *error: object) -> None:
        self._free.release()


@dataclass(frozen=True)
class Parts:
    """The registry, who may do what in it, and what this server carries out.

    queries are those of its Spark driver; registrations are the files that it registers.

    https says whether browsers reach the server by TLS, its own or its proxy's; hosts are the
    names that a request may be addressed to (empty: any). provider is whom people may sign in
    with beside their password. checks, estimates and visits to the provider are what somebody
    waits for.
    """

    registry: Registry
    access: Access
    queries: Queries
    registrations: Registrations
    https: bool = False
    hosts: tuple[str, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    checks: Slots = field(default_factory=lambda: Slots("checks files", 4))
    estimates: Slots = field(default_factory=lambda: Slots("estimates queries", 8))
    visits: Slots = field(default_factory=lambda: Slots("asks its OpenID provider", 8))
    provider: Provider | None = None


def parts() -> Parts:
    """The parts of the application that answers this request."""
    found: Parts = current_app.extensions["kerasql"]
    return found
