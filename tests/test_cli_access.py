"""The command ``kerasql``: users, tokens, grants, the audit and the history of aliases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deposits import deposit, random_file

from kerasql.cli import main, user
from kerasql.registry.access import Access
from kerasql.registry.errors import NotSignedIn
from kerasql.registry.store import connect

Run = Callable[..., Result]
PASSWORD = "correct horse battery"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A registry with the model ``m``, versions 1 and 2."""
    url, model = f"sqlite:///{tmp_path}/models.db", random_file(tmp_path / "m.h5")
    with connect(url, artifacts="") as registry:
        deposit(registry, "m", model)
        deposit(registry, "m", model, columns=("b",))
    return url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on that registry, typing what is given as input."""
    monkeypatch.setenv("KERASQL_DATABASE", url)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: object, typed: str = "") -> Result:
        return CliRunner().invoke(main, [str(one) for one in arguments], input=typed)

    return invoke


def test_a_user_is_added_with_a_password_that_is_typed_twice_and_not_shown(
    run: Run, url: str
) -> None:
    added = run("user", "add", "Ann", "--role", "admin", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert (added.exit_code, added.stdout) == (0, "ann is a user, role admin\n")
    assert PASSWORD not in added.output
    with connect(url) as registry:
        assert Access(registry).sign_in("ann", PASSWORD, address="").role == "admin"


def test_a_password_is_read_from_a_file(run: Run, url: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\r\nsecond line\n")
    assert run("user", "add", "ann", "--password-file", file).exit_code == 0
    file.write_text("another horse battery")
    changed = run("user", "password", "ann", "--password-file", file)
    assert changed.stdout == "ann has another password now\n"
    with connect(url) as registry:
        access = Access(registry)
        assert access.sign_in("ann", "another horse battery", address="").name == "ann"
        with pytest.raises(NotSignedIn):
            access.sign_in("ann", PASSWORD, address="")


def test_users_are_listed_and_changed(run: Run) -> None:
    assert "no users yet" in run("user", "list").stderr
    run("user", "add", "bot", "--no-password")
    assert run("user", "role", "bot", "scientist").stdout == "bot has the role scientist now\n"
    assert run("user", "disable", "bot").stdout == "bot is disabled\n"
    (listed,) = json.loads(run("user", "list", "--json").stdout)
    assert (listed["name"], listed["role"], listed["disabled"], listed["has_password"]) == (
        *("bot", "scientist"),
        *(True, False),
    )
    assert run("user", "enable", "bot").stdout == "bot is enabled\n"
    assert run("user", "list").stdout.splitlines()[1].split()[:2] == ["bot", "scientist"]


def test_a_tokens_secret_alone_is_printed_once(run: Run, url: str) -> None:
    run("user", "add", "bot", "--no-password")
    made = run("token", "new", "bot", "nightly job", "--days", 7)
    secret = made.stdout.strip()
    assert made.stderr.startswith("token 1 of bot, until ")
    with connect(url) as registry:
        assert Access(registry).authenticated(secret)[0].name == "bot"
    (listed,) = json.loads(run("token", "list", "bot", "--json").stdout)
    assert (listed["name"], listed["kind"], listed["user"]) == ("nightly job", "api", "bot")
    assert "nightly job" in run("token", "list").stdout
    assert secret not in run("token", "list").output
    assert run("token", "revoke", 1).stdout == "token 1 (nightly job) of bot is revoked\n"
    with connect(url) as registry, pytest.raises(NotSignedIn):
        Access(registry).authenticated(secret)


def test_privileges_are_granted_listed_and_taken_back(run: Run) -> None:
    run("user", "add", "bot", "--no-password")
    assert "no grants" in run("grants").stderr
    granted = run("grant", "execute", "M", "--to", "user:bot")
    assert granted.stdout == "user:bot has execute on m\n"
    assert run("grant", "select", "*", "--to", "role:analyst").exit_code == 0
    assert [one["object"] for one in json.loads(run("grants", "--json").stdout)] == ["*", "m"]
    (one,) = json.loads(run("grants", "m", "--to", "user:bot", "--json").stdout)
    assert (one["privilege"], one["by"]) == ("execute", f"os:{user()}")
    assert run("grants", "m").stdout.splitlines()[1].split()[:3] == ["m", "execute", "user:bot"]
    taken = run("ungrant", "execute", "m", "--to", "user:bot")
    assert taken.stdout == "execute on m is no longer granted to user:bot\n"
    assert "no grants" in run("grants", "m").stderr


def test_the_audit_says_who_did_what(run: Run) -> None:
    assert "nothing was done yet" in run("audit").stderr
    run("user", "add", "bot", "--no-password")
    run("grant", "execute", "m", "--to", "user:bot")
    newest, oldest = json.loads(run("audit", "--json").stdout)
    assert (newest["action"], newest["object"], newest["user"]) == ("grant", "m", f"os:{user()}")
    assert oldest["action"] == "user.add"
    for option in (("--action", "grant"), ("--object", "m"), ("--limit", 1)):
        assert json.loads(run("audit", "--json", *option).stdout) == [newest]
    for option in (("--before", newest["id"]), ("--object", "bot")):
        assert json.loads(run("audit", "--json", *option).stdout) == [oldest]
    assert len(json.loads(run("audit", "--user", f"os:{user()}", "--json").stdout)) == 2
    assert "privilege execute, to user:bot" in run("audit").stdout


def test_aliases_move_with_a_reason_and_back(run: Run) -> None:
    moved = run("alias", "m", 2, "production", "--why", "better at night")
    assert moved.stdout == "m@production is m@2 now\n"
    newest, oldest = json.loads(run("alias-history", "m", "--json").stdout)
    assert (newest["from_number"], newest["to_number"], newest["why"], newest["by"]) == (
        *(1, 2, "better at night"),
        f"os:{user()}",
    )
    assert oldest["why"] == "the first version"
    undone = run("alias-undo", "M", "Production", "--why", "worse by day")
    assert undone.stdout == "m@production is m@1 again\n"
    assert "worse by day" in run("alias-history", "m", "production").stdout
    run("alias", "m", 2, "best")
    assert run("alias-undo", "m", "best").stdout == "m@best is removed again\n"
    run("unalias", "m", "production", "--why", "on holiday")
    assert "on holiday" in run("alias-history", "m").stdout
    assert "no moves are known" in run("alias-history", "m", "nobody").stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("user add a:b --no-password", "'a:b' cannot be used as user name: use 1 to 64 letters"),
        ("user add bot --no-password", "'bot' would collide with the user of that name"),
        ("user add ann --password-file none", "none cannot be read"),
        ("user add ann --password-file {short}", "a password has 12 to 1,024 characters; this one"),
        ("user add ann --no-password --password-file {short}", "not both"),
        ("user add ann --role boss", "'boss' is not one of 'analyst', 'scientist', 'admin'"),
        ("user role nobody admin", "no user 'nobody'; there is 'bot'"),
        ("user password nobody", "no user 'nobody'; there is 'bot'"),
        ("user disable nobody", "no user 'nobody'"),
        ("token new nobody x", "no user 'nobody'"),
        ("token new bot x --days 0", "0.0 is not in the range x>0"),
        ("token new bot x --days 1e9", "give up to ten years"),
        ("token revoke 99", "no token 99; list them with: kerasql token list"),
        ("grant fly m --to user:bot", "'fly' is not one of 'execute', 'select'"),
        ("grant execute n --to user:bot", "no model 'n'; there is 'm'"),
        ("grant select m --to user:bot", "no dataset 'm'"),
        ("grant execute m --to bot", "'bot' names nobody; write user:NAME or role:ROLE"),
        ("ungrant execute m --to user:bot", "no grant to user:bot 'execute on m'"),
        ("alias-undo m best", "m@best never moved; there is nothing to undo"),
        ("alias-undo n best", "no model 'n'"),
        ("alias-history n", "no model 'n'"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    run: Run, tmp_path: Path, arguments: str, sentence: str
) -> None:
    (tmp_path / "short").write_text("too short")
    run("user", "add", "bot", "--no-password")
    before = run("audit", "--json").stdout
    result = run(*arguments.format(short=tmp_path / "short").split())
    assert (result.exit_code, result.stdout) == (2, "")
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("Error: ")
    assert sentence in said
    assert run("audit", "--json").stdout == before


def test_every_command_has_help(run: Run) -> None:
    groups = {"user": ("add", "list", "role", "password", "disable", "enable")}
    groups |= {"token": ("new", "list", "revoke")}
    commands = [[group, command] for group, names in groups.items() for command in names]
    commands += [["grant"], ["ungrant"], ["grants"], ["audit"], ["alias-undo"], ["alias-history"]]
    for command in commands:
        assert "Usage:" in run(*command, "--help").stdout
        assert run(*command, "--help").exit_code == 0
