"""The statements that make the login of a run, and those that end it. Pure."""

from collections.abc import Iterator

from psycopg import sql

from dbtether.postgres.databases.powers import acting_as
from dbtether.postgres.dumps.model import COMMENT_PREFIX, DesiredRunLogin, ObservedRunLogin
from dbtether.postgres.grants.model import ObjectKind
from dbtether.postgres.grants.plan import object_grants
from dbtether.postgres.roles.drop import ObservedDrop, drop_of
from dbtether.postgres.roles.model import Dependents
from dbtether.postgres.roles.plan import administrator_of
from dbtether.postgres.statement import SecretLiteral, Statement, statement

# pg_dump or a load, and a look beside it.
_CONNECTIONS = 4


def plan(desired: DesiredRunLogin, observed: ObservedRunLogin) -> tuple[Statement, ...]:
    """What makes the login anew, or gives the one of an earlier attempt a new password and time."""
    return (*_role(desired, observed), *_memberships(desired, observed))


def _role(desired: DesiredRunLogin, observed: ObservedRunLogin) -> Iterator[Statement]:
    name, owner = sql.Identifier(desired.name), acting_as(observed.server, desired.roles.owner)
    expires, password = sql.Literal(desired.expires.isoformat()), SecretLiteral(desired.verifier)
    if observed.role is not None:
        yield statement(
            f"Give login {desired.name} a new password until {desired.expires.isoformat()}",
            "",
            "ALTER ROLE {name} WITH LOGIN VALID UNTIL {expires} PASSWORD {password}",
            as_role=administrator_of(observed.role, (), observed.server),
            name=name,
            expires=expires,
            password=password,
        )
        return
    yield statement(
        f"Create login {desired.name} for this run, until {desired.expires.isoformat()}",
        "",
        "CREATE ROLE {name} WITH LOGIN{inherit} CONNECTION LIMIT {limit} VALID UNTIL {expires} PASSWORD {password}",
        as_role=owner,
        name=name,
        inherit=sql.SQL("" if desired.inherits else " NOINHERIT"),
        limit=sql.Literal(_CONNECTIONS),
        expires=expires,
        password=password,
    )
    yield statement(
        f"Mark role {desired.name} as made for a run",
        "",
        "COMMENT ON ROLE {name} IS {comment}",
        as_role=owner,
        name=name,
        comment=sql.Literal(desired.comment),
    )


def _memberships(desired: DesiredRunLogin, observed: ObservedRunLogin) -> Iterator[Statement]:
    has = set() if observed.role is None else {edge.role for edge in observed.role.memberships}
    options = sql.SQL("")
    if observed.server.memberships_have_options:
        options = sql.SQL(" WITH INHERIT TRUE, SET FALSE" if desired.inherits else " WITH INHERIT FALSE, SET TRUE")
    for group in desired.groups:
        if (role := desired.roles.groups[group]) not in has:
            yield statement(
                f"Put {desired.name} into group {role}",
                "",
                "GRANT {role} TO {member}{options}",
                as_role=acting_as(observed.server, desired.roles.owner),
                role=sql.Identifier(role),
                member=sql.Identifier(desired.name),
                options=options,
            )


def plan_end(observed: ObservedRunLogin) -> tuple[Statement, ...]:
    """What ends a run's sessions and drops its login; empty when it is gone, or was not made for a run.

    What it owns in a database goes to the admins' group there; a database that it loaded into is to be dropped
    before, where that is what shall become of it.
    """
    role, server = observed.role, observed.server
    if role is None or not (role.comment or "").startswith(COMMENT_PREFIX):
        return ()
    connects = [
        item
        for place in role.on_databases
        for item in object_grants(
            ObjectKind.DATABASE,
            place.database,
            [(place.database,)],
            {role.name: frozenset()},
            place.acl,
            place.owner,
            as_role=administrator_of(role, (), server),
            run_in="",
        )
    ]
    # Privileges on databases are taken back above, by their grantors. Inside, what the admins' group has granted it
    # is taken back with that group's rights alone, so hand over everywhere, whether it owns something or not.
    places = dict.fromkeys(observed.dependents.databases, 1)
    return drop_of(
        role,
        ObservedDrop(server, role, Dependents(owned=places), observed.roles),
        f"Drop login {role.name}, whose run is over",
        connects,
    )
