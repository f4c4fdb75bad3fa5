"""The queries of many users on one Spark driver: asked, watched, stopped, and their results."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from kerasql.registry.errors import (
    InvalidInput,
    InvalidQuery,
    KerasqlError,
    NotFound,
    RegistryUnavailable,
    TooManyQueries,
    spelled,
)
from kerasql.registry.history import ACTIVE, SILENT_S
from kerasql.registry.store import Registry
from kerasql.udf.fence.check import Fence
from kerasql.udf.fence.parameters import plain
from kerasql.udf.running.estimate import estimate
from kerasql.udf.running.formats import FORMATS
from kerasql.udf.running.query import DAY_S, Estimate, Limits, Query, query_of
from kerasql.udf.running.results import Results, Stored
from kerasql.udf.running.run import Ending, Run, spark_runs
from kerasql.udf.running.sessions import Sessions

ENDED = ("failed", "stopped", "interrupted")
LOOK_S = 0.5
SAY_S = 60.0
BEAT_S = 1.0
SWEEP_S = 10.0
EXPIRE_S = 600.0
REFUSED = (DataError, IntegrityError, ProgrammingError)
"""What a database answers that would say the same again."""
log = logging.getLogger(__name__)


class Queries:
    """Queries on this process's Spark, and those of other servers on the same registry.

    server names this process among them, and is the same when it starts again. results is a folder
    or an fsspec URL that belongs to this registry's queries alone. ended is told of each query
    that ran here, when it has ended.

    >>> queries = Queries(spark, registry, results="file:///var/kerasql/results", server="one")
    >>> asked = queries.submit("anna", "SELECT flowers(image) FROM images", fence=Fence())
    >>> queries.wait(asked.id, 60).state
    'finished'
    >>> queries.table(asked.id, limit=10)
    """

    def __init__(
        self,
        spark: SparkSession,
        registry: Registry,
        *,
        results: str,
        limits: Limits | None = None,
        server: str,
        ended: Callable[[Query], None] = lambda query: None,
    ) -> None:
        self.limits, self.server = limits or Limits(), server
        self._tell = ended
        self._context = spark.sparkContext
        self._history = registry.history
        self._registry = registry
        self._results = Results(results)
        self._sessions = Sessions(spark, registry)
        self._waiting: list[Run] = []
        self._running: list[Run] = []
        self._arriving = threading.Lock()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._closed_at = math.inf
        self._well_since = time.monotonic()
        self._history.interrupt(server=server)
        self._threads = [
            threading.Thread(target=self._watch, name="queries", daemon=True),
            threading.Thread(target=self._expire, name="queries expire", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        user: str,
        sql: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        fence: Fence | Callable[[], Fence],
    ) -> Query:
        """The query, at once; it runs when its turn comes, and a fence that is called is made then.

        What the fence or Spark refuses is a query that failed. parameters are the values of :name
        in it: texts, numbers, booleans, None, dates and times. Raises InvalidQuery for a
        parameter that is none of these, TooManyQueries where as many of the user's wait as may.
        """
        run = Run(uuid.uuid4().hex, user, sql, plain(parameters or {}), fence)
        with self._arriving:
            with self._changed:
                waiting = sum(one.user == user for one in self._waiting)
            if self._closing.is_set():
                raise InvalidQuery("this server is being closed; ask another, or ask again soon")
            if waiting >= self.limits.queued_each:
                raise TooManyQueries(user, waiting)
            self._history.add(_new(run, self.server))
            with self._changed:
                self._waiting.append(run)
        self._start()
        return self.get(run.id)

    def get(self, id: str) -> Query:
        """The query of that id, whichever server has it. Raises NotFound."""
        return query_of(self._history.find(id))

    def wait(self, id: str, timeout_s: float) -> Query:
        """The query once it has ended, or as it is after so many seconds."""
        deadline = time.monotonic() + timeout_s
        while True:
            mine, query = self._mine(id), self.get(id)
            left = min(deadline - time.monotonic(), LOOK_S)
            if query.state not in ACTIVE or left <= 0:
                return query
            if mine is None:
                time.sleep(left)
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._mine(id) is None, left)

    def stop(self, id: str, *, by: str) -> Query:
        """The query, stopped: at once here, soon where another server has it.

        One that has ended stays as it is.
        """
        query = self.get(id)
        # What is here may have been taken for interrupted by another server.
        if run := self._mine(id):
            self._stop(run, _stopped(by))
        elif query.state not in ACTIVE:
            return query
        else:
            self._history.change(id, {"stop_by": by}, states=ACTIVE)
        return self.get(id)

    def table(self, id: str, *, offset: int = 0, limit: int = 1000) -> pa.Table:
        """A page of a result's rows. Raises NotFound where there is no result, with the reason."""
        with self._stored(id) as stored:
            return stored.page(offset, limit)

    def download(self, id: str, format: str) -> Iterator[bytes]:
        """A whole result as ``csv``, ``json``, ``parquet`` or ``arrow``, a piece at a time."""
        if format not in FORMATS:
            raise InvalidInput(f"a result cannot be had as {format!r}; there is {spelled(FORMATS)}")
        with self._stored(id):
            # What is missing is said now, not with the first piece.
            return self._pieces(id, format)

    def history(
        self,
        user: str | None = None,
        search: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Query]:
        """The newest queries: of a user, with a text in their SQL, older than the id before.

        Of long SQL they have the beginning, and no parameters; ``get`` has all.
        """
        rows = self._history.page(user=user, search=search, before=before, limit=limit)
        return [query_of(row) for row in rows]

    def estimate(
        self, user: str, sql: str, *, parameters: Mapping[str, Any] | None = None, fence: Fence
    ) -> Estimate:
        """What a query would score, without running it. Raises InvalidQuery for one that cannot."""
        session = self._sessions.of(user, fence)
        return estimate(session, sql, plain(parameters or {}), self._registry)

    def is_alive(self) -> bool:
        """Whether queries can be asked: Spark has not stopped, and this is not being closed."""
        return spark_runs(self._context) and not self._closing.is_set()

    def expire(self) -> int:
        """Delete the results that are old enough, and what crashes left; returns how many."""
        names = self._history.expired()
        for done, name in enumerate(names):
            if self._closing.is_set():
                return done
            self._results.remove(name)
            self._history.change(name, {"stored": False}, states=("finished",))
        self._results.sweep(older_than_s=DAY_S, stored=self._history.stored)
        return len(names)

    def close(self, timeout_s: float) -> list[Query]:
        """Start nothing more, wait so long for what runs, and interrupt the rest: these."""
        deadline = self._closed_at = time.monotonic() + timeout_s
        with self._arriving:
            self._closing.set()
            with self._changed:
                waiting, self._waiting = self._waiting, []
        ending = Ending("interrupted", "its server was closed before its turn came; run it again")
        # Where the database is away, whoever sweeps it next says so of them.
        with suppress(RegistryUnavailable):
            for run in waiting:
                self._end(run, ending)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout_s)
            running = list(self._running)
        for run in running:
            run.stop(
                Ending("interrupted", "its server was closed while it ran; run it again"),
                self._context,
            )
        for run in running:
            if run.thread:
                run.thread.join(max(5.0, deadline - time.monotonic()))
        for thread in self._threads:
            thread.join(5.0)
        ended: list[Query] = []
        with suppress(RegistryUnavailable):
            ended += (self.get(run.id) for run in [*waiting, *running])
        return ended

    # --- one after the other

    def _start(self) -> None:
        """Start what may run now, the longest waiting first."""
        with self._changed:
            while run := self._next():
                self._waiting.remove(run)
                self._running.append(run)
                run.thread = threading.Thread(
                    target=self._run, args=(run,), name=f"query {run.id}", daemon=True
                )
                run.thread.start()

    def _next(self) -> Run | None:
        if self._closing.is_set() or len(self._running) >= self.limits.running:
            return None
        busy = [run.user for run in self._running]
        able = (run for run in self._waiting if busy.count(run.user) < self.limits.running_each)
        return next(able, None)

    def _run(self, run: Run) -> None:
        try:
            began = {"state": "running", "started_at": datetime.now(UTC)}
            if self._written(lambda: self._history.change(run.id, began, states=ACTIVE)):
                started = time.monotonic()
                run.run(self._sessions, self._results, self.limits)
                self._ended(run, time.monotonic() - started)
        finally:
            with self._changed:
                self._running.remove(run)
                self._changed.notify_all()
            self._start()

    def _ended(self, run: Run, seconds: float) -> None:
        facts = {**run.facts, "ended_at": datetime.now(UTC)}
        answered = {ref: stats.predicted for ref, stats in run.stats.items()}

        def write() -> bool:
            return self._history.end(run.id, facts, answered=answered, seconds=seconds)

        if self._written(write) is False:
            # It was stopped: that is how it ended, and what it did until then is known.
            known = ("stats", "columns", "warnings")
            kept = {name: fact for name, fact in facts.items() if name in known}
            # It is finished where the database was lost just as it had written so.
            if self._written(lambda: self._history.change(run.id, kept, states=ENDED)):
                self._results.remove(run.id)
        with suppress(KerasqlError):
            self._tell(self.get(run.id))

    def _written(self, write: Callable[[], bool]) -> bool | None:
        """What a write answers once the database can be reached; None where it never does.

        The query takes a place among those that run until then, so few wait for a database.
        """
        told = -math.inf
        while True:
            try:
                return write()
            except RegistryUnavailable as error:
                if time.monotonic() - told > SAY_S:
                    log.error("what became of a query is not written yet: %s", error)
                    told = time.monotonic()
                if isinstance(error.__cause__, REFUSED):
                    log.exception("the database does not take what became of a query")
                    return None
                if time.monotonic() > self._closed_at:
                    return None
                time.sleep(LOOK_S)

    # --- stopped, watched

    def _mine(self, name: str) -> Run | None:
        with self._changed:
            return next((r for r in [*self._waiting, *self._running] if r.id == name), None)

    def _stop(self, run: Run, ending: Ending) -> None:
        run.stop(ending, self._context)
        # One that waits goes on waiting where this fails, and ends so when its turn comes.
        self._end(run, ending)
        with self._changed:
            if run in self._waiting:
                self._waiting.remove(run)
            self._changed.notify_all()

    def _end(self, run: Run, ending: Ending) -> None:
        facts = {"state": ending.state, "error": ending.error, "ended_at": datetime.now(UTC)}
        self._history.change(run.id, facts, states=ACTIVE)

    def _watch(self) -> None:
        every = {
            self._end_in_time: 0.0,
            self._hear: 0.0,
            self._beat: BEAT_S,
            self._sweep: SWEEP_S,
        }
        last = dict.fromkeys(every, time.monotonic())
        while not (self._closing.wait(LOOK_S) and not self._running):
            for do, seconds in every.items():
                if time.monotonic() - last[do] >= seconds:
                    last[do] = time.monotonic()
                    self._tried(do)
            if self._closing.is_set():
                time.sleep(LOOK_S)

    def _expire(self) -> None:
        # Deleting takes long where there is much, and must not hold up the beats.
        while not self._closing.wait(EXPIRE_S):
            self._tried(self.expire)

    def _tried(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except RegistryUnavailable:
            # It may be there the next time, and who asks is told.
            self._well_since = time.monotonic()
        except Exception:
            log.exception("what the queries of %s need was not done", self.server)

    def _end_in_time(self) -> None:
        """Stop what takes too long; cancel again what was stopped before it had begun its job."""
        with self._changed:
            running = [run for run in self._running if run.began and not run.ended]
        for run in running:
            if run.ending:
                run.cancel(self._context)
            elif time.monotonic() - run.began > self.limits.seconds:
                limit = f"it took more than {self.limits.seconds:,.0f} seconds, which is the limit"
                self._stop(run, Ending("failed", f"{limit}; ask for fewer rows"))

    def _hear(self) -> None:
        """Stop what another server was asked to stop."""
        if not (self._running or self._waiting):
            return
        for name, by in self._history.stops(self.server).items():
            if run := self._mine(name):
                self._stop(run, _stopped(by))

    def _beat(self) -> None:
        with self._changed:
            ids = [run.id for run in [*self._running, *self._waiting]]
            running = [run for run in self._running if run.began and not run.ended]
        if ids:
            facts = {run.id: run.progress(self._context) for run in running}
            self._history.beat(ids, facts)

    def _sweep(self) -> None:
        # Asked so that an outage is noticed: after it every server gets its time to say that it is
        # there.
        self._history.stops(self.server)
        if time.monotonic() - self._well_since > SILENT_S:
            self._history.interrupt()

    # --- results

    @contextmanager
    def _stored(self, name: str) -> Iterator[Stored]:
        query = self.get(name)
        if not query.stored:
            raise NotFound("result", name, [], _why_none(query))
        try:
            with self._results.reading(name) as stored:
                yield stored
        except FileNotFoundError as error:
            raise NotFound("result", name, [], "its file has gone; run the query again") from error

    def _pieces(self, name: str, kind: str) -> Iterator[bytes]:
        with self._stored(name) as stored:
            yield from FORMATS[kind](stored)


def _new(run: Run, server: str) -> dict[str, Any]:
    """The row of a query that has just been asked."""
    now = datetime.now(UTC)
    return {
        "id": run.id,
        "user": run.user,
        "sql": run.sql,
        "parameters": dict(run.parameters),
        "state": "queued",
        "server": server,
        "created_at": now,
        "heartbeat_at": now,
        "truncated": False,
        "columns": [],
        "stats": {},
        "warnings": [],
        "stored": False,
    }


def _stopped(by: str) -> Ending:
    return Ending("stopped", f"{by} stopped it")


def _why_none(query: Query) -> str:
    if query.state in ACTIVE:
        return f"the query is {query.state}; wait for its end"
    if query.state == "finished":
        return "it was deleted when it was old enough; run the query again"
    return f"the query {query.state}: {query.error}"
