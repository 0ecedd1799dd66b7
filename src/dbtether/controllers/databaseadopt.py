"""Which roles a Database may name as owners, and which databases it may take over."""

from dataclasses import replace

from dbtether.api.database import DatabaseSpec
from dbtether.api.dbcluster import DBClusterSpec
from dbtether.api.kinds import FORCE_ADOPT
from dbtether.api.names import ROLE_PREFIX, marker_in, parse_marker
from dbtether.api.resource import Resource
from dbtether.controllers.adoption import Claim, adoption_not_allowed, somebody_elses
from dbtether.controllers.base import World
from dbtether.errors import Blocked
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.databases.ownership import is_ours, owner_not_allowed
from dbtether.postgres.roles.model import Role

# ---- owners


def known_owners(
    world: World, resource: Resource, cluster: DBClusterSpec, desired: DesiredDatabase, outside: ObservedDatabase
) -> frozenset[str]:
    """The roles that may own the database or something in it.

    Raises Blocked when the spec names another one; the sentence does not tell whether that one exists.
    """

    def may_own(name: str, role: Role | None) -> bool:
        if name.startswith((ROLE_PREFIX, "pg_")):
            return False
        found = parse_marker(role.comment) if role is not None else None
        if found is not None:
            # The DBCluster's word does not reach what another resource holds.
            return (found.namespace, found.installation) == (resource.key.namespace, world.store.installation)
        is_listed = cluster.may_adopt(resource.key.namespace, role=name)
        return is_listed or (role is None and bool(world.directory.claimants(resource, name)))

    named = named_owners(desired)
    for name in named:
        if not may_own(name, outside.roles.get(name)):
            raise owner_not_allowed(name)
    known = {*named, *recorded_owner(resource)}
    has = outside.database.owner if outside.database is not None else None
    if has is not None and has in outside.roles and may_own(has, outside.roles[has]):
        known.add(has)
    return frozenset(known)


def without_leaving(world: World, resource: Resource, desired: DesiredDatabase) -> DesiredDatabase:
    """The same, with nothing for logins whose DatabaseUser is being deleted: they could not be dropped."""

    def staying(name: str | None) -> str | None:
        return None if name is None or world.directory.is_leaving(resource, name) else name

    schemas = tuple(replace(schema, owner=staying(schema.owner)) for schema in desired.schemas)
    return replace(desired, owner=staying(desired.owner), schemas=schemas)


def named_owners(desired: DesiredDatabase) -> tuple[str, ...]:
    """The roles of others that the spec names, sorted."""
    named = {desired.owner, *(schema.owner for schema in desired.schemas)} - {None, *desired.roles.all}
    if desired.owner in desired.roles.groups.values():
        # A group's members could drop the database.
        named.add(desired.owner)
    return tuple(sorted(name for name in named if name is not None))


def recorded_owner(resource: Resource) -> frozenset[str]:
    """The role that the status says owns the database."""
    owner = resource.status.get("owner")
    return frozenset({owner}) if isinstance(owner, str) else frozenset()


# ---- adoption


def wants_to_adopt(resource: Resource, spec: DatabaseSpec) -> bool:
    """Whether the resource asks for a database that exists."""
    return spec.adopt or resource.annotations.get(FORCE_ADOPT) == "true"


def was_adopted(resource: Resource, spec: DatabaseSpec, observed: ObservedDatabase) -> bool:
    """Whether the database was there before the resource; without a status, what the spec asks for tells."""
    created = resource.status.get("createdByUs")
    return created is False or (created is None and wants_to_adopt(resource, spec) and observed.database is not None)


async def may_adopt(
    world: World, claim: Claim, maintenance_database: str, desired: DesiredDatabase, outside: ObservedDatabase
) -> bool:
    """Whether a database that is not ours is taken over; False when there is nothing to take.

    Raises Blocked with who has to consent. A database's comment may hold it back, never give it: its owner wrote it.
    """
    owner, database = outside.roles.get(desired.roles.owner), outside.database
    holder = marker_in(database.comment if database else None) if owner is None else parse_marker(owner.comment)
    is_new = database is None and owner is None
    if not claim.adopts or is_new or (holder == desired.marker and is_ours(desired, outside)):
        return False
    if owner is not None and holder is None:
        # Not even a marker: the guards say what a person must look at.
        return False
    is_template = database is not None and database.is_template
    if desired.name == maintenance_database or is_template:
        what = "a template" if is_template else "the DBCluster's own database"
        raise Blocked("AdoptionNotAllowed", f"Database {desired.name} is {what}, which nobody adopts: choose another")
    blocked = adoption_not_allowed(claim) or await somebody_elses(world.store, claim, holder)
    if blocked is not None:
        raise blocked
    return True
