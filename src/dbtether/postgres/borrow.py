"""Memberships that the admin takes for one transaction and gives back in it. Pure.

A non-superuser must be in a role to end its sessions, to reassign what it owns and to drop that. What was
there before is never touched: before 16, revoking one's own grant also deletes a DBA's ADMIN OPTION.
"""

from collections.abc import Iterator, Sequence

from psycopg import sql

from dbtether.postgres.roles.model import Role
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, statement


def borrowed(
    server: ServerFacts,
    role: Role,
    granted_by: str | None,
    database: str,
    statements: Sequence[Statement],
) -> Iterator[Statement]:
    """The statements between the GRANT of `role` to the admin and its REVOKE, where those are needed.

    `granted_by` is the role that has ADMIN on it, None for the admin itself.
    """
    if server.is_superuser or has_rights_of(server, role):
        yield from statements
        return
    member, name = sql.Identifier(server.admin), sql.Identifier(role.name)
    options = granted = sql.SQL("")
    if server.memberships_have_options:
        options = sql.SQL(" WITH INHERIT TRUE, SET FALSE")
    yield statement(
        f"Lend {role.name} to {server.admin} for this transaction",
        database,
        "GRANT {role} TO {member}{options}",
        as_role=granted_by,
        role=name,
        member=member,
        options=options,
    )
    yield from statements
    grantor: sql.Composable = granted
    if server.memberships_have_options:
        grantor = sql.SQL(" GRANTED BY {}").format(sql.Identifier(granted_by or server.admin))
    yield statement(
        f"Take {role.name} back from {server.admin}",
        database,
        "REVOKE {role} FROM {member}{grantor}",
        as_role=granted_by,
        role=name,
        member=member,
        grantor=grantor,
    )


def inheritance(role: str, member: str, database: str, *, on: bool, as_role: str | None = None) -> Statement:
    """Puts a membership's rights in force without SET ROLE (16+), or ends that; both within one transaction."""
    return statement(
        f"Lend the rights of {role} to {member} for this transaction"
        if on
        else f"Take the rights of {role} back from {member}",
        database,
        "GRANT {role} TO {member} WITH INHERIT {on}, SET TRUE",
        as_role=as_role,
        role=sql.Identifier(role),
        member=sql.Identifier(member),
        on=sql.SQL("TRUE" if on else "FALSE"),
    )


def has_rights_of(server: ServerFacts, role: Role) -> bool:
    """Whether the admin has the role's rights already by a membership of its own."""
    return role.name == server.admin or any(
        edge.member == server.admin and (edge.inherit_option or not server.memberships_have_options)
        for edge in role.members
    )
