"""The statements for a database's grant groups: made, given their privileges, and dropped when unused. Pure.

A grant group is a member of the group of its level; its name says what it holds, so nothing is recorded. One
that no user wants is left as it is while it has members, then emptied and dropped.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from dbtether.api.names import ROLE_PREFIX, is_grant_group
from dbtether.postgres.databases.model import DesiredDatabase, Inside, ObservedDatabase, new_database_acl
from dbtether.postgres.databases.ownership import allies
from dbtether.postgres.databases.powers import (
    acting_as,
    acting_as_database_owner,
    acting_for,
    creators,
    manageable_owners,
)
from dbtether.postgres.grants.acl import Acl
from dbtether.postgres.grants.groups import ALL_TABLES, GrantGroup
from dbtether.postgres.grants.model import ObjectKind, RelationGroup, Schema
from dbtether.postgres.grants.plan import default_grants, object_grants
from dbtether.postgres.roles.model import Membership, Role, RoleNames
from dbtether.postgres.roles.plan import leave
from dbtether.postgres.server.model import ServerFacts
from dbtether.postgres.statement import Statement, statement

_Wanted = dict[str, frozenset[str]]
"""Privileges by grant group."""


def plan_grant_groups(desired: DesiredDatabase, observed: ObservedDatabase) -> tuple[Statement, ...]:
    """The part of a database's plan that concerns its grant groups."""
    statements = [*grant_group_roles(desired, observed)]
    if observed.inside is not None:
        statements += grant_group_privileges(desired, observed, observed.inside)
    return (*statements, *dropped_grant_groups(desired, observed))


# ---- which there are


def grant_groups_of(names: RoleNames, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """The grant groups of a database that exist: members of its groups, or made by its owner role; sorted."""
    found = {
        edge.member
        for name in names.groups.values()
        if name in roles
        for edge in roles[name].members
        if is_grant_group(edge.member)
    }
    if names.owner in roles:
        found |= {edge.role for edge in roles[names.owner].memberships if is_grant_group(edge.role)}
    return tuple(sorted(found))


def unused_grant_groups(
    desired: DesiredDatabase, server: ServerFacts, roles: Mapping[str, Role], leaving: Collection[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """The grant groups that nobody wants and nobody is in, as far as `roles` holds them; sorted."""
    wanted = {group.name for group in desired.grant_groups}
    return tuple(
        name
        for name in grant_groups_of(desired.roles, roles)
        if name not in wanted
        and name in roles
        and all((name, user) in leaving for user in _users(roles[name], desired.roles))
        # What a superuser made before is out of the owner role's reach.
        and (not server.acts_as_owner or _is_ruled(roles[name], desired.roles))
    )


def _is_ruled(role: Role, names: RoleNames) -> bool:
    return any(edge.member == names.owner and edge.admin_option for edge in role.members)


def _users(role: Role, names: RoleNames) -> list[str]:
    """Its members; the owner role that made it (16+) is not one of them."""
    return [edge.member for edge in role.members if edge.member != names.owner]


# ---- the roles


def grant_group_roles(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """Make the wanted ones, each a member of the group of its level and of no other role of ours."""
    for group in desired.grant_groups:
        role, base = observed.roles.get(group.name), desired.roles.groups[group.level]
        as_role = acting_as(observed.server, desired.roles.owner)
        name = sql.Identifier(group.name)
        if role is None:
            yield statement(
                f"Create role {group.name} for additional grants in database {desired.name}",
                "",
                "CREATE ROLE {name} NOLOGIN",
                as_role=as_role,
                name=name,
            )
        elif role.can_login or not role.inherits:
            yield statement(
                f"Let nobody log in as role {group.name}, and let it inherit",
                "",
                "ALTER ROLE {name} NOLOGIN INHERIT",
                as_role=as_role,
                name=name,
            )
        if role is None or not any(_is_in(edge, base) for edge in role.memberships):
            options = " WITH INHERIT TRUE, SET TRUE" if observed.server.memberships_have_options else ""
            yield statement(
                f"Put role {group.name} into group {base}",
                "",
                "GRANT {base} TO {name}{options}",
                as_role=as_role,
                base=sql.Identifier(base),
                name=name,
                options=sql.SQL(options),
            )
        for edge in unwanted_memberships(desired, observed, group):
            yield leave(edge, observed.server)


def unwanted_memberships(
    desired: DesiredDatabase, observed: ObservedDatabase, group: GrantGroup
) -> tuple[Membership, ...]:
    """What would give the members of a grant group more than it says."""
    role, base = observed.roles.get(group.name), desired.roles.groups[group.level]
    edges = () if role is None else role.memberships
    return tuple(edge for edge in edges if edge.role.startswith(ROLE_PREFIX) and edge.role != base)


def _is_in(edge: Membership, base: str) -> bool:
    return edge.role == base and edge.inherit_option


def dropped_grant_groups(desired: DesiredDatabase, observed: ObservedDatabase) -> Iterator[Statement]:
    """Drop those that are unused, once nothing but what this plan revokes holds them back."""
    for name, dependents in sorted(observed.left_over.items()):
        held = sum(dependents.granted.values()) + sum(dependents.owned.values())
        if held > _revocable(name, desired, observed):
            continue
        yield statement(
            f"Drop role {name}, whose additional grants nobody asks for any more",
            "",
            "DROP ROLE {name}",
            as_role=acting_as(observed.server, desired.roles.owner),
            destructive=True,
            name=sql.Identifier(name),
        )


def held_back(desired: DesiredDatabase, observed: ObservedDatabase) -> tuple[str, ...]:
    """The unused ones that cannot be dropped, because somebody granted them more by hand; sorted."""
    return tuple(
        name
        for name, dependents in sorted(observed.left_over.items())
        if sum(dependents.granted.values()) + sum(dependents.owned.values()) > _revocable(name, desired, observed)
    )


def _revocable(name: str, desired: DesiredDatabase, observed: ObservedDatabase) -> int:
    """The objects whose access control lists the plan clears of this role."""
    inside = observed.inside
    if inside is None:
        return 0
    owners, server = manageable_owners(desired, observed, allies(desired, observed)), observed.server
    lists: list[tuple[Acl, str, int]] = [
        *((group.acl, group.owner, len(group.names)) for group in inside.relations),
        *((schema.acl, schema.owner, 1) for schema in inside.schemas),
    ]
    if observed.database is not None:
        lists.append((observed.database.acl, observed.database.owner, 1))
    cleared = [
        count
        for acl, owner, count in lists
        if (server.is_superuser or owner in owners)
        and _in(acl, name)
        and all(item.grantor == owner for item in acl if item.grantee == name)
    ]
    defaults = [
        item for item in inside.default_acls if item.creator in creators(desired, server, allies(desired, observed))
    ]
    return sum(cleared) + sum(_in(item.acl, name) for item in defaults)


def _in(acl: Acl, name: str) -> bool:
    return any(item.grantee == name for item in acl)


# ---- the privileges


@dataclass(frozen=True, slots=True)
class _Definitions:
    """What every grant group of the database shall have: nothing, when it is unused."""

    tables: Mapping[tuple[str, str], _Wanted] = field(default_factory=dict)
    """By schema and table; `*` stands for all tables of the schema."""
    ruled: frozenset[str] = frozenset()
    """The groups whose privileges are exactly these."""

    def of(self, schema: str, table: str, present: Iterable[str]) -> _Wanted:
        """The privileges of the groups on a table; `present` are the groups that have some now."""
        wanted: _Wanted = dict.fromkeys((name for name in present if name in self.ruled), frozenset())
        for key in ((schema, ALL_TABLES), (schema, table)):
            for name, privileges in self.tables.get(key, {}).items():
                wanted[name] = wanted.get(name, frozenset()) | privileges
        return wanted


def _definitions(desired: DesiredDatabase, observed: ObservedDatabase) -> _Definitions:
    tables: dict[tuple[str, str], _Wanted] = {}
    for group in desired.grant_groups:
        for grant in group.grants:
            tables.setdefault((grant.schema, grant.table), {})[group.name] = frozenset(grant.privileges)
    return _Definitions(tables, frozenset({*observed.left_over, *(group.name for group in desired.grant_groups)}))


def grant_group_privileges(desired: DesiredDatabase, observed: ObservedDatabase, inside: Inside) -> Iterator[Statement]:
    """GRANT what is missing, REVOKE what is too much, on what is there and on what will be created."""
    definitions = _definitions(desired, observed)
    if not definitions.ruled:
        return
    owners, server = manageable_owners(desired, observed, allies(desired, observed)), observed.server
    yield from _on_database(desired, observed, definitions)
    for schema in inside.schemas:
        if server.is_superuser or schema.owner in owners:
            yield from object_grants(
                ObjectKind.SCHEMA,
                desired.name,
                [(schema.name,)],
                definitions.of("", "", _grantees(schema.acl)),
                schema.acl,
                schema.owner,
                as_role=owners.get(schema.owner),
            )
    for creator in creators(desired, server, allies(desired, observed)):
        yield from _on_future(desired, inside, definitions, creator, acting_for(desired, server, creator))
    for relations in inside.relations:
        if server.is_superuser or relations.owner in owners:
            yield from _on_relations(desired, relations, definitions, owners.get(relations.owner))


def _on_database(
    desired: DesiredDatabase, observed: ObservedDatabase, definitions: _Definitions
) -> Iterator[Statement]:
    database = observed.database
    owner = desired.roles.owner if database is None else database.owner
    acl = new_database_acl(owner) if database is None else database.acl
    yield from object_grants(
        ObjectKind.DATABASE,
        desired.name,
        [(desired.name,)],
        definitions.of("", "", _grantees(acl)),
        acl,
        owner,
        as_role=acting_as_database_owner(desired, observed),
        run_in="",
    )


def _on_future(
    desired: DesiredDatabase, inside: Inside, definitions: _Definitions, creator: str, as_role: str | None
) -> Iterator[Statement]:
    usable = {schema.name for schema in inside.schemas} | {schema.name for schema in desired.schemas}
    found = {(item.schema, item.kind): item.acl for item in inside.default_acls if item.creator == creator}
    everywhere = {(schema, ObjectKind.TABLE) for schema, table in definitions.tables if table == ALL_TABLES}
    for schema, kind in sorted({*everywhere, *found}, key=lambda key: (key[0] or "", key[1])):
        acl = found.get((schema, kind), ())
        if schema is not None and schema not in usable:
            continue
        # A name no table can have: only what holds for all tables.
        place = schema if schema is not None and kind is ObjectKind.TABLE else ""
        yield from default_grants(
            kind,
            desired.name,
            creator,
            definitions.of(place, "", _grantees(acl)),
            acl,
            as_role=as_role,
            schema=schema,
        )


def _on_relations(
    desired: DesiredDatabase, relations: RelationGroup, definitions: _Definitions, as_role: str | None
) -> Iterator[Statement]:
    present = _grantees(relations.acl)
    # Most tables are named by nobody: they go together, the named ones by what is wanted on them.
    together: dict[tuple[tuple[str, frozenset[str]], ...], list[tuple[str, str]]] = {}
    is_table = relations.kind is ObjectKind.TABLE
    for_all = definitions.of(relations.schema if is_table else "", "", present)
    for name in relations.names:
        is_named = is_table and (relations.schema, name) in definitions.tables
        wanted = definitions.of(relations.schema, name, present) if is_named else for_all
        if wanted:
            together.setdefault(tuple(sorted(wanted.items())), []).append((relations.schema, name))
    for privileges, names in together.items():
        yield from object_grants(
            relations.kind,
            desired.name,
            names,
            dict(privileges),
            relations.acl,
            relations.owner,
            as_role=as_role,
        )


def _grantees(acl: Acl) -> frozenset[str]:
    return frozenset(item.grantee for item in acl if is_grant_group(item.grantee))


# ---- what cannot be granted yet


def missing_grants(desired: DesiredDatabase, observed: ObservedDatabase) -> dict[str, tuple[str, ...]]:
    """By grant group, a phrase for each grant that has to wait; only groups that miss something."""
    inside = observed.inside
    if inside is None:
        return {}
    schemas = {schema.name: schema for schema in inside.schemas}
    tables = (
        {
            (relations.schema, name): relations.owner
            for relations in inside.relations
            if relations.kind is ObjectKind.TABLE
            for name in relations.names
        }
        if desired.grant_groups
        else {}
    )
    found: dict[str, tuple[str, ...]] = {}
    for group in desired.grant_groups:
        phrases = [
            phrase
            for grant in group.grants
            if (phrase := _what_is_missing(desired, observed, schemas, tables, group, grant.schema, grant.table))
        ]
        if phrases:
            found[group.name] = tuple(dict.fromkeys(phrases))
    return found


def _what_is_missing(
    desired: DesiredDatabase,
    observed: ObservedDatabase,
    schemas: Mapping[str, Schema],
    tables: Mapping[tuple[str, str], str],
    group: GrantGroup,
    schema: str,
    table: str,
) -> str | None:
    owners, server = manageable_owners(desired, observed, allies(desired, observed)), observed.server
    found = schemas.get(schema)
    if found is None:
        if any(new.name == schema for new in desired.schemas):
            return None if table == ALL_TABLES else f"table {schema}.{table} does not exist"
        return f"schema {schema} does not exist"
    base = desired.roles.groups[group.level]
    may_enter = any(item.privilege == "USAGE" and item.grantee in ("", base) for item in found.acl)
    if not (server.is_superuser or found.owner in owners or may_enter):
        return f"schema {schema} belongs to {found.owner}, for whom the admin cannot grant"
    if table == ALL_TABLES:
        return None
    owner = tables.get((schema, table))
    if owner is None:
        return f"table {schema}.{table} does not exist"
    if not (server.is_superuser or owner in owners):
        return f"table {schema}.{table} belongs to {owner}, for whom the admin cannot grant"
    return None
