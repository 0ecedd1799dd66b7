"""SCRAM verifiers: made on the client, so that a password reaches no server log; and compared."""

import base64
import binascii
import functools
import hashlib
import hmac
import re
import secrets

from psycopg import pq

from dbtether.errors import Blocked

_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})")
# No character that a URL, a shell, an .env file or a connection string would read as its own; none that
# people confuse (0 O, 1 l I).
_ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def generate_password(length: int) -> str:
    """A random password of so many characters (5.8 bits each) with a lower, an upper and a digit in it."""
    while True:
        password = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        if (
            any(c.islower() for c in password)
            and any(c.isupper() for c in password)
            and any(map(str.isdigit, password))
        ):
            return password


def scram_verifier(password: str, user: str) -> str:
    """The SCRAM-SHA-256 verifier that PostgreSQL stores, with a fresh salt (libpq, PQencryptPasswordConn).

    Raises Blocked for an empty password or one with NUL, and when libpq returns something else: the server
    would store that as a plain password.
    """
    if not password or "\0" in password:
        # libpq would end it there; the server takes an empty one as none at all.
        raise Blocked("PasswordRejected", "A password must not be empty, nor have a NUL in it: choose another")
    made = _unconnected().encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    if _VERIFIER.fullmatch(made) is None:
        raise Blocked("PasswordRejected", "The password could not be turned into a SCRAM verifier: choose another")
    return made


@functools.cache
def _unconnected() -> pq.abc.PGconn:
    # With the algorithm named, libpq asks no server; an option it refuses keeps it from trying one.
    return pq.PGconn.connect_start(b"sslmode=none-needed")


def matches(verifier: str | None, password: str) -> bool:
    """Whether a stored verifier was made from this password (RFC 5802, section 3).

    False for what is not SCRAM-SHA-256. ASCII passwords only are compared; for others (SASLprep) False too,
    so that they are set again rather than believed.
    """
    parsed = _VERIFIER.fullmatch(verifier or "")
    if parsed is None or not password.isascii():
        return False
    iterations, salt, stored_key, _ = parsed.groups()
    try:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    except (binascii.Error, ValueError):
        return False
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(stored_key))


def fingerprint(key: bytes, user: str, password: str) -> str:
    """A keyed digest of a password: tells whether it changed, and nothing else without the key."""
    return hmac.digest(key, f"{user}\0{password}".encode(), "sha256").hex()[:32]
