"""Spark sessions of users: each holds what its fence allows and a statement has named."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from kerasql.registry.errors import InvalidQuery, NotFound
from kerasql.registry.store import Registry
from kerasql.registry.version import Dataset
from kerasql.udf.datasets import create_view
from kerasql.udf.deploy import Plans, chosen_functions, register_builders
from kerasql.udf.fence.check import Fence, fenced, written
from kerasql.udf.fence.plans import Node
from kerasql.udf.query import sentence
from kerasql.udf.running.aliases import Trap, traps

MOST_SESSIONS = 64
VIEW_S = 10
"""How long a view is used: making one lists the dataset's files, and new ones are to be seen."""


@dataclass(frozen=True)
class Analysed:
    """A statement that may run: its frame, and what its author should know."""

    frame: DataFrame
    warnings: tuple[str, ...]


class Sessions:
    """One Spark session for each user and fence; the least recently used leaves."""

    def __init__(self, spark: SparkSession, registry: Registry) -> None:
        self.context = spark.sparkContext
        self._spark, self._registry = spark, registry
        self._sessions: OrderedDict[tuple[str, Fence], Session] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, user: str, fence: Fence) -> Session:
        """The session of a user behind a fence, new or used before."""
        with self._lock:
            key = (user, fence)
            if key not in self._sessions:
                self._sessions[key] = Session(self._spark.newSession(), self._registry, fence)
            self._sessions.move_to_end(key)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
            return self._sessions[key]


class Session:
    """A Spark session with the functions and views that statements have named so far.

    A thousand models take a second to deploy, and a dataset's view a listing of its files: so each
    is there once a statement names it, if the fence allows it.
    """

    def __init__(self, spark: SparkSession, registry: Registry, fence: Fence) -> None:
        self.spark, self._registry, self._fence = spark, registry, fence
        self._plans = Plans(spark, registry)
        self._lock = threading.Lock()
        self.functions: dict[str, tuple[str, str]] = {}
        self._views: dict[str, tuple[Dataset, float]] = {}

    def analysed(self, sql: str, parameters: Mapping[str, Any]) -> Analysed:
        """A statement within the fence. Raises InvalidQuery in one sentence for any other."""
        try:
            fence = self._whole()
            nodes = written(self.spark, sql, fence)
            with self._lock:
                self._deploy(_functions(nodes) & _lower(fence.functions))
                self._read(_relations(nodes) & _lower(fence.relations))
        except (PySparkException, Py4JJavaError) as error:
            raise InvalidQuery(sentence(error)) from error

        def runs(other: str) -> bool:
            try:
                fenced(self.spark, other, fence, parameters=parameters)
            except (InvalidQuery, PySparkException, Py4JJavaError):
                return False
            return True

        try:
            frame = fenced(self.spark, sql, fence, parameters=parameters)
        except (PySparkException, Py4JJavaError) as error:
            said = sentence(error)
            if missing := _unresolved(error):
                trapped = [trap for trap in traps(sql, nodes, runs) if trap.name == missing]
                said = "; ".join([said, *(_unseen(trap) for trap in trapped[:1])])
            raise InvalidQuery(said) from error
        return Analysed(frame, tuple(_taken(trap) for trap in traps(sql, nodes, runs)))

    def _whole(self) -> Fence:
        """The fence with the names that None stands for."""
        fence = self._fence
        if fence.functions is None:
            fence = replace(fence, functions=frozenset(chosen_functions(self._registry, None)))
        if fence.relations is None:
            names = frozenset(dataset.name for dataset in self._registry.datasets())
            fence = replace(fence, relations=names)
        return fence

    def _deploy(self, names: Iterable[str]) -> None:
        missing = set(names) - set(self.functions)
        if not missing:
            return
        every = chosen_functions(self._registry, None)
        functions = {name: every[name] for name in missing & set(every)}
        register_builders(self.spark, self._registry, functions, self._plans)
        self.functions.update(functions)

    def _read(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                dataset = self._registry.dataset(name)
            except NotFound:
                # The name of a WITH, or of a dataset that is no more.
                self.spark.catalog.dropTempView(name)
                self._views.pop(name, None)
                continue
            known, made = self._views.get(name, (None, 0.0))
            if known != dataset or time.monotonic() - made > VIEW_S:
                create_view(self.spark, dataset)
                self._views[name] = dataset, time.monotonic()


def _lower(names: frozenset[str] | None) -> frozenset[str]:
    return frozenset(map(str.lower, names or ()))


def _functions(nodes: list[Node]) -> frozenset[str]:
    calls = [node for node in nodes if node.kind == "UnresolvedFunction"]
    return frozenset(node.fields[0][-1].lower() for node in calls)


def _relations(nodes: list[Node]) -> frozenset[str]:
    relations = [node for node in nodes if node.kind == "UnresolvedRelation"]
    return frozenset(node.fields[0][-1].lower() for node in relations)


def _unresolved(error: BaseException) -> str | None:
    """The name of a column that Spark looked for and did not find."""
    if not isinstance(error, AnalysisException):
        return None
    if not (error.getCondition() or "").startswith("UNRESOLVED_COLUMN"):
        return None
    return (error.getMessageParameters() or {}).get("objectName", "").strip("`").lower()


def _unseen(trap: Trap) -> str:
    return f"WHERE cannot see the alias {trap.name!r} of its SELECT; {trap.sentence}"


def _taken(trap: Trap) -> str:
    return (
        f"WHERE compares the column {trap.name!r} that is read, not the alias {trap.name!r} of its "
        f"SELECT; {trap.sentence}"
    )
