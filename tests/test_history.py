"""Queries as the registry keeps them, on both databases."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from kerasql.registry.database import open_engine, reading, writing
from kerasql.registry.errors import NotFound
from kerasql.registry.history import SILENT_S, History
from kerasql.registry.store import Registry
from kerasql.registry.tables import QueryRow

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MANY = 100_000
LONGEST_S = 0.15


@pytest.fixture
def history(registry: Registry) -> History:
    return registry.history


def facts(user: str = "anna", age_s: float = 0, **more: Any) -> dict[str, Any]:
    at = NOW - timedelta(seconds=age_s)
    return {
        "id": uuid.uuid4().hex,
        "user": user,
        "sql": "SELECT 1",
        "parameters": {},
        "state": "queued",
        "server": "one",
        "created_at": at,
        "heartbeat_at": datetime.now(UTC),
        "truncated": False,
        "columns": [],
        "stats": {},
        "warnings": [],
        "stored": False,
        **more,
    }


def added(history: History, *args: Any, **more: Any) -> str:
    row = facts(*args, **more)
    history.add(row)
    return str(row["id"])


def test_a_query_is_read_as_it_was_written(history: History) -> None:
    name = added(history, parameters={"day": {"date": "2026-01-31"}}, sql="SELECT 'ü'")
    row = history.find(name)
    assert (row.user, row.sql, row.parameters) == (
        "anna",
        "SELECT 'ü'",
        {"day": {"date": "2026-01-31"}},
    )
    assert (row.created_at, row.started_at, row.progress, row.rows) == (NOW, None, None, None)


def test_an_unknown_query_is_not_found(history: History) -> None:
    with pytest.raises(NotFound, match="no query 'nothing'"):
        history.find("nothing")


def test_positions_count_the_older_ones_that_wait_on_the_same_server(history: History) -> None:
    third, first = added(history, age_s=1), added(history, age_s=3)
    second = added(history, "ben", age_s=2)
    other = added(history, age_s=9, server="two")
    running = added(history, age_s=9, state="running")
    positions = [history.find(one).position for one in (first, second, third, other, running)]
    assert positions == [1, 2, 3, 1, None]
    history.change(first, {"state": "running"}, states=("queued",))
    assert [history.find(one).position for one in (first, second, third)] == [None, 1, 2]


def test_a_page_holds_the_newest_of_a_user_with_a_text(history: History) -> None:
    names = [added(history, "anna" if n % 2 else "ben", age_s=n) for n in range(10)]
    special = added(history, age_s=20, sql="SELECT 100% AS Share")
    assert [row.id for row in history.page(limit=3)] == names[:3]
    assert [row.id for row in history.page(user="ben")] == names[::2]
    assert [row.id for row in history.page(search="0% as SHARE")] == [special]
    assert history.page(search="1_0") == []
    assert [row.id for row in history.page(before=names[3], limit=2)] == names[4:6]


def test_pages_lose_none_of_the_queries_of_one_instant(history: History) -> None:
    names = {added(history) for _ in range(7)}
    seen: list[str] = []
    while page := history.page(before=seen[-1] if seen else None, limit=2):
        seen += [row.id for row in page]
    assert len(seen) == 7
    assert set(seen) == names


def test_a_change_needs_the_state_it_was_made_for(history: History) -> None:
    name = added(history)
    assert history.change(name, {"state": "stopped"}, states=("queued",))
    assert not history.change(name, {"state": "running"}, states=("queued",))
    assert history.find(name).state == "stopped"


def test_what_somebody_stopped_does_not_finish(history: History) -> None:
    name = added(history, state="stopped")
    facts = {"state": "finished", "ended_at": NOW}
    assert not history.end(name, facts, answered={"m@1": 5}, seconds=1)
    assert history.find(name).state == "stopped"
    assert history.rate("m@1") is None


def test_a_rate_is_that_of_the_last_queries(history: History) -> None:
    for age, rows in ((500, 10_000_000), *((n, 100) for n in range(20))):
        ended = {"state": "finished", "ended_at": NOW - timedelta(seconds=age)}
        history.end(added(history), ended, answered={"m@1": rows, "n@1": 0}, seconds=2)
    assert history.rate("m@1") == 50
    assert history.rate("n@1") is None
    assert history.rate("nobody@1") is None


def test_queries_of_a_silent_server_are_interrupted(history: History) -> None:
    silent = datetime.now(UTC) - timedelta(seconds=SILENT_S + 1)
    gone = added(history, state="running", heartbeat_at=silent)
    here, done = added(history, state="running"), added(history, state="finished")
    assert history.interrupt() == 1
    assert [history.find(one).state for one in (gone, here, done)] == [
        "interrupted",
        "running",
        "finished",
    ]
    assert history.find(gone).error == "its server ended while it was asked; run it again"


def test_a_server_that_starts_again_interrupts_its_own(history: History) -> None:
    mine, other = added(history), added(history, server="two")
    assert history.interrupt(server="one") == 1
    assert (history.find(mine).state, history.find(other).state) == ("interrupted", "queued")


def test_a_server_that_was_only_slow_says_how_its_query_ended(history: History) -> None:
    name = added(history, state="interrupted", error="its server ended")
    facts = {"state": "finished", "ended_at": NOW, "error": None}
    assert history.end(name, facts, answered={}, seconds=1)
    assert (history.find(name).state, history.find(name).error) == ("finished", None)


def test_a_heartbeat_carries_progress_of_what_still_runs(history: History) -> None:
    old = datetime.now(UTC) - timedelta(seconds=20)
    running = added(history, state="running", heartbeat_at=old)
    stopped = added(history, state="stopped", heartbeat_at=old)
    lost = added(history, state="running", heartbeat_at=old)
    both = (running, stopped)
    history.beat(both, {name: {"progress": {"tasks": 4}} for name in both})
    assert history.find(running).progress == {"tasks": 4}
    assert history.find(running).heartbeat_at > old
    for name in (stopped, lost):
        assert (history.find(name).progress, history.find(name).heartbeat_at) == (None, old)


def test_a_server_hears_who_wants_which_of_its_queries_to_stop(history: History) -> None:
    name = added(history, state="running", stop_by="root")
    added(history, stop_by="root", server="two")
    added(history, stop_by="root", state="finished")
    assert history.stops("one") == {name: "root"}


def test_results_expire_when_their_time_has_come(history: History) -> None:
    past, future = (datetime.now(UTC) + timedelta(seconds=n) for n in (-1, 60))
    old = added(history, state="finished", stored=True, expires_at=past)
    added(history, state="finished", stored=True, expires_at=future)
    added(history, state="finished", stored=False, expires_at=past)
    assert history.expired() == [old]


def test_a_hundred_thousand_queries_are_asked_as_fast_as_ten(database_url: str) -> None:
    from kerasql.registry.database import upgrade

    upgrade(database_url)
    engine = open_engine(database_url)
    users = [f"user{n}" for n in range(50)]
    rows = [facts(users[n % 50], age_s=n, state="finished") for n in range(MANY)]
    with writing(engine) as db:
        db.execute(insert(QueryRow), rows)
    with reading(engine) as db:
        db.exec_driver_sql("ANALYZE")
    history = History(engine)
    active = added(history, state="running")
    last = rows[MANY // 2]["id"]
    asked = {
        "the newest": lambda: history.page(),
        "of a user": lambda: history.page(user="user7"),
        "older ones": lambda: history.page(user="user7", before=last),
        "one": lambda: history.find(active),
        "to stop": lambda: history.stops("one"),
        "interrupted": lambda: history.interrupt(),
    }
    for what, ask in asked.items():
        times = []
        for _ in range(5):
            began = time.monotonic()
            ask()
            times.append(time.monotonic() - began)
        assert sorted(times)[2] < LONGEST_S, what
    engine.dispose()
