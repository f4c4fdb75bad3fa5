"""Sign-in by OpenID Connect: real providers on real ports, honest, hostile and away."""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cheroot.wsgi import Server as WsgiServer
from click.testing import CliRunner
from flask import Flask, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from served import Served, ServerProcess, free_port, serving

from kerasql.cli import main
from kerasql.registry.access import Access
from kerasql.registry.errors import InvalidInput, NotSignedIn, TooManyAttempts
from kerasql.registry.store import Registry, connect
from kerasql.web.oidc import ALGORITHMS, Attempt, Provider

# The provider that these tests run uses what Authlib has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore::authlib.deprecate.AuthlibDeprecationWarning",
    "ignore:get_jwt_config:DeprecationWarning",
)

ME, SECRET, PASSWORD = "/api/v1/me", "a-secret-of-the-client", "correct horse battery"
NO_TOKENS = ("", "x", "a.b.c", "é.é.é", "....", None, 3, {}, 200_000 * "x")
Token = dict[str, Any]


@contextmanager
def answering(app: Flask, port: int = 0) -> Iterator[int]:
    """The port at which an application answers."""
    wsgi = WsgiServer(("127.0.0.1", port), app, numthreads=4)
    wsgi.shutdown_timeout = 2
    wsgi.prepare()
    thread = threading.Thread(target=wsgi.serve)
    thread.start()
    try:
        yield wsgi.bind_addr[1]
    finally:
        wsgi.stop()
        thread.join()


def honest() -> Flask:
    """A provider that signs in whoever types a name."""
    from oidc_provider_mock import app

    return app()


@pytest.fixture
def issuer() -> Iterator[str]:
    """That provider's URL; it knows ann, and eve whose address nobody has verified."""
    with answering(honest()) as port:
        url = f"http://localhost:{port}"
        knows(url, "ann", email="Ann@example.org", email_verified=True, preferred_username="ann")
        knows(url, "eve", email="ann@example.org", email_verified=False)
        yield url


def knows(issuer: str, sub: str, **claims: Any) -> None:
    """Let the provider say this of somebody."""
    requests.put(f"{issuer}/users/{sub}", json=claims).raise_for_status()


@pytest.fixture
def served(sqlite_registry: Registry, issuer: str) -> Iterator[Served]:
    """A server with that provider, and ann a user of it."""
    Access(sqlite_registry).add_user("ann@example.org", password=PASSWORD)
    with serving(sqlite_registry, provider=Provider(issuer, "kerasql", SECRET)) as one:
        yield one


def begun(browser: requests.Session, url: str, then: str = ME) -> requests.Response:
    """The provider's page, to which the button leads."""
    return browser.get(f"{url}/enter/oidc/begin", params={"then": then})


def way_back(browser: requests.Session, url: str, sub: str = "ann", then: str = ME) -> str:
    """Where the provider sends the browser back to once somebody has signed in there."""
    page = begun(browser, url, then)
    answer = browser.post(page.url, data={"sub": sub}, allow_redirects=False)
    return answer.headers["Location"]


def signed_in(url: str, sub: str = "ann", then: str = ME) -> requests.Response:
    """What a browser sees in the end."""
    browser = requests.Session()
    return browser.get(way_back(browser, url, sub, then))


def alert(answer: requests.Response) -> str:
    """The sentence on the sign-in page, as it is in the HTML."""
    found = re.search(r'role="alert">(.*?)</p>', answer.text, re.S)
    return found[1] if found else ""


def refusals(access: Access) -> list[tuple[str | None, str]]:
    """Who was refused, and why, the newest first."""
    return [(event.user, event.detail["why"]) for event in access.events(action="sign_in.refused")]


def test_a_person_signs_in_at_the_provider_and_gets_where_they_wanted(served: Served) -> None:
    page = requests.get(f"{served.url}/enter", params={"then": ME}).text
    button = re.search(r'<a class="button" href="(.+)">Sign in with (.+)</a>', page)
    assert button
    assert button[2] == "localhost"
    browser = requests.Session()
    form = browser.get(served.url + button[1])
    answer = browser.post(form.url, data={"sub": "ann"})
    assert answer.url == f"{served.url}{ME}"
    assert answer.json()["user"]["name"] == "ann@example.org"
    assert list(browser.cookies.keys()) == ["kerasql"]
    event = served.access.events(action="sign_in")[0]
    assert (event.user, event.detail) == ("ann@example.org", {"with": "oidc"})
    assert event.address == "127.0.0.1"


def test_without_a_provider_nothing_changes(sqlite_registry: Registry) -> None:
    with serving(sqlite_registry) as one:
        assert "Sign in with" not in requests.get(f"{one.url}/enter").text
        assert requests.get(f"{one.url}/enter/oidc/begin").status_code == 404
        assert requests.get(f"{one.url}/enter/oidc?code=x&state=y").status_code == 404


def test_the_providers_name_is_text(sqlite_registry: Registry, issuer: str) -> None:
    provider = Provider(issuer, "kerasql", SECRET, name="<b>Example</b> Corp")
    with serving(sqlite_registry, provider=provider) as one:
        page = requests.get(f"{one.url}/enter").text
    assert "Sign in with &lt;b&gt;Example&lt;/b&gt; Corp" in page


def test_somebody_unknown_is_told_what_to_ask_for(served: Served, issuer: str) -> None:
    knows(issuer, "bob", email="bob@example.org", email_verified=True)
    answer = signed_in(served.url, "bob")
    assert (answer.status_code, "kerasql" in answer.cookies) == (401, False)
    assert "kerasql user add bob@example.org" in alert(answer)
    assert [user.name for user in served.access.users()] == ["ann@example.org"]
    [(who, why)] = refusals(served.access)
    assert (who, "'bob@example.org' is no user here" in why) == (None, True)


def test_somebody_unknown_is_added_with_the_role_for_them(
    sqlite_registry: Registry, issuer: str
) -> None:
    provider = Provider(issuer, "kerasql", SECRET, role="scientist")
    with serving(sqlite_registry, provider=provider) as one:
        for _ in range(2):
            assert signed_in(one.url).json()["user"]["role"] == "scientist"
        one.access.set_role("ann@example.org", "analyst", by="boss")
        assert signed_in(one.url).json()["user"]["role"] == "analyst"
        [added] = one.access.events(action="user.add")
    assert (added.user, added.object) == ("oidc", "ann@example.org")
    assert not one.access.user("ann@example.org").has_password


@pytest.mark.parametrize("role", [None, "analyst"])
def test_a_disabled_user_stays_refused(
    sqlite_registry: Registry, issuer: str, role: str | None
) -> None:
    access = Access(sqlite_registry)
    access.add_user("ann@example.org")
    access.disable("ann@example.org", by=None)
    with serving(sqlite_registry, provider=Provider(issuer, "kerasql", SECRET, role=role)) as one:
        answer = signed_in(one.url)
    assert answer.status_code == 401
    assert "is disabled here" in alert(answer)
    assert refusals(access)[0][0] == "ann@example.org"
    assert access.user("ann@example.org").disabled


def test_an_address_that_nobody_verified_is_nobodys(served: Served) -> None:
    answer = signed_in(served.url, "eve")
    assert answer.status_code == 401
    assert "does not say that &#39;ann@example.org&#39; is yours" in alert(answer)


@pytest.mark.parametrize("verified", ["true", 1, None])
def test_verified_is_true_and_nothing_like_it(
    served: Served, issuer: str, verified: object
) -> None:
    knows(issuer, "ann", email="ann@example.org", email_verified=verified)
    assert signed_in(served.url).status_code == 401


def test_another_claim_is_taken_as_it_is(sqlite_registry: Registry, issuer: str) -> None:
    provider = Provider(issuer, "kerasql", SECRET, claim="preferred_username")
    Access(sqlite_registry).add_user("ann")
    with serving(sqlite_registry, provider=provider) as one:
        assert signed_in(one.url).json()["user"]["name"] == "ann"
        missing = signed_in(one.url, "eve")
    assert "does not say your &#39;preferred_username&#39;" in alert(missing)


@pytest.mark.parametrize("name", ["Ann Smith", "ann+x@example.org", "\N{KELVIN SIGN}im", ""])
def test_a_name_that_no_user_can_have_is_refused(
    sqlite_registry: Registry, issuer: str, name: str
) -> None:
    knows(issuer, "odd", preferred_username=name)
    provider = Provider(issuer, "kerasql", SECRET, claim="preferred_username", role="analyst")
    Access(sqlite_registry).add_user("kim")
    with serving(sqlite_registry, provider=provider) as one:
        answer = signed_in(one.url, "odd")
        assert [user.name for user in one.access.users()] == ["kim"]
    assert answer.status_code == 401
    assert "cannot be used as user name" in alert(answer)


def test_a_state_that_is_not_this_browsers_leads_nowhere(served: Served) -> None:
    victim, attacker = requests.Session(), requests.Session()
    foreign = way_back(attacker, served.url)
    for browser in (requests.Session(), victim):
        answer = browser.get(foreign)
        assert (answer.status_code, "start again" in alert(answer)) == (401, True)
        assert "kerasql" not in browser.cookies
        begun(victim, served.url)
    # It was no attempt of anybody's: a page of another site could count addresses out.
    assert refusals(served.access) == []


def test_a_cookie_of_nonsense_is_no_attempt(served: Served) -> None:
    cookies = ("", "...", "a.b.c", "a..c.", ".b.c.", "é.b.c.", "%.%.%.%")
    for cookie, state in product(cookies, ("", "a", "é")):
        answer = requests.get(
            f"{served.url}/enter/oidc",
            params={"state": state, "code": "x"},
            headers={"Cookie": f"kerasql-oidc={cookie}".encode()},
        )
        assert (answer.status_code, "start again" in alert(answer)) == (401, True)


def test_the_way_back_is_gone_once(served: Served) -> None:
    browser = requests.Session()
    back = way_back(browser, served.url)
    kept = browser.cookies.get_dict()
    assert browser.get(back).ok
    assert "start again" in alert(browser.get(back))
    replayed = requests.get(back, cookies=kept)
    assert (replayed.status_code, "kerasql" in replayed.cookies) == (401, False)
    assert "invalid_grant" in alert(replayed)


def test_a_code_that_the_provider_never_gave_is_refused(served: Served) -> None:
    for code in ("", "x", "é\U0001f600", "%zz", "a b&c=d", "\x00\n", 5000 * "x"):
        browser = requests.Session()
        state = parse_qs(urlsplit(begun(browser, served.url).url).query)["state"][0]
        back = browser.get(f"{served.url}/enter/oidc", params={"state": state, "code": code})
        assert (back.status_code, "did not sign you in" in alert(back)) == (401, True), code


def test_saying_no_at_the_provider_is_told(served: Served) -> None:
    browser = requests.Session()
    answer = browser.post(begun(browser, served.url).url, data={"action": "deny"})
    assert answer.status_code == 401
    assert "start again" in alert(answer)


def test_what_the_provider_says_of_an_error_is_text(served: Served) -> None:
    browser = requests.Session()
    state = parse_qs(urlsplit(begun(browser, served.url).url).query)["state"][0]
    said = {"error": "access_denied", "error_description": "<script>no\x00\n</script>"}
    answer = browser.get(f"{served.url}/enter/oidc", params={"state": state, **said})
    assert alert(answer) == (
        "localhost did not sign you in: access_denied (&lt;script&gt;no&lt;/script&gt;); start "
        "again, or ask an admin"
    )
    assert len(refusals(served.access)) == 1
    # Without a state that is this browser's, anybody could have written it.
    assert "script" not in alert(requests.get(f"{served.url}/enter/oidc", params=said))


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_signing_in_never_leads_elsewhere(served: Served, then: str) -> None:
    browser = requests.Session()
    back = way_back(browser, served.url, then=then)
    assert browser.get(back, allow_redirects=False).headers["Location"] == "/"


@pytest.mark.parametrize("then", ["//[", "/\t/evil.example", "/\n/evil.example"])
def test_odd_paths_lead_nowhere_with_a_password_either(served: Served, then: str) -> None:
    form = {"name": "ann@example.org", "password": PASSWORD, "then": then}
    answer = requests.post(f"{served.url}/enter", data=form, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_a_path_comes_through_unchanged_unless_no_cookie_holds_it() -> None:
    odd = "/queries?search=a.b;c=%25 é\U0001f600\"'\\"
    attempt = Attempt.new(odd)
    assert Attempt.of(attempt.cookie, attempt.state) == attempt
    assert attempt.cookie.isascii()
    assert Attempt.new("/" + 3000 * "x").then == ""


def test_its_cookie_is_kept_from_scripts_and_other_sites_and_is_short_lived(
    sqlite_registry: Registry, served: Served, issuer: str
) -> None:
    plain = requests.get(f"{served.url}/enter/oidc/begin", allow_redirects=False)
    flags = plain.headers["Set-Cookie"].split("; ", 1)
    assert flags[0].startswith("kerasql-oidc=")
    assert flags[1] == "Expires=" + flags[1].split("=")[1].split(";")[0] + (
        "; Max-Age=600; HttpOnly; Path=/; SameSite=Lax"
    )
    provider = Provider(issuer, "kerasql")
    with serving(sqlite_registry, provider=provider, https=True) as one:
        safe = requests.get(f"{one.url}/enter/oidc/begin", allow_redirects=False)
        gone = requests.get(f"{one.url}/enter/oidc")
    for answer in (safe, gone):
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-kerasql-oidc=")
        assert "; Secure; HttpOnly; Path=/; SameSite=Lax" in cookie
        assert "Domain" not in cookie
    assert "Max-Age=0" in gone.headers["Set-Cookie"]


def test_another_site_may_lead_here_and_ask_for_no_change(served: Served) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    browser = requests.Session()
    back = way_back(browser, served.url)
    assert browser.get(back, headers=foreign).ok
    form = {"name": "ann@example.org", "password": PASSWORD}
    assert requests.post(f"{served.url}/enter", data=form, headers=foreign).status_code == 403
    assert requests.post(f"{served.url}/enter/oidc", headers=foreign).status_code == 403
    assert requests.post(f"{served.url}/enter/oidc").status_code == 405


def test_begun_at_one_server_and_ended_at_another(sqlite_registry: Registry, issuer: str) -> None:
    origin = {"Host": "models.example.org"}
    Access(sqlite_registry).add_user("ann@example.org")
    two = [Provider(issuer, "kerasql", SECRET) for _ in range(2)]
    with (
        serving(sqlite_registry, provider=two[0]) as one,
        serving(sqlite_registry, provider=two[1]) as other,
    ):
        begun = requests.get(f"{one.url}/enter/oidc/begin", headers=origin, allow_redirects=False)
        form = begun.headers["Location"]
        sent = requests.post(form, data={"sub": "ann"}, allow_redirects=False)
        back = urlsplit(sent.headers["Location"])
        assert back.netloc == "models.example.org"
        ended = requests.get(
            f"{other.url}{back.path}?{back.query}",
            headers=origin,
            cookies=begun.cookies.get_dict(),
            allow_redirects=False,
        )
        assert (ended.status_code, "kerasql" in ended.cookies) == (302, True)


def test_a_provider_that_is_away_keeps_nobody_with_a_password_out(
    sqlite_registry: Registry,
) -> None:
    Access(sqlite_registry).add_user("ann@example.org", password=PASSWORD)
    port = free_port()
    url = f"http://localhost:{port}"
    with serving(sqlite_registry, provider=Provider(url, "kerasql", SECRET)) as one:
        away = begun(requests.Session(), one.url)
        assert away.status_code == 503
        assert "localhost does not work now: it does not answer" in alert(away)
        assert f'name="then" value="{ME}"' in away.text
        browser = requests.Session()
        form = {"name": "ann@example.org", "password": PASSWORD, "then": ME}
        assert browser.post(f"{one.url}/enter", data=form).json()["user"]
        with answering(honest(), port):
            knows(url, "ann", email="ann@example.org", email_verified=True)
            assert signed_in(one.url).ok
            browser = requests.Session()
            back = way_back(browser, one.url)
        assert browser.get(back).status_code == 503
        assert refusals(one.access) == []


def test_a_provider_that_hangs_is_left_alone(
    sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasql.web.oidc.TIME_LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with serving(sqlite_registry, provider=Provider(url, "kerasql", SECRET)) as one:
            answer = begun(requests.Session(), one.url)
    assert (answer.status_code, "does not answer" in alert(answer)) == (503, True)


class Forger:
    """A provider on a real port whose every word a test can change; it checks what it is sent."""

    def __init__(self) -> None:
        self.url, self.key = "", ECKey.generate_key("P-256", auto_kid=True)
        self.said: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.id_token: Callable[[Forger, Token], str] = Forger.signed
        self.status = 200
        self.asked: list[str] = []
        self.clients: list[Any] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.app = app = Flask("forger")
        app.before_request(lambda: self.asked.append(request.path))
        app.get("/.well-known/openid-configuration")(self.known)
        app.get("/elsewhere")(self.discovery)
        app.get("/jwks")(lambda: jsonify(KeySet([self.key]).as_dict()))
        app.get("/authorize")(self.authorize)
        app.post("/token")(self.token)

    def known(self) -> Any:
        return redirect("/elsewhere") if self.status == 302 else (self.discovery(), self.status)

    def discovery(self) -> Any:
        honest = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["none", "HS256", "ES256"],
        }
        return jsonify({**honest, **self.said})

    def authorize(self) -> Any:
        code = secrets.token_urlsafe(16)
        self._codes[code] = dict(request.args)
        back = f"{request.args['redirect_uri']}?code={code}&state={request.args['state']}"
        return redirect(back)

    def token(self) -> Any:
        asked, form = self._codes.pop(request.form["code"]), request.form
        digest = sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        header = request.authorization
        basic = header and (header.username, header.password)
        self.clients.append((basic, form.get("client_id"), form.get("client_secret")))
        if (asked["code_challenge"], asked["code_challenge_method"], asked["redirect_uri"]) != (
            *(challenge, "S256"),
            form["redirect_uri"],
        ):
            return jsonify(error="invalid_grant", error_description="that does not fit"), 400
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "1",
            "aud": "kerasql",
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + 60,
            "email": "ann@example.org",
            "email_verified": True,
            **self.claims,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        body = {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token(self, kept)}
        return jsonify(body)

    def signed(self, claims: Token, *, key: ECKey | None = None) -> str:
        header = {"alg": "ES256", "kid": self.key.kid}
        return jwt.encode(header, claims, key or self.key)


def unsigned(forger: Forger, claims: Token) -> str:
    """An ID token of the algorithm none."""
    parts = [json.dumps(one).encode() for one in ({"alg": "none", "kid": forger.key.kid}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def of_a_shared_secret(forger: Forger, claims: Token) -> str:
    """An ID token that whoever has the client's secret can sign."""
    key = OctKey.import_key(SECRET + 16 * "x")
    return jwt.encode({"alg": "HS256", "kid": forger.key.kid}, claims, key, algorithms=["HS256"])


def of_the_public_key(forger: Forger, claims: Token) -> str:
    """An ID token signed with the provider's public key, as if that were a secret."""
    header = {"alg": "HS256", "kid": forger.key.kid}
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in (header, claims)]
    text = b".".join(part.rstrip(b"=") for part in parts)
    mac = hmac.digest(forger.key.as_pem(private=False), text, "sha256")
    return b".".join((text, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


def of_another_key(forger: Forger, claims: Token) -> str:
    """An ID token that somebody else signed, under the kid of the provider's key."""
    return forger.signed(claims, key=ECKey.generate_key("P-256"))


def of_an_unknown_key(forger: Forger, claims: Token) -> str:
    """An ID token of a key that the provider does not show."""
    key = ECKey.generate_key("P-256")
    return jwt.encode({"alg": "ES256", "kid": "other"}, claims, key)


@pytest.fixture
def forger() -> Iterator[Forger]:
    one = Forger()
    with answering(one.app) as port:
        one.url = f"http://127.0.0.1:{port}"
        yield one


@pytest.fixture
def tricked(sqlite_registry: Registry, forger: Forger) -> Iterator[Served]:
    """A server whose provider is that one."""
    Access(sqlite_registry).add_user("ann@example.org")
    with serving(sqlite_registry, provider=Provider(forger.url, "kerasql", SECRET)) as one:
        yield one


def went(url: str) -> requests.Response:
    """What a browser sees in the end; this provider asks nobody anything."""
    return begun(requests.Session(), url)


@pytest.mark.parametrize(
    ("secret", "methods", "sent"),
    [
        (SECRET, None, (("kerasql", SECRET), None, None)),
        (SECRET, ["client_secret_post"], (None, "kerasql", SECRET)),
        (None, None, (None, "kerasql", None)),
    ],
)
def test_the_code_is_exchanged_with_the_verifier_and_the_secret_if_any(
    sqlite_registry: Registry,
    forger: Forger,
    secret: str | None,
    methods: list[str] | None,
    sent: tuple[object, ...],
) -> None:
    forger.said = {"token_endpoint_auth_methods_supported": methods} if methods else {}
    provider = Provider(forger.url, "kerasql", secret, role="analyst")
    with serving(sqlite_registry, provider=provider) as one:
        assert went(one.url).json()["user"]["name"] == "ann@example.org"
    assert forger.clients == [sent]


def test_another_browsers_verifier_does_not_fit(tricked: Served) -> None:
    browser = requests.Session()
    begun = browser.get(f"{tricked.url}/enter/oidc/begin", allow_redirects=False)
    back = requests.get(begun.headers["Location"], allow_redirects=False).headers["Location"]
    state, nonce, _, then = browser.cookies["kerasql-oidc"].split(".", 3)
    changed = {"kerasql-oidc": f"{state}.{nonce}.{secrets.token_urlsafe(32)}.{then}"}
    answer = requests.get(back, cookies=changed)
    assert answer.status_code == 401
    assert "invalid_grant (that does not fit)" in alert(answer)


def test_claims_that_are_not_for_this_sign_in_are_refused(tricked: Served, forger: Forger) -> None:
    for claims in (
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["kerasql", "another"]},
        {"aud": "another", "azp": "kerasql"},
        {"aud": None},
        {"azp": "another"},
        {"iss": "https://another.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"iat": 2**40},
        {"nbf": 2**40},
        {"sub": None},
    ):
        forger.claims = claims
        answer = went(tricked.url)
        assert (answer.status_code, "cannot be trusted" in alert(answer)) == (401, True), claims
    assert len(refusals(tricked.access)) == 15
    assert tricked.access.events(action="token.new") == []


def test_a_signature_that_is_not_the_providers_is_refused(tricked: Served, forger: Forger) -> None:
    for forged in (
        unsigned,
        of_a_shared_secret,
        of_the_public_key,
        of_another_key,
        of_an_unknown_key,
        *(lambda *_, text=text: text for text in NO_TOKENS),
    ):
        forger.id_token = forged
        answer = went(tricked.url)
        assert (answer.status_code, "cannot be trusted" in alert(answer)) == (401, True), forged
    assert tricked.access.events(action="token.new") == []


def test_a_provider_that_says_what_is_not_safe_is_not_used(tricked: Served, forger: Forger) -> None:
    for said in (
        {"issuer": "https://another.example"},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
        {"id_token_signing_alg_values_supported": []},
        {"id_token_signing_alg_values_supported": None},
        {"token_endpoint": "http://another.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://["},
    ):
        forger.said = said
        answer = went(tricked.url)
        assert (answer.status_code, "of no use" in alert(answer)) == (503, True), said
    forger.said = {}
    assert went(tricked.url).ok


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_provider_in_trouble_is_asked_again_by_the_next(
    tricked: Served, forger: Forger, status: int
) -> None:
    forger.status = status
    assert went(tricked.url).status_code == 503
    forger.status = 200
    assert went(tricked.url).ok


def test_keys_are_remembered_and_asked_for_again_when_one_is_new(
    tricked: Served, forger: Forger
) -> None:
    for _ in range(2):
        assert went(tricked.url).ok
    assert forger.asked.count("/jwks") == 1
    forger.key = ECKey.generate_key("P-256", auto_kid=True)
    assert went(tricked.url).ok
    assert forger.asked.count("/jwks") == 2


def test_a_key_that_was_withdrawn_is_believed_for_an_hour_at_most(
    tricked: Served, forger: Forger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = forger.key
    monkeypatch.setattr("kerasql.web.oidc.REMEMBERED_S", -1)
    assert went(tricked.url).ok
    forger.key = ECKey.generate_key("P-256", auto_kid=True)
    header = {"alg": "ES256", "kid": stolen.kid}
    forger.id_token = lambda forger, claims: jwt.encode(header, claims, stolen)
    assert went(tricked.url).status_code == 401


def test_an_address_is_refused_twenty_times_and_then_has_to_wait(
    database: Registry,
) -> None:
    access, asked = Access(database), []

    def nobody() -> str:
        asked.append(1)
        return "nobody"

    for _ in range(20):
        with pytest.raises(NotSignedIn, match="'nobody' is no user here"):
            access.sign_in_with("oidc", nobody, address="10.0.0.9")
    with pytest.raises(TooManyAttempts):
        access.sign_in_with("oidc", nobody, address="10.0.0.9")
    assert len(asked) == 20
    with pytest.raises(NotSignedIn):
        access.sign_in_with("oidc", nobody, address="10.0.0.8")


def test_somebody_new_who_comes_many_times_at_once_is_added_once(database: Registry) -> None:
    access = Access(database)
    with ThreadPoolExecutor(8) as threads:
        users = list(
            threads.map(
                lambda _: access.sign_in_with(
                    "oidc", lambda: "ANN", role="analyst", address="10.0.0.9"
                ),
                range(8),
            )
        )
    assert {user.name for user in users} == {"ann"}
    assert len(access.events(action="user.add")) == 1
    assert len(access.events(action="sign_in")) == 8


@pytest.mark.parametrize(
    "issuer",
    ["http://login.example.org", "http://10.0.0.5", "login.example.org", "ftp://x", "https://", ""],
)
def test_an_issuer_that_others_could_speak_for_is_refused(issuer: str) -> None:
    with pytest.raises(InvalidInput, match="is no https URL"):
        Provider(issuer, "kerasql")


def test_nobody_is_made_an_admin_by_a_provider() -> None:
    with pytest.raises(InvalidInput, match="there is 'analyst' and 'scientist'"):
        Provider("https://login.example.org", "kerasql", role="admin")


def test_only_signatures_of_a_private_key_are_taken() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--oidc", "https://login.example.org"], "needs --oidc-client ID"),
        (["--oidc-client", "kerasql"], "'--oidc-client' needs a provider; name it with --oidc"),
        (["--oidc-role", "analyst"], "'--oidc-role' needs a provider"),
        (["--oidc", "http://login.example.org", "--oidc-client", "k"], "is no https URL"),
        (["--oidc", "https://x", "--oidc-client", "k", "--oidc-role", "admin"], "'admin' is not"),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_starts(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    database = tmp_path / "models.db"
    told = CliRunner().invoke(main, ["--database", f"sqlite:///{database}", "serve", *options])
    assert told.exit_code == 2
    assert sentence in told.output
    assert not database.exists()


def started_by(pid: int) -> Iterator[tuple[str, bytes]]:
    """The programs that a process started, and that they did, with their environments."""
    with suppress(OSError):  # some are gone by now
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with suppress(OSError):
                    place = Path("/proc") / child
                    yield place.joinpath("exe").readlink().name, (place / "environ").read_bytes()
                yield from started_by(int(child))


def test_the_server_keeps_its_secret_and_what_passes_by_to_itself(
    tmp_path: Path, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"],
            *(key, "-out", certificate, *subject),
        ],
        check=True,
        capture_output=True,
    )
    with connect(f"sqlite:///{tmp_path}/models.db") as registry:
        Access(registry).add_user("ann@example.org")
    monkeypatch.setenv("KERASQL_OIDC_SECRET", SECRET)
    tls = ["--certificate", str(certificate), "--key", str(key)]
    server = ServerProcess(tmp_path, *tls, "--oidc", issuer, "--oidc-client", "kerasql")
    try:
        server.wait_for("kerasql is at https", seconds=120)
        url, browser = f"https://localhost:{server.port}", requests.Session()
        browser.verify, browser.trust_env = str(certificate), False
        page = begun(browser, url)
        passing = browser.cookies["__Host-kerasql-oidc"].split(".")[:3]
        answer = browser.post(page.url, data={"sub": "ann"})
        assert answer.json()["user"]["name"] == "ann@example.org"
        code = parse_qs(urlsplit(answer.history[0].headers["Location"]).query)["code"][0]
        passing += [SECRET, code, browser.cookies["kerasql"]]
        assert list(browser.cookies.keys()) == ["kerasql"]
        started = list(started_by(server.process.pid))
        assert "java" in [program for program, _ in started]
        assert not any(SECRET.encode() in environment for _, environment in started)
    finally:
        assert server.stop(signal.SIGINT) == 0
    said = server.said.read_text()
    assert "/enter/oidc" in said
    assert [text for text in passing if text in said] == []
