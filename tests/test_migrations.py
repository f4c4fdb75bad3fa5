"""The schema: migrations build what the code reads, on both databases."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from deposits import EXAMINED, LABEL, deposit, random_file
from sqlalchemy import Connection, MetaData, Table, text

from kerasql.registry.access import Access
from kerasql.registry.artifacts import artifact_of
from kerasql.registry.check import check
from kerasql.registry.database import MIGRATIONS, open_engine, reading, upgrade, writing
from kerasql.registry.errors import InvalidInput, RegistryUnavailable
from kerasql.registry.store import connect
from kerasql.registry.tables import REVISION, Base


def test_the_migrated_schema_is_the_one_the_code_reads(database_url: str) -> None:
    upgrade(database_url)
    engine = open_engine(database_url)
    with reading(engine) as db:
        context = MigrationContext.configure(db, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_revision_the_code_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_revisions_are_numbered_so_that_an_older_one_sorts_lower() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    numbers = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert numbers == [f"{number:04}" for number in range(len(numbers), 0, -1)]


def test_connecting_to_a_new_sqlite_makes_it_a_registry(tmp_path: Path) -> None:
    with connect(f"sqlite:///{tmp_path}/new.db", artifacts="") as registry:
        assert registry.models() == []
    raw = sqlite3.connect(tmp_path / "new.db")
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


def test_an_empty_postgresql_says_how_to_make_it_a_registry(postgres_url: str) -> None:
    with pytest.raises(RegistryUnavailable, match="no registry yet; run: kerasql db upgrade"):
        connect(postgres_url)


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    assert upgrade(database_url) == upgrade(database_url) == REVISION
    assert check(database_url).up_to_date


def test_an_older_schema_says_to_upgrade_the_database(database_url: str) -> None:
    pretend_revision(database_url, "0000")
    with pytest.raises(RegistryUnavailable, match="older schema 0000; run: kerasql db upgrade"):
        connect(database_url)
    assert not check(database_url).up_to_date


def test_a_newer_schema_says_to_upgrade_kerasql(database_url: str) -> None:
    pretend_revision(database_url, "9999")
    for use in (connect, upgrade):
        with pytest.raises(RegistryUnavailable, match=r"9999 is newer .* upgrade kerasql"):
            use(database_url)
    assert check(database_url).revision == "9999"


def pretend_revision(url: str, revision: str) -> None:
    upgrade(url)
    engine = open_engine(url)
    with writing(engine) as db:
        db.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    engine.dispose()


def test_a_failed_migration_leaves_nothing_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(database_url)
    with writing(engine) as db:
        db.execute(text("CREATE TABLE dataset (id INTEGER)"))  # 0001's last table
    with pytest.raises(RegistryUnavailable, match="dataset"):
        upgrade(database_url)
    with reading(engine) as db:
        assert not engine.dialect.has_table(db, "model")
        assert not engine.dialect.has_table(db, "alembic_version")
    engine.dispose()


def test_an_sqlite_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "other.db")
    raw.execute("CREATE TABLE notes (text)")
    raw.close()
    with pytest.raises(RegistryUnavailable, match="no registry yet; run: kerasql db upgrade"):
        connect(f"sqlite:///{tmp_path}/other.db")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("models.db", "that is no database URL; write sqlite:///models.db or postgresql://"),
        ("user:secret@host/name", "that is no database URL"),
        ("", "that is no database URL"),
        ("mysql://u:secret@host/name", "cannot be kept in 'mysql'"),
        ("sqlite://", "in memory is lost at once"),
        ("sqlite:///:memory:", "in memory is lost at once"),
    ],
)
def test_a_url_that_makes_no_sense_is_one_sentence_without_its_password(
    url: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:1/models",
        "postgresql://me@127.0.0.1:1/models?password=secret",
        "sqlite:////no/such/folder/models.db",
    ],
)
def test_a_database_out_of_reach_is_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(RegistryUnavailable, match=r"the registry at .* cannot be used: ") as caught:
        connect(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_sqlite_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    path.write_bytes(b"<html>no database at all</html>" * 100)
    with pytest.raises(RegistryUnavailable, match="file is not a database"):
        connect(f"sqlite:///{path}")


def test_checking_a_file_that_does_not_exist_makes_none(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="no such file"):
        check(f"sqlite:///{tmp_path}/models.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_the_first_revision_comes_up_to_date_with_its_data(
    database_url: str, tmp_path: Path
) -> None:
    model = random_file(tmp_path / "m.h5")
    engine = open_engine(database_url)
    with writing(engine) as db:
        config = Config(attributes={"connection": db})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "0001")
        fill_the_first_revision(db, model)
    engine.dispose()
    assert upgrade(database_url) == REVISION
    with connect(database_url, artifacts="") as registry:
        found = registry.get("flowers")
        assert (found.number, found.owner, found.aliases) == (7, "ada", ("best", "production"))
        assert registry.read_artifact(found, "model") == model.read_bytes()
        assert registry.dataset("images").path == str(tmp_path)
        assert registry.alias_history("flowers") == []
        with pytest.raises(InvalidInput, match="never moved; there is nothing to undo"):
            registry.undo_alias("flowers", "production")
        assert deposit(registry, "flowers", model).number == 8
        registry.set_alias("flowers", 8, "production", by="bob", why="newer")
        (move,) = registry.alias_history("flowers")
        assert (move.from_number, move.to_number, move.by, move.why) == (7, 8, "bob", "newer")
        assert Access(registry).users() == []
    assert check(database_url).broken == ()


def fill_the_first_revision(db: Connection, model: Path) -> None:
    """A model with one version, two aliases, its artifact, and a dataset."""
    now, artifact = datetime.now(UTC), artifact_of(model)
    rows: dict[str, list[dict[str, object]]] = {
        "model": [{"id": 3, "name": "flowers", "last_version": 7, "created_at": now}],
        "version": [
            {
                **EXAMINED.to_json(),
                "id": 5,
                "model_id": 3,
                "number": 7,
                "fingerprint": "f" * 64,
                "preprocess": {},
                "outputs": {"scores": asdict(LABEL)},
                "has_scores": True,
                "columns": None,
                "description": "",
                "tags": [],
                "owner": "ada",
                "created_at": now,
                "metrics": {},
            }
        ],
        "alias": [
            {"model_id": 3, "name": name, "version_id": 5, "moved_at": now, "moved_by": "ada"}
            for name in ("production", "best")
        ],
        "artifact": [{**asdict(artifact), "url": None, "created_at": now}],
        "artifact_chunk": [{"sha256": artifact.sha256, "position": 0, "data": model.read_bytes()}],
        "version_artifact": [{"version_id": 5, "role": "model", "sha256": artifact.sha256}],
        "dataset": [
            {
                "id": 1,
                "name": "images",
                "format": "images",
                "path": str(model.parent),
                "options": {},
                "description": "",
                "owner": "ada",
                "created_at": now,
            }
        ],
    }
    for name, of_table in rows.items():
        db.execute(Table(name, MetaData(), autoload_with=db, resolve_fks=False).insert(), of_table)
