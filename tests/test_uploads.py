"""Files that arrive in pieces, and the registrations they are for; on both databases."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from deposits import deposit
from sqlalchemy import func, select, update

from kerasql.registry import registrations as module
from kerasql.registry.artifacts import CHUNK_BYTES
from kerasql.registry.database import reading, writing
from kerasql.registry.errors import (
    InvalidFile,
    InvalidInput,
    KerasqlError,
    NameTaken,
    NotFound,
    WrongOffset,
)
from kerasql.registry.registrations import Registration, Registrations
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import RegistrationRow, UploadChunkRow, UploadRow
from kerasql.registry.uploads import Upload, Uploads
from kerasql.registry.version import Version

Progress = Callable[[str], None]
BYTES = random.Random(5).randbytes(2 * CHUNK_BYTES + 1000)


@pytest.fixture
def uploads(registry: Registry) -> Uploads:
    return Uploads(registry)


def begun(uploads: Uploads, data: bytes = BYTES, **facts: Any) -> Upload:
    given = {"name": "m.h5", "sha256": hashlib.sha256(data).hexdigest(), **facts}
    return uploads.new("ann", size_bytes=len(data), **given)


def content(uploads: Uploads, upload: Upload) -> bytes:
    to = io.BytesIO()
    uploads.copy(upload.user, upload.id, to)
    return to.getvalue()


def sent(uploads: Uploads, data: bytes = BYTES, **facts: Any) -> Upload:
    return uploads.append("ann", begun(uploads, data, **facts).id, 0, data)


def test_pieces_of_any_size_make_the_file(uploads: Uploads) -> None:
    upload = begun(uploads)
    assert (upload.name, upload.offset, upload.whole) == ("m.h5", 0, False)
    for start, end in ((0, 7), (7, CHUNK_BYTES + 9), (CHUNK_BYTES + 9, len(BYTES))):
        upload = uploads.append("ann", upload.id, start, BYTES[start:end])
        assert uploads.get("ann", upload.id) == upload
    assert upload.whole
    assert content(uploads, upload) == BYTES


def test_an_empty_file_is_whole_at_once(uploads: Uploads) -> None:
    upload = begun(uploads, b"")
    assert upload.whole
    assert content(uploads, upload) == b""


def test_a_piece_that_is_not_the_next_is_refused_with_the_right_offset(uploads: Uploads) -> None:
    upload = begun(uploads)
    uploads.append("ann", upload.id, 0, BYTES[:100])
    for wrong in (0, 99, 101):
        with pytest.raises(WrongOffset, match="goes on at byte 100") as caught:
            uploads.append("ann", upload.id, wrong, BYTES[wrong:200])
        assert caught.value.args == (upload.id, 100)
    uploads.append("ann", upload.id, 100, BYTES[100:])
    assert content(uploads, upload) == BYTES


def test_more_than_was_announced_is_refused_whole(uploads: Uploads) -> None:
    upload = begun(uploads, BYTES[:100])
    with pytest.raises(InvalidInput, match="announced with 100 bytes; these would make it 101"):
        uploads.append("ann", upload.id, 0, BYTES[:101])
    assert uploads.get("ann", upload.id).offset == 0


def test_the_same_file_announced_again_goes_on_where_it_was(uploads: Uploads) -> None:
    upload = begun(uploads)
    uploads.append("ann", upload.id, 0, BYTES[:100])
    again = begun(uploads)
    assert (again.id, again.offset) == (upload.id, 100)
    assert begun(uploads, name="other.h5").id != upload.id
    assert begun(uploads, sha256=None).id != upload.id
    assert uploads.new("bob", "m.h5", size_bytes=len(BYTES), sha256=upload.sha256).offset == 0


def test_bytes_that_are_not_what_was_announced_are_forgotten(uploads: Uploads) -> None:
    upload = begun(uploads)
    with pytest.raises(InvalidInput, match="another SHA-256 than was announced; upload it again"):
        uploads.append("ann", upload.id, 0, bytes(len(BYTES)))
    with pytest.raises(NotFound, match="upload the file again"):
        uploads.get("ann", upload.id)


def test_bytes_that_were_altered_at_rest_are_not_given_out(
    registry: Registry, uploads: Uploads
) -> None:
    upload = sent(uploads)
    with writing(registry._engine) as db:
        db.execute(update(UploadChunkRow).where(UploadChunkRow.position == 0).values(data=b"odd"))
    with pytest.raises(InvalidInput, match="another SHA-256"):
        content(uploads, upload)


def test_a_file_that_is_not_whole_cannot_be_used(uploads: Uploads) -> None:
    upload = begun(uploads)
    with pytest.raises(InvalidInput, match=r"0 of the 8,389,608 bytes of m.h5 are here; send the"):
        content(uploads, upload)


def test_only_its_user_sees_an_upload(uploads: Uploads) -> None:
    upload = begun(uploads)
    for use in (
        lambda: uploads.get("bob", upload.id),
        lambda: uploads.append("bob", upload.id, 0, b"x"),
        lambda: content(uploads, Upload(**{**vars(upload), "user": "bob"})),
        lambda: uploads.delete("bob", upload.id),
        lambda: uploads.get("ann", "nothing"),
    ):
        with pytest.raises(NotFound, match="it has expired or was used"):
            use()
    assert uploads.get("ann", upload.id) == upload


def test_a_name_is_no_path(uploads: Uploads) -> None:
    names = ["../../etc/m.h5", "C:\\models\\m.h5", "/", "a/"]
    assert [begun(uploads, name=name).name for name in names] == ["m.h5", "m.h5", "file", "file"]


def test_deleting_frees_the_bytes(registry: Registry, uploads: Uploads) -> None:
    upload = sent(uploads)
    uploads.delete("ann", upload.id)
    with reading(registry._engine) as db:
        assert db.scalar(select(func.count()).select_from(UploadChunkRow)) == 0


def test_an_upload_to_which_nothing_happens_for_a_day_is_forgotten(
    registry: Registry, uploads: Uploads
) -> None:
    upload, kept = sent(uploads), begun(uploads, b"other")
    assert upload.expires_at - datetime.now(UTC) > timedelta(hours=23)
    with writing(registry._engine) as db:
        past = datetime.now(UTC) - timedelta(seconds=1)
        old = update(UploadRow).where(UploadRow.id == upload.id)
        db.execute(old.values(expires_at=past))
    with pytest.raises(NotFound):
        uploads.get("ann", upload.id)
    assert begun(uploads).id != upload.id
    assert uploads.expire() == 1
    assert uploads.get("ann", kept.id) == kept


def test_a_users_files_together_have_a_limit(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_UPLOADS_MB", "1")
    with pytest.raises(InvalidInput, match="KERASQL_UPLOADS_MB of the server allows 1,048,576"):
        begun(uploads)
    first = uploads.new("ann", "a.h5", size_bytes=2**20)
    with pytest.raises(InvalidInput, match="too much beside your other uploads of 1,048,576 bytes"):
        uploads.new("ann", "b.h5", size_bytes=1)
    assert uploads.new("bob", "b.h5", size_bytes=1).offset == 0
    uploads.delete("ann", first.id)
    assert uploads.new("ann", "b.h5", size_bytes=1).offset == 0


def test_of_two_that_send_the_same_piece_one_is_told_to_go_on(uploads: Uploads) -> None:
    upload = begun(uploads)

    def send(_: int) -> str:
        try:
            uploads.append("ann", upload.id, 0, BYTES[:CHUNK_BYTES])
        except WrongOffset as error:
            return f"go on at {error.args[1]}"
        return "stored"

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(send, range(4)))
    assert said == [f"go on at {CHUNK_BYTES}"] * 3 + ["stored"]
    uploads.append("ann", upload.id, CHUNK_BYTES, BYTES[CHUNK_BYTES:])
    assert content(uploads, upload) == BYTES


def send_for_ever(url: str, upload: str, data: bytes, ready: Connection) -> None:
    """Send pieces until killed; says when the first is stored."""
    with connect(url, artifacts="") as registry:
        uploads = Uploads(registry)
        while True:
            offset = uploads.get("ann", upload).offset
            uploads.append("ann", upload, offset, data[offset : offset + 50_000])
            ready.send(True)


def test_a_process_killed_at_any_instant_leaves_an_upload_that_goes_on(
    registry: Registry, uploads: Uploads
) -> None:
    chance, context = random.Random(3), multiprocessing.get_context("spawn")
    url = registry._engine.url.render_as_string(hide_password=False)
    upload = begun(uploads)
    for _ in range(3):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=send_for_ever, args=(url, upload.id, BYTES, sender))
        child.start()
        assert receiver.recv()
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        child.join()
    offset = uploads.get("ann", upload.id).offset
    assert offset % 50_000 == 0 or offset == len(BYTES)
    if offset < len(BYTES):
        uploads.append("ann", upload.id, offset, BYTES[offset:])
    assert content(uploads, upload) == BYTES


# Registrations


@pytest.fixture
def registrations(registry: Registry) -> Iterator[Registrations]:
    opened = Registrations(registry)
    yield opened
    opened.close()


def stored(registry: Registry, name: str = "m", owner: str = "ann") -> Any:
    """Registers a file as it is."""

    def register(files: Mapping[str, Path], progress: Progress) -> Version:
        progress("storing")
        return deposit(registry, name, files["model"], owner=owner)

    return register


def ended(registrations: Registrations, one: Registration) -> Registration:
    until(lambda: not registrations.get(one.id).active)
    return registrations.get(one.id)


def until(fact: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)


def begin(
    registrations: Registrations, register: Any, *, user: str = "ann", **facts: Any
) -> Registration:
    data = random.randbytes(1000)
    upload = registrations.uploads.new(user, "m.h5", size_bytes=1000)
    registrations.uploads.append(user, upload.id, 0, data)
    given = {"is_new": True, **facts}
    return registrations.begin(user, "m", {"model": upload.id}, register, **given)


def test_a_registration_says_its_steps_and_its_version(
    registry: Registry, registrations: Registrations
) -> None:
    one = begin(registrations, stored(registry))
    assert (one.state, one.steps, one.number) == ("queued", (), None)
    found = ended(registrations, one)
    assert (found.state, found.number, found.existed) == ("finished", 1, False)
    assert found.steps == ("receiving the file", "storing")
    assert found.ended_at is not None
    assert registrations.of("ann") == registrations.of(None) == [found]
    assert registrations.of("bob") == []
    assert registry.get("m").artifacts["model"].size_bytes == 1000


def test_the_upload_of_a_finished_registration_is_gone_and_of_a_failed_one_kept(
    registry: Registry, registrations: Registrations
) -> None:
    uploads = registrations.uploads

    def fail(files: Mapping[str, Path], progress: Progress) -> Version:
        raise InvalidFile(files["model"].name, "it is no model")

    upload = sent(uploads)
    given = ("ann", "m", {"model": upload.id})
    assert ended(registrations, registrations.begin(*given, fail, is_new=True)).state == "failed"
    again = registrations.begin(*given, stored(registry), is_new=True)
    assert ended(registrations, again).state == "finished"
    with pytest.raises(NotFound, match="no upload"):
        registrations.begin(*given, fail, is_new=False)


def test_an_error_is_told_with_the_name_that_the_file_has_for_its_owner(
    registrations: Registrations,
) -> None:
    def fail(files: Mapping[str, Path], progress: Progress) -> Version:
        raise InvalidFile(files["model"].name, f"{files['model'].name} is no model")

    found = ended(registrations, begin(registrations, fail))
    assert (found.state, found.error_kind) == ("failed", "InvalidFile")
    assert found.facts == ("m.h5", "m.h5 is no model")
    assert found.error == "m.h5 cannot be registered: m.h5 is no model"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_is_told_without_internals(registrations: Registrations) -> None:
    def fail(files: Mapping[str, Path], progress: Progress) -> Version:
        raise RuntimeError("/secret/path")

    found = ended(registrations, begin(registrations, fail))
    assert found.state == "failed"
    assert found.error == "something went wrong in the server; its log says what"


def test_a_file_that_is_not_whole_is_not_registered(
    registry: Registry, registrations: Registrations
) -> None:
    upload = begun(registrations.uploads)
    with pytest.raises(InvalidInput, match="send the rest"):
        registrations.begin("ann", "m", {"model": upload.id}, stored(registry), is_new=True)


def test_a_new_name_is_for_the_first_who_registers_it(
    registry: Registry, registrations: Registrations
) -> None:
    go = threading.Event()

    def slow(files: Mapping[str, Path], progress: Progress) -> Version:
        go.wait(30)
        version: Version = stored(registry)(files, progress)
        return version

    one = begin(registrations, slow)
    with pytest.raises(NameTaken, match="somebody else registers now"):
        begin(registrations, stored(registry), user="bob")
    own = begin(registrations, slow)
    go.set()
    assert ended(registrations, one).state == ended(registrations, own).state == "finished"
    with pytest.raises(NameTaken):
        begin(registrations, stored(registry), user="bob")
    given = begin(registrations, stored(registry), user="bob", is_new=False)
    assert ended(registrations, given).number == 3


def test_closing_interrupts_what_runs_at_its_next_step(registry: Registry) -> None:
    registrations = Registrations(registry)
    running = threading.Event()

    def slow(files: Mapping[str, Path], progress: Progress) -> Version:
        running.set()
        while True:
            progress("working")
            time.sleep(0.01)

    one = begin(registrations, slow)
    assert running.wait(30)
    registrations.close(timeout_s=10)
    found = registrations.get(one.id)
    assert (found.state, found.number) == ("interrupted", None)
    assert "its server was stopped" in (found.error or "")


def test_what_a_dead_server_left_is_interrupted_by_any_other(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    monkeypatch.setattr(module, "DEAD_S", 1.0)
    dead = Registrations(registry)
    stop = threading.Event()
    one = begin(dead, lambda files, progress: stop.wait(30) and _fail())
    until(lambda: dead.get(one.id).steps)
    dead._closed.set()  # its heart stops
    dead._heart.join()
    with writing(registry._engine) as db:
        long_ago = datetime.now(UTC) - timedelta(minutes=1)
        db.execute(update(RegistrationRow).values(beat_at=long_ago))
    other = Registrations(registry)
    found = ended(other, one)
    assert (found.state, found.error) == ("interrupted", module.DIED)
    stop.set()
    other.close()
    dead.close()


def test_as_many_run_at_once_as_there_are_cores_and_the_others_wait(
    registry: Registry, registrations: Registrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrations._turns = threading.Semaphore(1)
    go = threading.Event()
    first = begin(registrations, lambda files, progress: go.wait(30) and _fail())
    second = begin(registrations, lambda files, progress: _fail())
    time.sleep(0.3)
    assert registrations.get(second.id).state == "queued"
    go.set()
    assert ended(registrations, first).state == ended(registrations, second).state == "failed"


def _fail() -> Version:
    raise KerasqlError("no")


def test_a_user_has_a_limit_of_waiting_registrations(
    registrations: Registrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_A_USER", 1)
    go = threading.Event()
    one = begin(registrations, lambda files, progress: go.wait(30) and _fail())
    with pytest.raises(InvalidInput, match="1 registrations of yours are waiting"):
        begin(registrations, lambda files, progress: _fail())
    go.set()
    ended(registrations, one)


def test_an_unknown_registration_is_not_found(registrations: Registrations) -> None:
    with pytest.raises(NotFound, match="no registration 'abc'"):
        registrations.get("abc")
