"""Who signs in, who may do what, and who did what; on both databases."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from statistics import median

import pytest
from argon2 import PasswordHasher
from deposits import deposit, random_file
from permissions import DECISIONS
from sqlalchemy import event, insert, select, update

from kerasql.registry.access import Access, Token, User
from kerasql.registry.accounts import sha256
from kerasql.registry.database import reading, writing
from kerasql.registry.errors import (
    Forbidden,
    InvalidInput,
    InvalidName,
    KerasqlError,
    NameTaken,
    NotFound,
    NotSignedIn,
    TooManyAttempts,
)
from kerasql.registry.events import MOST_OF_A_NAME, MOST_OF_AN_ADDRESS, REFUSED, WINDOW
from kerasql.registry.store import Registry
from kerasql.registry.tables import Base, EventRow, UserRow
from kerasql.registry.users import PRIVILEGES, ROLES

PASSWORD = "correct horse battery"
HOUR_S = 3600


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def passes(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(registry: Registry, clock: Clock) -> Access:
    return Access(registry, now=clock)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return random_file(tmp_path / "m.h5")


# Users


def test_a_user_has_a_name_in_lower_case_and_a_role(access: Access, clock: Clock) -> None:
    added = access.add_user("Ann@Example.org", role="scientist", password=PASSWORD, by="os:root")
    assert added == User("ann@example.org", "scientist", False, clock(), has_password=True)
    assert access.user("ANN@example.org") == added
    assert access.users() == [added]
    assert access.add_user("bot").role == "analyst"
    assert not access.user("bot").has_password
    assert json.dumps(added.to_json())


def test_a_name_is_given_once_whatever_its_case(access: Access) -> None:
    access.add_user("ann")
    with pytest.raises(NameTaken, match="'ann' would collide with the user of that name"):
        access.add_user("ANN")


def test_other_names_are_refused_in_one_sentence(access: Access) -> None:
    for name in ("", "a b", "a" * 65, "user:ann", "änn", "a\0", "a/b", "a\n", 7):
        with pytest.raises(InvalidName, match="use 1 to 64 letters"):
            access.add_user(name)
        with pytest.raises(InvalidName):
            access.user(name)


def test_a_password_is_long_enough_and_no_book(access: Access) -> None:
    access.add_user("ann")
    for password in ("", "a" * 11, "a" * 1025):
        sentence = f"a password has 12 to 1,024 characters; this one has {len(password):,}"
        with pytest.raises(InvalidInput, match=sentence):
            access.add_user("bob", password=password)
        with pytest.raises(InvalidInput, match=sentence):
            access.set_password("ann", password, by="os:root")
    assert [user.name for user in access.users()] == ["ann"]
    assert not access.user("ann").has_password


def test_an_unknown_user_or_role_is_said_with_what_there_is(access: Access) -> None:
    with pytest.raises(NotFound, match="no user 'bob'; add one with: kerasql user add"):
        access.user("bob")
    access.add_user("ann")
    changes: list[Callable[[], object]] = [
        lambda: access.user("bob"),
        lambda: access.set_role("bob", "admin", by=None),
        lambda: access.set_password("bob", PASSWORD, by=None),
        lambda: access.disable("bob", by=None),
        lambda: access.enable("bob", by=None),
        lambda: access.new_token("bob", "x", lifetime_s=1),
    ]
    for change in changes:
        with pytest.raises(NotFound, match="no user 'bob'; there is 'ann'"):
            change()
    with pytest.raises(InvalidInput, match="no role 'boss'; there is 'analyst', 'scientist' and"):
        access.set_role("ann", "boss", by=None)


# Signing in


def test_who_knows_the_password_signs_in(access: Access) -> None:
    access.add_user("ann", password=PASSWORD)
    assert access.sign_in("Ann", PASSWORD, address="10.0.0.1") == access.user("ann")
    (signed_in,) = access.events(action="sign_in")
    assert (signed_in.user, signed_in.address) == ("ann", "10.0.0.1")


def test_the_same_characters_are_the_same_password_however_they_were_typed(access: Access) -> None:
    access.add_user("ann", password="u\N{COMBINING DIAERESIS}ber den Wolken")
    assert access.sign_in("ann", "über den Wolken", address="").name == "ann"


def test_nobody_is_told_what_was_wrong(access: Access) -> None:
    for name in ("ann", "dis"):
        access.add_user(name, password=PASSWORD)
    access.disable("dis", by="os:root")
    access.add_user("bot")
    sentences, times = set(), []
    tries = [("ann", "wrong" * 3), ("who", PASSWORD), ("dis", PASSWORD), ("bot", PASSWORD)]
    tries += [("a\0b", PASSWORD), ("\ud800", "\ud800"), ("ann", ""), ("", "")]
    for name, password in tries:
        started = time.perf_counter()
        with pytest.raises(NotSignedIn) as caught:
            access.sign_in(name, password, address="10.0.0.1")
        times.append(time.perf_counter() - started)
        sentences.add(str(caught.value))
    assert sentences == {"that name and password do not fit; check both, or ask an admin"}
    # Each takes as long as one hash; what skips it takes a tenth of that.
    assert min(times) > median(times) / 3


def test_a_name_is_refused_after_five_wrong_passwords_and_told_when_to_try_again(
    access: Access, clock: Clock
) -> None:
    access.add_user("ann", password=PASSWORD)
    access.add_user("bob", password=PASSWORD)
    for _ in range(MOST_OF_A_NAME):
        refuse(access, "Ann", "10.0.0.1")
        clock.passes(minutes=1)
    with pytest.raises(TooManyAttempts, match="refused; try again at 03:19:05 UTC") as caught:
        access.sign_in("ann", PASSWORD, address="10.0.0.2")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert access.sign_in("bob", PASSWORD, address="10.0.0.1").name == "bob"
    clock.passes(minutes=10)
    assert access.sign_in("ann", PASSWORD, address="10.0.0.2").name == "ann"


def refuse(access: Access, name: str, address: str) -> None:
    with pytest.raises(NotSignedIn):
        access.sign_in(name, "a wrong password", address=address)


def test_a_name_that_nobody_has_is_refused_alike(access: Access) -> None:
    for _ in range(MOST_OF_A_NAME):
        refuse(access, "nobody", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        access.sign_in("nobody", PASSWORD, address="10.0.0.2")


def test_an_address_is_refused_after_twenty(access: Access, clock: Clock) -> None:
    access.add_user("ann", password=PASSWORD)
    for number in range(MOST_OF_AN_ADDRESS):
        refuse(access, f"guess{number}", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        access.sign_in("ann", PASSWORD, address="10.0.0.1")
    assert access.sign_in("ann", PASSWORD, address="10.0.0.2").name == "ann"
    clock.passes(seconds=WINDOW.total_seconds())
    assert access.sign_in("ann", PASSWORD, address="10.0.0.1").name == "ann"


def test_refused_attempts_are_counted_for_all_servers(
    registry: Registry, access: Access, clock: Clock
) -> None:
    other = Access(registry, now=clock)
    for server in (access, other, access, other, access):
        refuse(server, "ann", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        other.sign_in("ann", PASSWORD, address="10.0.0.1")


def test_of_many_guesses_at_once_five_get_an_answer(access: Access) -> None:
    access.add_user("ann", password=PASSWORD)

    def guess(number: int) -> type[Exception]:
        with pytest.raises(KerasqlError) as caught:
            access.sign_in("ann", f"guess number {number}", address="10.0.0.1")
        return caught.type

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(guess, range(8)))
    assert (answers.count(NotSignedIn), answers.count(TooManyAttempts)) == (5, 3)


def test_a_password_kept_with_older_parameters_is_kept_anew(
    access: Access, registry: Registry
) -> None:
    access.add_user("ann")
    older = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    with writing(registry._engine) as db:
        db.execute(update(UserRow).values(password=older))
    access.sign_in("ann", PASSWORD, address="")
    assert kept_password(registry) != older
    assert access.sign_in("ann", PASSWORD, address="").name == "ann"
    newer = kept_password(registry)
    assert "m=65536,t=3,p=4" in newer
    access.sign_in("ann", PASSWORD, address="")
    assert kept_password(registry) == newer


def kept_password(registry: Registry) -> str:
    with reading(registry._engine) as db:
        return str(db.scalar(select(UserRow.password)))


# Tokens


def test_a_token_stands_for_its_user(access: Access, clock: Clock) -> None:
    ann = access.add_user("ann")
    token, secret = access.new_token(ann, "laptop", lifetime_s=HOUR_S, by="ann")
    assert (token.user, token.name, token.kind) == ("ann", "laptop", "api")
    assert token.expires_at == clock() + timedelta(hours=1)
    assert secret.startswith("kerasql_")
    assert len(secret) == 51
    assert access.authenticated(secret) == (ann, token)
    assert json.dumps(token.to_json())


def test_a_token_is_read_in_one_query(registry: Registry, access: Access) -> None:
    access.add_user("ann")
    _, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    access.authenticated(secret)
    queries = asked_of(registry)
    access.authenticated(secret)
    assert [query.split()[0] for query in queries] == ["SELECT"]


def asked_of(registry: Registry) -> list[str]:
    """What the database is asked from now on, but for the beginning of a transaction."""
    queries: list[str] = []
    event.listen(
        registry._engine,
        "before_cursor_execute",
        lambda *args: queries.append(args[2]) if args[2] != "BEGIN" else None,
    )
    return queries


def test_a_token_ends(access: Access, clock: Clock) -> None:
    access.add_user("ann")
    _, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    clock.passes(hours=1, seconds=-1)
    assert access.authenticated(secret)
    clock.passes(seconds=1)
    with pytest.raises(NotSignedIn, match="the token 'laptop' has expired; sign in, or make"):
        access.authenticated(secret)


def test_a_revoked_token_lets_nobody_in(access: Access, clock: Clock) -> None:
    access.add_user("ann")
    token, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    revoked = access.revoke_token(token.id, by="ann")
    assert revoked.revoked_at == clock()
    with pytest.raises(NotSignedIn, match="the token 'laptop' was revoked"):
        access.authenticated(secret)
    assert access.revoke_token(token.id, by="ann") == revoked
    assert len(access.events(action="token.revoke")) == 1
    with pytest.raises(NotFound, match="no token 99; list them with"):
        access.revoke_token(99, by="ann")
    with pytest.raises(NotFound, match="no token 100000"):
        access.revoke_token(10**20, by="ann")


def test_a_disabled_users_tokens_stop_at_once(access: Access) -> None:
    access.add_user("ann", password=PASSWORD)
    _, api = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    _, browser = access.new_token("ann", "Firefox", kind="browser", lifetime_s=HOUR_S)
    _, link = access.new_token("ann", "start", kind="link", lifetime_s=HOUR_S)
    access.disable("ann", by="os:root")
    for secret in (api, browser):
        with pytest.raises(NotSignedIn, match="belongs to a user who is disabled"):
            access.authenticated(secret)
    with pytest.raises(NotSignedIn):
        access.redeem(link)
    access.enable("ann", by="os:root")
    assert access.authenticated(api)
    assert access.sign_in("ann", PASSWORD, address="").name == "ann"
    for refused in (lambda: access.authenticated(browser), lambda: access.redeem(link)):
        with pytest.raises(NotSignedIn):
            refused()


def test_another_password_signs_browsers_out_and_leaves_scripts(access: Access) -> None:
    access.add_user("ann", password=PASSWORD)
    access.add_user("bob")
    _, api = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    _, browser = access.new_token("ann", "Firefox", kind="browser", lifetime_s=HOUR_S)
    _, other = access.new_token("bob", "Firefox", kind="browser", lifetime_s=HOUR_S)
    access.set_password("ann", "another horse battery", by="ann")
    assert access.sign_in("ann", "another horse battery", address="").name == "ann"
    refuse(access, "ann", "")
    with pytest.raises(NotSignedIn, match="was revoked"):
        access.authenticated(browser)
    assert access.authenticated(api)
    assert access.authenticated(other)


def test_another_role_holds_from_the_next_request(access: Access) -> None:
    access.add_user("ann")
    _, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    access.set_role("ann", "admin", by="os:root")
    user, _ = access.authenticated(secret)
    assert user.role == "admin"


def test_an_unknown_secret_lets_nobody_in(access: Access) -> None:
    for secret in ("", "kerasql_", "kerasql_" + "A" * 43, "\0", "\ud800"):
        for let_in in (access.authenticated, access.redeem):
            with pytest.raises(NotSignedIn):
                let_in(secret)


def test_a_kind_that_was_not_asked_for_lets_nobody_in(access: Access) -> None:
    access.add_user("ann")
    for kind, other in (("api", "browser"), ("browser", "api"), ("link", "api")):
        _, secret = access.new_token("ann", "x", kind=kind, lifetime_s=HOUR_S)
        assert access.authenticated(secret, kinds=(kind,))
        with pytest.raises(NotSignedIn, match="not known here"):
            access.authenticated(secret, kinds=(other,))
        if kind != "link":
            with pytest.raises(NotSignedIn):
                access.redeem(secret)
    with pytest.raises(InvalidInput, match="no kind of token 'cookie'; there is 'api', 'browser'"):
        access.new_token("ann", "x", kind="cookie", lifetime_s=1)


def test_a_token_lives_a_while_and_not_for_ever(access: Access) -> None:
    access.add_user("ann")
    for lifetime_s in (0, -1, 1e12, float("inf"), float("nan")):
        with pytest.raises(InvalidInput, match="give up to ten years"):
            access.new_token("ann", "x", lifetime_s=lifetime_s)
    for name in ("", "a" * 65, "a\0"):
        with pytest.raises(InvalidInput):
            access.new_token("ann", name, lifetime_s=1)
    assert access.tokens() == []


def test_when_a_token_was_used_is_written_once_a_minute(
    registry: Registry, access: Access, clock: Clock
) -> None:
    access.add_user("ann")
    _, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    queries = asked_of(registry)
    first = clock()
    for _ in range(4):
        access.authenticated(secret)
        clock.passes(seconds=15)
    assert access.tokens("ann")[0].used_at == first
    access.authenticated(secret)
    assert access.tokens("ann")[0].used_at == clock()
    assert len([query for query in queries if query.startswith("UPDATE")]) == 2


def test_tokens_are_listed_the_newest_first(access: Access) -> None:
    for name in ("ann", "bob"):
        access.add_user(name)
        access.new_token(name, "old", lifetime_s=HOUR_S)
        access.new_token(name, "new", kind="browser", lifetime_s=HOUR_S)
    found = [(token.user, token.name) for token in access.tokens()]
    assert found == [("bob", "new"), ("bob", "old"), ("ann", "new"), ("ann", "old")]
    assert [token.name for token in access.tokens("Ann")] == ["new", "old"]
    assert access.tokens(access.user("bob"))[0].user == "bob"


def test_tokens_that_ended_a_month_ago_are_forgotten(access: Access, clock: Clock) -> None:
    access.add_user("ann")
    access.new_token("ann", "short", lifetime_s=HOUR_S)
    revoked, _ = access.new_token("ann", "revoked", lifetime_s=1000 * HOUR_S)
    access.new_token("ann", "long", lifetime_s=2000 * HOUR_S)
    access.revoke_token(revoked.id, by="ann")
    clock.passes(days=29)
    access.new_token("ann", "second", lifetime_s=HOUR_S)
    assert len(access.tokens("ann")) == 4
    clock.passes(days=2)
    access.new_token("ann", "third", lifetime_s=HOUR_S)
    assert [token.name for token in access.tokens("ann")] == ["third", "second", "long"]


def test_a_link_signs_in_once_whoever_is_faster(access: Access) -> None:
    access.add_user("ann")
    _, secret = access.new_token("ann", "start", kind="link", lifetime_s=HOUR_S)

    def redeem(_: int) -> str:
        try:
            return access.redeem(secret, address="127.0.0.1").name
        except NotSignedIn as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(redeem, range(8)))
    refusal = "that link was used or is no longer good; ask for another one"
    assert sorted(answers) == ["ann", *[refusal] * 7]
    (signed_in,) = access.events(action="sign_in")
    assert (signed_in.user, signed_in.detail, signed_in.address) == (
        *("ann", {"with": "link"}),
        "127.0.0.1",
    )


def test_a_link_that_expired_or_was_revoked_signs_nobody_in(access: Access, clock: Clock) -> None:
    access.add_user("ann")
    _, expired = access.new_token("ann", "start", kind="link", lifetime_s=1)
    clock.passes(seconds=1)
    token, revoked = access.new_token("ann", "start", kind="link", lifetime_s=HOUR_S)
    access.revoke_token(token.id, by="os:root")
    for secret in (expired, revoked):
        with pytest.raises(NotSignedIn, match="that link was used or is no longer good"):
            access.redeem(secret)


def test_no_secret_is_kept_as_it_is(registry: Registry, access: Access) -> None:
    access.add_user("ann", password=PASSWORD)
    access.set_password("ann", "another horse battery", by="ann")
    _, api = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    _, link = access.new_token("ann", "start", kind="link", lifetime_s=HOUR_S)
    access.sign_in("ann", "another horse battery", address="10.0.0.1")
    access.authenticated(api)
    access.redeem(link)
    refuse(access, "my password, typed too early", "10.0.0.1")
    kept = rows_of_every_table(registry)
    secrets = (PASSWORD, "another horse", "a wrong password", "typed too early", api, link)
    assert sha256(api) in kept
    for secret in (*secrets, api.removeprefix("kerasql_"), link.removeprefix("kerasql_")):
        assert secret not in kept


def rows_of_every_table(registry: Registry) -> str:
    with reading(registry._engine) as db:
        tables = Base.metadata.sorted_tables
        return "\n".join(repr(tuple(row)) for table in tables for row in db.execute(table.select()))


# Who may do what: the first table of permissions.txt


def give_to_others(access: Access, user: User, thing: str) -> None:
    access.add_user(f"not_{user.name}")
    role = next(role for role in ROLES if role != user.role)
    for privilege, to in product(PRIVILEGES, (f"user:not_{user.name}", f"role:{role}")):
        access.grant(privilege, thing, to=to, by="root")


def give_all(access: Access, to: str, thing: str) -> None:
    for privilege in PRIVILEGES:
        access.grant(privilege, thing, to=to, by="root")


def give_and_take(access: Access, user: User, thing: str) -> None:
    give_all(access, f"user:{user.name}", thing)
    for privilege in PRIVILEGES:
        access.ungrant(privilege, thing, to=f"user:{user.name}", by="root")


def give_and_disable(access: Access, user: User, thing: str) -> None:
    give_all(access, f"user:{user.name}", thing)
    access.disable(user.name, by="root")


GRANTED: dict[str, Callable[[Access, User, str], object]] = {
    "nothing": lambda access, user, thing: None,
    "to_others": give_to_others,
    "execute": lambda access, user, thing: access.grant(
        "execute", thing, to=f"user:{user.name}", by="root"
    ),
    "to_user": lambda access, user, thing: give_all(access, f"user:{user.name}", thing),
    "to_role": lambda access, user, thing: give_all(access, f"role:{user.role}", thing),
    "on_all": lambda access, user, thing: give_all(access, f"user:{user.name}", "*"),
    "taken_back": give_and_take,
    "own": lambda access, user, thing: None,
    "not_there": lambda access, user, thing: None,
    "disabled": give_and_disable,
}
"""How a user may have come to a privilege, for each row of the table."""


def test_each_role_may_what_the_table_says(registry: Registry, access: Access, model: Path) -> None:
    header, *lines = DECISIONS
    assert header == ["role", "granted", *PRIVILEGES]
    assert [tuple(line[:2]) for line in lines] == list(product(ROLES, GRANTED))
    wrong = []
    for role, granted, *cells in lines:
        name = f"{role}_{granted}"
        user = access.add_user(name, role=role)
        if granted != "not_there":
            owner = name if granted == "own" else None
            deposit(registry, name, model, owner=owner)
            registry.add_dataset(name, "s3a://bucket/table", owner=owner)
        GRANTED[granted](access, user, name)
        user = access.user(name)
        for privilege, cell in zip(PRIVILEGES, cells, strict=True):
            said = answer(access, user, privilege, name)
            if said != cell:
                wrong.append(f"{privilege} of {role}, {granted}: {said} instead of {cell}")
    assert not wrong, "\n".join(wrong)


def answer(access: Access, user: User, privilege: str, thing: str) -> str:
    """What ``require`` says; ``may``, ``executable`` and ``readable`` must agree."""
    try:
        access.require(user, privilege, thing)
        said = "yes"
    except Forbidden:
        said = "refused"
    except NotFound:
        said = "hidden"
    assert access.may(user, privilege, thing.upper()) == (said == "yes")
    names = {"execute": access.executable, "select": access.readable}.get(privilege)
    if names and not thing.endswith("not_there"):
        assert (thing in names(user)) == (said == "yes")
    return said


def test_a_privilege_alone_is_that_privilege_alone(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    registry.add_dataset("m", "s3a://bucket/table")
    for privilege in PRIVILEGES:
        user = access.add_user(f"may_{privilege}")
        access.grant(privilege, "m", to=f"user:{user.name}", by="root")
        assert [one for one in PRIVILEGES if access.may(user, one, "m")] == [privilege]


def test_a_refusal_says_what_is_missing_and_who_can_grant_it(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    ann = access.add_user("ann")
    access.grant("execute", "m", to="role:analyst", by="root")
    with pytest.raises(Forbidden) as caught:
        access.require(ann, "alias", "m")
    assert str(caught.value) == "'ann' lacks the privilege 'alias' on 'm'; an admin can grant it"
    for name in ("root", "eve", "gone"):
        access.add_user(name, role="admin")
    access.disable("gone", by="root")
    with pytest.raises(
        Forbidden, match=r"'m'; an admin \('eve' and 'root'\) can grant it"
    ) as caught:
        access.require(ann, "alias", "m")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_a_user_may_not_see_reads_like_what_is_not_there(
    registry: Registry, access: Access, model: Path
) -> None:
    ann = access.add_user("ann")
    deposit(registry, "hidden", model)
    registry.add_dataset("hidden", "s3a://bucket/table")
    for privilege in ("execute", "select", "alias", "delete"):
        sentences = set()
        for thing in ("hidden", "absent"):
            with pytest.raises(NotFound) as caught:
                access.require(ann, privilege, thing)
            sentences.add(str(caught.value).replace(thing, "…"))
        assert len(sentences) == 1
    with pytest.raises(NotFound, match="no model 'hidden'; ask an admin to grant you execute"):
        access.require(ann, "execute", "hidden")
    deposit(registry, "m", model)
    access.grant("execute", "m", to="user:ann", by="root")
    with pytest.raises(NotFound, match="no model 'hidden'; there is 'm'$"):
        access.require(ann, "execute", "hidden")


def test_executable_and_readable_are_one_query_each(
    registry: Registry, access: Access, model: Path
) -> None:
    for name in ("a", "b", "c"):
        deposit(registry, name, model)
        registry.add_dataset(name, "s3a://bucket/table")
    ann = access.add_user("ann")
    access.grant("execute", "a", to="user:ann", by="root")
    access.grant("execute", "b", to="role:analyst", by="root")
    access.grant("select", "c", to="user:ann", by="root")
    queries = asked_of(registry)
    assert access.executable(ann) == {"a", "b"}
    assert access.readable(ann) == {"c"}
    assert len(queries) == 2


def test_on_all_is_on_what_comes_later_too(registry: Registry, access: Access, model: Path) -> None:
    ann = access.add_user("ann")
    access.grant("execute", "*", to="role:analyst", by="root")
    access.grant("select", "*", to="user:ann", by="root")
    deposit(registry, "later", model)
    registry.add_dataset("later", "s3a://bucket/table")
    assert access.executable(ann) == access.readable(ann) == {"later"}


def test_a_grant_names_what_there_is(registry: Registry, access: Access, model: Path) -> None:
    deposit(registry, "m", model)
    access.add_user("ann")
    wrong = (
        ("fly", "m", "user:ann", "no privilege 'fly'; there is 'execute', 'select', 'register', "),
        ("execute", "n", "user:ann", "no model 'n'; there is 'm'"),
        ("select", "m", "user:ann", "no dataset 'm'; add one with"),
        ("execute", "m", "user:bob", "no user 'bob'; there is 'ann'"),
        ("execute", "m", "role:boss", "no role 'boss'; there is 'analyst'"),
        ("execute", "m", "ann", "'ann' names nobody; write user:NAME or role:ROLE"),
        ("execute", "m", "group:ann", "'group:ann' names nobody"),
        ("execute", "a\0", "user:ann", "no text that can be kept"),
    )
    for privilege, thing, to, sentence in wrong:
        with pytest.raises(KerasqlError, match=sentence):
            access.grant(privilege, thing, to=to, by="root")
    assert access.grants() == []


def test_what_was_not_granted_cannot_be_taken_back(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    access.add_user("ann")
    with pytest.raises(NotFound, match="no grant to user:ann 'alias on m'; nothing is granted"):
        access.ungrant("alias", "m", to="user:ann", by="root")
    access.grant("execute", "m", to="user:ann", by="root")
    with pytest.raises(
        NotFound, match="no grant to user:ann 'alias on m'; there is 'execute on m'"
    ):
        access.ungrant("alias", "m", to="user:ann", by="root")


def test_grants_are_listed_by_what_and_by_whom(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    access.add_user("ann")
    made = access.grant("execute", "M", to="User:Ann", by="root")
    assert (made.privilege, made.object, made.to, made.by) == ("execute", "m", "user:ann", "root")
    access.grant("alias", "*", to="role:scientist", by="root")
    assert [one.object for one in access.grants()] == ["*", "m"]
    assert access.grants("M") == access.grants(to="user:ann") == [made]
    assert access.grants("m", "role:scientist") == []
    assert json.dumps(made.to_json())


def test_the_same_grant_eight_times_at_once_is_one(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    access.add_user("ann")

    def grant(number: int) -> None:
        for privilege in ("execute", "alias", "register"):
            access.grant(privilege, "m", to="user:ann", by=f"admin{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(grant, range(8)))
    assert len(access.grants()) == len(access.events(action="grant")) == 3


def test_grants_go_with_a_models_last_version(
    registry: Registry, access: Access, model: Path
) -> None:
    ann = access.add_user("ann")
    bob = access.add_user("bob", role="scientist")
    deposit(registry, "m", model, owner="ann")
    deposit(registry, "m", model, columns=("b",))
    registry.add_dataset("m", "s3a://bucket/table", owner="ann")
    registry.delete("m@2")
    assert access.may(ann, "delete", "m")
    registry.remove_alias("m", "production")
    registry.delete("m@1")
    assert not access.may(ann, "delete", "m")
    assert access.may(ann, "select", "m")
    assert access.may(bob, "register", "m")
    deposit(registry, "m", model, owner="bob")
    assert access.executable(ann) == set()
    assert access.executable(bob) == {"m"}


def test_grants_go_with_a_dataset_and_stay_when_it_is_replaced(
    registry: Registry, access: Access
) -> None:
    ann = access.add_user("ann")
    registry.add_dataset("d", "s3a://bucket/table")
    access.grant("select", "d", to="user:ann", by="root")
    registry.add_dataset("d", "s3a://bucket/other", replace=True)
    assert access.readable(ann) == {"d"}
    registry.remove_dataset("d")
    registry.add_dataset("d", "s3a://bucket/table")
    assert access.readable(ann) == set()


def test_a_model_is_given_to_a_user(registry: Registry, access: Access, model: Path) -> None:
    deposit(registry, "m", model)
    ann = access.add_user("ann")
    access.own(ann, "m")
    assert [one for one in PRIVILEGES if access.may(ann, one, "m")] == [
        *("execute", "register", "alias", "delete")
    ]
    with pytest.raises(NotFound, match="no model 'n'"):
        access.own(ann, "n")
    with pytest.raises(NotFound, match="no user 'bob'"):
        access.own("bob", "m")


def test_further_versions_change_no_owner(registry: Registry, access: Access, model: Path) -> None:
    access.add_user("ann")
    bob = access.add_user("bob")
    deposit(registry, "m", model, owner="Ann")
    deposit(registry, "m", model, columns=("b",), owner="bob")
    assert access.executable(bob) == set()
    assert len(access.grants("m", "user:ann")) == 4


def test_an_owner_who_is_no_user_is_granted_nothing(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model, owner="The vision team")
    deposit(registry, "n", model)
    assert access.grants() == []


# Who did what


def test_whatever_changes_is_recorded_with_who_did_it(
    registry: Registry, access: Access, model: Path
) -> None:
    deposit(registry, "m", model)
    access.add_user("ann", role="scientist", password=PASSWORD, by="os:root")
    access.set_role("ann", "analyst", by="bob")
    access.set_password("ann", PASSWORD, by="ann")
    token, _ = access.new_token("ann", "laptop", lifetime_s=HOUR_S, by="ann")
    access.revoke_token(token.id, by="ann")
    access.grant("execute", "m", to="user:ann", by="bob")
    access.ungrant("execute", "m", to="user:ann", by="bob")
    access.own("ann", "m")
    access.disable("ann", by="bob")
    access.enable("ann", by="bob")
    named = {"id": token.id, "name": "laptop", "kind": "api"}
    granted = {"privilege": "execute", "to": "user:ann"}
    done = [(one.user, one.action, one.object, one.detail) for one in reversed(access.events())]
    assert done == [
        ("os:root", "user.add", "ann", {"role": "scientist"}),
        ("bob", "user.role", "ann", {"role": "analyst"}),
        ("ann", "user.password", "ann", {}),
        ("ann", "token.new", "ann", named),
        ("ann", "token.revoke", "ann", named),
        ("bob", "grant", "m", granted),
        ("bob", "ungrant", "m", granted),
        ("ann", "own", "m", {"kind": "model"}),
        ("bob", "user.disable", "ann", {}),
        ("bob", "user.enable", "ann", {}),
    ]


def test_what_fails_is_not_recorded(access: Access) -> None:
    access.add_user("ann", by="root")
    with pytest.raises(NameTaken):
        access.add_user("ann", by="root")
    with pytest.raises(NotFound):
        access.grant("execute", "m", to="user:ann", by="root")
    assert len(access.events()) == 1


def test_other_rooms_record_too(access: Access, clock: Clock) -> None:
    ann = access.add_user("ann")
    access.record(ann, "query", "flowers@3", detail={"rows": 7}, address="10.0.0.1")
    access.record(None, "start")
    access.record("os:root", "x\0" * 99, "\ud800" * 999, address="a" * 99)
    odd, start, query, _ = access.events()
    assert (query.user, query.action, query.object) == ("ann", "query", "flowers@3")
    assert (query.detail, query.address, query.at) == ({"rows": 7}, "10.0.0.1", clock())
    assert (start.user, start.object, start.detail, start.address) == (None, "", {}, None)
    assert (len(odd.action), len(odd.object), len(str(odd.address))) == (64, 200, 64)
    assert json.dumps(query.to_json())


def test_events_are_found_and_paged_the_newest_first(access: Access) -> None:
    for number in range(25):
        access.record(f"user{number % 2}", f"action{number % 5}", f"object{number % 3}")
    first = access.events(limit=10)
    second = access.events(limit=10, before=first[-1].id)
    assert [one.id for one in first + second] == sorted(
        [one.id for one in first + second], reverse=True
    )
    assert len(access.events(before=second[-1].id)) == 5
    assert {one.user for one in access.events(user="user1")} == {"user1"}
    assert len(access.events(action="action4")) == 5
    assert len(access.events("user0", "action0", "object0")) == 1
    assert access.events(user="nobody") == []
    assert len(access.events(before=10**20)) == 25
    assert access.events(before=-(10**20)) == []


def test_among_100_000_events_each_question_is_answered_at_once(
    registry: Registry, access: Access
) -> None:
    access.add_user("ann", password=PASSWORD)
    _, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    at = datetime(2029, 1, 1, tzinfo=UTC)
    with writing(registry._engine) as db:
        for start in range(0, 100_000, 10_000):
            rows = [
                {
                    "at": at + timedelta(minutes=number),
                    "actor": f"user{number % 200}",
                    "action": ("query", "register", REFUSED)[number % 3],
                    "object": f"model{number % 1000}",
                    "detail": {"rows": number},
                    "address": "10.0.0.1",
                }
                for number in range(start, start + 10_000)
            ]
            db.execute(insert(EventRow), rows)
    questions: list[Callable[[], object]] = [
        lambda: access.events(),
        lambda: access.events(user="user7"),
        lambda: access.events(action="register"),
        lambda: access.events(action="nothing"),
        lambda: access.events(object="model7", before=50_000),
        lambda: access.events(user="user7", action="query", object="model7"),
        lambda: access.record("ann", "query", "model7"),
        lambda: access.authenticated(secret),
    ]
    for question in questions:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            question()
            times.append(time.perf_counter() - started)
        assert median(times) < 0.05
    started = time.perf_counter()
    access.sign_in("ann", PASSWORD, address="10.0.0.1")
    assert time.perf_counter() - started < 1


def test_a_token_has_no_secret_to_show(access: Access) -> None:
    access.add_user("ann")
    token, secret = access.new_token("ann", "laptop", lifetime_s=HOUR_S)
    assert isinstance(token, Token)
    assert secret not in repr(token)
    assert sha256(secret) not in repr(token)
