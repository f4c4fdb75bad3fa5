"""What the application is made of, as every view reaches it."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app

from kerasql.registry.access import Access
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry
from kerasql.udf.running.queries import Queries
from kerasql.web.metrics import Metrics


@dataclass(frozen=True)
class Parts:
    """The registry, who may do what in it, and what this server carries out.

    queries are those of its Spark driver; registrations are the files that it registers.

    https says whether browsers reach the server by TLS, its own or its proxy's; hosts are the
    names that a request may be addressed to (empty: any).
    """

    registry: Registry
    access: Access
    queries: Queries
    registrations: Registrations
    https: bool = False
    hosts: tuple[str, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)


def parts() -> Parts:
    """The parts of the application that answers this request."""
    found: Parts = current_app.extensions["kerasql"]
    return found
