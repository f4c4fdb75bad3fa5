"""Users of a server, as locust plays them (benchmarks/load.py)."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import itertools
import os
import random
import time
from typing import Any

from locust import HttpUser, constant, task

TOKENS = os.environ["KERASQL_LOAD_TOKENS"].split(",")
MODELS = 1_000
numbers = itertools.count(1)


def header(token: str) -> dict[str, str]:
    """What a program sends with each request."""
    return {"Authorization": f"Bearer {token}"}


HEADERS = header(TOKENS[0])


class Reader(HttpUser):  # type: ignore[misc]
    """A program that asks for one thing after the other."""

    wait_time = constant(0)

    def read(self, path: str, name: str) -> None:
        """One request, by a name that many paths share."""
        self.client.get(path, name=name, headers=HEADERS)

    @task
    def list_models(self) -> None:
        """A page of the models."""
        offset = random.randrange(0, MODELS - 100)
        self.read(f"/api/v1/models?limit=50&offset={offset}", "model list")

    @task
    def model(self) -> None:
        """One model."""
        self.read(f"/api/v1/models/model_{random.randrange(MODELS)}", "model")

    @task
    def versions(self) -> None:
        """Its versions."""
        self.read(f"/api/v1/models/model_{random.randrange(MODELS)}/versions", "versions")

    @task
    def history(self) -> None:
        """A page of what was asked."""
        self.read("/api/v1/queries?limit=50", "history")


class Browser(Reader):
    """A person who looks at something every few seconds."""

    weight = 10

    def wait_time(self) -> float:
        """Seconds until the next look."""
        return random.uniform(5, 15)


class Asker(HttpUser):  # type: ignore[misc]
    """A person who asks a query, waits for its end and reads its rows."""

    weight = 1
    wait_time = constant(2)

    def on_start(self) -> None:
        """Each is a user of their own."""
        self.headers = header(TOKENS[next(numbers) % (len(TOKENS) - 1) + 1])

    @task
    def ask(self) -> None:
        """One query from its beginning to its rows."""
        row = f"array(x, 1, 2, {random.randrange(10**6)})"
        sql = f"SELECT x, model_{random.randrange(20)}({row}) AS y FROM numbers"
        asked = self.client.post(
            "/api/v1/queries", json={"sql": sql}, headers=self.headers, name="query: ask"
        )
        query: dict[str, Any] = asked.json()
        while query.get("state") in ("queued", "running"):
            time.sleep(0.5)
            path = f"/api/v1/queries/{query['id']}"
            query = self.client.get(path, headers=self.headers, name="query: watch").json()
        path = f"/api/v1/queries/{query.get('id')}/rows?limit=100"
        self.client.get(path, headers=self.headers, name="query: rows")
