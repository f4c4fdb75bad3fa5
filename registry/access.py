"""Access: who signs in, who may do what, and who did what; every transaction on it.

    access = Access(registry)
    access.add_user("ann", password=…)
    access.grant("execute", "flowers", to="user:ann", by="bob")
    access.may(access.user("ann"), "execute", "flowers")     # True

``by`` is who does it: a user's name, or ``os:ann`` for somebody at the command line. Nothing here
asks whether that one may; that is for the caller, who knows who is signed in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from kerasql.registry import events, grants, queries
from kerasql.registry.accounts import (
    ended,
    find_user,
    findable,
    holder_of,
    name_of,
    sha256,
    token_of,
    token_rows,
    user_of,
)
from kerasql.registry.database import SIGN_INS, insert_new, lock, reading, writing
from kerasql.registry.errors import (
    Forbidden,
    InvalidInput,
    InvalidName,
    NameTaken,
    NotFound,
    NotSignedIn,
    RegistryUnavailable,
)
from kerasql.registry.names import Ref
from kerasql.registry.passwords import fits, hashed, is_outdated
from kerasql.registry.store import Registry
from kerasql.registry.tables import DatasetRow, EventRow, GrantRow, TokenRow, UserRow
from kerasql.registry.users import (
    EVERYTHING,
    KINDS,
    PRIVILEGES,
    ROLES,
    Event,
    Grant,
    Token,
    User,
    one_of,
    user_name,
)
from kerasql.registry.version import plain_text

__all__ = ["Access", "Event", "Grant", "Token", "User"]

PREFIX = "kerasql_"  # by which a scanner of secrets knows one
LONGEST_LIFETIME_S = 10 * 366 * 86_400
MINUTE = timedelta(minutes=1)
MONTH = timedelta(days=30)
UNKNOWN = "{0!r} is no user here; ask an admin to add you with: kerasql user add {0}"
WRONG = "that name and password do not fit; check both, or ask an admin"
ASK = "ask an admin to grant you {} on one"


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Access:
    """Users, tokens, grants and events, in a registry's database."""

    def __init__(self, registry: Registry, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = registry._engine
        self._now = now

    def add_user(
        self,
        name: str,
        *,
        role: str = "analyst",
        password: str | None = None,
        by: str | None = None,
    ) -> User:
        """A new user: analyst, scientist or admin.

        Names are 1 to 64 letters, digits and ``. _ - @``, in lower case; passwords have 12 to
        1,024 characters. Raises NameTaken where there is such a user, disabled or not.
        """
        facts = {
            "name": user_name(name),
            "role": one_of(role, ROLES, "role"),
            "password": None if password is None else hashed(password),
            "disabled": False,
            "created_at": self._now(),
        }
        with writing(self._engine) as db:
            if not insert_new(db, UserRow, facts):
                raise NameTaken(facts["name"], "user", "the user of that name")
            self._record(db, by, "user.add", name.lower(), {"role": role})
            return user_of(find_user(db, name))

    def users(self) -> list[User]:
        """Every user, by name."""
        with reading(self._engine) as db:
            return [user_of(row) for row in db.execute(select(UserRow).order_by(UserRow.name))]

    def user(self, name: str) -> User:
        """The user of that name."""
        with reading(self._engine) as db:
            return user_of(find_user(db, name))

    def set_role(self, name: str, role: str, *, by: str | None) -> User:
        """The user, with that role from the next request on."""
        change = {"role": one_of(role, ROLES, "role")}
        return self._change(name, change, "user.role", by=by, detail=change)

    def set_password(self, name: str, password: str, *, by: str | None) -> User:
        """The user, with that password; browsers are signed out, and links no longer work."""
        change = {"password": hashed(password)}
        return self._change(name, change, "user.password", by=by, signs_out=True)

    def disable(self, name: str, *, by: str | None) -> User:
        """The user, who can no longer sign in and whose tokens no longer work."""
        return self._change(name, {"disabled": True}, "user.disable", by=by, signs_out=True)

    def enable(self, name: str, *, by: str | None) -> User:
        """The user, who can sign in again and whose tokens of the kind ``api`` work again."""
        return self._change(name, {"disabled": False}, "user.enable", by=by)

    def sign_in(self, name: str, password: str, *, address: str) -> User:
        """The user with that name and password.

        Raises NotSignedIn, with one sentence and after the same time, for an unknown user, a
        wrong password and a disabled user. After 5 refusals of a name or 20 of an address within
        15 minutes, TooManyAttempts says when to try again; those attempts are not counted.
        """
        attempted = events.attempted(name)
        with reading(self._engine) as db:
            events.refuse_too_many(db, attempted, address, now=self._now())
            row = db.execute(select(UserRow).where(UserRow.name == findable(name))).first()
        known = row if row and not row.disabled else None
        right = fits(password, known.password if known else None)
        new = hashed(password) if known and right and is_outdated(known.password) else None
        with writing(self._engine) as db:
            lock(db, SIGN_INS)
            # Again: of a hundred guesses at once, only the first few get an answer.
            events.refuse_too_many(db, attempted, address, now=self._now())
            who = row.name if row else None
            if right:
                self._record(db, who, events.SIGN_IN, detail={"with": "password"}, address=address)
            else:
                self._record(db, who, events.REFUSED, attempted, address=address)
            if known and new:
                same = (UserRow.id == known.id) & (UserRow.password == known.password)
                db.execute(update(UserRow).where(same).values(password=new))
        if known is None or not right:
            raise NotSignedIn(WRONG)
        return user_of(known)

    def sign_in_with(
        self, means: str, name_of: Callable[[], str], *, role: str | None = None, address: str
    ) -> User:
        """The user whose name somebody else answers for, such as an OpenID provider.

        means is what events call that, such as ``oidc``. name_of asks for the name, and raises
        NotSignedIn where there is none. A name that is new here is added with the role.

        Raises NotSignedIn for an unknown user without a role for them, and a disabled one. After
        20 refusals of an address within 15 minutes, TooManyAttempts, before anybody is asked.
        """
        with reading(self._engine) as db:
            # The address alone counts: no refusal has this for a name.
            events.refuse_too_many(db, f"with:{means}", address, now=self._now())
        row = None
        try:
            name = name_of()
            if role:
                with suppress(NameTaken):
                    self.add_user(name, role=role, by=means)
            with reading(self._engine) as db:
                row = db.execute(select(UserRow).where(UserRow.name == user_name(name))).first()
            if row is None:
                raise NotSignedIn(UNKNOWN.format(user_name(name)))
            if row.disabled:
                raise NotSignedIn(f"{row.name!r} is disabled here; ask an admin")
        except (NotSignedIn, InvalidName) as error:
            detail = {"with": means, "why": str(error)}
            who = row.name if row else None
            self.record(who, events.REFUSED, detail=detail, address=address)
            raise NotSignedIn(str(error)) from None
        self.record(row.name, events.SIGN_IN, detail={"with": means}, address=address)
        return user_of(row)

    def new_token(
        self,
        user: User | str,
        name: str,
        *,
        kind: str = "api",
        lifetime_s: float,
        by: str | None = None,
    ) -> tuple[Token, str]:
        """A token for a user and its secret, which is kept nowhere: show it once.

        kind is ``api`` for scripts, ``browser`` for who signed in, or ``link`` for a secret that
        signs in once (``redeem``). The user's tokens that ended a month ago are forgotten.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._now()
        if not 0 < lifetime_s <= LONGEST_LIFETIME_S:
            raise InvalidInput(f"a token cannot live {lifetime_s:,} s; give up to ten years")
        if not 0 < len(name) <= 64:
            raise InvalidInput(f"{name!r} cannot be a token's name; use 1 to 64 characters")
        facts = {
            "name": plain_text(name),
            "kind": one_of(kind, KINDS, "kind of token"),
            "sha256": sha256(secret),
            "created_at": now,
            "expires_at": now + timedelta(seconds=lifetime_s),
        }
        with writing(self._engine) as db:
            owner = find_user(db, name_of(user))
            old = (TokenRow.expires_at < now - MONTH) | (TokenRow.revoked_at < now - MONTH)
            db.execute(delete(TokenRow).where(TokenRow.user_id == owner.id, old))
            db.execute(insert(TokenRow).values(user_id=owner.id, **facts))
            token = token_of(
                db.execute(token_rows().where(TokenRow.sha256 == facts["sha256"])).one()
            )
            detail = {"id": token.id, "name": name, "kind": kind}
            self._record(db, by, "token.new", owner.name, detail)
        return token, secret

    def authenticated(
        self, secret: str, *, kinds: Sequence[str] = ("api", "browser")
    ) -> tuple[User, Token]:
        """The user a secret stands for, and its token; one SELECT.

        Raises NotSignedIn where it is unknown, expired or revoked, or the user is disabled.
        ``used_at`` is as it was before; a new one is written at most once a minute.
        """
        now = self._now()
        with reading(self._engine) as db:
            row = db.execute(token_rows().where(TokenRow.sha256 == sha256(secret))).first()
        if row is None or row.kind not in kinds:
            raise NotSignedIn("that token is not known here; sign in, or make another one")
        token = token_of(row)
        if why := ended(row, now):
            raise NotSignedIn(f"the token {token.name!r} {why}; sign in, or make another one")
        if token.used_at is None or token.used_at <= now - MINUTE:
            self._note_use(token, now)
        return holder_of(row), token

    def redeem(self, secret: str, *, address: str | None = None) -> User:
        """The user a link's secret stands for; it signs in this once.

        Raises NotSignedIn where it was used, expired or revoked, or the user is disabled.
        """
        now = self._now()
        enabled = select(UserRow.id).where(~UserRow.disabled)
        used = (
            update(TokenRow)
            .where(TokenRow.sha256 == sha256(secret), TokenRow.kind == "link")
            .where(TokenRow.used_at.is_(None), TokenRow.revoked_at.is_(None))
            .where(TokenRow.expires_at > now, TokenRow.user_id.in_(enabled))
            .values(used_at=now)
            .returning(TokenRow.user_id)
        )
        with writing(self._engine) as db:
            user_id = db.scalar(used)
            if user_id is None:
                raise NotSignedIn("that link was used or is no longer good; ask for another one")
            user = user_of(db.execute(select(UserRow).where(UserRow.id == user_id)).one())
            detail = {"with": "link"}
            self._record(db, user.name, events.SIGN_IN, detail=detail, address=address)
        return user

    def revoke_token(self, id: int, *, by: str | None) -> Token:
        """The token, which lets nobody in any more."""
        this = token_rows().where(TokenRow.id == askable(id))
        with writing(self._engine) as db:
            row = db.execute(this).first()
            if row is None:
                raise NotFound("token", id, [], "list them with: kerasql token list")
            if row.revoked_at is None:
                change = update(TokenRow).where(TokenRow.id == row.id)
                db.execute(change.values(revoked_at=self._now()))
                detail = {"id": id, "name": row.name, "kind": row.kind}
                self._record(db, by, "token.revoke", row.user_name, detail)
            return token_of(db.execute(this).one())

    def tokens(self, user: User | str | None = None) -> list[Token]:
        """The tokens of a user, or all, the newest first; those that ended a while ago too."""
        query = token_rows().order_by(TokenRow.id.desc())
        if user is not None:
            query = query.where(UserRow.name == user_name(name_of(user)))
        with reading(self._engine) as db:
            return [token_of(row) for row in db.execute(query)]

    def grant(self, privilege: str, object: str, *, to: str, by: str | None) -> Grant:
        """The grant of a privilege to ``user:ann`` or ``role:analyst``; the same again is none.

        object is a model's name (for execute, register, alias, delete), a dataset's (for
        select), or ``*`` for all there are and will be.
        """
        privilege, name = one_of(privilege, PRIVILEGES, "privilege"), plain_text(object).lower()
        with writing(self._engine) as db:
            grantee = grants.grantee_of(db, to)
            lock_object(db, PRIVILEGES[privilege], name)
            if grants.give(db, privilege, name, grantee, by=by):
                self._record(db, by, "grant", name, {"privilege": privilege, "to": grantee})
            row = db.execute(grants.grant_rows(privilege, name, grantee)).one()
            return grants.grant_of(row)

    def ungrant(self, privilege: str, object: str, *, to: str, by: str | None) -> None:
        """Take a grant back. What was granted to a role or on ``*`` is a grant of its own."""
        privilege, name = one_of(privilege, PRIVILEGES, "privilege"), plain_text(object).lower()
        with writing(self._engine) as db:
            grantee = grants.grantee_of(db, to)
            row = db.execute(grants.grant_rows(privilege, name, grantee)).first()
            if row is None:
                others = db.execute(grants.grant_rows(to=grantee))
                known = [f"{other.privilege} on {other.object}" for other in others]
                asked = f"{privilege} on {name}"
                raise NotFound(f"grant to {grantee}", asked, known, "nothing is granted there")
            db.execute(delete(GrantRow).where(GrantRow.id == row.id))
            self._record(db, by, "ungrant", name, {"privilege": privilege, "to": grantee})

    def grants(self, object: str | None = None, to: str | None = None) -> list[Grant]:
        """The grants on a model or dataset, to a user or role, or all."""
        name = None if object is None else plain_text(object).lower()
        query = grants.grant_rows(name=name, to=None if to is None else plain_text(to).lower())
        with reading(self._engine) as db:
            return [grants.grant_of(row) for row in db.execute(query)]

    def own(self, user: User | str, model: str) -> None:
        """Grant a user all there is to grant on a model: execute, register, alias, delete.

        A user who is the ``owner`` of a model's first version, or of a dataset that is added,
        has these grants already, from the transaction that stored it.
        """
        name = plain_text(model).lower()
        with writing(self._engine) as db:
            lock_object(db, "model", name)
            grants.own(db, "model", name, find_user(db, name_of(user)).name)

    def may(self, user: User, privilege: str, object: str) -> bool:
        """Whether a user may.

        An admin may everything. Others may what was granted to them, to their role, or on all
        (``*``). A scientist may also register a model of a new name, and add datasets
        (``user.adds``).
        """
        one_of(privilege, PRIVILEGES, "privilege")
        if user.disabled or user.role == "admin":
            return not user.disabled
        with reading(self._engine) as db:
            return grants.allows(db, user, privilege, plain_text(object).lower())

    def require(self, user: User, privilege: str, object: str) -> None:
        """Raise Forbidden where a user may not, with what is missing and who can grant it.

        Of a model that is not theirs to execute, and a dataset not to select from, users learn
        nothing: NotFound is raised, as if it were not there. Who would register a name is told
        that it is taken.
        """
        if self.may(user, privilege, object):
            return
        seen = "select" if PRIVILEGES[privilege] == "dataset" else "execute"
        if privilege != "register" and not self.may(user, seen, object):
            names = sorted(self._names(user, seen))
            raise NotFound(PRIVILEGES[privilege], object, names, ASK.format(seen))
        admins = select(UserRow.name).where(UserRow.role == "admin", ~UserRow.disabled)
        with reading(self._engine) as db:
            names = list(db.scalars(admins.order_by(UserRow.name)))
        raise Forbidden(user.name, privilege, object, names)

    def executable(self, user: User) -> frozenset[str]:
        """The models a user may call in SQL; one query."""
        return self._names(user, "execute")

    def readable(self, user: User) -> frozenset[str]:
        """The datasets a user may put after FROM; one query."""
        return self._names(user, "select")

    def record(
        self,
        user: User | str | None,
        action: str,
        object: str = "",
        *,
        detail: Mapping[str, Any] | None = None,
        address: str | None = None,
    ) -> None:
        """Keep that somebody did something. detail is JSON, and no place for a secret."""
        with writing(self._engine) as db:
            name = None if user is None else name_of(user)
            self._record(db, name, action, object, detail, address=address)

    def events(
        self,
        user: User | str | None = None,
        action: str | None = None,
        object: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """What was done, the newest first; before is the id of an event, for the next page."""
        query = select(EventRow).order_by(EventRow.id.desc()).limit(limit)
        asked: tuple[tuple[Any, str | None], ...] = (
            (EventRow.actor, None if user is None else name_of(user)),
            (EventRow.action, action),
            (EventRow.object, object),
        )
        for column, value in asked:
            if value is not None:
                query = query.where(column == plain_text(value))
        if before is not None:
            query = query.where(EventRow.id < askable(before))
        with reading(self._engine) as db:
            return [events.event_of(row) for row in db.execute(query)]

    def _change(
        self,
        name: str,
        values: Mapping[str, Any],
        action: str,
        *,
        by: str | None,
        detail: Mapping[str, Any] | None = None,
        signs_out: bool = False,
    ) -> User:
        with writing(self._engine) as db:
            found = find_user(db, name)
            db.execute(update(UserRow).where(UserRow.id == found.id).values(values))
            if signs_out:
                open_ = (TokenRow.user_id == found.id) & TokenRow.revoked_at.is_(None)
                browsers = update(TokenRow).where(open_, TokenRow.kind != "api")
                db.execute(browsers.values(revoked_at=self._now()))
            self._record(db, by, action, found.name, detail)
            return user_of(find_user(db, name))

    def _note_use(self, token: Token, now: datetime) -> None:
        unused = or_(TokenRow.used_at.is_(None), TokenRow.used_at <= now - MINUTE)
        note = update(TokenRow).where(TokenRow.id == token.id, unused).values(used_at=now)
        # Who holds a good token is not refused because a note of it cannot be written now.
        with suppress(RegistryUnavailable), writing(self._engine) as db:
            db.execute(note)

    def _names(self, user: User, privilege: str) -> frozenset[str]:
        if user.disabled:
            return frozenset()
        with reading(self._engine) as db:
            return grants.names_allowed(db, user, privilege)

    def _record(
        self,
        db: Connection,
        user: str | None,
        action: str,
        name: str = "",
        detail: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
    ) -> None:
        at = self._now()
        events.record(db, user, action, name, detail=detail, address=address, at=at)


def askable(id: int) -> int:
    """An id that both databases can be asked for; one that is too large is nobody's."""
    return min(max(id, 0), 2**31 - 1)


def lock_object(db: Connection, kind: str, name: str) -> None:
    """Keep a model or dataset from being deleted until the end; NotFound where there is none."""
    if name == EVERYTHING:
        return
    if kind == "dataset":
        db.execute(select(DatasetRow.id).where(DatasetRow.name == name).with_for_update())
        queries.find_dataset(db, name)
        return
    queries.lock_model(db, name)
    if not queries.has_versions(db, name):
        raise queries.not_found(db, Ref(name, None, None))
