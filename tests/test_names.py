"""Names that SQL can say, and collisions that are refused with the clash named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deposits import SCORES, deposit, random_file
from make_spark_names import CALLS, TABLES, functions, misread
from pyspark.sql import SparkSession

from kerasql.registry import spark_names
from kerasql.registry.errors import InvalidInput, InvalidName, NameTaken
from kerasql.registry.names import (
    Ref,
    alias_name,
    check_free,
    dataset_name,
    function_names,
    model_name,
    parse_ref,
)
from kerasql.registry.store import Registry


@pytest.mark.parametrize("name", ["flowers", "m", "_m", "resnet50", "a_v", "v3", "scores", "trya"])
def test_an_ordinary_identifier_names_a_model(name: str) -> None:
    assert model_name(name.upper()) == name


@pytest.mark.parametrize(
    "name", ["", "1st", "a b", "a-b", "a.b", "a`b", "naïve", "\u212a", "m\n", "x;"]
)
def test_what_is_no_plain_identifier_names_nothing(name: str) -> None:
    for check in (model_name, dataset_name):
        with pytest.raises(InvalidName, match="use letters, digits and _"):
            check(name)
    with pytest.raises(InvalidName, match="use letters, digits and _"):
        alias_name(name, model="m")


def test_a_name_has_at_most_64_characters() -> None:
    assert model_name("m" * 64) == "m" * 64
    with pytest.raises(InvalidName, match="longer than 64"):
        model_name("m" * 65)


@pytest.mark.parametrize(
    ("name", "clash"),
    [
        ("upper", "Spark's built-in function 'upper'"),
        ("Array", "Spark's built-in function 'array'"),
        ("add", "Spark's built-in function 'try_add'"),
        ("where", "the SQL keyword 'where'"),
        ("distinct", "the SQL keyword 'distinct'"),
        ("a_v3", "reads as version 3 of 'a'"),
        ("a_scores", "reads as the scores of 'a'"),
        ("try_a", "reads as the try_ form of 'a'"),
    ],
)
def test_a_model_that_would_collide_is_refused_with_the_clash(name: str, clash: str) -> None:
    with pytest.raises((InvalidName, NameTaken), match=re.escape(clash)):
        model_name(name)


@pytest.mark.parametrize(
    ("model", "alias", "clash"),
    [
        ("m", "v2", "m_v2(…) reads as a version's number"),
        ("m", "new_v2", "m_new_v2(…) reads as a version's number"),
        ("m", "scores", "m_scores(…) reads as the scores of a model"),
        ("m", "old_scores", "reads as the scores of a model"),
        ("bit", "count", "Spark's built-in function 'bit_count'"),
        ("to", "timestamp", "Spark's built-in function 'to_timestamp'"),
        ("parse", "json", "Spark's built-in function 'parse_json'"),
        ("session", "user", "the SQL keyword 'session_user'"),
    ],
)
def test_an_alias_that_would_collide_is_refused_with_the_clash(
    model: str, alias: str, clash: str
) -> None:
    with pytest.raises((InvalidName, NameTaken), match=re.escape(clash)):
        alias_name(alias, model=model)


@pytest.mark.parametrize(
    ("model", "alias", "taken", "clash"),
    [
        ("a_b", "production", {"a": ["b"]}, "the alias 'b' of 'a'"),
        ("a", "b", {"a": [], "a_b": []}, "the model 'a_b'"),
        ("a", "b_c", {"a": [], "a_b": ["c"]}, "the alias 'c' of 'a_b'"),
        ("a_b", "c", {"a_b": [], "a": ["b_c"]}, "the alias 'b_c' of 'a'"),
    ],
)
def test_two_models_never_share_a_function(
    model: str, alias: str, taken: dict[str, list[str]], clash: str
) -> None:
    with pytest.raises(NameTaken, match=clash):
        check_free(model, alias, taken)


def test_a_name_does_not_collide_with_itself() -> None:
    check_free("a", "production", {"a": ["production", "b"]})
    check_free("a", "b", {"a": ["b"], "ab": [], "b": ["a"]})


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("m", Ref("m", None, "production")),
        ("M@3", Ref("m", 3, None)),
        ("m@Challenger", Ref("m", None, "challenger")),
    ],
)
def test_a_ref_names_a_version_by_number_or_alias(ref: str, parts: Ref) -> None:
    assert parse_ref(ref) == parts


@pytest.mark.parametrize(
    "ref", ["", "@", "m@", "@3", "m@3@4", "m 3", "m@-1", "../m", "m@9999999999"]
)
def test_what_is_no_ref_is_one_sentence(ref: str) -> None:
    with pytest.raises(InvalidInput, match="write name, name@3 or name@production"):
        parse_ref(ref)


def test_every_function_of_a_model() -> None:
    functions = function_names("m", ["production", "new"], [(1, False), (2, True)])
    assert functions == {
        "m": ("m@production", "value"),
        "m_scores": ("m@production", "scores"),
        "try_m": ("m@production", "try"),
        "try_m_scores": ("m@production", "try_scores"),
        "m_new": ("m@new", "value"),
        "m_new_scores": ("m@new", "scores"),
        "try_m_new": ("m@new", "try"),
        "try_m_new_scores": ("m@new", "try_scores"),
        "m_v1": ("m@1", "value"),
        "try_m_v1": ("m@1", "try"),
        "m_v2": ("m@2", "value"),
        "m_v2_scores": ("m@2", "scores"),
        "try_m_v2": ("m@2", "try"),
        "try_m_v2_scores": ("m@2", "try_scores"),
    }


def test_no_built_in_function_looks_like_a_version_or_scores() -> None:
    # Nothing else keeps m_v3 and m_scores apart from them.
    assert not [name for name in spark_names.FUNCTIONS if re.search(r"_v\d+$|_scores$", name)]


def test_a_dataset_may_not_be_a_keyword_that_cannot_follow_from() -> None:
    assert dataset_name("Images") == "images"
    with pytest.raises(InvalidName, match="cannot stand after FROM"):
        dataset_name("lateral")


def test_registering_a_colliding_model_stores_nothing(registry: Registry, tmp_path: Path) -> None:
    model = random_file(tmp_path / "m.h5")
    deposit(registry, "a", model)
    registry.set_alias("a", 1, "b")
    with pytest.raises(NameTaken, match="the alias 'b' of 'a': both would be called as a_b"):
        deposit(registry, "a_b", model)
    assert [found.name for found in registry.models()] == ["a"]


def test_an_alias_that_collides_with_a_model_is_not_set(registry: Registry, tmp_path: Path) -> None:
    model = random_file(tmp_path / "m.h5")
    deposit(registry, "a", model)
    deposit(registry, "a_b", model)
    with pytest.raises(NameTaken, match="the model 'a_b': both would be called as a_b"):
        registry.set_alias("a", 1, "b")
    assert registry.get("a").aliases == ("production",)


def test_the_name_of_a_model_without_versions_is_free(registry: Registry, tmp_path: Path) -> None:
    model = random_file(tmp_path / "m.h5")
    deposit(registry, "a_b", model)
    registry.remove_alias("a_b", "production")
    registry.delete("a_b@1")
    deposit(registry, "a", model)
    registry.set_alias("a", 1, "b")
    with pytest.raises(NameTaken, match="the alias 'b' of 'a'"):
        deposit(registry, "a_b", model)


def test_all_functions_of_a_registry_have_different_names(
    registry: Registry, tmp_path: Path
) -> None:
    model = random_file(tmp_path / "m.h5")
    models = ("a", "a_", "a_b", "a_b_c", "b")
    for name in models:
        deposit(registry, name, model)
        deposit(registry, name, model, outputs={"scores": SCORES})
    for name in models:
        for alias in ("b", "_b", "c", "b_c", "v", "x_v"):
            try:
                registry.set_alias(name, 1, alias)
            except NameTaken:
                continue
    names = [
        function
        for model_name_, aliases, versions in registry.catalog()
        for function in function_names(model_name_, aliases, versions)
    ]
    assert len(names) == len(set(names)) > 100


def test_the_names_of_spark_are_those_of_the_spark_that_runs(spark: SparkSession) -> None:
    assert functions(spark) == spark_names.FUNCTIONS
    assert misread(spark, CALLS) == spark_names.NOT_CALLABLE
    assert misread(spark, TABLES) == spark_names.NOT_TABLES
