"""Passwords that were proven by a login in this process, and for how long that is believed.

A superuser reads from the catalog whether a password is right; any other admin has to try it, which costs a
connection and the server's hashing. So a login that worked is believed for an hour or two, another time for
each user: a password that somebody changed by hand on the server is found within that time, and a thousand
users are not tried in one second.
"""

import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dbtether.api.resource import Key

BELIEVED_FOR = timedelta(hours=1)
"""At least; up to twice that, by user."""


class VerifiedLogins:
    """Fingerprints of passwords that worked, by DatabaseUser."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._known: dict[Key, tuple[str, datetime]] = {}

    def __setitem__(self, user: Key, fingerprint: str) -> None:
        share = zlib.crc32(str(user).encode()) / 2**32
        self._known[user] = (fingerprint, self._now() + BELIEVED_FOR * (1 + share))

    def get(self, user: Key) -> str | None:
        """The fingerprint that worked last, None when that is too long ago."""
        fingerprint, until = self._known.get(user, (None, None))
        return fingerprint if until is not None and self._now() < until else None

    def forget(self, user: Key) -> None:
        """The user is gone."""
        self._known.pop(user, None)
