"""One DatabaseUser's login as it should be, and the proof that it works: logging in as the user would."""

from dataclasses import dataclass
from datetime import datetime

from dbtether.api.databaseuser import DatabaseUserSpec
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.names import Group, Marker
from dbtether.api.references import Privileges
from dbtether.api.resource import Resource
from dbtether.api.times import parse_instant
from dbtether.controllers.userplaces import Place
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.login import Login, LoginResult, try_login
from dbtether.postgres.passwords import matches, scram_verifier
from dbtether.postgres.roles.model import Access, DesiredLogin, Role, role_names
from dbtether.postgres.roles.plan import switches_role
from dbtether.postgres.server.access import Server

_GROUPS = {
    Privileges.READONLY: Group.READONLY,
    Privileges.READWRITE: Group.READWRITE,
    Privileges.ADMIN: Group.ADMIN,
}


@dataclass(frozen=True, slots=True)
class User:
    """A DatabaseUser with everything that its spec leads to."""

    resource: Resource
    spec: DatabaseUserSpec
    cluster_name: str
    cluster: DBClusterSpec
    server: Server
    places: tuple[Place, ...]
    name: str
    """The login's name in PostgreSQL."""
    marker: Marker

    def desired(self, new_password: str | None = None) -> DesiredLogin:
        """The login as it should be; with a new password to be set, or with the one it has."""
        spec = self.spec
        return DesiredLogin(
            name=self.name,
            marker=self.marker,
            access=tuple(Access(place.database, _GROUPS[place.target.privileges]) for place in self.places),
            verifier=None if new_password is None else scram_verifier(new_password, self.name),
            connection_limit=spec.connection_limit,
            valid_until=None if spec.valid_until is None else parse_instant(spec.valid_until),
            settings=tuple(sorted(spec.settings.items())),
            previous_settings=frozenset(self.resource.status.get("appliedSettings", ())),
        )

    def shut_out(self, now: datetime) -> str | None:
        """Why nobody can log in although all is as the spec wants it; None when somebody can."""
        if self.spec.connection_limit == 0:
            return "spec.connectionLimit is 0"
        if self.spec.valid_until is not None and parse_instant(self.spec.valid_until) <= now:
            return "spec.validUntil has passed"
        return None


async def has_password(user: User, role: Role | None, password: str) -> bool:
    """Whether the server has the password: read as a superuser, else tried. Raises Retryable."""
    if role is None:
        return False
    if user.server.facts.is_superuser and password.isascii():
        return matches(role.verifier, password)
    found = await _try(user, user.places[0], password)
    if found.result is LoginResult.UNREACHABLE:
        raise Retryable("ConnectionFailed", f"Could not try the login {user.name}: {found.message}; trying again")
    return found.result is not LoginResult.WRONG_PASSWORD


async def verify(user: User, password: str) -> None:
    """Log in to every database as the user would. Raises Retryable or Blocked when that fails."""
    for place in user.places:
        found = await _try(user, place, password)
        if found.result is not LoginResult.WORKS:
            raise _failure(user.name, place.database, found)


async def _try(user: User, place: Place, password: str) -> Login:
    group = _GROUPS[place.target.privileges]
    switches = switches_role(user.desired(), Access(place.database, group), user.server.facts)
    works_as = role_names(place.database).groups[group] if switches else user.name
    # The login's connection counts as one of ours: DBCluster.spec.maxConnections is for all of them.
    async with user.server.pool.slot():
        return await try_login(user.server.parameters, user.name, password, place.database, works_as)


def _failure(name: str, database: str, found: Login) -> Blocked | Retryable:
    text = f"The login {name} was made, but does not work on database {database}: {found.message}"
    if found.result is LoginResult.UNREACHABLE or found.sqlstate in ("53300", "57P03", "55000", "3D000"):
        return Retryable("LoginFailed", f"{text}; trying again")
    hint = {
        "28000": "; let it in by a line in the server's pg_hba.conf",
        "28P01": "; the server refuses the password it was just given (a proxy or another authentication method?)",
    }.get(found.sqlstate or "", "")
    return Blocked("LoginFailed", f"{text}{hint}")
