"""Passwords, as argon2 keeps them."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kerasql.registry.errors import InvalidInput

SHORTEST, LONGEST = 12, 1024

# The library's recommendation is RFC 9106's second profile: 64 MiB, three passes, four lanes.
HASHER = PasswordHasher()


# Each takes 64 MiB: of many at once, the others wait.
turns = threading.Semaphore(2)


def hashed(password: str) -> str:
    """What is kept of a password, once it is long enough."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"a password has {SHORTEST} to {LONGEST:,} characters; this one has {len(password):,}"
        )
    with turns:
        return HASHER.hash(as_bytes(password))


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password that was kept; None fits nothing, and takes as long to say so."""
    instead = nobody()
    try:
        with turns:
            HASHER.verify(kept or instead, as_bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether it was kept with other parameters than are recommended now."""
    return HASHER.check_needs_rehash(kept)


@cache
def nobody() -> str:
    """The hash of a password that nobody has."""
    return HASHER.hash(secrets.token_bytes(32))


def as_bytes(password: str) -> bytes:
    """The same bytes for the same characters, however a keyboard composed them (NFKC)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
