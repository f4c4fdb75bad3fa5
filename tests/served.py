"""A server in a thread of the test process: the real application on a real port, without Spark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kerasql.registry.access import Access
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry, connect


@dataclass
class Served:
    """A server that answers, what it is made of, and tokens of its users."""

    url: str
    registry: Registry
    access: Access
    registrations: Registrations

    def token(self, name: str, role: str) -> str:
        """A token of a user, who is added where there is none."""
        if name not in {user.name for user in self.access.users()}:
            self.access.add_user(name, role=role)
        return self.access.new_token(name, "tests", lifetime_s=3600)[1]

    def connect(self, name: str = "root", role: str = "admin") -> Registry:
        """The registry as a user of the server has it."""
        return connect(self.url, token=self.token(name, role))


@contextmanager
def serving(registry: Registry, *, port: int = 0, **parts: Any) -> Iterator[Served]:
    """A server for a registry in a database, of more parts if need be; no queries can be asked."""
    from kerasql.web.app import create_app
    from kerasql.web.listener import listening
    from kerasql.web.parts import Parts

    access, registrations = Access(registry), Registrations(registry)
    no_queries: Any = None
    app = create_app(Parts(registry, access, no_queries, registrations, **parts))
    wsgi = listening("127.0.0.1", port, None, None)
    wsgi.wsgi_app = app
    thread = threading.Thread(target=wsgi.serve)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{wsgi.bind_addr[1]}", registry, access, registrations)
    finally:
        wsgi.stop()
        thread.join()
        registrations.close()
