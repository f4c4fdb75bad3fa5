"""Names: which ones SQL can say, and which ones would collide there.

A version is called in SQL as ``[try_]<model>[_v<N> | _<alias>][_scores]``, where no suffix is the
alias ``production``. A name is refused when it would make one of those mean two things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kerasql.registry.errors import InvalidInput, InvalidName, NameTaken
from kerasql.registry.spark_names import FUNCTIONS, NOT_CALLABLE, NOT_TABLES

PRODUCTION = "production"
LONGEST = 64
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REF = re.compile(r"([A-Za-z_]\w*)(?:@(?:([1-9][0-9]{0,8})|([A-Za-z_]\w*)))?", re.ASCII)
NUMBERED = re.compile(r"(.*_)?v[0-9]+")


class Ref(NamedTuple):
    """What a ref names: a model's version by its number or by an alias."""

    name: str
    number: int | None
    alias: str | None

    def __str__(self) -> str:
        return f"{self.name}@{self.number or self.alias}"


def parse_ref(ref: str) -> Ref:
    """The parts of ``name``, ``name@3`` or ``name@production``; a bare name is ``production``."""
    match = REF.fullmatch(ref) if isinstance(ref, str) else None
    if match is None:
        raise InvalidInput(f"{ref!r} names no version; write name, name@3 or name@production")
    name, number, alias = match.groups()
    if number:
        return Ref(name.lower(), int(number), None)
    return Ref(name.lower(), None, (alias or PRODUCTION).lower())


def model_name(name: str) -> str:
    """The lower-case name of a model, once SQL can call it and all that is derived from it."""
    name = _identifier(name, "model")
    if name.startswith("try_"):
        raise InvalidName(name, "model", f"{name}(…) reads as the try_ form of {name[4:]!r}")
    if name.endswith("_scores"):
        raise InvalidName(name, "model", f"{name}(…) reads as the scores of {name[:-7]!r}")
    if "_" in name and NUMBERED.fullmatch(name):
        model, _, version = name.rpartition("_v")
        raise InvalidName(name, "model", f"{name}(…) reads as version {version} of {model!r}")
    _not_spark(name, "model", name)
    return name


def alias_name(alias: str, *, model: str) -> str:
    """The lower-case name of an alias, once SQL can call ``<model>_<alias>``."""
    alias = _identifier(alias, "model alias")
    if NUMBERED.fullmatch(alias):
        raise InvalidName(alias, "model alias", f"{model}_{alias}(…) reads as a version's number")
    if alias == "scores" or alias.endswith("_scores"):
        raise InvalidName(
            alias, "model alias", f"{model}_{alias}(…) reads as the scores of a model"
        )
    _not_spark(alias, "model alias", base(model, alias))
    return alias


def dataset_name(name: str) -> str:
    """The lower-case name of a dataset, once it can stand after FROM."""
    name = _identifier(name, "dataset")
    if name in NOT_TABLES:
        raise InvalidName(name, "dataset", "it is a keyword that cannot stand after FROM")
    return name


def base(model: str, alias: str) -> str:
    """The function of an alias: ``model_alias``, or just ``model`` for ``production``."""
    return model if alias == PRODUCTION else f"{model}_{alias}"


def check_free(model: str, alias: str, taken: Mapping[str, Iterable[str]]) -> None:
    """Refuse a new model (alias ``production``) or a new alias whose function exists already.

    taken holds the aliases of every model that has versions.
    """
    function = base(model, alias)
    new = (model, "model") if alias == PRODUCTION else (alias, "model alias")
    for other, aliases in taken.items():
        for known in {PRODUCTION, *aliases}:
            if base(other, known) == function and (other, known) != (model, alias):
                whose = f"the alias {known!r} of" if known != PRODUCTION else "the model"
                raise NameTaken(*new, f"{whose} {other!r}: both would be called as {function}(…)")


def function_names(
    model: str, aliases: Iterable[str], versions: Iterable[tuple[int, bool]]
) -> dict[str, tuple[str, str]]:
    """Every SQL function of a model: its name to the ref it calls and the variant.

    versions are (number, whether it has scores); the variant is ``value``, ``scores``, ``try`` or
    ``try_scores``. An alias has scores when any version has: it may move there.

    >>> function_names("m", ["production"], [(1, False)])
    {'m_v1': ('m@1', 'value'), 'try_m_v1': ('m@1', 'try'), 'm': ('m@production', 'value'), \
'try_m': ('m@production', 'try')}
    """
    versions = list(versions)
    some_scores = any(has_scores for _, has_scores in versions)
    functions = dict[str, tuple[str, str]]()
    for number, has_scores in versions:
        functions.update(_variants(f"{model}_v{number}", f"{model}@{number}", has_scores))
    for alias in aliases:
        functions.update(_variants(base(model, alias), f"{model}@{alias}", some_scores))
    return functions


def _variants(function: str, ref: str, has_scores: bool) -> Iterator[tuple[str, tuple[str, str]]]:
    yield function, (ref, "value")
    yield f"try_{function}", (ref, "try")
    if has_scores:
        yield f"{function}_scores", (ref, "scores")
        yield f"try_{function}_scores", (ref, "try_scores")


def _identifier(name: str, what: str) -> str:
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
        raise InvalidName(name, what, "use letters, digits and _, and begin with no digit")
    if len(name) > LONGEST:
        raise InvalidName(name, what, f"it is longer than {LONGEST} characters")
    return name.lower()


def _not_spark(name: str, what: str, function: str) -> None:
    if function in NOT_CALLABLE:
        raise NameTaken(name, what, f"the SQL keyword {function!r}")
    for form in (function, f"try_{function}", f"{function}_scores", f"try_{function}_scores"):
        if form in FUNCTIONS:
            raise NameTaken(name, what, f"Spark's built-in function {form!r}")
