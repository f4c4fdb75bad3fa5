"""A server in a thread of the test process: the real application on a real port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasql.registry.access import Access
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry, connect

if TYPE_CHECKING:
    from flask_openapi import OpenAPI

    from kerasql.udf.running.queries import Queries


@dataclass
class Served:
    """A server that answers, what it is made of, and tokens of its users."""

    url: str
    registry: Registry
    access: Access
    registrations: Registrations
    app: OpenAPI

    def token(self, name: str, role: str) -> str:
        """A token of a user, who is added where there is none."""
        if name not in {user.name for user in self.access.users()}:
            self.access.add_user(name, role=role)
        return self.access.new_token(name, "tests", lifetime_s=3600)[1]

    def connect(self, name: str = "root", role: str = "admin") -> Registry:
        """The registry as a user of the server has it."""
        return connect(self.url, token=self.token(name, role))


@contextmanager
def serving(
    registry: Registry, *, port: int = 0, queries: Queries | None = None, **parts: Any
) -> Iterator[Served]:
    """A server for a registry in a database, of more parts if need be.

    Without a driver's queries none can be asked.
    """
    from kerasql.web.app import create_app
    from kerasql.web.listener import listening
    from kerasql.web.parts import Parts

    access, registrations = Access(registry), Registrations(registry)
    driver: Any = queries
    app = create_app(Parts(registry, access, driver, registrations, **parts))
    wsgi = listening("127.0.0.1", port, None, None)
    wsgi.wsgi_app = app
    thread = threading.Thread(target=wsgi.serve)
    thread.start()
    try:
        url = f"http://127.0.0.1:{wsgi.bind_addr[1]}"
        yield Served(url, registry, access, registrations, app)
    finally:
        wsgi.stop()
        thread.join()
        registrations.close()
