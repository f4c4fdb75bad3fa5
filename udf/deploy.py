"""Name -> version -> Plan -> SQL function, at the moment Spark analyses a query.

Spark looks a function up in the session's function registry and calls its builder with the
argument expressions. Ours is a Python object that Spark calls back: it asks the registry which
version the name means *now*, checks the arguments' types, and only then moves artifacts. So
deploying a thousand names costs a second, and a moved alias is seen by the next query.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession
from pyspark.sql.types import _parse_datatype_json_string

from kerasql.registry.errors import InvalidInput, KerasqlError, NotFound, RegistryUnavailable
from kerasql.registry.names import parse_ref
from kerasql.registry.store import Registry
from kerasql.registry.version import Version
from kerasql.udf.arguments import check_types, ordered
from kerasql.udf.artifacts import executors_files, is_one_process
from kerasql.udf.connect import deploy_to_connect, named_refs
from kerasql.udf.datasets import create_view
from kerasql.udf.functions import arrow_function, is_connect
from kerasql.udf.plan import Plan
from kerasql.udf.planning import plan_of
from kerasql.udf.predict import begin, predict, warm
from kerasql.udf.stats import counter

UNREACHED = "the registry's database or artifacts cannot be reached now; ask again"


@dataclass(frozen=True)
class Deployment:
    """What a session can call and read now: SQL functions and datasets, by name.

    unreadable holds the datasets that could not be made views, and why.
    """

    functions: tuple[str, ...]
    datasets: tuple[str, ...]
    unreadable: Mapping[str, str]


def deploy(
    spark: SparkSession,
    registry: Registry,
    *,
    refs: Iterable[str] | None = None,
    datasets: Iterable[str] | None = None,
) -> Deployment:
    """Make the registry's models callable in a Spark session, and its datasets readable.

    Every model's names, or those of refs: ``flowers`` (all its names), ``flowers@1``
    (``flowers_v1``), ``flowers@challenger`` (``flowers_challenger``). datasets are
    the names of those to read, all of them where none are given. No artifact moves before a query
    needs it. Names of versions registered later need another ``deploy``; a moved alias does not.
    In a Spark Connect session refs are required, their artifacts are sent at once, and a moved
    alias needs another ``deploy`` too.

    >>> kerasql.deploy(spark, registry)
    >>> spark.sql("SELECT flowers(image) AS label, count(*) FROM images GROUP BY 1").show()

    Raises NotFound for a ref or a dataset nobody registered.
    """
    if is_connect(spark):
        functions = chosen_functions(registry, named_refs(refs))
        deploy_to_connect(spark, registry, functions)
    else:
        functions = chosen_functions(registry, refs)
        register_builders(spark, registry, functions)
    readable, unreadable = [], {}
    named = None if datasets is None else map(registry.dataset, datasets)
    for dataset in registry.datasets() if named is None else named:
        try:
            create_view(spark, dataset)
            readable.append(dataset.name)
        except InvalidInput as error:
            unreadable[dataset.name] = str(error)
    return Deployment(tuple(functions), tuple(readable), unreadable)


def register_builders(
    spark: SparkSession,
    registry: Registry,
    functions: Mapping[str, tuple[str, str]],
    plans: Plans | None = None,
) -> None:
    """Let Spark's analyser ask us what each name means, at every query.

    plans are those of an earlier call for the same session, so that none is made twice.
    """
    session = _FunctionRegistry(spark)
    plans = plans or Plans(spark, registry)
    for name, (ref, variant) in functions.items():
        session.add(name, ref, ModelFunction(name, ref, variant, plans))


def chosen_functions(registry: Registry, refs: Iterable[str] | None) -> dict[str, tuple[str, str]]:
    """The SQL functions of the refs, or of every model: name -> (ref, variant)."""
    every = registry.functions()
    if refs is None:
        return {name: call for functions in every.values() for name, call in functions.items()}
    chosen = dict[str, tuple[str, str]]()
    for asked in [refs] if isinstance(refs, str) else refs:
        ref = parse_ref(asked)
        if ref.name not in every:
            raise NotFound("model", ref.name, sorted(every), "register one first")
        functions = every[ref.name]
        if "@" in asked:
            functions = {n: call for n, call in functions.items() if call[0] == str(ref)}
            if not functions:
                known = sorted({call[0] for call in every[ref.name].values()})
                raise NotFound("version", asked, known, "register one first")
        chosen.update(functions)
    return chosen


class ModelFunction:
    """One SQL name, as Spark's analyser calls it: argument expressions in, an expression out."""

    def __init__(self, name: str, ref: str, variant: str, plans: Plans) -> None:
        self.name, self.ref, self.variant, self.plans = name, ref, variant, plans

    def apply(self, expressions: JavaObject) -> JavaObject:
        """The Python function's expression over the arguments in the signature's order."""
        try:
            return self.plans.expression(self, expressions)
        except KerasqlError as error:
            # An unchecked Java exception is what crosses back as one clear sentence. Who asks need
            # not know where the database is.
            said = UNREACHED if isinstance(error, RegistryUnavailable) else str(error)
            sentence = self.plans.jvm.java.lang.IllegalArgumentException(said)
            raise Py4JJavaError(said, sentence) from error

    class Java:
        """The interface py4j shows to Spark."""

        implements = ("scala.Function1",)


@dataclass
class Plans:
    """The plans of one deployment and their Spark functions, made when first called."""

    spark: SparkSession
    registry: Registry
    plans: dict[Any, Plan] = field(default_factory=dict)
    functions: dict[Any, JavaObject] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def jvm(self) -> Any:
        """The driver's Java side."""
        return self.spark.sparkContext._jvm

    def expression(self, call: ModelFunction, expressions: JavaObject) -> JavaObject:
        """What a call becomes: the version that its name means now, over its arguments."""
        arguments = [_argument(expressions.apply(i)) for i in range(expressions.size())]
        version = self.registry.get(call.ref)
        scalar = columns_called(version, [name for name, _ in arguments])
        key = (call.name, version.ref, scalar)
        with self.lock:
            if key not in self.plans:
                self.plans[key] = plan_of(self.spark, version, call.variant, scalar=scalar)
            plan = self.plans[key]
        placed = ordered(call.name, plan.arguments, arguments)
        check_types(call.name, plan, [_type_of(expression) for expression in placed])
        with self.lock:
            # Only now, for a call that fits, do artifacts move.
            if key not in self.functions:
                self.functions[key] = self._function(call.name, version, plan)
            function = self.functions[key]
        return function.builder(self.jvm.PythonUtils.toSeq(placed))

    def _function(self, name: str, version: Version, plan: Plan) -> JavaObject:
        context = self.spark.sparkContext
        early = is_one_process(context)
        if early:
            # The driver is the executor: its server starts while artifacts are copied, and loads
            # them while Spark plans the query.
            owner = self.jvm.java.lang.ProcessHandle.current().pid()
            threading.Thread(target=begin, args=(plan, owner), daemon=True).start()
        files = executors_files(context, self.registry, version, plan.shipped)
        if early:
            threading.Thread(target=warm, args=(plan, files, owner), daemon=True).start()
        answers = partial(predict, plan, files, counter(context))
        function = arrow_function(self.spark, answers, returns=plan.returns, name=name)
        return function._judf


def columns_called(version: Version, names: Sequence[str | None]) -> bool:
    """Whether a call gives a tabular input column by column rather than as one array."""
    if not version.columns:
        return False
    (name, *others) = names or [None, None]
    return bool(others) or (name is not None and name != version.signature.inputs[0].name.lower())


def _argument(expression: JavaObject) -> tuple[str | None, JavaObject]:
    if expression.getClass().getSimpleName() == "NamedArgumentExpression":
        return expression.key().lower(), expression.value()
    return None, expression


def _type_of(expression: JavaObject) -> Any:
    return _parse_datatype_json_string(expression.dataType().json())


class _FunctionRegistry:
    """A session's function registry: temporary functions, gone with the session."""

    def __init__(self, spark: SparkSession) -> None:
        context = spark.sparkContext
        gateway: Any = context._gateway
        ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
        gateway.callback_server_parameters.propagate_java_exceptions = True
        jvm: Any = context._jvm
        self._registry = spark._jsparkSession.sessionState().functionRegistry()
        catalyst = jvm.org.apache.spark.sql.catalyst
        self._identifier = catalyst.FunctionIdentifier
        self._info = catalyst.expressions.ExpressionInfo
        self._session = jvm.scala.Some("session")
        self._system = jvm.scala.Some("system")

    def add(self, name: str, ref: str, function: ModelFunction) -> None:
        """Register or replace one temporary function."""
        identifier = self._identifier(name, self._session, self._system)
        usage = f"{name}(…) - Predicts with the Keras model {ref}; see: kerasql show {ref}"
        info = self._info("kerasql", None, name, usage, "")
        self._registry.registerFunction(identifier, info, function)
