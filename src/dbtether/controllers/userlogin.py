"""One DatabaseUser's login as it should be, what is taken from it, and the proof that it works: logging in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dbtether.api.databaseuser import DatabaseUserSpec
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.names import Marker, is_grant_group, parse_marker
from dbtether.api.resource import Resource
from dbtether.api.times import parse_instant
from dbtether.controllers.adoption import Claim
from dbtether.controllers.base import World
from dbtether.controllers.drift import is_drift
from dbtether.controllers.grants import GROUPS, wake_databases
from dbtether.controllers.rotation import Logins, logins_of
from dbtether.controllers.userclaim import claim_of
from dbtether.controllers.userplaces import Place
from dbtether.errors import Blocked, Retryable
from dbtether.postgres.guards import first_blocked
from dbtether.postgres.login import Login, LoginResult, try_login
from dbtether.postgres.passwords import matches, scram_verifier
from dbtether.postgres.roles.guards import GUARDS
from dbtether.postgres.roles.model import Access, DesiredLogin, ObservedLogin, Role, role_names
from dbtether.postgres.roles.plan import plan, switches_role
from dbtether.postgres.server.access import Server
from dbtether.postgres.statement import Statement


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
    """Its name in PostgreSQL, which is its identity."""
    marker: Marker
    login: str
    """The login at hand: `name`, or the other one that takes turns with it (strategy Overlap)."""

    @property
    def logins(self) -> Logins:
        """Its one or two logins, as spec and status tell them."""
        return logins_of(self.resource, self.spec, self.name)

    def desired(self, new_password: str | None = None) -> DesiredLogin:
        """The login as it should be; with a new password to be set, or with the one it has."""
        spec = self.spec
        return DesiredLogin(
            name=self.login,
            marker=self.marker,
            access=_access(self.places),
            verifier=None if new_password is None else scram_verifier(new_password, self.login),
            connection_limit=spec.connection_limit,
            valid_until=None if spec.valid_until is None else parse_instant(spec.valid_until),
            settings=tuple(sorted(spec.settings.items())),
            previous_settings=frozenset(self.resource.status.get("appliedSettings", ())),
            adopts=self.adopts,
        )

    @property
    def adopts(self) -> bool:
        """Whether the login at hand may be one that was there before; the second one never is."""
        return self.spec.adopt and self.login == self.name

    @property
    def claim(self) -> Claim:
        """Its claim to the login at hand."""
        found = claim_of(self.resource, self.spec, self.marker, self.cluster_name, self.cluster, self.login)
        return replace(found, adopts=self.adopts)

    def is_adopting(self, role: Role | None) -> bool:
        """Whether a role that was there before is being taken over; until that is done to the end."""
        if role is None or not self.adopts:
            return False
        return not self.resource.status.get("adopted") or parse_marker(role.comment) != self.marker

    def only_reports(self, fingerprint: str) -> bool:
        """Whether what differs on the server is told and not repaired: all of its Databases say so.

        What is new is applied: another spec, and another password in the Secret than the one applied last.
        """
        is_settled = is_drift(self.resource) and self.resource.status.get("passwordFingerprint") == fingerprint
        return is_settled and all(place.only_reports for place in self.places)

    def shut_out(self, now: datetime) -> str | None:
        """Why nobody can log in although all is as the spec wants it; None when somebody can."""
        if self.spec.connection_limit == 0:
            return "spec.connectionLimit is 0"
        if self.spec.valid_until is not None and parse_instant(self.spec.valid_until) <= now:
            return "spec.validUntil has passed"
        return None


def _access(places: Iterable[Place]) -> tuple[Access, ...]:
    return tuple(Access(place.database, GROUPS[place.target.privileges], place.grant_role) for place in places)


def grant_roles(role: Role | None) -> set[str]:
    """The roles for additional grants that a login is in."""
    return set() if role is None else {edge.role for edge in role.memberships if is_grant_group(edge.role)}


def _keeping(access: Iterable[Access], role: Role) -> tuple[Access, ...]:
    """The access, without additional grants that the login has not got: a refusal gives nothing."""
    has = grant_roles(role)
    return tuple(item if item.grant_group in has else replace(item, grant_group=None) for item in access)


async def observe_login(
    world: World, cluster: str, server: Server, name: str, places: Sequence[Place]
) -> ObservedLogin:
    """The login and what belongs to its databases, with the roles that a plan would have made by now."""
    groups = [group for place in places for group in role_names(place.database).all]
    grants = [place.grant_role for place in places if place.grant_role is not None]
    shared = await server.shared([name, *groups, *grants], [place.database for place in places])
    return ObservedLogin(
        server.facts,
        shared.roles.get(name),
        {**world.executor.assumed_roles(cluster), **shared.roles},
        {found.name: found.acl for found in shared.databases.values()},
        {found.name: found.owner for found in shared.databases.values()},
    )


async def limit_login(
    world: World, user: Resource, cluster: str, server: Server, name: str, marker: Marker, places: Sequence[Place]
) -> None:
    """Take every access but that to `places` from the login, if it is ours. Raises Retryable or Blocked.

    Nothing else of it changes: password, limits and settings stay as they are.
    """

    def plan_for(observed: ObservedLogin) -> Sequence[Statement]:
        role = observed.role
        if role is None or parse_marker(role.comment) != marker:
            return ()
        # What has lost its groups gives no access, and nothing can be granted there.
        standing = [place for place in places if set(role_names(place.database).all) <= set(observed.roles)]
        desired = DesiredLogin(
            name,
            marker,
            _keeping(_access(standing), role),
            connection_limit=role.connection_limit,
            valid_until=role.valid_until,
        )
        statements = plan(desired, observed)
        if statements and (blocked := first_blocked(GUARDS, desired, observed)) is not None:
            raise blocked
        return statements

    async def plan_again() -> Sequence[Statement]:
        return plan_for(await observe_login(world, cluster, server, name, places))

    if statements := await plan_again():
        had = grant_roles((await server.shared([name])).roles.get(name))
        await world.run(user, cluster, server, statements, plan_again)
        wake_databases(world, user, name, had - {place.grant_role for place in places})


async def has_password(user: User, role: Role | None, password: str) -> bool:
    """Whether the server has the password: read as a superuser, else tried. Raises Retryable."""
    if role is None:
        return False
    if user.server.facts.is_superuser and password.isascii():
        return matches(role.verifier, password)
    found = await _try(user, user.places[0], password)
    if found.result is LoginResult.UNREACHABLE:
        raise Retryable("ConnectionFailed", f"Could not try the login {user.login}: {found.message}; trying again")
    return found.result is not LoginResult.WRONG_PASSWORD


async def verify(user: User, password: str) -> None:
    """Log in to every database as the user would. Raises Retryable or Blocked when that fails."""
    for place in user.places:
        found = await _try(user, place, password)
        if found.result is not LoginResult.WORKS:
            raise _failure(user.login, place.database, found)


async def _try(user: User, place: Place, password: str) -> Login:
    (access,) = _access([place])
    works_as = access.role if switches_role(user.desired(), access, user.server.facts) else user.login
    # The login's connection counts as one of ours: DBCluster.spec.maxConnections is for all of them.
    async with user.server.pool.slot():
        return await try_login(user.server.parameters, user.login, password, place.database, works_as)


def _failure(name: str, database: str, found: Login) -> Blocked | Retryable:
    text = f"The login {name} was made, but does not work on database {database}: {found.message}"
    if found.result is LoginResult.UNREACHABLE or found.sqlstate in ("53300", "57P03", "55000", "3D000"):
        return Retryable("LoginFailed", f"{text}; trying again")
    hint = {
        "28000": "; let it in by a line in the server's pg_hba.conf",
        "28P01": "; the server refuses the password it was just given (a proxy or another authentication method?)",
    }.get(found.sqlstate or "", "")
    return Blocked("LoginFailed", f"{text}{hint}")
