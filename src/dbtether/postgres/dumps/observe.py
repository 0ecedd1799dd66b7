"""Reads what a dump needs to know of its database, from within it."""

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg.rows import dict_row

from dbtether.api.names import Group
from dbtether.postgres.dumps.model import COMMENT_PREFIX, RUN_PREFIX, DumpSource, Hindrances
from dbtether.postgres.pool import Connection
from dbtether.postgres.roles.model import RoleNames

_GROUPS = (Group.READONLY, Group.ADMIN)
_LISTED = 50

_FACTS = """
SELECT pg_catalog.pg_database_size(d.oid)::bigint AS size_bytes, {collation_version} AS collation_version
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""
_ROLE_SETTINGS = """
SELECT r.rolname::text AS role, s.setconfig AS settings
  FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
 WHERE d.datname = pg_catalog.current_database() ORDER BY 1
"""
# Of an extension's own tables pg_dump reads those that it has registered (pg_extension.extconfig).
# A table's owner is above its policies, unless they are forced (CREATE POLICY; ALTER TABLE ... FORCE).
_TABLES = """
SELECT g.role::text AS role, pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name,
       NOT (pg_catalog.has_schema_privilege(g.role, n.oid, 'USAGE')
            AND CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(g.role, c.oid, 'SELECT')
                     ELSE pg_catalog.has_table_privilege(g.role, c.oid, 'SELECT') END) AS is_unreadable
  FROM pg_catalog.unnest(%s::text[]) g (role)
 CROSS JOIN pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
        AND NOT coalesce(c.oid = ANY(e.extconfig), false))
   AND (NOT pg_catalog.has_schema_privilege(g.role, n.oid, 'USAGE')
        OR NOT CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(g.role, c.oid, 'SELECT')
                    ELSE pg_catalog.has_table_privilege(g.role, c.oid, 'SELECT') END
        OR (c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(g.role, c.relowner, 'USAGE'))))
 ORDER BY 1, 2
"""
_LARGE_OBJECTS = """
SELECT g.role::text AS role, pg_catalog.count(*)::int AS count
  FROM pg_catalog.unnest(%s::text[]) g (role) CROSS JOIN pg_catalog.pg_largeobject_metadata m
 WHERE NOT pg_catalog.pg_has_role(g.role, m.lomowner, 'USAGE')
   AND NOT EXISTS (
     SELECT FROM pg_catalog.aclexplode(coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) x
      WHERE x.privilege_type = 'SELECT'
        AND CASE WHEN x.grantee = 0 THEN true ELSE pg_catalog.pg_has_role(g.role, x.grantee, 'USAGE') END)
 GROUP BY 1
"""


# Names first: few roles have one, and only those comments are looked up.
_EXPIRED = """
SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r
  JOIN pg_catalog.pg_shdescription d
    ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
 WHERE pg_catalog.starts_with(r.rolname, %s) AND r.rolvaliduntil < pg_catalog.now()
   AND pg_catalog.starts_with(d.description, %s) AND pg_catalog.right(d.description, pg_catalog.length(%s)) = %s
 ORDER BY 1
"""


async def observe_expired_runs(connection: Connection, installation: str) -> tuple[str, ...]:
    """The logins of this installation's runs whose time is over: nobody ended them. Raises psycopg.Error."""
    owner = f"@{installation}"
    cursor = await connection.execute(_EXPIRED.encode(), (RUN_PREFIX, COMMENT_PREFIX, owner, owner))
    return tuple(str(row[0]) for row in await cursor.fetchall())


async def observe_dump_source(connection: Connection, roles: RoleNames, major: int) -> DumpSource:
    """The facts of the connection's database, in one round trip. Raises psycopg.Error."""
    names = [roles.groups[group] for group in _GROUPS]
    collation_version = "d.datcollversion" if major >= 15 else "NULL::text"

    async def ask(query: str, *parameters: object) -> Any:
        return await connection.cursor(row_factory=dict_row).execute(query.encode(), parameters or None)

    async with connection.pipeline():
        facts = await ask(_FACTS.format(collation_version=collation_version))
        settings = await ask(_ROLE_SETTINGS)
        tables = await ask(_TABLES, names)
        large_objects = await ask(_LARGE_OBJECTS, names)
    found = await facts.fetchone()
    table_rows = await tables.fetchall()
    counts = {row["role"]: row["count"] for row in await large_objects.fetchall()}
    return DumpSource(
        size_bytes=found["size_bytes"],
        collation_version=found["collation_version"],
        role_settings={row["role"]: tuple(row["settings"]) for row in await settings.fetchall()},
        hindrances={
            group: _hindrances(
                [row for row in table_rows if row["role"] == roles.groups[group]], counts.get(roles.groups[group], 0)
            )
            for group in _GROUPS
        },
    )


def _hindrances(tables: Iterable[Mapping[str, Any]], large_objects: int) -> Hindrances:
    unreadable = [row["name"] for row in tables if row["is_unreadable"]]
    row_security = [row["name"] for row in tables if not row["is_unreadable"]]
    return Hindrances(
        unreadable=tuple(unreadable[:_LISTED]),
        row_security=tuple(row_security[:_LISTED]),
        large_objects=large_objects,
        count=len(unreadable) + len(row_security) + large_objects,
    )
