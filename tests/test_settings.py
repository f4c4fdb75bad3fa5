"""One table of settings feeds defaults, help and docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kerasql.registry.errors import InvalidInput
from kerasql.registry.settings import SETTINGS, setting
from kerasql.udf.running.query import Limits

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


def test_the_docs_have_a_row_for_every_setting_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(KERASQL_\w+)` \| (?:`(.*?)`|empty) \| (.+) \|$", DOCS.read_text(), re.M
    )
    shown = {True: "on", False: "off"}
    expected = [
        (
            one.name,
            shown[one.default] if isinstance(one.default, bool) else str(one.default),
            one.help,
        )
        for one in SETTINGS
    ]
    assert rows == expected


def test_a_setting_has_its_default_when_the_environment_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for one in SETTINGS:
        monkeypatch.delenv(one.name, raising=False)
        assert setting(one.name) == one.default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("KERASQL_BATCH_ROWS", " 64 ", 64),
        ("KERASQL_READ_PATHS", "ON", True),
        ("KERASQL_READ_PATHS", "false", False),
        ("KERASQL_READ_PATHS", "", False),
        ("KERASQL_ARTIFACTS", "s3://bucket/models", "s3://bucket/models"),
    ],
)
def test_a_setting_has_the_type_of_its_default(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(name, text)
    assert setting(name) == value
    assert type(setting(name)) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KERASQL_BATCH_ROWS", "many"),
        ("KERASQL_BATCH_ROWS", "-1"),
        ("KERASQL_ROW_LIMIT", "1e3"),
        ("KERASQL_READ_PATHS", "perhaps"),
        ("KERASQL_BATCH_ROWS", "0"),
        ("KERASQL_MAX_PIXELS", "0"),
        ("KERASQL_CONSTRUCT_TIMEOUT_S", "0"),
    ],
)
def test_nonsense_in_a_setting_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(InvalidInput, match=f"{name} is '{text}'; set it to "):
        setting(name)


def test_the_limits_of_queries_are_those_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits.of_settings() == Limits()
    for name, value in {
        "KERASQL_QUERY_SECONDS": 5,
        "KERASQL_QUERY_ROWS": 10,
        "KERASQL_QUERY_MB": 2,
        "KERASQL_QUERIES": 3,
        "KERASQL_QUERIES_OF_A_USER": 1,
        "KERASQL_QUERIES_WAITING": 0,
        "KERASQL_RESULT_DAYS": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    assert Limits.of_settings() == Limits(5, 10, 2 * 2**20, 1, 3, 0, 86_400)
