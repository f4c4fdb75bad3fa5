"""How much larger than its data a query can get, bounded from what is written in it.

A few characters of SQL can ask for more than a machine holds: ``repeat('x', 2000000000)``,
``a || a`` a hundred times over, ten arrays exploded one after the other. So three numbers are
carried up through a plan: the size of one value (characters or elements for each that the data
hold), the rows a relation makes of each that a dataset has, and how often expressions are
repeated when Spark puts them into one another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Protocol

from kerasql.registry.errors import InvalidQuery, spelled
from kerasql.udf.fence.plans import Node

MOST_REPEATED = 20_000
MOST_SLIDES = 100
MOST_PARTITIONS = 1_000
MOST_TOTAL = 1_000_000_000
MOST_EXACT = 1_000_000
LONGEST_OPTION = 40
OWN = 10

FIXED = {
    "boolean", "byte", "date", "double", "float", "integer", "long", "short", "time", "timestamp",
    "timestamp_ntz", "tinyint", "smallint", "bigint", "int", "void", "interval",
}  # fmt: skip
"""Types whose values cannot grow."""

NUMBERS: dict[str, dict[int, int | None]] = {
    "approx_percentile": {2: 1_000_000},
    "approx_top_k": {1: 10_000, 2: 10_000},
    "array_insert": {1: None},
    "array_repeat": {1: None},
    "bround": {1: 1_000},
    "ceil": {1: 1_000},
    "ceiling": {1: 1_000},
    "floor": {1: 1_000},
    "format_number": {1: 1_000},
    "histogram_numeric": {1: 10_000},
    "lpad": {1: None},
    "max_by": {2: 10_000},
    "min_by": {2: 10_000},
    "percentile_approx": {2: 1_000_000},
    "randstr": {0: None},
    "repeat": {1: None},
    "round": {1: 1_000},
    "rpad": {1: None},
    "space": {0: None},
    "stack": {0: 1_000},
}
"""Arguments by which memory is taken: written out, and at most so large (None: the growth)."""

WRITTEN = {
    "from_csv": 1, "from_json": 1, "schema_of_csv": 0, "schema_of_json": 0, "try_variant_get": 2,
    "variant_get": 2,
}  # fmt: skip
"""Arguments that name a type."""

OPTIONS_AT = {
    "from_csv": 2, "from_json": 2, "schema_of_csv": 1, "schema_of_json": 1, "to_csv": 1,
    "to_json": 1,
}  # fmt: skip
"""Arguments that hold options."""

OPTIONS = {
    "allowbackslashescapinganycharacter", "allowcomments", "allownonnumericnumbers",
    "allownumericleadingzeros", "allowsinglequotes", "allowunquotedcontrolchars",
    "allowunquotedfieldnames", "columnnameofcorruptrecord", "comment", "dateformat", "delimiter",
    "dropfieldifallnull", "emptyvalue", "escape", "escapequotes", "ignoreleadingwhitespace",
    "ignorenullfields", "ignoretrailingwhitespace", "locale", "mode", "nanvalue", "negativeinf",
    "nullvalue", "positiveinf", "prefersdecimal", "pretty", "primitivesasstring", "quote",
    "quoteall", "sep", "timestampformat", "timestampntzformat", "timezone",
}  # fmt: skip
"""Those that take no memory: ``maxColumns`` makes an array of so many for each row."""

PRODUCTS = {
    "array_join", "concat_ws", "map_zip_with", "regexp_replace", "replace", "transform",
    "transform_keys", "transform_values", "zip_with",
}  # fmt: skip
"""Functions whose value can be as large as their arguments' sizes multiplied."""

LONGER = {
    "base64": 2, "decode": 2, "encode": 4, "hex": 2, "quote": 2, "to_base32": 2, "to_csv": 2,
    "to_json": 6, "try_url_decode": 2, "url_decode": 2, "url_encode": 9, "upper": 3, "lower": 3,
    "ucase": 3, "lcase": 3, "initcap": 3, "to_varchar": 2, "to_char": 2, "mask": 2,
}  # fmt: skip
"""Functions whose value can be so many times as large as their arguments."""

COLLECTS = {
    "array_agg", "collect_list", "collect_set", "collect_union", "listagg", "string_agg",
}  # fmt: skip
EXACT = {"Median", "Mode", "Percentile", "PercentileCont", "PercentileDisc"}
"""Classes of aggregates that keep every distinct value in memory."""

HIGHER = {"transform", "transform_keys", "transform_values", "zip_with", "map_zip_with"}
VARIABLES = {"UnresolvedNamedLambdaVariable", "NamedLambdaVariable"}
UNITS = {
    "microsecond": 1e-6, "millisecond": 1e-3, "second": 1, "minute": 60, "hour": 3_600,
    "day": 86_400, "week": 604_800, "month": 2_592_000, "year": 31_536_000,
}  # fmt: skip


class Limits(Protocol):
    """The part of a Fence that is about size."""

    @property
    def rows(self) -> int: ...  # noqa: D102

    @property
    def growth(self) -> int: ...  # noqa: D102


class Growth:
    """The three numbers of every node seen so far; nodes are added children first."""

    def __init__(self, characters: int, limits: Limits, names: Mapping[str, str]) -> None:
        self.characters, self.limits, self.names = characters, limits, names
        self.sizes: dict[Node, float] = {}
        self.rows: dict[Node, float] = {}
        self.repeated: dict[Node, float] = {}
        self.columns: dict[int, tuple[float, float]] = {}
        self.relations: dict[Any, float] = {}
        self.collecting: set[Node] = set()
        self.exact: set[Node] = set()

    def add(self, node: Node) -> None:
        """Raise InvalidQuery where a node makes too much."""
        if node.is_plan:
            self._add_plan(node)
        else:
            self._add_expression(node)

    def _add_expression(self, node: Node) -> None:
        name = name_of(node, self.names)
        if name in ("aggregate", "reduce"):
            check_accumulator(node)
        size = self._size(node, name)
        if size > self.limits.growth:
            raise InvalidQuery(
                f"{f'{name}()' if name else 'an expression'} can make {amount(size)} "
                "characters or elements of one value here, over the limit of "
                f"{self.limits.growth:,}; repeat less"
            )
        repeated = self._repeated(node)
        if repeated > MOST_REPEATED:
            raise InvalidQuery(
                f"columns that use columns repeat the same expressions {amount(repeated)} times "
                f"here, over the limit of {MOST_REPEATED:,}; use each column fewer times"
            )
        self.sizes[node], self.repeated[node] = size, repeated
        if name in COLLECTS or any(child in self.collecting for child in node.children):
            self.collecting.add(node)
        if node.kind in EXACT or any(child in self.exact for child in node.children):
            self.exact.add(node)
        if node.id is not None and node.kind != "AttributeReference":
            self.columns[node.id] = (size, repeated)

    def _size(self, node: Node, name: str | None) -> float:
        if is_fixed(node.type):
            return 1
        if node.kind == "Literal":
            return self.characters if node.type == "binary" else max(1, len(str(node.fields[0])))
        if node.kind == "AttributeReference" and node.id in self.columns:
            return self.columns[node.id][0]
        return size_of(node, name, self)

    def _repeated(self, node: Node) -> float:
        if node.kind in ("AggregateExpression", "WindowExpression"):
            return 1
        if node.kind == "AttributeReference" and node.id in self.columns:
            return self.columns[node.id][1]
        return 1 + sum(self.repeated.get(child, 0) for child in node.children)

    def _add_plan(self, node: Node) -> None:
        rows = self._rows(node)
        if rows > self.limits.rows:
            raise InvalidQuery(
                f"the query makes {amount(rows)} rows of each row of its datasets, over the limit "
                f"of {self.limits.rows:,}; generate fewer"
            )
        self.rows[node] = rows
        values = sum(self.sizes.get(child, 0) for child in node.children if not child.is_plan)
        if rows > 1 and rows * values > MOST_TOTAL:
            raise InvalidQuery(
                f"the query makes {amount(rows * values)} characters or elements in all of each "
                f"row of its datasets, over the limit of {MOST_TOTAL:,}; generate fewer"
            )
        if node.kind == "CTERelationDef":
            self.relations[node.fields[1]] = rows
        if node.kind == "LocalRelation":
            for column in node.children:
                self.columns[column.id or 0] = (float(self.characters), 1)
        below = [self.rows[child] for child in node.children if child.is_plan]
        if max(below, default=1) > MOST_EXACT and any(c in self.exact for c in node.children):
            raise InvalidQuery(
                "median, mode and percentiles keep every value in memory, and the query makes "
                f"{amount(max(below))} rows of each row of its datasets, over the limit of "
                f"{MOST_EXACT:,} for them; use approx_percentile, or generate fewer"
            )
        for column in node.children:
            if column in self.collecting and column.id is not None:
                size = self.sizes[column] * math.prod(below)
                if size > self.limits.growth * 10:
                    raise InvalidQuery(
                        f"one value collects {amount(size)} characters or elements; collect fewer"
                    )
                self.columns[column.id] = (size, self.repeated[column])

    def _rows(self, node: Node) -> float:
        below = [self.rows[child] for child in node.children if child.is_plan]
        if node.kind == "Range":
            start, end, step, partitions = node.fields[:4]
            if (given := next(iter(partitions or []), 0)) > MOST_PARTITIONS:
                raise InvalidQuery(
                    f"range() is asked for {given:,} partitions, over the limit of "
                    f"{MOST_PARTITIONS:,}; ask for fewer"
                )
            return float(max(0, math.ceil((end - start) / (step or 1))))
        if node.kind == "LocalRelation":
            return float(max(1, node.fields[-1]))
        if node.kind == "CTERelationRef":
            return self.relations.get(node.fields[0], 1)
        if node.kind in ("Union", "Except", "Intersect"):
            return sum(below)
        if node.kind == "WithCTE":
            return self.rows[node.fields[0]]
        if node.kind == "Expand":
            return below[0] * max(1, len(node.fields[0]))
        if node.kind == "Generate":
            return below[0] * self._generated(node.fields[0])
        if node.kind == "LateralJoin":
            lateral = [self.rows.get(plan, 1) for plan in node.fields[1].children if plan.is_plan]
            return math.prod([*below, *lateral])
        if node.kind == "Join" and not str(node.fields[2]).startswith(("LeftSemi", "LeftAnti")):
            return math.prod(below)
        rows = max(below, default=1)
        return min(rows, node.rows) if node.rows else rows

    def _generated(self, generator: Node) -> float:
        """The rows that a generator makes of one."""
        # An array of the data's own is taken for ten: twenty of them, one after the other, are not.
        sizes = [max(OWN, self.sizes.get(child, 1)) for child in generator.children]
        if name_of(generator, self.names) == "stack" or generator.kind == "Stack":
            return max(1, _integer(generator.children[0]) or 1)
        return max(sizes, default=OWN)


def amount(number: float) -> str:
    """``1,000,000`` or, where nobody would count, ``10^24``."""
    return f"{int(number):,}" if number < 1e15 else f"10^{int(math.log10(number))}"


def is_fixed(type_name: str | None) -> bool:
    """Whether values of a SQL type are of one size."""
    return type_name is not None and re.split(r"[( ]", type_name)[0] in {*FIXED, "decimal"}


def name_of(node: Node, names: Mapping[str, str]) -> str | None:
    """The function that an expression is a call of."""
    if node.kind == "UnresolvedFunction":
        return str(node.fields[0][-1]).lower()
    return names.get(node.kind)


def size_of(node: Node, name: str | None, growth: Growth) -> float:
    """A bound for the size of a value, from those of its arguments."""
    arguments = [child for child in node.children if not child.is_plan]
    sizes = [growth.sizes.get(child, 1) for child in arguments]
    if name in ("repeat", "array_repeat"):
        return sizes[0] * max(1, _integer(arguments[1]) or 1)
    if name in ("space", "randstr"):
        return _integer(arguments[0]) or 1
    if name in ("lpad", "rpad", "array_insert") and len(arguments) > 1:
        return sum(sizes) + (abs(_integer(arguments[1]) or 0))
    if name == "sequence":
        return steps(arguments)
    if name in ("from_csv", "from_json"):
        return max(1, sizes[0]) * fields_of(node, arguments, growth)
    if name in HIGHER:
        return _mapped(arguments, sizes, growth)
    if name in PRODUCTS:
        return math.prod(sizes)
    if name in ("format_string", "printf"):
        # Each % may name any argument, and the same one again.
        places = str(arguments[0].fields[0]).count("%") if arguments[0].fields else 0
        return max(1, sizes[0] + 999 * places + places * max(sizes[1:], default=0))
    return max(1, LONGER.get(name or "", 1) * sum(sizes))


def fields_of(node: Node, arguments: list[Node], growth: Growth) -> int:
    """At most how many fields from_json() makes of one object."""
    if node.kind != "UnresolvedFunction":
        return 1 + growth.characters // 4  # the analysed plan keeps no text of the schema
    left, fields = arguments[1:2], 1
    while left:
        one = left.pop()
        left += one.children
        if _is_text(one):
            fields += one.fields[0].count(",") + one.fields[0].count(":")
    return fields


def _mapped(arguments: list[Node], sizes: list[float], growth: Growth) -> float:
    """transform(): as many values as elements, or one value of all that the elements hold."""
    collection, body = sum(sizes[:-1]), arguments[-1]
    return max(collection * sizes[-1], _with_variables(body, collection, growth))


def _with_variables(node: Node, variable: float, growth: Growth) -> float:
    if is_fixed(node.type):
        return 1
    if node.kind in VARIABLES:
        return variable if node.type is not None else 1
    name = name_of(node, growth.names)
    sizes = [_with_variables(child, variable, growth) for child in node.children]
    if not sizes:
        return growth.sizes.get(node, 1)
    return math.prod(sizes) if name in PRODUCTS else max(growth.sizes.get(node, 1), sum(sizes))


def check_numbers(node: Node, growth: int) -> None:
    """Raise InvalidQuery for a number that takes memory and is too large, or not written out."""
    if node.kind != "UnresolvedFunction":
        return
    name, arguments = str(node.fields[0][-1]).lower(), node.fields[1]
    for position, most in NUMBERS.get(name, {}).items():
        if position >= len(arguments):
            continue
        number, limit = _integer(arguments[position]), most or growth
        if name == "format_number" and _is_text(arguments[position]):
            continue
        if number is None:
            raise InvalidQuery(
                f"the number in argument {position + 1} of {name}() must be written out, "
                f"at most {limit:,}"
            )
        if abs(number) > limit:
            raise InvalidQuery(
                f"{name}() is asked for {number:,}, over the limit of {limit:,}; ask for less"
            )
    check_written(name, arguments)
    check_options(name, arguments)
    if name == "approx_count_distinct" and len(arguments) > 1:
        check_deviation(arguments[1])
    elif name in ("format_string", "printf"):
        check_format(arguments[0])
    elif name in ("aggregate", "reduce"):
        check_accumulator(node)
    elif name == "sequence":
        steps(arguments)
    elif name == "window":
        check_window(arguments)


def check_written(name: str, arguments: list[Node]) -> None:
    """What Spark reads while it analyses is written out: it could be of any size."""
    position = WRITTEN.get(name, len(arguments))
    if position < len(arguments) and not _is_text(arguments[position]):
        inner = arguments[position]
        if inner.kind != "UnresolvedFunction" or inner.fields[0][-1].lower() not in WRITTEN:
            raise InvalidQuery(f"argument {position + 1} of {name}() must be written out as a text")


def check_options(name: str, arguments: list[Node]) -> None:
    """Options are written out, and are of those that say how a text is read or written."""
    position = OPTIONS_AT.get(name, len(arguments))
    if position >= len(arguments):
        return
    options = arguments[position]
    pairs = options.fields[1] if options.kind == "UnresolvedFunction" else []
    if not pairs or options.fields[0][-1].lower() != "map" or not all(map(_is_text, pairs)):
        raise InvalidQuery(
            f"the options of {name}() must be written out: map('name', 'value', …) with texts"
        )
    for value in pairs[1::2]:
        if len(value.fields[0]) > LONGEST_OPTION:
            raise InvalidQuery(
                f"an option of {name}() may have {LONGEST_OPTION} characters, this one has "
                f"{len(value.fields[0]):,}"
            )
    for option in pairs[::2]:
        if option.fields[0].lower() not in OPTIONS:
            raise InvalidQuery(
                f"{name}() takes no option {option.fields[0]!r} here; there is "
                f"{spelled(sorted(OPTIONS))}"
            )


def check_deviation(argument: Node) -> None:
    """approx_count_distinct() takes 1.2/d² bytes: seen to end the driver."""
    text = str(argument.fields[0]) if argument.kind == "Literal" else ""
    if not re.fullmatch(r"0?\.\d+", text) or float(text) < 0.005:
        raise InvalidQuery(
            "the deviation of approx_count_distinct() must be written out, from 0.005 to 1"
        )


def check_format(argument: Node) -> None:
    """format_string() makes as many characters as its format says."""
    if not _is_text(argument):
        raise InvalidQuery("the format of format_string() must be written out as a text")
    if re.search(r"\d{4}", re.sub(r"%%", "", argument.fields[0])):
        raise InvalidQuery("the format of format_string() may have numbers of at most 3 digits")


def check_accumulator(node: Node) -> None:
    """aggregate() may double what it keeps with each element, so it keeps what cannot grow."""
    start = (node.fields[1] if node.kind == "UnresolvedFunction" else node.children)[1:2]
    if start and not _is_fixed_start(start[0]):
        raise InvalidQuery(
            "aggregate() must start from a number, a date or a struct of them: a text or an array "
            "could double with each element; use transform, filter, array_join or flatten"
        )


def _is_fixed_start(node: Node) -> bool:
    if is_fixed(node.type) or is_fixed(_cast_to(node)):
        return True
    if node.kind in ("Alias", "Cast"):
        return _is_fixed_start(node.children[0])
    if node.kind == "UnresolvedFunction":
        name, arguments = str(node.fields[0][-1]).lower(), node.fields[1]
        if name == "named_struct":
            arguments = arguments[1::2]
        elif name in FIXED | {"decimal"}:
            return True
        elif name != "struct":
            return False
        return all(map(_is_fixed_start, arguments))
    if node.kind == "CreateNamedStruct":
        return all(map(_is_fixed_start, node.children[1::2]))
    return False


def _cast_to(node: Node) -> str | None:
    """The type that a CAST names, as its class: ``…DoubleType$``."""
    if node.kind != "Cast":
        return None
    return str(node.fields[1]).rpartition(".")[2].removesuffix("$").removesuffix("Type").lower()


def check_window(arguments: list[Node]) -> None:
    """A sliding window puts each row into as many windows as overlap."""
    if len(arguments) < 3:
        return
    width, slide = (_seconds(argument) for argument in arguments[1:3])
    if not width or not slide or width / slide > MOST_SLIDES:
        raise InvalidQuery(
            f"window() may put a row into at most {MOST_SLIDES} windows, with width and slide "
            "written out like '10 minutes'"
        )


def _seconds(node: Node) -> float | None:
    match = (
        re.fullmatch(r"(\d+) ?([a-z]+?)s?", str(node.fields[0]).strip()) if node.fields else None
    )
    return int(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else None


def steps(arguments: list[Node]) -> float:
    """How many elements sequence() makes of bounds that are written out."""
    bounds = [_moment(argument) for argument in arguments[:2]]
    step = _step(arguments[2]) if len(arguments) > 2 else None
    whole = all(isinstance(bound, int) for bound in bounds)
    unit = 1.0 if whole else 86_400.0
    if None in bounds or len(bounds) < 2 or (len(arguments) > 2 and not step):
        raise InvalidQuery(
            "sequence() takes bounds and a step that are written out: numbers, DATE '…', "
            "TIMESTAMP '…', INTERVAL '1' DAY"
        )
    return abs(float(bounds[1] or 0) - float(bounds[0] or 0)) / abs(step or unit) + 1


def _moment(node: Node) -> int | float | None:
    """A bound: an int as it is, a date or a time in seconds."""
    name = name_of(node, {"ParseToDate": "to_date", "ParseToTimestamp": "to_timestamp"})
    if name in ("to_date", "to_timestamp", "date", "timestamp"):
        arguments = node.fields[1] if node.kind == "UnresolvedFunction" else node.children
        return _instant(arguments[0].fields[0]) if _is_text(arguments[0]) else None
    if node.kind == "Cast":
        inner = node.children[0]
        return _instant(inner.fields[0]) if _is_text(inner) else _moment(inner)
    if node.kind == "Literal" and isinstance(node.fields[0], int):
        scale = {"date": 86_400.0, "timestamp": 1e-6, "timestamp_ntz": 1e-6}.get(node.type or "")
        return node.fields[0] * scale if scale else int(node.fields[0])
    return _integer(node)


def _instant(text: str) -> float | None:
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            found = read(text)
        except ValueError:
            continue
        moment = datetime(*found.timetuple()[:6], tzinfo=UTC)
        return moment.timestamp()
    return None


def _step(node: Node) -> float | None:
    """A step: a number as it is, an interval in seconds."""
    if node.kind == "Literal" and (node.type or "").startswith("interval"):
        value = node.fields[0]
        if isinstance(value, int):
            return (
                value * UNITS["month"] if re.search("month|year", node.type or "") else value / 1e6
            )
        parts = re.findall(r"(-?[\d.]+) ([a-z]+?)s?\b", str(value))
        return sum(float(number) * UNITS.get(unit, 0) for number, unit in parts)
    return _integer(node)


def _integer(node: Node) -> int | None:
    if node.kind in ("UnaryMinus", "Cast"):
        inner = _integer(node.children[0])
        return -inner if inner is not None and node.kind == "UnaryMinus" else inner
    value = node.fields[0] if node.kind == "Literal" else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_text(node: Node) -> bool:
    return node.kind == "Literal" and node.type == "string" and isinstance(node.fields[0], str)
