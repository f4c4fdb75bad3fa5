"""Every move of an alias is kept, and the last one can be undone; near and far."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from deposits import behind, deposit, random_file

from kerasql.registry.errors import InvalidInput, NameTaken, NotFound
from kerasql.registry.store import Registry


@pytest.fixture
def registry(any_registry: Registry) -> Registry:
    """On both databases, and at a server."""
    return any_registry


def mover(registry: Registry, name: str) -> str:
    """Who moves an alias: whoever is said to, but at a server the user of its token."""
    return name if behind(registry) is registry else "root"


@pytest.fixture
def model(registry: Registry, tmp_path: Path) -> Path:
    """The file of the model ``m`` with versions 1, 2 and 3."""
    file = random_file(tmp_path / "m.h5")
    for column in ("a", "b", "c"):
        deposit(registry, "m", file, columns=(column,), owner="ada")
    return file


def ways(registry: Registry, alias: str | None = None) -> list[tuple[object, ...]]:
    return [(m.alias, m.from_number, m.to_number) for m in registry.alias_history("m", alias)]


def test_the_first_versions_production_is_a_move(registry: Registry, model: Path) -> None:
    (move,) = registry.alias_history("M")
    assert (move.model, move.alias, move.from_number, move.to_number) == (
        "m",
        "production",
        None,
        1,
    )
    assert (move.by, move.why) == ("ada", "the first version")
    assert datetime.now(UTC) - move.at < timedelta(minutes=1)
    assert json.loads(json.dumps(move.to_json()))["to_number"] == 1


def test_who_moved_an_alias_and_why_is_kept_the_newest_first(
    registry: Registry, model: Path
) -> None:
    registry.set_alias("m", 2, "Production", by="bob", why="better on Größe 🌷")
    registry.remove_alias("m", "production", by="cy", why="worse")
    removed, moved, made = registry.alias_history("m", "Production")
    assert (moved.by, moved.why, moved.from_number, moved.to_number) == (
        *(mover(registry, "bob"), "better on Größe 🌷"),
        *(1, 2),
    )
    assert (removed.by, removed.why, removed.from_number, removed.to_number) == (
        *(mover(registry, "cy"), "worse"),
        *(2, None),
    )
    assert made.at <= moved.at <= removed.at


def test_the_history_is_of_all_aliases_or_of_one(registry: Registry, model: Path) -> None:
    registry.set_alias("m", 2, "best")
    assert ways(registry) == [("best", None, 2), ("production", None, 1)]
    assert ways(registry, "best") == [("best", None, 2)]
    assert ways(registry, "nobody") == []
    with pytest.raises(NotFound, match="no model 'n'; there is 'm'"):
        registry.alias_history("n")


def test_to_where_it_points_already_is_no_move(registry: Registry, model: Path) -> None:
    assert registry.set_alias("m", 1, "production", by="bob").aliases == ("production",)
    assert len(ways(registry)) == 1


def test_undoing_puts_the_alias_where_it_was_and_is_a_move(registry: Registry, model: Path) -> None:
    registry.set_alias("m", 2, "production")
    there = registry.undo_alias("M", "Production", by="bob", why="slower")
    assert there is not None
    assert (there.number, there.aliases) == (1, ("production",))
    assert registry.get("m").number == 1
    last = registry.alias_history("m")[0]
    bob = mover(registry, "bob")
    assert (last.from_number, last.to_number, last.by, last.why) == (2, 1, bob, "slower")


def test_undoing_twice_leaves_things_as_they_were(registry: Registry, model: Path) -> None:
    registry.set_alias("m", 3, "production")
    registry.undo_alias("m", "production")
    registry.undo_alias("m", "production")
    assert registry.get("m").number == 3


def test_undoing_removes_an_alias_that_was_made(registry: Registry, model: Path) -> None:
    registry.set_alias("m", 2, "best")
    assert registry.undo_alias("m", "best") is None
    assert registry.get("m@2").aliases == ()
    assert ways(registry, "best") == [("best", 2, None), ("best", None, 2)]


def test_undoing_makes_an_alias_again_that_was_removed(registry: Registry, model: Path) -> None:
    registry.remove_alias("m", "production")
    there = registry.undo_alias("m", "production")
    assert there is not None
    assert there.number == registry.get("m").number == 1


def test_an_alias_that_never_moved_has_nothing_to_undo(registry: Registry, model: Path) -> None:
    with pytest.raises(InvalidInput, match="m@best never moved; there is nothing to undo"):
        registry.undo_alias("m", "best")
    with pytest.raises(NotFound, match="no model 'n'"):
        registry.undo_alias("n", "production")


def test_an_alias_does_not_go_back_to_a_deleted_version(registry: Registry, model: Path) -> None:
    registry.set_alias("m", 2, "production")
    registry.delete("m@1")
    with pytest.raises(InvalidInput, match="pointed to m@1 before, which is deleted; point it to"):
        registry.undo_alias("m", "production")
    assert registry.get("m").number == 2
    assert len(ways(registry)) == 2


def test_an_alias_does_not_come_back_into_a_name_that_is_taken(
    registry: Registry, model: Path
) -> None:
    registry.set_alias("m", 2, "best")
    registry.remove_alias("m", "best")
    deposit(registry, "m_best", model)
    with pytest.raises(NameTaken, match="both would be called as m_best"):
        registry.undo_alias("m", "best")


def test_the_history_outlives_the_versions(registry: Registry, model: Path) -> None:
    registry.remove_alias("m", "production")
    for number in (1, 2, 3):
        registry.delete(f"m@{number}")
    assert ways(registry) == [("production", 1, None), ("production", None, 1)]
    deposit(registry, "m", model)
    assert ways(registry)[0] == ("production", None, 4)


def test_moves_at_the_same_time_form_one_chain(registry: Registry, model: Path) -> None:
    def move(number: int) -> None:
        for _ in range(5):
            registry.set_alias("m", number, "production")

    threads = [threading.Thread(target=move, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = ways(registry)
    assert chain[0][2] == registry.get("m").number
    for later, earlier in pairwise(chain):
        assert later[1] == earlier[2]
        assert later[1] != later[2]


def test_a_reason_that_no_database_keeps_is_refused(registry: Registry, model: Path) -> None:
    with pytest.raises(InvalidInput, match="no text that can be kept"):
        registry.set_alias("m", 2, "production", why="a\0b")
    assert registry.get("m").number == 1
