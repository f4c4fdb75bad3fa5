"""What Prometheus reads at ``/metrics``: requests, queries, and what each version did."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from kerasql.udf.running.query import Query


class Metrics:
    """Counted by one server since it started; Prometheus adds servers up and makes rates of it."""

    def __init__(self) -> None:
        self.registry = known = CollectorRegistry()
        self.requests = Histogram(
            "kerasql_request_seconds",
            "HTTP requests.",
            ["endpoint", "method", "status"],
            registry=known,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10),
        )
        self.queries = Counter("kerasql_queries", "Queries ended.", ["state"], registry=known)
        self.seconds = Counter("kerasql_query_seconds", "Seconds that queries ran.", registry=known)
        what = {
            "rows": "Rows a version was asked for.",
            "predicted": "Rows that it computed.",
            "hits": "Rows whose answer was known.",
            "failed": "Rows without an answer.",
        }
        self.versions = {
            name: Counter(f"kerasql_version_{name}", sentence, ["version"], registry=known)
            for name, sentence in what.items()
        }
        ProcessCollector(registry=known)

    def ended(self, query: Query) -> None:
        """Count a query that has ended, and what its versions did."""
        self.queries.labels(query.state).inc()
        if query.started_at and query.ended_at:
            self.seconds.inc(max(0.0, (query.ended_at - query.started_at).total_seconds()))
        for ref, stats in query.stats.items():
            for name, counted in self.versions.items():
                counted.labels(ref).inc(getattr(stats, name))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
