"""Whose rights a statement in a database of ours runs with, and on whose objects the admin can grant. Pure."""

from dbtether.api.names import Group
from dbtether.postgres.databases.model import DesiredDatabase
from dbtether.postgres.server.model import ServerFacts


def acting_as(server: ServerFacts, role: str) -> str | None:
    """The role a statement runs as when the owner's (or a group's) rights are needed."""
    return role if server.acts_as_owner else None


def manageable_owners(desired: DesiredDatabase, server: ServerFacts) -> dict[str, str | None]:
    """The owners whose objects the admin can grant on, each with the role to act as.

    A superuser can for every owner; those are not in the table.
    """
    owner, admins = desired.roles.owner, desired.roles.groups[Group.ADMIN]
    table: dict[str, str | None] = {owner: acting_as(server, owner), admins: acting_as(server, admins)}
    if server.major >= 15:
        table["pg_database_owner"] = acting_as(server, owner)
    return table


def creators(desired: DesiredDatabase, server: ServerFacts) -> tuple[str, ...]:
    """The roles whose future objects the groups shall see: the admins' group, and a superuser admin."""
    admins = desired.roles.groups[Group.ADMIN]
    return (admins, server.admin) if server.is_superuser else (admins,)
