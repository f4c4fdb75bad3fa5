"""What anybody's SQL may be: decided by Spark's own parser and plans before any job starts.

Three plans are looked at, each whole. The *parsed* one says what was written: which relations,
functions and constructs, before Spark looks up a name or works out a constant. The *analysed* one
says what it means: views, keywords that are functions, types. The *optimised* one says what is
joined with what. Everything is compared with lists of what is allowed; a name that is not on
them is refused, and a name of somebody else's reads like one that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from kerasql.registry.errors import InvalidInput, InvalidQuery, spelled
from kerasql.udf.fence import parameters as bound
from kerasql.udf.fence.functions import ALLOWED, REFUSED, TABLE_FUNCTIONS
from kerasql.udf.fence.growth import MOST_PARTITIONS, Growth, amount, check_numbers
from kerasql.udf.fence.patterns import check_like, check_regex
from kerasql.udf.fence.plans import Node, described
from kerasql.udf.fence.syntax import ANALYSED, EXPRESSIONS, HINTS, PARSED, PLAIN_VALUES, WORDED
from kerasql.udf.session import FENCED

MOST_GROUPING_SETS = 128
MOST_EXPANDED = 2_000
MOST_SMALLER = 500
DEEPEST = 200


@dataclass(frozen=True)
class Fence:
    """What one user's SQL may name, and how large it may grow.

    functions are the models' SQL functions (``registry.names.function_names``), relations the
    datasets; None stands for all of the session. rows bounds what ranges, arrays and cross joins
    generate, growth the characters or elements of one value for each that the data hold, paired
    the rows of the small side of a join without ``=``.
    """

    functions: frozenset[str] | None = None
    relations: frozenset[str] | None = None
    characters: int = 100_000
    nodes: int = 10_000
    rows: int = 10_000_000
    growth: int = 1_000_000
    paired: int = 10_000


def fenced(
    spark: SparkSession, sql: str, fence: Fence, *, parameters: Mapping[str, Any] | None = None
) -> DataFrame:
    """The frame of one query that does only what the fence allows; no job has started yet.

    parameters are the values of :name in it (``parameters.plain``); None where it may have none.

    Raises InvalidQuery in one sentence for everything else, and InvalidInput where the session
    is not set as ``session.FENCED`` says. What Spark itself refuses is raised as Spark says it.
    """
    check_session(spark)
    given = sum(len(str(value)) for value in (parameters or {}).values())
    characters = check_text(sql, fence, given)
    session = spark._jsparkSession
    jvm: Any = spark.sparkContext._jvm
    parsed = parse(spark, sql, parameters)
    _Parsed(spark, fence, characters).check(_described(spark, parsed, fence.nodes))
    skip = jvm.org.apache.spark.sql.execution.CommandExecutionMode.SKIP()
    meant = session.sessionState().executePlan(parsed, skip).analyzed()
    _Analysed(spark, fence, characters).check(_described(spark, meant, fence.nodes * 5))
    frame = jvm.org.apache.spark.sql.classic.Dataset.ofRows(session, meant)
    optimised = frame.queryExecution().optimizedPlan()
    check_joins(_described(spark, optimised, fence.nodes * 20), fence)
    return DataFrame(frame, spark)


def check_session(spark: SparkSession) -> None:
    """Raise InvalidInput for a session in which a fence has holes."""
    for name, needed in FENCED.items():
        value = spark.conf.get(name)
        if value is None or value.lower() != needed.lower():
            raise InvalidInput(
                f"SQL cannot be fenced in this session: {name} is {value!r}, not {needed!r}; "
                "start it with kerasql.udf.session.local_session, or set it"
            )


def check_is_query(spark: SparkSession, sql: str) -> None:
    """Refuse, by Spark's own parser and before anything runs, what is not a query at any depth."""
    check_plans(_described(spark, parse(spark, sql), 1_000_000), PARSED)


def check_text(sql: str, fence: Fence, more: int = 0) -> int:
    """Refuse what the parser would take too long to read; how many characters there are.

    more are those of parameters.
    """
    characters = len(sql) + more
    if characters > fence.characters:
        raise InvalidQuery(
            f"the statement has {characters:,} characters, over the limit of {fence.characters:,}; "
            "make long lists a dataset"
        )
    if sql.count("<") > MOST_SMALLER:
        # Types nested 800 deep took 3 s, and twice as deep four times as long (Spark 4.3.0).
        raise InvalidQuery(
            f"the statement has '<' {sql.count('<'):,} times, over the limit of {MOST_SMALLER:,}; "
            "write types that are not nested so deep"
        )
    return characters


def parse(spark: SparkSession, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """One statement as the parser understands it, its parameters replaced by their values."""
    jvm: Any = spark.sparkContext._jvm
    # The parser reads its settings from the session that is active in this thread.
    jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(spark._jsparkSession)
    parser = spark._jsparkSession.sessionState().sqlParser()
    plan = parser.parsePlan(sql)
    if parameters is None:
        return plan
    nodes = described(spark, plan, 1_000_000)
    asked = {node.fields[0] for node in nodes if node.kind == "NamedParameter"}
    bound.check_names(asked, parameters)
    if not asked:
        return plan
    return parser.parsePlanWithParameters(sql, bound.context(spark, parameters))


def written(spark: SparkSession, sql: str, fence: Fence) -> list[Node]:
    """The nodes of a statement as it stands there, children first; none of it is judged yet."""
    check_text(sql, fence)
    return _described(spark, parse(spark, sql), fence.nodes)


def _described(spark: SparkSession, plan: Any, most: int) -> list[Node]:
    nodes = described(spark, plan, most)
    if not nodes:
        raise InvalidQuery(f"the statement has more than {most:,} parts; make long lists a dataset")
    return nodes


def check_plans(nodes: list[Node], allowed: frozenset[str]) -> None:
    """Refuse a plan that does more than read, at any depth."""
    for node in reversed(nodes):
        if node.is_plan and node.kind not in allowed:
            verb = "is" if node is nodes[-1] else "holds"
            raise InvalidQuery(
                "only a query (SELECT, WITH, VALUES, TABLE) is run here; "
                f"this statement {verb} {worded(node.kind)}"
            )


class _Parsed:
    """What was written: no name has been looked up and no constant worked out yet."""

    def __init__(self, spark: SparkSession, fence: Fence, characters: int) -> None:
        self.fence = fence
        self.functions = _lower(fence.functions, lambda: session_functions(spark))
        self.relations = _lower(fence.relations, lambda: session_relations(spark))
        self.expressions = EXPRESSIONS | frozenset(function_classes(spark))
        self.growth = Growth(characters, fence, {})

    def check(self, nodes: list[Node]) -> None:
        """Raise InvalidQuery for the first thing that is not allowed."""
        check_plans(nodes, PARSED)
        for node in nodes:
            if not node.is_plan and node.kind not in self.expressions:
                raise not_here(node.kind)
        check_depth(nodes)
        for node in nodes:
            self.check_node(node)
            self.growth.add(node)
        self.check_relations(nodes[-1])

    def check_node(self, node: Node) -> None:
        if node.kind == "UnresolvedFunction":
            self.check_function(node.fields[0])
        elif node.kind == "UnresolvedGenerator":
            self.check_function(node.fields[0].split("."))
        elif node.kind == "UnresolvedTableValuedFunction":
            self.check_table_function(node.fields[0])
        elif node.kind == "UnresolvedHint":
            check_hint(node)
        elif node.kind == "Aggregate":
            check_grouping_sets(node)
        elif node.kind == "UnresolvedInlineTable":
            check_values(node)
        elif node.kind == "UnresolvedWith" and node.fields[2] is True:
            raise InvalidQuery(
                "WITH RECURSIVE is not run here: nobody knows where it ends; join with range(…)"
            )
        check_numbers(node, self.fence.growth)
        check_patterns(node)

    def check_function(self, parts: list[str]) -> None:
        *before, name = [part.lower() for part in parts]
        if before in ([], ["builtin"], ["system", "builtin"]) and name in ALLOWED:
            return
        if before in ([], ["session"], ["system", "session"]) and name in self.functions:
            return
        raise no_function(".".join(parts), before, name, self.functions)

    def check_table_function(self, parts: list[str]) -> None:
        *before, name = [part.lower() for part in parts]
        if before not in ([], ["builtin"], ["system", "builtin"]) or name not in TABLE_FUNCTIONS:
            raise no_function(".".join(parts), before, name, TABLE_FUNCTIONS)

    def check_relations(self, root: Node) -> None:
        """Every name after FROM is a dataset, or what a WITH around it defines."""
        parts = self.expanded(root, {})
        if parts > MOST_EXPANDED:
            raise InvalidQuery(
                f"with each name of a WITH written out the statement has {amount(parts)} relations"
                f", over the limit of {MOST_EXPANDED:,}; use each name fewer times"
            )

    def expanded(self, node: Node, scope: Mapping[str, int]) -> int:
        """How many relations there are once Spark has put definitions where they are named.

        It does so while it analyses: 30 definitions that each read the last one twice are 2³⁰.
        """
        if node.kind == "UnresolvedRelation":
            self.check_relation(node, scope)
            return scope.get(node.fields[0][0].lower(), 1) if len(node.fields[0]) == 1 else 1
        if node.kind == "UnresolvedWith":
            child, definitions = node.fields[:2]
            for name, definition, *_ in definitions:
                scope = {**scope, name.lower(): self.expanded(definition, scope)}
            return self.expanded(child, scope)
        parts = int(node.is_plan)
        for below in node.children:
            parts += self.expanded(below, scope)
        return parts

    def check_relation(self, node: Node, scope: Mapping[str, int]) -> None:
        parts, options, streaming = node.fields[0], *node.fields[1:3]
        if len(parts) == 1 and parts[0].lower() in {*scope, *self.relations}:
            if options:
                raise InvalidQuery(f"the dataset {parts[0]!r} takes no options; leave WITH (…) out")
            if streaming is True:
                raise InvalidQuery(f"the dataset {parts[0]!r} is no stream; leave STREAM out")
            return
        raise no_dataset(".".join(parts), self.relations)


class _Analysed:
    """What it means: every name is looked up, and every expression has its type."""

    def __init__(self, spark: SparkSession, fence: Fence, characters: int) -> None:
        self.functions = _lower(fence.functions, lambda: session_functions(spark))
        self.relations = _lower(fence.relations, lambda: session_relations(spark))
        names = function_classes(spark)
        self.expressions = EXPRESSIONS | frozenset(names)
        self.growth = Growth(characters, fence, names)

    def check(self, nodes: list[Node]) -> None:
        """Raise InvalidQuery for the first thing that is not allowed."""
        check_plans(nodes, ANALYSED)
        for node in nodes:
            if node.kind == "View":
                name, temporary = node.fields
                if temporary is not True or name.lower() not in self.relations:
                    raise no_dataset(name, self.relations)
            elif not node.is_plan:
                self.check_expression(node)
            self.growth.add(node)

    def check_expression(self, node: Node) -> None:
        if node.kind == MODEL_CALL:
            if node.fields[0].lower() not in self.functions:
                raise no_function(node.fields[0], [], node.fields[0], self.functions)
        elif node.kind not in self.expressions:
            raise not_here(node.kind)


MODEL_CALL = "PythonUDF"


def check_depth(nodes: list[Node]) -> None:
    """Refuse what Spark could only read with a very deep stack."""
    depths: dict[Node, int] = {}
    for node in nodes:
        depths[node] = 1 + max((depths[child] for child in node.children), default=0)
        if depths[node] > DEEPEST:
            raise InvalidQuery(TOO_DEEP)


TOO_DEEP = (
    f"the statement is nested more than {DEEPEST} deep; write long sums and unions in parts, "
    "or make their rows a dataset"
)


def check_hint(node: Node) -> None:
    """Hints may spread rows over partitions and choose a join that sorts; no more."""
    name, parameters = node.fields[0].upper(), node.fields[1]
    if name not in HINTS:
        raise InvalidQuery(f"the hint {name} is not allowed here; there is {spelled(HINTS)}")
    for parameter in parameters:
        number = parameter.fields[0] if _is_literal(parameter) else parameter
        if isinstance(number, int) and number > MOST_PARTITIONS:
            raise InvalidQuery(
                f"the hint {name} asks for {number:,} partitions, over the limit of "
                f"{MOST_PARTITIONS:,}; ask for fewer"
            )


def check_grouping_sets(node: Node) -> None:
    """CUBE makes 2ⁿ groups of each row."""
    sets = 1
    for child in node.children:
        if child.kind in ("Cube", "Rollup", "GroupingSets"):
            given = len(child.fields[0])
            sets *= {"Cube": 2 ** min(given, 30), "Rollup": given + 1}.get(child.kind, given)
    if sets > MOST_GROUPING_SETS:
        raise InvalidQuery(
            f"CUBE, ROLLUP and GROUPING SETS make {sets:,} grouping sets here, over the limit of "
            f"{MOST_GROUPING_SETS}; name those you need in GROUPING SETS"
        )


def check_values(node: Node) -> None:
    """Rows of VALUES are worked out while Spark analyses the query, so they are plain."""
    left = node.children
    while left:
        one = left.pop()
        name = one.fields[0][-1].lower() if one.kind == "UnresolvedFunction" else one.kind
        if name not in PLAIN_VALUES:
            raise InvalidQuery(
                f"VALUES takes plain values, not {worded(name)}; work out others in SELECT"
            )
        left += one.children


REGEX = {
    "regexp": (1,),
    "regexp_count": (1,),
    "regexp_extract": (1,),
    "regexp_extract_all": (1,),
    "regexp_instr": (1,),
    "regexp_like": (1,),
    "regexp_replace": (1,),
    "regexp_substr": (1,),
    "rlike": (1,),
    "split": (1,),
    "str_to_map": (1, 2),
    "parse_url": (2,),
    "try_parse_url": (2,),
}
"""Where a function takes a regular expression."""
OPERATORS = {"RLike": "rlike", "Like": "like", "ILike": "ilike"}
LIKE_MANY = {"LikeAll", "LikeAny", "NotLikeAll", "NotLikeAny"}


def check_patterns(node: Node) -> None:
    """Patterns are written out, and none of them can take for ever.

    Already as they are written: analysis works out constants, patterns in them too.
    """
    if node.kind == "UnresolvedFunction":
        name, arguments = node.fields[0][-1].lower(), node.fields[1]
    else:
        name, arguments = OPERATORS.get(node.kind), node.children
    try:
        for position in REGEX.get(name, ()):
            if position < len(arguments):
                check_regex(_text(name, arguments[position]))
        if name in ("like", "ilike") and len(arguments) > 1:
            check_like(_text(name, arguments[1]), _escape(name, node, arguments))
        elif node.kind in LIKE_MANY:
            for pattern in node.fields[1]:
                check_like(pattern or "")
    except InvalidInput as error:
        raise InvalidQuery(str(error)) from error


def _escape(name: str, node: Node, arguments: list[Node]) -> str:
    if node.kind in OPERATORS:
        return str(node.fields[2])
    return _text(name, arguments[2]) if len(arguments) > 2 else "\\"


def _text(name: str, pattern: Node) -> str:
    while pattern.kind in ("Cast", "Collate"):
        pattern = pattern.children[0]
    if not _is_literal(pattern):
        raise InvalidInput(
            f"the pattern of {name} must be written out as a text; to look for a column's value "
            "there is contains(text, part), startswith(text, part), endswith(text, part)"
        )
    return str(pattern.fields[0] or "")


def _is_literal(value: Any) -> bool:
    return isinstance(value, Node) and value.kind == "Literal"


def check_joins(nodes: list[Node], fence: Fence) -> None:
    """Refuse to pair every row with every row, unless one side is provably small.

    In the optimised plan conditions of WHERE have become those of the join they belong to.
    """
    below: dict[Node, frozenset[int]] = {}
    pairs: dict[Node, int] = {}
    for node in nodes:
        children = node.children
        ids = (below[child] for child in children)
        below[node] = frozenset({node.id} if node.id is not None else ()).union(*ids)
        pairs[node] = max((pairs[child] for child in children), default=1)
        if node.kind == "Join" and not _is_semi(node) and not _compares(node, below):
            left, right = node.fields[:2]
            rows = [side.rows for side in (left, right) if side.rows is not None]
            small = min(rows, default=None)
            pairs[node] = pairs[left] * pairs[right] * (small or 1)
            if small is None or pairs[node] > fence.paired:
                raise InvalidQuery(
                    "a join here pairs every row of one side with every row of the other; compare "
                    "their columns with =, or give one side a LIMIT of at most "
                    f"{fence.paired:,} rows"
                )


def _is_semi(node: Node) -> bool:
    """EXISTS, IN and their opposites: a row comes out once however many it is compared with."""
    return str(node.fields[2]).startswith(("LeftSemi", "LeftAnti", "ExistenceJoin"))


def _compares(join: Node, below: Mapping[Node, frozenset[int]]) -> bool:
    """Whether a join's condition has a part ``left = right``."""
    left, right = (below[side] for side in join.fields[:2])
    conditions = list(join.fields[3])
    while conditions:
        condition = conditions.pop()
        if condition.kind == "And":
            conditions += condition.children
        elif condition.kind in ("EqualTo", "EqualNullSafe"):
            one, other = (below[side] for side in condition.fields[:2])
            if (
                one
                and other
                and ((one <= left and other <= right) or (one <= right and other <= left))
            ):
                return True
    return False


def no_dataset(name: str, relations: Iterable[str]) -> InvalidQuery:
    """The sentence for a dataset that does not exist, or not for this user."""
    known = sorted(relations)
    there = f"there is {spelled(known)}" if known else "there is none for you"
    return InvalidQuery(f"no dataset {name!r}; {there}")


def no_function(asked: str, before: list[str], name: str, functions: Iterable[str]) -> InvalidQuery:
    """The sentence for a function that is refused, does not exist, or not for this user."""
    from difflib import get_close_matches

    if before in ([], ["builtin"], ["system", "builtin"]) and name in REFUSED:
        return InvalidQuery(f"the function {name}() is not allowed here: {REFUSED[name]}")
    plain = [n for n in functions if not n.startswith("try_") and not n.endswith("_scores")]
    close = get_close_matches(name, functions, n=3, cutoff=0.6)
    if not plain:
        return InvalidQuery(f"no function {asked!r}; there is no model for you")
    return InvalidQuery(f"no function {asked!r}; there is {spelled(close or sorted(plain))}")


def not_here(kind: str) -> InvalidQuery:
    """The sentence for an expression that is on no list."""
    return InvalidQuery(
        f"{worded(kind)} is not allowed here; a query is made of its datasets' columns, "
        "plain values and functions that depend on nothing else"
    )


def worded(kind: str) -> str:
    """What an analyst would call a class of Spark's, or its plain name."""
    return WORDED.get(kind, kind.rpartition(".")[2])


def session_functions(spark: SparkSession) -> frozenset[str]:
    """The functions that were deployed into the session."""
    registry = spark._jsparkSession.sessionState().functionRegistry()
    text = registry.listFunction().mkString(" ").replace("`", "")
    return frozenset(re.findall(r"session\.(\w+)", text))


def session_relations(spark: SparkSession) -> frozenset[str]:
    """The temporary views of the session."""
    views = spark._jsparkSession.sessionState().catalog().listLocalTempViews("*")
    names = views.mkString(" ").replace("`", "").split()
    return frozenset(name.rpartition(".")[2] for name in names)


def _lower(names: frozenset[str] | None, otherwise: Any) -> frozenset[str]:
    return frozenset(map(str.lower, otherwise() if names is None else names))


def function_classes(spark: SparkSession) -> Mapping[str, str]:
    """The classes of the allowed functions' expressions, and a name of each."""
    return _function_classes(spark.sparkContext._gateway)


@lru_cache(maxsize=1)
def _function_classes(gateway: Any) -> Mapping[str, str]:
    registry = gateway.jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry.expressions()
    classes = {}
    for name in sorted(ALLOWED):
        found = registry.get(name)
        if found.isDefined():
            classes[found.get()._1().getClassName().rpartition(".")[2]] = name
    return classes
