"""One query on its way through Spark, in a thread of its own, until it ends or is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from kerasql.registry.errors import InvalidQuery, KerasqlError, RegistryUnavailable
from kerasql.registry.version import NOT_TEXT
from kerasql.udf.fence.check import Fence
from kerasql.udf.fence.plans import described
from kerasql.udf.query import not_a_table, sentence
from kerasql.udf.running.arriving import arriving, schema_of
from kerasql.udf.running.progress import progress
from kerasql.udf.running.query import Limits
from kerasql.udf.running.results import Kept, Results
from kerasql.udf.running.sessions import Sessions
from kerasql.udf.stats import Stats, counted

POOL = "spark.scheduler.pool"
"""The local property of Spark's that names whose share of the cores a job's tasks take."""
MOST_NODES = 1_000_000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """Why a query ends before its rows are there: its state then, and the sentence."""

    state: str
    error: str


@dataclass(eq=False)
class Run:
    """A query that waits or runs in this process; facts are what its row will say of it."""

    id: str
    user: str
    sql: str
    parameters: Mapping[str, Any]
    fence: Fence | Callable[[], Fence]
    facts: dict[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Stats] = field(default_factory=dict)
    ending: Ending | None = None
    began: float = 0.0
    thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        """Whether Spark has nothing more to do for it; its row may not say so yet."""
        return "state" in self.facts

    def run(self, sessions: Sessions, results: Results, limits: Limits) -> None:
        """Ask Spark and store the rows; how it went is in ``facts``."""
        try:
            self._ask(sessions, results, limits)
            # Another server may have said meanwhile that this one had gone.
            self.facts |= {"state": "finished", "stored": True, "error": None}
            self.facts["expires_at"] = datetime.now(UTC) + timedelta(seconds=limits.keep_s)
        except Exception as error:
            # What was stopped fails in many ways, and none of them says anything.
            ending = self.ending or self._ending(error, sessions)
            # PostgreSQL keeps no text with a NUL, which a query's own error may have.
            self.facts |= {"state": ending.state, "error": NOT_TEXT.sub("\ufffd", ending.error)}
        self.facts["stats"] = {ref: asdict(one) for ref, one in self.stats.items()}

    def stop(self, ending: Ending, context: SparkContext) -> None:
        """Have the query end, whatever it is doing; the first who says so decides how."""
        self.ending = self.ending or ending
        self.cancel(context)

    def cancel(self, context: SparkContext) -> None:
        """Cancel its jobs, also those that it has not begun."""
        # Where Java has ended, its jobs have too.
        with suppress(Py4JNetworkError, ConnectionError):
            if self.began:
                context._jsc.sc().cancelJobGroupAndFutureJobs(self.id)

    def progress(self, context: SparkContext) -> dict[str, Any]:
        """How far it is, and its columns once they are known, as its row has them."""
        known = {name: fact for name, fact in self.facts.items() if name in ("columns", "warnings")}
        return {"progress": asdict(progress(context, self.id, self.began)), **known}

    def _ask(self, sessions: Sessions, results: Results, limits: Limits) -> None:
        fence = self.fence() if callable(self.fence) else self.fence
        session = sessions.of(self.user, fence)
        context = session.spark.sparkContext
        self.began = time.monotonic()
        context.setJobGroup(self.id, f"kerasql query of {self.user}", interruptOnCancel=True)
        context.setLocalProperty(POOL, self.user)
        with counted(context, self.id) as self.stats:
            self._go_on()
            analysed = session.analysed(self.sql, self.parameters)
            self.facts["warnings"] = list(analysed.warnings)
            frame = analysed.frame
            self.facts["columns"] = [
                [one.name, one.dataType.simpleString().upper()] for one in frame.schema.fields
            ]
            schema = schema_of(frame)
            with Kept(schema, limits, in_order=is_sorted(frame)) as kept:
                self._collect(frame, kept, context)
                self._go_on()
                results.write(self.id, kept)
                last = progress(context, self.id, self.began)
                self.facts |= {
                    "rows": kept.rows,
                    "size_bytes": kept.size_bytes,
                    "truncated": kept.truncated,
                    # Spark's bookkeeping may not have heard of the last task.
                    "progress": asdict(replace(last, tasks_done=last.tasks, seconds_left=0.0)),
                }

    def _collect(self, frame: DataFrame, kept: Kept, context: SparkContext) -> None:
        self._go_on()
        rows = arriving(frame)
        try:
            for partition, batch in rows:
                self._go_on()
                if not kept.add(partition, batch):
                    return
        finally:
            # What the job would still find is wanted by nobody.
            self.cancel(context)
            with suppress(PySparkException, Py4JJavaError):
                rows.close()

    def _go_on(self) -> None:
        if self.ending:
            raise InvalidQuery(self.ending.error)

    def _ending(self, error: Exception, sessions: Sessions) -> Ending:
        if not spark_runs(sessions.context):
            return Ending("interrupted", "Spark ended while it ran; run it again")
        if isinstance(error, RegistryUnavailable):
            # Whoever asks need not know where the database is.
            log.error("the query %s lost its database: %s", self.id, error)
            return Ending("failed", "its server could not reach the database; run it again")
        return Ending("failed", self._said(error))

    def _said(self, error: Exception) -> str:
        if isinstance(error, KerasqlError):
            return str(error)
        if isinstance(error, (PySparkException, Py4JJavaError)):
            return sentence(error)
        if isinstance(error, pa.ArrowException):
            return not_a_table(error)
        log.error("the query %s failed for no fault of its own", self.id, exc_info=error)
        return "the server failed, not the query; its log says why"


def is_sorted(frame: DataFrame) -> bool:
    """Whether the rows of a frame may have an order that somebody asked for."""
    spark = frame.sparkSession
    nodes = described(spark, frame._jdf.queryExecution().optimizedPlan(), MOST_NODES)
    return any(node.kind == "Sort" and node.fields[1] is True for node in nodes)


def spark_runs(context: SparkContext) -> bool:
    """Whether Spark takes jobs: nobody has stopped it, and its Java process is there."""
    jsc = context._jsc
    try:
        return jsc is not None and not jsc.sc().isStopped()
    except (Py4JError, OSError):
        return False
