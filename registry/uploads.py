"""Files on their way to a server: they arrive in pieces, and any server takes the next one.

The pieces are rows of the registry's database. A connection that is lost, a server that is killed
or another one on the same database changes nothing: what has arrived is there, and the next piece
begins where it ends.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from kerasql.registry.artifacts import CHUNK_BYTES
from kerasql.registry.database import UPLOADS, lock, reading, writing
from kerasql.registry.errors import InvalidInput, NotFound, WrongOffset
from kerasql.registry.settings import setting
from kerasql.registry.store import Registry
from kerasql.registry.tables import UploadChunkRow, UploadRow
from kerasql.registry.version import plain_text

KEPT = timedelta(days=1)
"""How long an upload waits for its next piece, or to be used."""

AGAIN = "it has expired or was used; upload the file again"


@dataclass(frozen=True)
class Upload:
    """A file that arrives: its name, its size, and offset, how many of its bytes are here."""

    id: str
    user: str
    name: str
    size_bytes: int
    sha256: str | None
    offset: int
    created_at: datetime
    expires_at: datetime

    @property
    def whole(self) -> bool:
        """Whether all bytes are here."""
        return self.offset == self.size_bytes


class Uploads:
    """The uploads of all users in one database; everybody sees their own alone."""

    def __init__(self, registry: Registry) -> None:
        self._engine = registry._engine

    def new(self, user: str, name: str, *, size_bytes: int, sha256: str | None = None) -> Upload:
        """An upload to send the file's bytes to.

        Where the same bytes (sha256) are here or on their way already, it is that upload: who
        begins again goes on. Raises InvalidInput for more than KERASQL_UPLOADS_MB allows.
        """
        # The name is shown, never opened.
        name = re.split(r"[/\\]", plain_text(name))[-1] or "file"
        now = datetime.now(UTC)
        with writing(self._engine) as db:
            lock(db, UPLOADS)
            mine = (UploadRow.user == user) & (UploadRow.expires_at > now)
            if sha256 is not None:
                same = (UploadRow.sha256 == sha256) & (UploadRow.size_bytes == size_bytes)
                query = select(UploadRow).where(mine, same, UploadRow.name == name)
                if row := db.execute(query).first():
                    return _upload(row)
            held = db.scalar(select(func.sum(UploadRow.size_bytes)).where(mine)) or 0
            _check_room(name, size_bytes, int(held))
            id = uuid.uuid4().hex
            facts = {
                "id": id,
                "user": user,
                "name": name,
                "size_bytes": size_bytes,
                "sha256": sha256,
                "position": 0,
                "created_at": now,
                "expires_at": now + KEPT,
            }
            db.execute(insert(UploadRow), facts)
            return _upload(_row(db, user, id))

    def get(self, user: str, id: str) -> Upload:
        """One of the user's uploads."""
        with reading(self._engine) as db:
            return _upload(_row(db, user, id))

    def append(self, user: str, id: str, offset: int, data: bytes) -> Upload:
        """The upload, once its next bytes are stored, all of them or none.

        Raises WrongOffset, which says where to go on, for bytes that are not the next; InvalidInput
        where the whole file is not what was announced: it is then forgotten.
        """
        with writing(self._engine) as db:
            upload = _upload(_row(db, user, id, locked=True))
            if offset != upload.offset:
                raise WrongOffset(id, upload.offset)
            end = offset + len(data)
            if end > upload.size_bytes:
                raise InvalidInput(
                    f"{upload.name} was announced with {upload.size_bytes:,} bytes; "
                    f"these would make it {end:,}"
                )
            for start in range(0, len(data), CHUNK_BYTES):
                piece = data[start : start + CHUNK_BYTES]
                row = {"upload_id": id, "position": offset + start, "data": piece}
                db.execute(insert(UploadChunkRow), row)
            facts = {"position": end, "expires_at": datetime.now(UTC) + KEPT}
            db.execute(update(UploadRow).where(UploadRow.id == id).values(facts))
            upload = _upload(_row(db, user, id))
        if upload.whole and data:
            self._check(upload)
        return upload

    def copy(self, user: str, id: str, to: BinaryIO) -> None:
        """Write a whole upload to a file, its SHA-256 checked."""
        upload = self.get(user, id)
        if not upload.whole:
            raise InvalidInput(
                f"{upload.offset:,} of the {upload.size_bytes:,} bytes of {upload.name} are here; "
                f"send the rest to the upload {id}"
            )
        sha256 = hashlib.sha256()
        for data in self._pieces(id):
            sha256.update(data)
            to.write(data)
        if upload.sha256 not in (None, sha256.hexdigest()):
            raise _altered(upload)

    def delete(self, user: str, id: str) -> None:
        """Forget one of the user's uploads and its bytes."""
        with writing(self._engine) as db:
            _row(db, user, id, locked=True)
            db.execute(delete(UploadRow).where(UploadRow.id == id))

    def expire(self) -> int:
        """Forget uploads to which nothing happened for a day; returns how many."""
        with writing(self._engine) as db:
            gone = delete(UploadRow).where(UploadRow.expires_at <= datetime.now(UTC))
            return len(db.execute(gone.returning(UploadRow.id)).all())

    def _check(self, upload: Upload) -> None:
        sha256 = hashlib.sha256()
        if upload.sha256 is None:
            return
        for data in self._pieces(upload.id):
            sha256.update(data)
        if sha256.hexdigest() != upload.sha256:
            self.delete(upload.user, upload.id)
            raise _altered(upload)

    def _pieces(self, id: str) -> Iterator[bytes]:
        position = 0
        while True:
            with reading(self._engine) as db:
                here = (UploadChunkRow.upload_id == id) & (UploadChunkRow.position == position)
                data = db.scalar(select(UploadChunkRow.data).where(here))
            if data is None:
                return
            yield bytes(data)
            position += len(data)


def _row(db: Connection, user: str, id: str, *, locked: bool = False) -> Row[Any]:
    query = select(UploadRow).where(
        UploadRow.id == id, UploadRow.user == user, UploadRow.expires_at > datetime.now(UTC)
    )
    row = db.execute(query.with_for_update() if locked else query).first()
    if row is None:
        raise NotFound("upload", id, (), AGAIN)
    return row


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        user=row.user,
        name=row.name,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        offset=row.position,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _check_room(name: str, size_bytes: int, held_bytes: int) -> None:
    most = setting("KERASQL_UPLOADS_MB") * 2**20
    if size_bytes > most:
        raise InvalidInput(
            f"{name} has {size_bytes:,} bytes; KERASQL_UPLOADS_MB of the server allows {most:,}"
        )
    if held_bytes + size_bytes > most:
        raise InvalidInput(
            f"{name} would be too much beside your other uploads of {held_bytes:,} bytes; "
            "delete those, or register them first"
        )


def _altered(upload: Upload) -> InvalidInput:
    return InvalidInput(
        f"what arrived of {upload.name} has another SHA-256 than was announced; upload it again"
    )
