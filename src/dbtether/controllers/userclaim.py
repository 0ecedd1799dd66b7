"""Which login a DatabaseUser has or wants, and whether it may have it."""

from dbtether.api.databaseuser import DatabaseUserSpec, older_username, username
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.identifiers import username_problem
from dbtether.api.names import Marker, parse_marker
from dbtether.api.resource import Resource
from dbtether.controllers.adoption import Claim, adoption_not_allowed, given_away, releases_to, somebody_elses
from dbtether.controllers.base import World
from dbtether.controllers.rotation import recorded_logins
from dbtether.controllers.userdrop import lost_marker
from dbtether.errors import Blocked
from dbtether.postgres.roles.model import Role
from dbtether.postgres.server.access import Server


def possible_names(resource: Resource, spec: DatabaseUserSpec) -> tuple[str, ...]:
    """The login's name, and the one that the older operator would have given; one of them once it is known.

    Raises Blocked for a changed name: it is the identity, and under another one the first login would be
    forgotten.
    """
    name = username(spec, resource.key.name)
    names = tuple(dict.fromkeys((name, older_username(spec, resource.key.name))))
    known = resource.status.get("username")
    if known is None:
        return tuple(each for each in names if each == name or username_problem(each) is None)
    if known not in names:
        raise Blocked(
            "ImmutableField",
            f"spec.username: {known} cannot become {name}; put {known} back, or create another DatabaseUser",
        )
    return (known,)


async def choose_name(
    server: Server, cluster: DBClusterSpec, resource: Resource, spec: DatabaseUserSpec, marker: Marker
) -> str:
    """The login's name: the older one where that is this resource's, or it asks for it with consent.

    Never both: one of two that are there, and marked, is the one it has.
    """
    names = possible_names(resource, spec)
    if len(names) == 1:
        return names[0]
    name, older = names
    roles = (await server.shared(names)).roles
    found = {each: parse_marker(roles[each].comment) for each in names if each in roles}
    if found.get(name) == marker or older not in found:
        return name
    is_marked = found[older] in (marker, Marker(marker.namespace, marker.name, None))
    is_wanted = spec.adopt and name not in found and cluster.may_adopt(marker.namespace, role=older)
    return older if is_marked or is_wanted else name


def claim_of(
    resource: Resource, spec: DatabaseUserSpec, marker: Marker, cluster_name: str, cluster: DBClusterSpec, name: str
) -> Claim:
    """The DatabaseUser's claim to the login."""
    return Claim(resource, marker, cluster_name, cluster, name, spec.adopt, name)


async def refuse_foreign_role(world: World, claim: Claim, spec: DatabaseUserSpec, role: Role | None) -> None:
    """Before a Secret is written: Blocked for a role that is another's, or that another resource named first."""
    found = None if role is None else parse_marker(role.comment)
    if found == claim.marker:
        return
    resource = claim.resource
    for blocked in (
        given_away(resource, f"Login {claim.name}", found),
        _lost(claim, role),
        _without_consent(claim, spec, role),
        _named_by_another(world, claim),
    ):
        if blocked is not None:
            raise blocked
    if role is not None and (blocked := await somebody_elses(world.store, claim, found)) is not None:
        raise blocked


def _lost(claim: Claim, role: Role | None) -> Blocked | None:
    """A login that worked already, and whose comment somebody changed; who may adopt it just takes it back."""
    status = claim.resource.status
    had_it = claim.name in recorded_logins(status) and status.get("passwordFingerprint") is not None
    return lost_marker(role, claim.marker) if had_it and not (claim.adopts and claim.is_allowed) else None


def _without_consent(claim: Claim, spec: DatabaseUserSpec, role: Role | None) -> Blocked | None:
    """Asked before anybody looks whether the role exists: the answer is the same."""
    if not claim.adopts:
        return None
    namespace, name = claim.resource.key.namespace, claim.resource.key.name
    older = older_username(spec, name)
    if role is None and claim.cluster.may_adopt(namespace, role=older):
        return None
    others = () if older == claim.name else (f"{{role: {older}, namespace: {namespace}}}",)
    return adoption_not_allowed(claim, *others)


def _named_by_another(world: World, claim: Claim) -> Blocked | None:
    key = claim.resource.key
    first = world.directory.holder(key, claim.cluster_name, claim.name)
    if first is None or releases_to(first, key):
        return None
    other = str(first.key) if first.key.namespace == key.namespace else "a DatabaseUser of another namespace"
    return Blocked(
        "RoleConflict",
        f"{other} names role {claim.name} on the same DBCluster and was first: choose another "
        f"spec.username, or delete one of the two",
    )
