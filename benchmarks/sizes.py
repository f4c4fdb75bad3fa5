"""``python -m benchmarks.sizes``: what a version, a query and an event take in the database.

A version without its artifacts: those take their own size.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert

from benchmarks.load import database
from benchmarks.report import machine, write
from kerasql.registry.database import open_engine, upgrade, writing
from kerasql.registry.signature import Output, Signature, TensorSpec
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import QueryRow, QueryVersionRow
from kerasql.registry.version import Examined
from kerasql.udf.stats import Stats

QUERIES, EVENTS, VERSIONS = 10_000, 10_000, 200
LAYERS, CLASSES = 50, 1000
SQL = "SELECT flowers(image) AS label, count(*) AS n FROM images WHERE width > 300 GROUP BY 1"
NOW = datetime.now(UTC)


def main() -> None:
    """Print the bytes for each on SQLite and PostgreSQL."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        room = Path(folder)
        sqlite = f"sqlite:///{room}/models.db"
        upgrade(sqlite)
        measured = [each(url, room) for url in (sqlite, database(room, stack))]
    rows = [(name, *(f"{one[name]:,.0f}" for one in measured)) for name in measured[0]]
    write("bytes in the database for each", ("", "SQLite", "PostgreSQL"), rows)


def each(url: str, room: Path) -> dict[str, float]:
    """Bytes for each kind of row."""
    with connect(url, artifacts=f"file://{room}/artifacts") as registry:
        return {
            f"query ({len(SQL)} characters, one version)": grown(registry, queries, QUERIES),
            "event": grown(registry, events, EVENTS),
            f"version ({LAYERS} layers, {CLASSES:,} labels)": grown(registry, versions, VERSIONS),
        }


def grown(registry: Registry, add: Callable[[Registry, int], None], count: int) -> float:
    """By how many bytes so many rows let the database grow, each."""
    before = size(registry)
    add(registry, count)
    return (size(registry) - before) / count


def size(registry: Registry) -> int:
    """Bytes of the whole database, its indexes too."""
    engine: Engine = open_engine(str(registry._engine.url.render_as_string(hide_password=False)))
    with engine.connect() as db:
        if engine.dialect.name == "postgresql":
            asked = "SELECT pg_database_size(current_database())"
        else:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            asked = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        found = int(db.exec_driver_sql(asked).scalar() or 0)
    engine.dispose()
    return found


def queries(registry: Registry, count: int) -> None:
    """Queries that one version answered."""
    stats = asdict(Stats(rows=1000, predicted=1000, batches=20, loads=1, held_bytes=10**8))
    rows: list[dict[str, Any]] = [
        {
            "id": uuid.uuid4().hex,
            "user": "anna",
            "sql": SQL,
            "parameters": {},
            "state": "finished",
            "server": "kerasql.example.com:8443",
            "created_at": NOW,
            "started_at": NOW,
            "ended_at": NOW,
            "heartbeat_at": NOW,
            "progress": {"tasks": 8, "tasks_done": 8, "rows_scored": 1000, "seconds_left": 0},
            "rows": 5,
            "size_bytes": 300,
            "truncated": False,
            "columns": [["label", "string"], ["n", "bigint"]],
            "stats": {"flowers@3": stats},
            "warnings": [],
            "stored": False,
            "expires_at": NOW,
        }
        for _ in range(count)
    ]
    speed = {"ref": "flowers@3", "rows": 1000, "seconds": 4.0, "ended_at": NOW}
    with writing(registry._engine) as db:
        db.execute(insert(QueryRow), rows)
        db.execute(insert(QueryVersionRow), [{"query_id": row["id"], **speed} for row in rows])


def events(registry: Registry, count: int) -> None:
    """Sign-ins, one after the other."""
    from kerasql.registry import events as kept

    with writing(registry._engine) as db:
        for _ in range(count):
            kept.record(db, "anna", kept.SIGN_IN, detail={"with": "password"}, address="10.0.0.7")


def versions(registry: Registry, count: int) -> None:
    """Versions of one model with three artifacts each, which are files."""
    classes = tuple(f"class number {n}" for n in range(CLASSES))
    layer = {"name": "block_1_depthwise", "class": "DepthwiseConv2D", "parameters": 864}
    examined = Examined(
        signature=Signature(
            inputs=(TensorSpec("image", "float32", (224, 224, 3)),),
            outputs=(TensorSpec("scores", "float32", (CLASSES,)),),
        ),
        layers=[layer] * LAYERS,
        parameters=3_500_000,
        keras_version="3.15.1",
        engine="openvino",
        engine_report={"engine": "openvino", "difference": 1e-6},
        inspection={"size_bytes": 14_000_000},
    )
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            files = {}
            for role in ("model", "openvino.xml", "openvino.bin"):
                files[role] = Path(folder, role)
                files[role].write_text(f"{role} {number}")
            registry.save(
                "flowers",
                examined,
                preprocess={"image": {"kind": "image", "size": [224, 224]}},
                outputs={"scores": Output("label", classes)},
                files=files,
            )


if __name__ == "__main__":
    main()
