"""Sign-in by OpenID Connect: the authorization code flow with PKCE, at one provider.

A browser asks twice: ``begin`` sends it to the provider, and with what it brings back ``name_for``
gets the user's name. What is to be remembered between the two is an ``Attempt``, in a cookie of
that browser, so any server of the registry may answer the second request.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel

from kerasql.registry.errors import InvalidInput, KerasqlError, NotSignedIn
from kerasql.registry.users import one_of

ATTEMPT_S = 600
TIME_LIMIT_S = 10
LEEWAY_S = 60
REMEMBERED_S = 3600
LONGEST_THEN = 2000
SCOPE = "openid email profile"
ROLES = ("analyst", "scientist")
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
"""Signatures that only the provider can make; anybody who has the secret could make HS256's."""

START_AGAIN = (
    "that sign-in was not begun in this browser, or took longer than "
    f"{ATTEMPT_S // 60} minutes; start again"
)

log = logging.getLogger("kerasql.web")


class ProviderFailed(KerasqlError):
    """A provider that nobody can sign in with now. Args: its name, the reason."""

    sentence = "signing in with {0} does not work now: {1}; try again soon, or use a password"


class Attempt(NamedTuple):
    """A sign-in that a browser has begun; nonce and verifier are random, as state is."""

    state: str
    nonce: str
    verifier: str
    then: str

    @classmethod
    def new(cls, then: str) -> Attempt:
        """One that leads to a path of ours; one too long for a cookie is forgotten."""
        fits = len(quote(then, safe="")) <= LONGEST_THEN
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, then if fits else "")

    @classmethod
    def of(cls, cookie: str, state: str) -> Attempt:
        """The one in a cookie, if the state that came back is its own. Raises NotSignedIn."""
        kept = cookie.split(".", 3)
        whole = len(kept) == 4 and all(kept[:3])
        if not whole or not compare_digest(kept[0].encode(), state.encode()):
            raise NotSignedIn(START_AGAIN)
        return cls(kept[0], kept[1], kept[2], unquote(kept[3]))

    @property
    def cookie(self) -> str:
        """What the browser keeps of it."""
        return ".".join((*self[:3], quote(self.then, safe="")))


class Discovery(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


@dataclass(frozen=True)
class Known:
    """A provider's endpoints and keys, and until when they are believed without asking."""

    said: Discovery
    algorithms: tuple[str, ...]
    keys: KeySet
    until: float


class Provider:
    """An OpenID provider that people may sign in with, asked only when somebody does.

    client and secret are what it knows this server by. name is what the button says (the issuer's
    host); claim is what holds a user's name; role is what somebody unknown is added with.
    """

    def __init__(
        self,
        issuer: str,
        client: str,
        secret: str | None = None,
        *,
        name: str | None = None,
        role: str | None = None,
        claim: str = "email",
    ) -> None:
        if not is_safe(issuer):
            raise InvalidInput(
                f"the issuer {issuer!r} is no https URL; give the provider's own, such as "
                "https://login.example.org (http only on this machine)"
            )
        self.issuer, self.client, self._secret = issuer, client, secret
        self.name = name or urlsplit(issuer).hostname or issuer
        self.role = one_of(role, ROLES, "role for new users") if role else None
        self.claim = claim
        self._known: Known | None = None

    def begin(self, then: str, *, back: str) -> tuple[str, Attempt]:
        """Where the browser signs in, and what it must bring along when it comes back.

        back is the URL of ours to come back to. Raises ProviderFailed.
        """
        attempt, known = Attempt.new(then), self._knowledge()
        with self._session(known, back) as session:
            there, _ = session.create_authorization_url(
                known.said.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return there, attempt

    def name_for(self, attempt: Attempt, answer: Mapping[str, str], *, back: str) -> str:
        """The name of who signed in, for the answer that the browser brought back.

        Raises NotSignedIn where the provider refuses, or says what cannot be trusted, and
        ProviderFailed where it does not answer.
        """
        if "error" in answer:
            raise self._refused(answer["error"], answer.get("error_description"))
        id_token = self._exchanged(answer.get("code", ""), attempt, back)
        try:
            claims = self._checked(id_token, attempt.nonce)
        except (JoseError, ValueError) as error:
            log.warning("an ID token of %s is refused: %s", self.issuer, error)
            raise NotSignedIn(
                f"what {self.name} says of you cannot be trusted; start again, or tell an admin"
            ) from None
        return self._name_in(claims)

    def _exchanged(self, code: str, attempt: Attempt, back: str) -> str:
        """The ID token that the provider gives for a code."""
        known = self._knowledge()
        try:
            with self._session(known, back) as session:
                token = session.fetch_token(
                    known.said.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                    allow_redirects=False,
                )
        except OAuthError as error:
            raise self._refused(error.error, error.description) from None
        except (requests.RequestException, ValueError, TypeError) as error:
            raise self._failed(error) from None
        return str(token.get("id_token", ""))

    def _checked(self, id_token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that was signed by the provider, for us, for this attempt."""
        known = self._knowledge()
        try:
            token = decoded(id_token, known)
        except InvalidKeyIdError:
            known = self._knowledge(anew=True)
            token = decoded(id_token, known)
        expected = {
            "iss": {"essential": True, "value": known.said.issuer},
            "aud": {"essential": True, "value": self.client},
        }
        facts = {"nonce": nonce, "client_id": self.client}
        claims = CodeIDToken(token.claims, token.header, expected, facts)
        claims.validate(leeway=LEEWAY_S)
        return dict(claims)

    def _name_in(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self.claim)
        if not isinstance(name, str):
            raise NotSignedIn(
                f"{self.name} does not say your {self.claim!r}, which would be your name here; "
                "ask an admin"
            )
        if self.claim == "email" and claims.get("email_verified") is not True:
            raise NotSignedIn(
                f"{self.name} does not say that {name!r} is yours; verify the address there, then "
                "start again"
            )
        return name

    def _knowledge(self, *, anew: bool = False) -> Known:
        """The provider's endpoints and keys, asked for once an hour."""
        known = self._known
        if known is None or anew or known.until < time.monotonic():
            self._known = known = self._discovered()
        return known

    def _discovered(self) -> Known:
        place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            said = Discovery.model_validate_json(got(place))
            if said.issuer.rstrip("/") != self.issuer.rstrip("/"):
                raise ValueError(f"it calls itself {said.issuer!r}")
            for url in (said.authorization_endpoint, said.token_endpoint, said.jwks_uri):
                if not is_safe(url):
                    raise ValueError(f"{url!r} is no https URL")
            # Without any JWSRegistry would take those that it recommends, HS256 among them.
            listed = said.id_token_signing_alg_values_supported
            if not (algorithms := tuple(name for name in ALGORITHMS if name in listed)):
                raise ValueError(f"it signs with {listed}; {ALGORITHMS} can be checked")
            keys = KeySet.import_key_set(json.loads(got(said.jwks_uri)))
        except (requests.RequestException, JoseError, ValueError, KeyError, TypeError) as error:
            raise self._failed(error) from None
        return Known(said, algorithms, keys, time.monotonic() + REMEMBERED_S)

    def _session(self, known: Known, back: str) -> Any:
        methods = known.said.token_endpoint_auth_methods_supported
        basic = "client_secret_basic" in methods or "client_secret_post" not in methods
        method = "client_secret_basic" if basic else "client_secret_post"
        return OAuth2Session(
            self.client,
            self._secret,
            token_endpoint_auth_method=method if self._secret else "none",
            scope=SCOPE,
            redirect_uri=back,
            code_challenge_method="S256",
            default_timeout=TIME_LIMIT_S,
        )

    def _refused(self, error: str, description: str | None) -> NotSignedIn:
        said = f"{error} ({description})" if description else error
        why = "".join(letter for letter in said if letter.isprintable())[:300]
        return NotSignedIn(f"{self.name} did not sign you in: {why}; start again, or ask an admin")

    def _failed(self, error: Exception) -> ProviderFailed:
        log.warning("the OpenID provider %s: %s", self.issuer, error)
        silent = isinstance(error, (requests.ConnectionError, requests.Timeout))
        reason = "it does not answer" if silent else "its answer is of no use (the log says why)"
        return ProviderFailed(self.name, reason)


def is_safe(url: str) -> bool:
    """Whether nobody between can read or change what is sent there: https, or this machine."""
    try:
        parsed = urlsplit(url)
        host = parsed.hostname or ""
        if parsed.scheme == "http" and host != "localhost":
            return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return parsed.scheme in ("http", "https") and bool(host)


def got(url: str) -> bytes:
    """What is at a URL of the provider's; not where it leads to, which may be anywhere."""
    answer = requests.get(url, timeout=TIME_LIMIT_S, allow_redirects=False)
    answer.raise_for_status()
    return answer.content


def decoded(id_token: str, known: Known) -> jwt.Token:
    """An ID token whose signature is the provider's; its claims are not checked yet."""
    registry = JWSRegistry(algorithms=known.algorithms, strict_check_header=False)
    return jwt.decode(id_token, known.keys, registry=registry)
