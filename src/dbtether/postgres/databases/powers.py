"""Whose rights a statement in a database of ours runs with, and on whose objects the admin can grant. Pure."""

from collections.abc import Iterable

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredDatabase, ObservedDatabase
from dbtether.postgres.server.model import ServerFacts


def acting_as(server: ServerFacts, role: str) -> str | None:
    """The role a statement runs as when the owner's (or a group's) rights are needed."""
    return role if server.acts_as_owner else None


def acting_for(desired: DesiredDatabase, server: ServerFacts, owner: str) -> str | None:
    """The role to act as on what `owner` has: it itself when it is a group of ours, else the owner role.

    The owner role is in whoever else owns something here; the admin acts for itself.
    """
    if owner == server.admin:
        return None
    is_group = owner in desired.roles.groups.values()
    return acting_as(server, owner if is_group else desired.roles.owner)


def acting_as_database_owner(desired: DesiredDatabase, observed: ObservedDatabase) -> str | None:
    """The role to act as with the rights of whoever owns the database now."""
    owner = desired.roles.owner if observed.database is None else observed.database.owner
    return acting_for(desired, observed.server, owner)


def manageable_owners(
    desired: DesiredDatabase, observed: ObservedDatabase, allies: Iterable[str]
) -> dict[str, str | None]:
    """The owners whose objects the admin can grant on, each with the role to act as.

    `allies` are those that the owner role is in. A superuser can for every owner; those are not in the table.
    """
    server = observed.server
    owners = [desired.roles.owner, desired.roles.groups[Group.ADMIN], *allies]
    if not server.is_superuser:
        owners.append(server.admin)
    table = {owner: acting_for(desired, server, owner) for owner in owners}
    if server.major >= 15:
        table["pg_database_owner"] = acting_as_database_owner(desired, observed)
    return table


def creators(desired: DesiredDatabase, server: ServerFacts, allies: Iterable[str]) -> tuple[str, ...]:
    """The roles whose future objects the groups shall see: admins' group, owners, and a superuser admin."""
    admins = desired.roles.groups[Group.ADMIN]
    return (admins, *allies, *((server.admin,) if server.is_superuser else ()))
