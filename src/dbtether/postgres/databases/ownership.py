"""Who owns a database, and how it and what is in it changes hands. Pure.

The marked owner role stays whoever owns the database: it is put into the role that does, so what needs an
owner's rights still runs as it. Only ALTER DATABASE ... OWNER is the admin's own, which must have CREATEDB and,
for that moment, the owner role's rights.
"""

from collections.abc import Iterator
from functools import partial

from psycopg import sql

from dbtether.api.names import ROLE_PREFIX, Group
from dbtether.errors import Blocked
from dbtether.postgres.borrow import inheritance
from dbtether.postgres.databases.model import DesiredDatabase, Inside, ObservedDatabase, OwnedObject
from dbtether.postgres.databases.powers import acting_as, acting_for
from dbtether.postgres.grants.model import ObjectKind, group_privileges
from dbtether.postgres.grants.plan import object_grants
from dbtether.postgres.guards import Verdict, quoted
from dbtether.postgres.roles.model import Membership, Role
from dbtether.postgres.roles.plan import leave
from dbtether.postgres.server.cures import grant_of_role
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, statement

_ALTER: dict[str, sql.SQL] = {
    # ALTER TABLE takes views, sequences and foreign tables as well; ALTER ROUTINE all of pg_proc.
    "SCHEMA": sql.SQL("SCHEMA"),
    "TABLE": sql.SQL("TABLE"),
    "TYPE": sql.SQL("TYPE"),
    "ROUTINE": sql.SQL("ROUTINE"),
    "LARGE OBJECT": sql.SQL("LARGE OBJECT"),
}


def wanted_owner(desired: DesiredDatabase, observed: ObservedDatabase) -> str:
    """The role that shall own the database: the owner role of ours as long as the named one is not there."""
    named = desired.owner
    return named if named is not None and named in observed.roles else desired.roles.owner


def previous_owner(desired: DesiredDatabase, observed: ObservedDatabase) -> str | None:
    """Who owns the database now, when it shall be somebody else's."""
    if observed.database is None or observed.database.owner == wanted_owner(desired, observed):
        return None
    return observed.database.owner


def is_adoption(desired: DesiredDatabase, observed: ObservedDatabase) -> bool:
    """Whether the database is somebody else's until this plan has run."""
    database = observed.database
    return database is not None and desired.adopts and not is_ours(desired, observed)


def is_ours(desired: DesiredDatabase, observed: ObservedDatabase) -> bool:
    """Whether the database's owner is the marked owner role, or one that this resource made the owner."""
    database = observed.database
    if database is None or desired.roles.owner not in observed.roles:
        return database is None
    return database.owner == desired.roles.owner or database.owner in desired.known_owners


def allies(desired: DesiredDatabase, observed: ObservedDatabase) -> tuple[str, ...]:
    """The roles of others that own the database or schemas of it, now or after this plan, sorted."""
    named = {schema.owner for schema in desired.schemas} | {wanted_owner(desired, observed)}
    if observed.database is not None:
        named.add(observed.database.owner)
    own = {*desired.roles.all, observed.server.admin}
    return tuple(sorted(name for name in named if name is not None and name not in own and name in observed.roles))


def join_allies(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """The owner role gets the rights of those roles; a superuser needs none."""
    server, owner = observed.server, desired.roles.owner
    if server.is_superuser:
        return
    for name in allies(desired, observed):
        role = observed.roles[name]
        if not _is_in(server, role, owner):
            options = sql.SQL(" WITH INHERIT TRUE, SET TRUE") if server.memberships_have_options else sql.SQL("")
            yield statement(
                f"Let {owner} act for {name}",
                "",
                "GRANT {role} TO {member}{options}",
                as_role=_administrator(server, role, owner),
                role=sql.Identifier(name),
                member=sql.Identifier(owner),
                options=options,
            )


def leave_allies(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """The owner role leaves whoever owns nothing here any more."""
    server, owner = observed.server, observed.roles.get(desired.roles.owner)
    named = {wanted_owner(desired, observed), *(schema.owner for schema in desired.schemas)}
    for edge in () if owner is None else owner.memberships:
        is_own = edge.role.startswith(ROLE_PREFIX) or edge.role in named
        by_us = edge.grantor == server.admin or edge.grantor.startswith(ROLE_PREFIX)
        if edge.inherit_option and by_us and not is_own:
            yield leave(edge, server)
    role = observed.roles.get(previous_owner(desired, observed) or "")
    if role is None or server.is_superuser or role.name in named or role.name not in allies(desired, observed):
        return
    if _is_in(server, role, desired.roles.owner):
        return
    # The row that this very plan makes.
    grantor = _administrator(server, role, desired.roles.owner) or server.admin
    yield leave(Membership(role.name, desired.roles.owner, grantor, False, True, True), server)


def _is_in(server: ServerFacts, role: Role, member: str) -> bool:
    edges = [edge for edge in role.members if edge.member == member]
    return any((edge.inherit_option and edge.set_option) or not server.memberships_have_options for edge in edges)


def _administrator(server: ServerFacts, role: Role, owner: str) -> str | None:
    """Whom to act as to grant the role: an owner role that has ADMIN on it, else the admin itself."""
    if not server.acts_as_owner:
        return None
    holders = {edge.member for edge in role.members if edge.admin_option}
    if server.admin in holders:
        return None
    return next((name for name in (owner, *sorted(holders)) if name in holders and name.startswith(ROLE_PREFIX)), None)


# ---- the handover


def keep_previous_working(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """An ordinary owner from before keeps its rights: it works with what it had as one of the admins."""
    if not is_adoption(desired, observed) or (role := _ordinary_previous(desired, observed)) is None:
        return
    group = desired.roles.groups[Group.ADMIN]
    if any(edge.role == group for edge in role.memberships):
        return
    server = observed.server
    options = sql.SQL(" WITH INHERIT TRUE, SET TRUE") if server.memberships_have_options else sql.SQL("")
    yield statement(
        f"Put {role.name}, the owner until now, into group {group}, so that it keeps working",
        "",
        "GRANT {group} TO {role}{options}",
        as_role=desired.roles.owner if server.acts_as_owner else None,
        group=sql.Identifier(group),
        role=sql.Identifier(role.name),
        options=options,
    )


def _ordinary_previous(desired: DesiredDatabase, observed: ObservedDatabase) -> Role | None:
    role = observed.roles.get(previous_owner(desired, observed) or "")
    if role is None or role.is_superuser or role.name in (observed.server.admin, *desired.roles.all):
        return None
    return role


def handover(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    """The previous owner's objects in this database, then the database itself: one transaction, in the database."""
    previous = previous_owner(desired, observed)
    if previous is None:
        return
    if previous != desired.roles.owner:
        declared = {schema.name: schema.owner for schema in desired.schemas if schema.owner is not None}
        as_role = acting_for(desired, observed.server, previous)
        for item in inside.owned:
            heir = declared.get(item.name) if item.kind == "SCHEMA" else None
            if heir != previous:
                yield _move(desired, item, heir or desired.roles.groups[Group.ADMIN], as_role)
    yield from _database(desired, observed, previous)


def _move(desired: DesiredDatabase, item: OwnedObject, heir: str, as_role: str | None) -> Statement:
    return statement(
        f"Hand {item.label} to {heir}",
        desired.name,
        "ALTER {kind} {name} OWNER TO {heir}",
        as_role=as_role,
        kind=_ALTER[item.kind],
        name=item.as_sql(),
        heir=sql.Identifier(heir),
    )


def _database(desired: DesiredDatabase, observed: ObservedDatabase, previous: str) -> Iterator[Statement]:
    server, owner = observed.server, desired.roles.owner
    lends = server.acts_as_owner and previous != server.admin
    if lends:
        yield inheritance(owner, server.admin, desired.name, on=True)
    wanted = wanted_owner(desired, observed)
    yield statement(
        f"Make {wanted} the owner of database {desired.name}, which was {previous}'s",
        desired.name,
        "ALTER DATABASE {name} OWNER TO {owner}",
        name=sql.Identifier(desired.name),
        owner=sql.Identifier(wanted),
    )
    if lends:
        yield inheritance(owner, server.admin, desired.name, on=False)
    if server.acts_as_owner and previous == server.admin:
        yield _connect(desired, server.admin, owner)
    role = _ordinary_previous(desired, observed)
    if (
        role is not None
        and not server.memberships_have_options
        and not role.inherits
        and not is_adoption(desired, observed)
    ):
        # Before 16 such a login has its group's rights by SET ROLE only, and got in as the owner.
        yield _connect(desired, role.name, None)


def _connect(desired: DesiredDatabase, role: str, as_role: str | None) -> Statement:
    return statement(
        f"Let {role} connect to database {desired.name} still",
        desired.name,
        "GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role}"
        if as_role is None
        else "GRANT CONNECT ON DATABASE {name} TO {role}",
        as_role=as_role,
        name=sql.Identifier(desired.name),
        role=sql.Identifier(role),
    )


# ---- schemas


def schema_owners(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    """Declared schemas that are another's than the spec wants; without a wish those of ours only."""
    admins, previous = desired.roles.groups[Group.ADMIN], previous_owner(desired, observed)
    current = {schema.name: schema.owner for schema in inside.schemas}
    owner_role = desired.roles.owner
    for schema in desired.schemas:
        owner = current.get(schema.name)
        wanted = desired_schema_owner(desired, observed, schema.owner)
        movable = schema.owner is not None or owner in desired.known_owners or owner == desired.roles.owner
        if owner in (None, wanted, previous) or not movable or (wanted == admins and schema.name == "public"):
            continue
        assert owner is not None
        move = _move(desired, OwnedObject("SCHEMA", "", schema.name), wanted, acting_as(observed.server, owner_role))
        if observed.server.acts_as_owner and owner in desired.roles.groups.values():
            # Acting as the group would not do: it must be both in the old owner and in the new one.
            lent = partial(inheritance, owner, owner_role, desired.name, as_role=owner_role)
            yield from (lent(on=True), move, lent(on=False))
        else:
            yield move
        if owner == admins:
            # The owner's privileges went along to the new one.
            privileges = group_privileges(ObjectKind.SCHEMA, Group.ADMIN, observed.server.major)
            yield from object_grants(
                ObjectKind.SCHEMA,
                desired.name,
                [(schema.name,)],
                {admins: privileges},
                (),
                wanted,
                as_role=acting_as(observed.server, owner_role),
            )


def desired_schema_owner(desired: DesiredDatabase, observed: ObservedDatabase, named: str | None) -> str:
    """The named role when it is there; the admins' group else."""
    exists = named is not None and (named in observed.roles or named in desired.roles.all)
    return named if named is not None and exists else desired.roles.groups[Group.ADMIN]


# ---- what stops it


def owner_not_theirs_to_name(desired: DesiredDatabase, _: ObservedDatabase) -> Verdict:
    """Another tenant's role, or the admin's, must not come to own anything here: it could not be dropped then.

    The database itself is no group's: its members could drop it.
    """
    if desired.owner is not None and desired.owner not in {desired.roles.owner, *desired.known_owners}:
        return owner_not_allowed(desired.owner)
    allowed = {*desired.roles.all, *desired.known_owners}
    named = (schema.owner for schema in desired.schemas)
    return next((owner_not_allowed(name) for name in named if name is not None and name not in allowed), None)


def owner_too_powerful(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """A superuser's or the admin's name would give a tenant's database powers that no tenant has."""
    named = (desired.owner, *(schema.owner for schema in desired.schemas))
    for name in named:
        role = observed.roles.get(name or "")
        if name == observed.server.admin or (role is not None and role.is_superuser):
            return owner_not_allowed(str(name))
    return None


def owner_not_allowed(name: str) -> Blocked:
    """One sentence for a role that is somebody else's and for one that does not exist."""
    return Blocked(
        "ReferenceNotAllowed",
        f"{name} cannot own anything here: name a login of a DatabaseUser of this namespace, or a role that the "
        f"DBCluster's spec.adoptable lists for this namespace",
    )


def previous_owner_out_of_reach(desired: DesiredDatabase, observed: ObservedDatabase) -> Verdict:
    """Only a superuser takes a database from a superuser; on 16+ ADMIN on the role is needed for any other."""
    server, database = observed.server, observed.database
    if server.is_superuser:
        return None
    for name in allies(desired, observed):
        role = observed.roles[name]
        if role.is_superuser:
            return Blocked(
                "MissingPrivileges",
                f"Database {desired.name} belongs to superuser {name}, and only a superuser can change that: a DBA "
                f"must run ALTER DATABASE {quoted(desired.name)} OWNER TO {quoted(server.admin)}",
            )
        if _is_in(server, role, desired.roles.owner) or not server.memberships_have_options:
            continue
        holders = [edge.member for edge in role.members if edge.admin_option]
        if server.admin not in holders and not any(name.startswith(ROLE_PREFIX) for name in holders):
            return Blocked(
                "MissingPrivileges",
                f"The admin cannot act for role {name}: a DBA must run {grant_of_role(name, server.admin)}",
            )
    if database is not None and previous_owner(desired, observed) is not None and not server.can_create_databases:
        return Blocked(
            "MissingPrivileges",
            f"The admin cannot change the owner of database {desired.name}: a DBA must run "
            f"ALTER ROLE {quoted(server.admin)} CREATEDB",
        )
    return None
