"""Registrations that a server carries out: begun, shown by any server, ended by their own.

Each runs in a thread of its server; its row says how far it is. A version is stored in one
transaction, so a registration whose server died has stored all or nothing, and can be repeated:
the same deposit again is the version that exists.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from kerasql.registry.database import NAMES, lock, reading, writing
from kerasql.registry.errors import (
    InvalidInput,
    KerasqlError,
    NameTaken,
    NotFound,
    RegistryUnavailable,
)
from kerasql.registry.examine import private_folder
from kerasql.registry.h5.construct import Progress
from kerasql.registry.store import Registry
from kerasql.registry.tables import ModelRow, RegistrationRow, VersionRow
from kerasql.registry.uploads import Upload, Uploads
from kerasql.registry.version import Version

Register = Callable[[Mapping[str, Path], Progress], Version]
"""Registers the files, by role, and says which version they are."""

ACTIVE = ("queued", "running")
BEAT_S = 2.0
"""Between two times that a server says it is alive."""

DEAD_S = 30.0
"""A server that said nothing for so long is dead."""

MOST_OF_A_USER = 100
STOPPED = "its server was stopped before it was done; nothing is half-done, register it again"
DIED = "its server died before it was done; nothing is half-done, register it again"
ITS_ID = "the answer to registering says its id"
LOST = (
    "its server lost its database or artifacts; nothing is half-done: look whether the version is "
    "there, or register it again, which stores nothing twice"
)
UNEXPECTED = "something went wrong in the server; its log says what"

log = logging.getLogger("kerasql.registry")


@dataclass(frozen=True)
class Registration:
    """A version on its way: its state, the steps it has begun, and what came of it.

    state is queued, running, finished, failed or interrupted. number is the version's where it
    is finished; existed says that the same had been registered before. error is one sentence,
    error_kind and facts the exception's class and args.
    """

    id: str
    user: str
    name: str
    state: str
    steps: tuple[str, ...]
    error: str | None
    error_kind: str | None
    facts: tuple[Any, ...]
    number: int | None
    existed: bool
    created_at: datetime
    ended_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether something is still to come."""
        return self.state in ACTIVE


class Stopped(Exception):
    """The server is being stopped."""


class Registrations:
    """What is being registered by this server, and what any server on the database knows of."""

    def __init__(self, registry: Registry) -> None:
        self._engine = registry._engine
        self.uploads = Uploads(registry)
        self._server = uuid.uuid4().hex
        self._turns = threading.Semaphore(os.cpu_count() or 1)
        self._threads = dict[str, threading.Thread]()
        self._stopping, self._closed = threading.Event(), threading.Event()
        self._heart = threading.Thread(target=self._beat, name="registrations", daemon=True)
        self._heart.start()

    def begin(
        self,
        user: str,
        name: str,
        uploads: Mapping[str, str],
        register: Register,
        *,
        is_new: bool,
    ) -> Registration:
        """A registration that was just begun.

        uploads are the ids of the user's files by role; they are forgotten once it is finished.
        is_new says that the user may register a model of a new name only. Raises NameTaken where
        somebody else has just registered one, or is about to.
        """
        files = {role: self.uploads.get(user, one) for role, one in uploads.items()}
        for file in files.values():
            if not file.whole:
                raise InvalidInput(
                    f"{file.offset:,} of the {file.size_bytes:,} bytes of {file.name} are here; "
                    f"send the rest to the upload {file.id}"
                )
        with writing(self._engine) as db:
            lock(db, NAMES)
            if is_new:
                _refuse_other(db, user, name)
            _refuse_too_many(db, user)
            one = self._add(db, user, name)
        thread = threading.Thread(
            target=self._run, args=(one, files, register), name=f"register {one.id}", daemon=True
        )
        self._threads[one.id] = thread
        thread.start()
        return one

    def get(self, id: str) -> Registration:
        """How far a registration is."""
        with reading(self._engine) as db:
            row = db.execute(select(RegistrationRow).where(RegistrationRow.id == id)).first()
        if row is None:
            raise NotFound("registration", id, (), ITS_ID)
        return _registration(row)

    def of(self, user: str | None, *, limit: int = 100) -> list[Registration]:
        """A user's registrations, or everybody's, the newest first."""
        query = select(RegistrationRow).order_by(RegistrationRow.created_at.desc()).limit(limit)
        if user is not None:
            query = query.where(RegistrationRow.user == user)
        with reading(self._engine) as db:
            return [_registration(row) for row in db.execute(query)]

    def close(self, *, timeout_s: float = 30) -> None:
        """Stop: what runs ends at its next step; what takes longer is left to die with us."""
        self._stopping.set()
        deadline = time.monotonic() + timeout_s
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._closed.set()
        self._heart.join()
        with suppress(RegistryUnavailable), writing(self._engine) as db:
            interrupt(db, RegistrationRow.server == self._server, STOPPED)

    def _add(self, db: Connection, user: str, name: str) -> Registration:
        now = datetime.now(UTC)
        facts = {
            "id": uuid.uuid4().hex,
            "user": user,
            "name": name,
            "state": "queued",
            "steps": [],
            "facts": [],
            "existed": False,
            "server": self._server,
            "beat_at": now,
            "created_at": now,
        }
        db.execute(insert(RegistrationRow), facts)
        this = select(RegistrationRow).where(RegistrationRow.id == facts["id"])
        return _registration(db.execute(this).one())

    def _run(self, one: Registration, files: Mapping[str, Upload], register: Register) -> None:
        try:
            self._end(one.id, self._outcome(one.id, files, register))
        finally:
            del self._threads[one.id]

    def _outcome(self, one: str, files: Mapping[str, Upload], register: Register) -> dict[str, Any]:
        try:
            self._wait_for_a_turn()
            try:
                version = self._registered(one, files, register)
            finally:
                self._turns.release()
            for file in files.values():
                with suppress(KerasqlError):
                    self.uploads.delete(file.user, file.id)
            return {
                "state": "finished",
                "number": version.number,
                "existed": version.existed,
                "error": None,
            }
        except Stopped:
            return {"state": "interrupted", "error": STOPPED}
        except RegistryUnavailable as error:
            log.error("a registration lost its database: %s", error)
            return {"state": "interrupted", "error": LOST}
        except KerasqlError as error:
            return {"state": "failed", **told(error, files.values())}
        except Exception:
            log.exception("a registration failed")
            return {"state": "failed", **told(KerasqlError(UNEXPECTED), ())}

    def _registered(self, one: str, files: Mapping[str, Upload], register: Register) -> Version:
        steps: list[str] = []

        def step(name: str) -> None:
            if self._stopping.is_set():
                raise Stopped
            steps.append(name)
            # A step that cannot be shown now is shown with the next.
            with suppress(RegistryUnavailable):
                self._write(one, {"state": "running", "steps": list(steps)})

        with private_folder() as folder:
            step("receiving the file")
            paths = {}
            for role, file in files.items():
                # Its id, never the name that somebody gave it.
                paths[role] = folder / file.id
                with paths[role].open("wb") as to:
                    self.uploads.copy(file.user, file.id, to)
            return register(paths, step)

    def _wait_for_a_turn(self) -> None:
        while not self._turns.acquire(timeout=0.1):
            if self._stopping.is_set():
                raise Stopped

    def _end(self, id: str, outcome: dict[str, Any]) -> None:
        while True:
            try:
                return self._write(id, {**outcome, "ended_at": datetime.now(UTC)})
            except RegistryUnavailable:
                if self._stopping.wait(BEAT_S):
                    return None

    def _write(self, id: str, facts: dict[str, Any]) -> None:
        with writing(self._engine) as db:
            this = update(RegistrationRow).where(RegistrationRow.id == id)
            db.execute(this.values({**facts, "beat_at": datetime.now(UTC)}))

    def _beat(self) -> None:
        well_since = time.monotonic()
        while not self._closed.wait(BEAT_S):
            try:
                self._say_alive()
                # After an outage the other servers get their time to say it too.
                if time.monotonic() - well_since > DEAD_S:
                    self._sweep()
            except RegistryUnavailable:
                well_since = time.monotonic()

    def _say_alive(self) -> None:
        # One that we do not carry out, because the database was lost when it began, is dead.
        mine = update(RegistrationRow).where(
            RegistrationRow.id.in_(list(self._threads)), RegistrationRow.state.in_(ACTIVE)
        )
        with writing(self._engine) as db:
            db.execute(mine.values(beat_at=datetime.now(UTC)))

    def _sweep(self) -> None:
        with writing(self._engine) as db:
            long_ago = datetime.now(UTC) - timedelta(seconds=DEAD_S)
            interrupt(db, RegistrationRow.beat_at < long_ago, DIED)
        self.uploads.expire()


def interrupt(db: Connection, which: Any, why: str) -> None:
    """End the registrations among the active ones that nobody carries out any more."""
    these = update(RegistrationRow).where(RegistrationRow.state.in_(ACTIVE), which)
    facts = {"state": "interrupted", "error": why, "ended_at": datetime.now(UTC)}
    db.execute(these.values(facts))


def told(error: KerasqlError, files: Iterable[Upload]) -> dict[str, Any]:
    """An error's class, facts and sentence, with the files called as their owner calls them."""
    text = json.dumps(error.args, default=str)
    for file in files:
        text = text.replace(file.id, json.dumps(file.name)[1:-1])
    facts = json.loads(text)
    return {
        "error": str(type(error)(*facts)),
        "error_kind": type(error).__name__,
        "facts": facts,
    }


def _refuse_other(db: Connection, user: str, name: str) -> None:
    others = select(RegistrationRow.user).where(
        RegistrationRow.name == name,
        RegistrationRow.user != user,
        RegistrationRow.state.in_(ACTIVE),
    )
    versions = select(VersionRow.owner).join(ModelRow, ModelRow.id == VersionRow.model_id)
    first = versions.where(ModelRow.name == name).order_by(VersionRow.number).limit(1)
    # In this order: what is no longer active has stored its version.
    if db.scalar(others.limit(1)) is not None or db.scalar(first) not in (None, user):
        raise NameTaken(name, "model", "one that somebody else registers now")


def _refuse_too_many(db: Connection, user: str) -> None:
    mine = select(func.count(RegistrationRow.id)).where(
        RegistrationRow.user == user, RegistrationRow.state.in_(ACTIVE)
    )
    if (db.scalar(mine) or 0) >= MOST_OF_A_USER:
        raise InvalidInput(
            f"{MOST_OF_A_USER} registrations of yours are waiting; let one end first"
        )


def _registration(row: Row[Any]) -> Registration:
    return Registration(
        id=row.id,
        user=row.user,
        name=row.name,
        state=row.state,
        steps=tuple(row.steps),
        error=row.error,
        error_kind=row.error_kind,
        facts=tuple(row.facts),
        number=row.number,
        existed=row.existed,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
