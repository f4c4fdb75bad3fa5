"""Named parameters: values that take the place of :name in a statement, as literals.

Spark puts them there before it parses, so what the fence checks has them in it: a value is a
literal and nothing else, whatever it spells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidQuery, spelled

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
ALLOWED = (
    'a text, a number, true, false, null, {"date": "2026-01-31"} or '
    '{"timestamp": "2026-01-31T12:00:00Z"}'
)
TYPED = {"date": date.fromisoformat, "timestamp": datetime.fromisoformat}
INT, BIGINT = 2**31, 2**63


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON takes them: dates and timestamps say what they are.

    Raises InvalidQuery for a name or a value that cannot be one.
    """
    return {_name(name): _plain(name, value) for name, value in parameters.items()}


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidQuery(f"{name!r} cannot name a parameter; use letters, digits and _")
    return name


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return {"timestamp": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        value = float(value)
    is_one = value is None or isinstance(value, (str, bool))
    is_one |= isinstance(value, int) and -BIGINT <= value < BIGINT
    is_one |= isinstance(value, float) and math.isfinite(value)
    if not is_one and typed(value) is None:
        raise InvalidQuery(f"the parameter :{name} cannot be {value!r}; give {ALLOWED}")
    return value


def typed(value: Any) -> date | None:
    """The date or timestamp that JSON spells as one; None for anything else."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((kind, text),) = value.items()
    try:
        return TYPED[kind](text)
    except (KeyError, TypeError, ValueError):
        return None


def check_names(asked: Iterable[str], given: Iterable[str]) -> None:
    """Refuse a statement whose parameters are not those that were given."""
    asked, given = set(asked), set(given)
    if missing := sorted(asked - given):
        names = spelled(f":{name}" for name in missing)
        raise InvalidQuery(f"the statement has the parameter {names}; give it a value")
    if surplus := sorted(given - asked):
        names = spelled(f":{name}" for name in surplus)
        there = f"there is {spelled(f':{n}' for n in sorted(asked))}" if asked else "it has none"
        raise InvalidQuery(f"the statement has no parameter {names}; {there}")


def context(spark: SparkSession, parameters: Mapping[str, Any]) -> Any:
    """The parameters as Spark's parser takes them."""
    jvm: Any = spark.sparkContext._jvm
    literals = {name: _literal(spark, value) for name, value in parameters.items()}
    named = jvm.org.apache.spark.sql.catalyst.parser.NamedParameterContext
    return named(jvm.PythonUtils.toScalaMap(literals))


def _literal(spark: SparkSession, value: Any) -> Any:
    jvm: Any = spark.sparkContext._jvm
    literal = getattr(jvm.org.apache.spark.sql.catalyst.expressions, "Literal$")
    literal = getattr(literal, "MODULE$")
    moment = typed(value)
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            zone = jvm.java.time.ZoneId.of(spark.conf.get("spark.sql.session.timeZone"))
            local = jvm.java.time.LocalDateTime.parse(moment.isoformat())
            return literal.apply(local.atZone(zone).toInstant())
        utc = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
        return literal.apply(jvm.java.time.Instant.parse(f"{utc}Z"))
    if moment is not None:
        return literal.apply(jvm.java.time.LocalDate.parse(moment.isoformat()))
    return literal.apply(value)
