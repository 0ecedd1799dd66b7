"""Reads everything that carries an ownership marker, and what a lost state directory can be rebuilt from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from dbtether.api.names import is_grant_group
from dbtether.postgres.grants.groups import TableGrant
from dbtether.postgres.pool import Connection

# Role comments only: a database's comment can be rewritten by its owner and is never trusted alone.
_ROLES = b"""
SELECT r.rolname::text AS name, d.description AS comment, r.rolcanlogin AS can_login,
       r.rolconnlimit AS connection_limit,
       CASE WHEN r.rolvaliduntil < 'infinity'
            THEN greatest(least(r.rolvaliduntil, '9999-12-30 UTC'), '0001-01-03 UTC') END AS valid_until,
       coalesce((SELECT pg_catalog.array_agg(g.rolname::text ORDER BY g.rolname)
                   FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
                  WHERE m.member = r.oid), '{}') AS member_of
  FROM pg_catalog.pg_roles r
  JOIN pg_catalog.pg_shdescription d
    ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
 WHERE d.description LIKE 'dbtether:%' ORDER BY 1
"""
_DATABASES = b"""
SELECT d.datname::text AS name, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       d.datconnlimit AS connection_limit, d.datallowconn AS allows_connections,
       EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x
                WHERE x.grantee = 0 AND x.privilege_type = 'CONNECT') AS is_open_to_public
  FROM pg_catalog.pg_database d
 WHERE pg_catalog.pg_get_userbyid(d.datdba) = ANY(%s) ORDER BY 1
"""
_EXTENSIONS = b"SELECT extname::text FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
_SCHEMAS = b"""
SELECT nspname::text FROM pg_catalog.pg_namespace
 WHERE pg_catalog.pg_get_userbyid(nspowner) = ANY(%s) AND nspname <> 'public' AND nspname !~ '^pg_' ORDER BY 1
"""
_GRANT_ROLES = b"""
SELECT g.rolname::text AS name, b.rolname::text AS base
  FROM pg_catalog.pg_roles g
  JOIN pg_catalog.pg_auth_members m ON m.member = g.oid
  JOIN pg_catalog.pg_roles b ON b.oid = m.roleid
 WHERE g.rolname LIKE 'dbtether\\_%' AND b.rolname LIKE 'dbtether\\_%' AND NOT g.rolcanlogin ORDER BY 1, 2
"""
# What holds for all tables of a schema stands in the default privileges; `*` as in a manifest.
_GRANTS = b"""
SELECT g.rolname::text, x.schema, x.name, x.privilege FROM (
  SELECT n.nspname::text AS schema, c.relname::text AS name, a.grantee, a.privilege_type AS privilege
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
         pg_catalog.aclexplode(c.relacl) a
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION
  SELECT n.nspname::text, '*', a.grantee, a.privilege_type
    FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace,
         pg_catalog.aclexplode(d.defaclacl) a
   WHERE d.defaclobjtype = 'r'
) x JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
 WHERE g.rolname = ANY(%s) ORDER BY 1, 2, 3, 4
"""


@dataclass(frozen=True, slots=True)
class MarkedRole:
    """A role whose comment looks like a marker of ours."""

    name: str
    comment: str
    can_login: bool
    connection_limit: int
    valid_until: datetime | None
    member_of: Sequence[str]


@dataclass(frozen=True, slots=True)
class OwnedDatabase:
    """A database by its owner."""

    name: str
    owner: str
    connection_limit: int
    allows_connections: bool
    is_open_to_public: bool


async def observe_marked_roles(connection: Connection) -> tuple[MarkedRole, ...]:
    """Every marked role, sorted by name. Raises psycopg.Error."""
    cursor = connection.cursor(row_factory=class_row(MarkedRole))
    await cursor.execute(_ROLES)
    return tuple(await cursor.fetchall())


async def observe_databases_of(connection: Connection, owners: Sequence[str]) -> tuple[OwnedDatabase, ...]:
    """The databases of these owners, sorted by name. Raises psycopg.Error."""
    cursor = connection.cursor(row_factory=class_row(OwnedDatabase))
    await cursor.execute(_DATABASES, (list(owners),))
    return tuple(await cursor.fetchall())


async def observe_contents(connection: Connection, owners: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The extensions of the connection's database, and the schemas that `owners` have. Raises psycopg.Error."""
    extensions = await (await connection.execute(_EXTENSIONS)).fetchall()
    schemas = await (await connection.execute(_SCHEMAS, (list(owners),))).fetchall()
    return tuple(str(row[0]) for row in extensions), tuple(str(row[0]) for row in schemas)


async def observe_grant_roles(connection: Connection) -> dict[str, str]:
    """The roles for additional grants, each with the group that it is in. Raises psycopg.Error."""
    rows = await (await connection.execute(_GRANT_ROLES)).fetchall()
    return {str(name): str(base) for name, base in rows if is_grant_group(str(name))}


async def observe_grants(connection: Connection, roles: Sequence[str]) -> dict[str, tuple[TableGrant, ...]]:
    """What these roles were granted on tables of the connection's database. Raises psycopg.Error."""
    rows = await (await connection.execute(_GRANTS, (list(roles),))).fetchall()
    grants: dict[str, list[TableGrant]] = {}
    for role, schema, table, privilege in rows:
        grants.setdefault(str(role), []).append(TableGrant(str(schema), str(table), (str(privilege),)))
    return {role: tuple(found) for role, found in grants.items()}
