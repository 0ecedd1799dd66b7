"""What a Database's status tells of its database: extensions, grants, and what a person should know."""

from collections.abc import Sequence

from dbtether.api.database import ExtensionStatus, WaitingGrant
from dbtether.api.model import MAX_STATUS_ENTRIES
from dbtether.controllers.databaseadopt import named_owners
from dbtether.controllers.grants import grants_hash
from dbtether.postgres.databases.grantgroups import held_back, missing_grants
from dbtether.postgres.databases.guards import public_left_open
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase, new_database_acl
from dbtether.postgres.databases.ownership import allies
from dbtether.postgres.grants.acl import PUBLIC

_MAX_PHRASES = 5


def extension_fields(desired: DesiredDatabase, observed: ObservedDatabase) -> dict[str, object]:
    """The status fields on extensions, after what was planned from this observation was run."""
    inside = observed.inside
    versions = {e.name: e.version for e in (inside.extensions if inside else ())}
    for found in inside.available if inside else ():
        versions.setdefault(found.name, found.default_version)
    wanted = {e.name: e.version or versions.get(e.name) for e in desired.extensions}
    kept = {} if desired.drop_extensions else {n: versions[n] for n in desired.previous_extensions if n in versions}
    found_ = [ExtensionStatus(name=name, version=version).dump() for name, version in (kept | wanted).items()]
    return {"extensions": found_[:MAX_STATUS_ENTRIES], "extensionsCount": len(found_) or None}


def grant_fields(desired: DesiredDatabase, observed: ObservedDatabase) -> dict[str, object]:
    """The status fields on users' additional grants."""
    missing = missing_grants(desired, observed)
    waiting = [WaitingGrant(role=role, message=_listed(phrases)).dump() for role, phrases in missing.items()]
    return {
        "grantRolesCount": len(desired.grant_groups) or None,
        "waitingGrants": waiting[:MAX_STATUS_ENTRIES],
        "waitingGrantsCount": len(waiting) or None,
        "appliedGrants": grants_hash(desired.grant_groups),
    }


def _listed(phrases: Sequence[str]) -> str:
    shown = ", ".join(phrases[:_MAX_PHRASES])
    return shown if len(phrases) <= _MAX_PHRASES else f"{shown} and {len(phrases) - _MAX_PHRASES} more"


def notes_on(desired: DesiredDatabase, observed: ObservedDatabase, *, adopted: bool) -> list[str]:
    """What a person should know although the database is ready."""
    notes = []
    absent = [name for name in named_owners(desired) if name not in observed.roles]
    if absent:
        notes.append(f"{', '.join(absent)} shall own it or schemas of it, and does not exist yet: it goes over then")
    if not desired.revoke_public_connect and _is_open_to_public(observed):
        notes.append("every login of the server can connect (close it with spec.revokePublicConnect: true)")
    if adopted and (others := _foreign_owners(desired, observed)):
        notes.append(f"what {', '.join(others)} owns in it was left as it is")
    notes += [
        f"role {name} has no users any more, but cannot be dropped: take back what was granted to it by hand"
        for name in held_back(desired, observed)
    ]
    if cure := public_left_open(desired, observed):
        notes.append(
            "on this server every login that can connect may create in schema public: a superuser should run, in "
            f"database {desired.name}, {cure}"
        )
    return notes


def _is_open_to_public(observed: ObservedDatabase) -> bool:
    acl = new_database_acl("") if observed.database is None else observed.database.acl
    return any(item.grantee == PUBLIC and item.privilege == "CONNECT" for item in acl)


def _foreign_owners(desired: DesiredDatabase, observed: ObservedDatabase) -> list[str]:
    """Who else has schemas or tables in an adopted database."""
    if observed.inside is None:
        return []
    owners = {schema.owner for schema in observed.inside.schemas if schema.name != "public"}
    owners |= {group.owner for group in observed.inside.relations}
    known = {*desired.roles.all, *allies(desired, observed), "pg_database_owner"}
    return sorted(owners - known)
